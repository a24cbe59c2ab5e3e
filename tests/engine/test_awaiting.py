"""A few records on an event loop: who waits for whom, what is cancelled, what is called once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.engine.awaiting import SharedCalls, await_graph
from dataflow.engine.calling import Answers
from dataflow.engine.environment import Environment
from dataflow.engine.resources import make_resources
from dataflow.engine.waiting import IOLoop
from dataflow.plan.binding import bind
from dataflow.policies.money import UNIT
from dataflow.services.service import Service

TABLE = pa.table({"x": [1]})


async def awaited(services: list[Service], *, computing: Any = asyncio.to_thread) -> Environment:
    graph = bind(services, TABLE.schema, name="test", invalid="keep", tables={})
    resources = make_resources(graph, tables={})
    try:
        own = replace(resources, io=IOLoop(asyncio.get_running_loop()))
        return await await_graph(graph, TABLE, own, computing=computing, waiting=asyncio.to_thread)
    finally:
        resources.close()


def values(environment: Environment) -> dict[str, Any]:
    return {column.name: environment.column(column).to_pylist()[0] for column in environment.graph.final}


def test_what_computes_runs_where_it_is_told_to_and_what_waits_on_the_loop() -> None:
    seen: dict[str, threading.Thread] = {}

    @flow.transformation
    def plain(x: int) -> int:
        seen["plain"] = threading.current_thread()
        return x + 1

    @flow.enrichment
    async def waits(plain: int) -> int:
        seen["waits"] = threading.current_thread()
        return plain + 1

    @flow.enrichment(threads=2)
    def threaded(waits: int) -> int:
        seen["threaded"] = threading.current_thread()
        return waits + 1

    assert values(asyncio.run(awaited([plain, waits, threaded])))["threaded"] == 4
    assert seen["waits"] is threading.main_thread()
    assert threading.main_thread() not in (seen["plain"], seen["threaded"])


def test_a_service_begins_as_soon_as_what_it_needs_is_there() -> None:
    began, met = threading.Event(), list[bool]()

    @flow.transformation
    def quick(x: int) -> int:
        return x

    @flow.transformation
    def slow(x: int) -> int:
        met.append(began.wait(20))
        return x

    @flow.enrichment
    async def waits(quick: int) -> int:
        began.set()
        return quick

    asyncio.run(awaited([quick, slow.with_(priority="optional"), waits]))
    assert met == [True]


def test_nothing_holds_up_the_loop_while_something_computes() -> None:
    ticked, turned = threading.Event(), list[bool]()

    @flow.transformation
    def slow(x: int) -> int:
        for _ in range(3):
            ticked.clear()
            turned.append(ticked.wait(20))
        return x

    async def main() -> None:
        async def tick() -> None:
            while True:
                await asyncio.sleep(0.01)
                ticked.set()

        ticking = asyncio.create_task(tick())
        await awaited([slow])
        ticking.cancel()

    asyncio.run(main())
    assert turned == [True] * 3


@pytest.mark.parametrize("priority", ["critical", "optional"])
def test_a_mistake_outside_of_any_record_ends_all_of_it(priority: Any) -> None:
    begun, ended = asyncio.Event(), list[int]()

    @flow.enrichment(priority=priority)
    async def endless(x: int) -> int:
        begun.set()
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            ended.append(x)
            raise
        return x

    @flow.transformation
    def plain(x: int) -> int:
        return x

    async def broken(function: Callable[[], Any]) -> Any:
        await begun.wait()
        raise OSError("no thread")

    with pytest.raises(OSError, match="no thread"):
        asyncio.run(awaited([endless, plain], computing=broken))
    assert ended == [1]


def test_cancelling_it_ends_what_it_has_called_and_begins_nothing_more() -> None:
    begun, ended, later = asyncio.Event(), list[int](), list[Any]()

    @flow.enrichment
    async def endless(x: int) -> int:
        begun.set()
        try:
            await asyncio.sleep(20)
        finally:
            ended.append(x)
        return x

    @flow.transformation
    def after(endless: int | None) -> int:
        later.append(endless)
        return 0

    async def main() -> None:
        task = asyncio.ensure_future(awaited([endless, after]))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (ended, later) == ([1], [])


def test_equal_calls_are_made_once_also_when_they_fail() -> None:
    @flow.enrichment(api=flow.API("acme", "https://acme.example"))
    async def asked(x: int) -> int:
        return x

    (step,) = bind([asked], TABLE.schema, name="test", invalid="keep", tables={}).steps
    made: list[int] = []

    def making(x: int) -> Callable[[], Awaitable[Answers]]:
        async def make() -> Answers:
            made.append(x)
            await asyncio.sleep(0.01)
            answers = Answers(values=[x], calls=1)
            answers.pay(0, UNIT // 2)
            if x < 0:
                answers.raise_at(0, LookupError("bad"))
            return answers

        return make

    async def main() -> list[Answers]:
        calls = SharedCalls()
        return await asyncio.gather(*(calls.answers(step, (x,), making(x)) for x in (1, 2, 1, -1, -1)))

    found = asyncio.run(main())
    assert made == [1, 2, -1]
    assert [one.values for one in found] == [[1], [2], [1], [-1], [-1]]
    assert [one.cost for one in found] == [0.5, 0.5, 0.0, 0.5, 0.0]
    assert [one.calls for one in found] == [1, 1, 0, 1, 0]
    assert [list(one.raised) for one in found] == [[], [], [], [0], [0]]
    assert [one.shared for one in found] == [[], [], [0], [], [0]]
