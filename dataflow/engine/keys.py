"""What names the calls of a step: its keys, and the definition that is part of them. Nothing is called here."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from dataflow.plan.code import code_digest, stable
from dataflow.plan.graph import Step
from dataflow.plan.identity import api_identity, type_identity, value_identity
from dataflow.services.endpoint import Endpoint
from dataflow.services.keys import Keys
from dataflow.services.llm import Chat
from dataflow.services.service import Service
from dataflow.services.signature import Injected

KNOWN, LONGEST = 50_000, 100
"""Keys of texts that are kept for a service, and characters of a text whose key is: about 10 MB."""


def keys_of(step: Step) -> Keys:
    """The keys of the calls of a step; the same for the same definition, as long as few others are asked for."""
    return _keys(step.service.name, step.service.policy.version, definition(step))


@lru_cache(maxsize=16)
def _keys(service: str, version: str, text: str) -> Keys:
    return Keys(service=service, version=version, definition=text)


def given_places(step: Step) -> list[int]:
    """The places of the arguments of a step that are no injected ones."""
    given: list[int] = []
    at = 0
    for read in step.reads:
        width = len(read.columns) if read.parameter.injected is None else 1
        given += range(at, at + width) if read.parameter.injected is None else ()
        at += width
    return given


def key_of(step: Step, keys: Keys) -> Callable[[Sequence[Any]], bytes]:
    """The key of a call by its arguments, without those that are injected."""
    if is_unlike(step):
        numbers = itertools.count()
        return lambda row: keys.of([next(numbers)])
    given = given_places(step)
    if len(given) == 1:
        return partial(_key_of_one, keys, given[0])
    if all(read.parameter.injected is None for read in step.reads):
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
    """What a service asks and what it gives, as a text; of a function what it is given, since `version=` says the rest.

    Two that are equal ask the same account for the same thing, and understand the answer alike.
    """
    return _definition(step.service, tuple(column is None for read in step.reads for column in read.columns))


@lru_cache(maxsize=256)
def _definition(service: Service, absent: tuple[bool, ...]) -> str:
    gives = None if service.returns is None else type_identity(service.returns)
    asks = _asked_by_function(service) if service.endpoint is None else _asked(service.endpoint)
    return repr([service.form.value, asks, gives, absent if any(absent) else ()])


def _asked_by_function(service: Service) -> list[Any]:
    names = [[one.name, *(one.declared.fields or ())] if one.is_record else one.name for one in service.parameters]
    given = [value_identity(dict(one)) for one in (service.constants, service.policy.setup)]
    return [None if service.api is None else api_identity(service.api), names, *given]


def _asked(one: Endpoint | Chat) -> list[Any]:
    if isinstance(one, Chat):
        return [api_identity(one.api), *one.meaning]
    templates = (one.url, one.params, one.json)
    return [
        api_identity(one.api, one.headers),
        one.method,
        *(None if template is None else stable(template.meaning) for template in templates),
        stable(one.select),
        sorted(one.not_found),
        None if one.accept is None else code_digest(one.accept),
        None if one.batch is None else one.batch.meaning,
        *(["allow_nan"] if one.allow_nan else []),
    ]
