"""What names the calls of a step: its keys, and the definition that is part of them. Nothing is called here."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from dataflow.plan.code import stable
from dataflow.plan.graph import Step
from dataflow.services.keys import Keys
from dataflow.services.signature import Form, Injected

KNOWN, LONGEST = 50_000, 100
"""Keys of texts that are kept for a service, and characters of a text whose key is: about 10 MB."""


def keys_of(step: Step) -> Keys:
    """The keys of the calls of a step; the same for the same definition, as long as few others are asked for."""
    return _keys(step.service.name, step.service.policy.version, definition(step))


@lru_cache(maxsize=16)
def _keys(service: str, version: str, text: str) -> Keys:
    return Keys(service=service, version=version, definition=text)


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
    if len(given) == 1:
        return partial(_key_of_one, keys, given[0])
    if len(given) == at:
        return keys.of
    return lambda row: keys.of([row[at] for at in given])


def _key_of_one(keys: Keys, at: int, row: Sequence[Any]) -> bytes:
    """The key of a single input; the same texts come in one partition after the other, so theirs are kept."""
    value = row[at]
    if type(value) is not str:
        return keys.of((value,))
    found = keys.known.get(value)
    if found is None:
        found = keys.of((value,))
        if len(value) <= LONGEST:
            if len(keys.known) >= KNOWN:
                keys.known.clear()
            keys.known[value] = found
    return found


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
    one, columns = service.endpoint, [column.name for column in step.inputs]
    if service.form is Form.LLM:
        return repr(["llm", *one.meaning, service.returns and service.returns.text, columns])
    sources = [None if template is None else template.source for template in (one.url, one.params, one.json)]
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
