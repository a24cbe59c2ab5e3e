"""Several records through a pipeline, each as an execution of its own: side by side, in order, equal ones once.

Those that are under way at the same time share the requests of services with `batch=`.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from dataflow.engine.awaiting import SharedCalls
from dataflow.engine.waiting import IOLoop
from dataflow.errors import CriticalServiceFailed, DeclarationError
from dataflow.plan.pipeline import Pipeline
from dataflow.services.contract import RESERVED
from dataflow.services.keys import Keys
from dataflow.wiring.execution import Execution, Settings, check_not_here
from dataflow.wiring.preparation import needs_of
from dataflow.wiring.records import merged
from dataflow.wiring.result import Result
from dataflow.wiring.single import await_execution, on_thread

AT_ONCE = 100
"""Records under way at the same time, unless the caller says otherwise."""

Ended = Result | CriticalServiceFailed | DeclarationError
"""What becomes of a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Which records are equal in all that the pipeline reads.

    Attributes:
        first: The place of the first record of each group.
        of: For each record, the place of the first one that is equal.
    """

    first: tuple[int, ...]
    of: tuple[int, ...]


def call_many(
    pipeline: Pipeline,
    records: Sequence[Mapping[str, Any]],
    *,
    at_once: int = AT_ONCE,
    return_errors: bool = False,
    **settings: Any,
) -> list[Any]:
    """Run several records; see `Pipeline.call_many`."""
    io = _loop()
    check_not_here(io, pipeline, instead="acall_many")
    started = io.start(_run(pipeline, list(records), Settings(**settings), io=io, at_once=at_once))
    try:
        ended = started.result()
    finally:
        started.cancel()
    return _returned(ended, return_errors=return_errors)


async def acall_many(
    pipeline: Pipeline,
    records: Sequence[Mapping[str, Any]],
    *,
    at_once: int = AT_ONCE,
    return_errors: bool = False,
    **settings: Any,
) -> list[Any]:
    """`call_many` on the caller's own loop; cancelling it cancels its calls."""
    io = IOLoop(asyncio.get_running_loop())
    ended = await _run(pipeline, list(records), Settings(**settings), io=io, at_once=at_once)
    return _returned(ended, return_errors=return_errors)


async def _run(
    pipeline: Pipeline, records: list[Mapping[str, Any]], settings: Settings, *, io: IOLoop, at_once: int
) -> list[Ended]:
    if type(at_once) is not int or at_once < 1:
        raise DeclarationError("at_once takes a number of records from 1")
    touched = (await on_thread(lambda: needs_of(pipeline, catalog=settings.catalog))).touched
    places = _places(pipeline, [_read(record, touched) for record in records])
    calls, left = SharedCalls(), iter(places.first)
    ended: dict[int, Ended] = {}

    async def caller() -> None:
        for place in left:
            execution = Execution(pipeline, records[place], settings)
            with calls.together.record() as record:
                try:
                    ended[place] = await await_execution(execution, io=io, calls=calls, record=record)
                except (CriticalServiceFailed, DeclarationError) as error:
                    ended[place] = error

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(at_once, len(places.first))):
                tasks.create_task(caller())
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    finally:
        calls.close()
    return [
        ended[first] if place == first else _again(ended[first], records[first], records[place], touched)
        for place, first in enumerate(places.of)
    ]


def _read(record: Mapping[str, Any], touched: frozenset[str] | None) -> dict[str, Any]:
    """The columns of a record that the pipeline reads or writes."""
    return {name: value for name, value in record.items() if touched is None or name in touched}


def _places(pipeline: Pipeline, records: Sequence[Mapping[str, Any]]) -> Places:
    """Who is equal to whom; where each call has an effect of its own, nobody is."""
    if not all(service.repeatable for service in pipeline.every):
        return Places(first=tuple(range(len(records))), of=tuple(range(len(records))))
    keys = Keys(service=pipeline.name, version="", definition="record")
    known: dict[Any, int] = {}
    of = []
    for place, record in enumerate(records):
        try:
            key: Any = keys.of((dict(record),))
        except DeclarationError:
            key = place
        of.append(known.setdefault(key, place))
    return Places(first=tuple(known.values()), of=tuple(of))


def _again(ended: Ended, first: Mapping[str, Any], record: Mapping[str, Any], touched: frozenset[str] | None) -> Ended:
    """What becomes of a record that an equal one was run for: data of its own, and nothing that it has cost."""
    if not isinstance(ended, Result):
        return ended
    made = {
        name: copy.deepcopy(value)
        for name, value in ended.data.items()
        if touched is None or name in touched or name not in first or name in RESERVED
    }
    return Result(data=merged(record, made), metadata=replace(ended.metadata, cost=0.0))


def _returned(ended: list[Ended], *, return_errors: bool) -> list[Ended]:
    """What is given back.

    Raises:
        CriticalServiceFailed: A record is incomplete; the first one is named.
        DeclarationError: A record does not fit the pipeline.
    """
    failed = [(place, one) for place, one in enumerate(ended) if not isinstance(one, Result)]
    if not failed or return_errors:
        return ended
    place, error = failed[0]
    others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    advice = "return_errors=True puts errors in the places of records"
    text = f"record {place} of {len(ended)}{others}: {error.plain}; {advice}"
    if isinstance(error, CriticalServiceFailed):
        first = CriticalServiceFailed(text, error.services)
        first.said = error.said
        raise first
    raise DeclarationError(text)


@cache
def _loop() -> IOLoop:
    return IOLoop()
