"""Services that wait: async functions and threads, deadlines, order of answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest

import dataflow as flow
from dataflow.engine.computing import call_threads
from dataflow.engine.patience import Patience
from dataflow.engine.result import PartitionResult
from dataflow.engine.waiting import IN_FLIGHT, Flights, IOLoop, call_async
from dataflow.outcomes import Status

Run = Callable[..., PartitionResult]


def awaited(function: Any, values: list[Any], *, timeout: float = 5) -> Any:
    return asyncio.run(call_async(function, [values], size=len(values), timeout=timeout))


def test_answers_keep_the_order_of_the_records_whichever_ends_first() -> None:
    async def later_first(x: int) -> int:
        await asyncio.sleep((40 - x) / 2000)
        return -x

    assert awaited(later_first, list(range(40))).values == [-x for x in range(40)]


def test_only_so_many_calls_are_in_flight() -> None:
    flying, most = set(), []

    async def fly(x: int) -> None:
        flying.add(x)
        most.append(len(flying))
        await asyncio.sleep(0.001)
        flying.discard(x)

    awaited(fly, list(range(100)))
    assert max(most) == IN_FLIGHT


@pytest.mark.parametrize("size", [0, 1])
def test_none_or_one_record_is_no_special_case(size: int) -> None:
    async def same(x: int) -> int:
        return x

    assert awaited(same, list(range(size))).values == list(range(size))
    assert call_threads(lambda x: x, [range(size)], size=size, threads=4).values == list(range(size))


def test_a_call_past_its_deadline_is_timed_out_and_its_neighbours_are_not(run: Run) -> None:
    @flow.enrichment(timeout=0.05, into="out")
    async def ask(x: int) -> int:
        if x == 1:
            await asyncio.sleep(30)
        if x == 2:
            raise TimeoutError("the server says so")
        return x

    result = run([ask], {"x": [0, 1, 2, 3]})
    assert result.output["out"].to_pylist() == [0, None, None, 3]
    outcomes = result.failures.select(["source_row", "status", "reason"]).to_pylist()
    assert outcomes == [
        {"source_row": 2, "status": "timed_out", "reason": "TimeoutError"},
        {"source_row": 3, "status": "failed", "reason": "TimeoutError"},
    ]
    assert 0.04 < result.failures["duration"][0].as_py() < 5
    assert result.output["degraded"].to_pylist() == [False, True, True, False]
    counted = result.statistics.services["ask"]
    assert (counted.timed_out, counted.failed) == (1, 1)


def test_a_coroutine_that_will_not_be_cancelled_in_time_still_answers() -> None:
    async def stubborn(x: int) -> int:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            return x
        return -1

    answers = awaited(stubborn, [5], timeout=0.01)
    assert (answers.values, answers.raised) == ([5], {})


def test_a_library_that_leaks_its_cancellation_fails_one_record_only(run: Run) -> None:
    @flow.enrichment(into="out")
    async def ask(x: int) -> int:
        if x == 1:
            raise asyncio.CancelledError
        return x

    result = run([ask], {"x": [0, 1, 2]})
    assert result.output["out"].to_pylist() == [0, None, 2]
    assert result.failures["reason"].to_pylist() == ["CancelledError"]


def test_cancelling_the_future_cancels_the_calls() -> None:
    io, begun, ended = IOLoop(), threading.Event(), []

    async def ask(x: int) -> int:
        try:
            begun.set()
            await asyncio.sleep(30)
        finally:
            ended.append(x)
        return x

    future = io.start(call_async(ask, [[1, 2, 3]], size=3, timeout=60))
    assert begun.wait(5)
    future.cancel()
    limit = time.monotonic() + 5
    while len(ended) < 3 and time.monotonic() < limit:
        time.sleep(0.005)
    io.close()
    assert sorted(ended) == [1, 2, 3]


def test_the_loop_closes_its_thread_and_may_be_closed_twice() -> None:
    io = IOLoop()
    assert "dataflow-io" in [thread.name for thread in threading.enumerate() if thread is io._thread]
    io.close()
    io.close()
    assert not io._thread.is_alive()


def test_a_loop_that_was_lent_is_not_closed() -> None:
    async def main() -> bool:
        loop = asyncio.get_running_loop()
        io = IOLoop(loop)

        async def answers() -> Any:
            return await call_async(same, [[1]], size=1, timeout=1)

        async def same(x: int) -> int:
            return x

        found = await asyncio.wrap_future(io.start(answers()))
        io.close()
        return found.values == [1] and not loop.is_closed()

    assert asyncio.run(main())


def test_threads_call_that_many_at_a_time_and_keep_the_order() -> None:
    together = threading.Barrier(4, timeout=5)

    def meet(x: int) -> int:
        together.wait()
        return x

    answers = call_threads(meet, [range(8)], size=8, threads=4)
    assert answers.values == list(range(8))
    assert sorted(answers.durations) == list(range(8))


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration(), KeyError("k")])
def test_a_thread_survives_what_a_call_raises(error: Exception) -> None:
    def fails(x: int) -> int:
        if x % 2:
            raise error
        return x

    answers = call_threads(fails, [range(9)], size=9, threads=2)
    assert answers.values == [None if x % 2 else x for x in range(9)]
    assert sorted(answers.raised) == [1, 3, 5, 7]


def test_async_and_threaded_services_agree_with_the_plain_one(run: Run) -> None:
    def plain(x: int) -> str:
        if x == 1:
            raise flow.NotFound
        if x == 2:
            raise flow.Skip
        if x == 3:
            raise ValueError
        return str(x)

    async def waiting(x: int) -> str:
        await asyncio.sleep(0)
        return plain(x)

    services = [
        flow.enrichment(name="plain")(plain),
        flow.enrichment(name="threaded", threads=3)(plain),
        flow.enrichment(name="waiting")(waiting),
    ]
    result = run(services, {"x": list(range(6))})
    columns = [result.output[name].to_pylist() for name in ("plain", "threaded", "waiting")]
    assert columns[0] == columns[1] == columns[2] == ["0", None, None, None, "4", "5"]
    counts = [result.statistics.services[name] for name in ("plain", "threaded", "waiting")]
    for status in Status:
        assert len({getattr(one, status.value) for one in counts}) == 1


def test_a_decorated_class_may_be_async(run: Run) -> None:
    @flow.enrichment(setup={"end": "!"}, into="out")
    class Ask:
        def __init__(self, end: str) -> None:
            self.end = end

        async def __call__(self, x: str) -> str:
            await asyncio.sleep(0)
            return x + self.end

    assert run([Ask], {"x": ["a", "b"]}).output["out"].to_pylist() == ["a!", "b!"]


def test_what_is_under_way_for_a_caller_ends_when_nobody_waits_and_nothing_more_starts() -> None:
    io, flights, ended = IOLoop(), Flights(), []

    async def endless() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("cancelled")

    first = flights.start(io, endless())
    while not io.start(asyncio.sleep(0, "the loop has come to it")).result():
        pass
    flights.cancel()
    with pytest.raises(CancelledError):
        first.result(timeout=5)
    with pytest.raises(CancelledError):
        flights.start(io, endless())
    assert io.start(asyncio.sleep(0, "alive")).result(timeout=5) == "alive"
    io.close()
    assert ended == ["cancelled"]


def test_threads_call_nothing_more_once_nobody_waits() -> None:
    called: list[int] = []
    patience = Patience(cancelled=lambda: len(called) >= 10)

    def slow(x: int) -> None:
        called.append(x)
        time.sleep(0.05)

    with pytest.raises(CancelledError):
        call_threads(slow, [range(1000)], size=1000, threads=4, patience=patience)
    assert 10 <= len(called) < 200
