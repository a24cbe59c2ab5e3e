"""What names the calls of a step: its keys, and the definition that is part of them. Nothing is called here."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from dataflow.plan.code import stable
from dataflow.plan.graph import Step
from dataflow.services.keys import Keys
from dataflow.services.signature import Injected


def keys_of(step: Step) -> Keys:
    """The keys of the calls of a step."""
    return Keys(service=step.service.name, version=step.service.policy.version, definition=definition(step))


def key_of(step: Step, keys: Keys) -> Callable[[Sequence[Any]], bytes]:
    """The key of a call by its arguments, without those that are injected."""
    given: list[int] = []
    at = 0
    for read in step.reads:
        width = len(read.columns) if read.parameter.injected is None else 1
        given += range(at, at + width) if read.parameter.injected is None else ()
        at += width
    if is_unlike(step):
        numbers = itertools.count()
        return lambda row: keys.of([next(numbers)])
    if len(given) == at:
        return keys.of
    return lambda row: keys.of([row[at] for at in given])


def is_unlike(step: Step) -> bool:
    """Whether records with the same inputs may not share an answer.

    So it is where the service sees what became of each record, and where each call has an effect of its own.
    """
    return not step.service.repeatable or any(read.parameter.injected is Injected.OUTCOMES for read in step.reads)


def definition(step: Step) -> str:
    """What a service asks, as a text; of a function what it is given, since `version=` says what it does."""
    service = step.service
    if service.endpoint is None:
        given = [*sorted(service.constants.items()), *sorted(service.policy.setup.items())]
        return f"function {stable(given)}" if given else "function"
    one = service.endpoint
    sources = [None if template is None else template.source for template in (one.url, one.params, one.json)]
    columns = [column.name for column in step.inputs]
    return repr(
        [
            one.method,
            *sources,
            sorted(one.headers.items()),
            one.select,
            one.not_found,
            service.returns and service.returns.text,
            columns,
            *([] if one.batch is None else one.batch.meaning),
        ]
    )
