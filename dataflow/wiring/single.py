"""One record through a pipeline: the coordinator of many services, called or awaited."""

from __future__ import annotations

import asyncio
import contextvars
import queue
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import Any, TypeVar

from dataflow.engine.awaiting import SharedCalls
from dataflow.engine.gathering import Companion
from dataflow.engine.waiting import Flights, IOLoop
from dataflow.plan.pipeline import Pipeline
from dataflow.wiring.execution import Execution, Settings, check_not_here
from dataflow.wiring.result import Result

SIDE_BY_SIDE = 512
"""Threads for what computes, or waits and cannot be awaited, for the records that are awaited; as many for the records
that their services wait for, and so on."""

LOOK = 0.5
"""Seconds between two looks of a waiting thread: where a library has set a handler of its own, Ctrl-C wakes no lock."""

Value = TypeVar("Value")


def call(pipeline: Pipeline, record: Mapping[str, Any], **settings: Any) -> Result:
    """Run one record; see `Pipeline.call`."""
    execution = Execution(pipeline, record, Settings(**settings))
    io, here, flights = execution.prepare().resources.io, CallingThread(), Flights()
    check_not_here(io, pipeline, instead="acall")
    environment = here.wait(io.start(execution.run(io, flights, computing=here, waiting=on_thread)))
    return execution.result(environment)


async def acall(
    pipeline: Pipeline, record: Mapping[str, Any], *, calls: SharedCalls | None = None, **settings: Any
) -> Result:
    """`call` on the caller's own loop; cancelling it cancels its calls.

    Args:
        pipeline: What is done to the record.
        record: Column to value.
        calls: What it shares with other records.
        **settings: As for `call`.
    """
    execution = Execution(pipeline, record, Settings(**settings))
    return await await_execution(execution, io=IOLoop(asyncio.get_running_loop()), calls=calls)


async def await_execution(
    execution: Execution, *, io: IOLoop, calls: SharedCalls | None = None, record: Companion | None = None
) -> Result:
    """Make a record ready and run it on the loop that this is awaited on."""
    if not execution.prepare_at_hand():
        # What takes a while would hold up the loop.
        await on_thread(execution.prepare)
    environment = await execution.run(io, Flights(), computing=on_thread, waiting=on_thread, calls=calls, record=record)
    return execution.result(environment)


class CallingThread:
    """The thread that waits for a record and meanwhile computes for it."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()

    async def __call__(self, function: Callable[[], Value]) -> Value:
        """What the function gives, called by the thread that waits."""
        future: Future[Value] = Future()
        self._jobs.put((future, partial(contextvars.copy_context().run, function)))
        return await asyncio.wrap_future(future)

    def wait(self, started: Future[Value]) -> Value:
        """Compute until what was started has ended; whoever does not wait any more, such as after Ctrl-C, ends it."""
        started.add_done_callback(lambda _: self._jobs.put(None))
        try:
            while not started.done():
                self._compute()
            return started.result()
        finally:
            started.cancel()

    def _compute(self) -> None:
        try:
            job = self._jobs.get(timeout=LOOK)
        except queue.Empty:
            return
        if job is None or not job[0].set_running_or_notify_cancel():
            return
        future, function = job
        try:
            future.set_result(function())
        except Exception as error:
            future.set_exception(error)


async def on_thread(function: Callable[[], Value]) -> Value:
    """What the function gives on a thread of our own.

    A service on such a thread may wait for another record, which needs threads too: those are of the next pool, so
    that however many wait, whoever they wait for finds one.
    """
    depth = _depth.get()
    context = contextvars.copy_context()
    context.run(_depth.set, depth + 1)
    return await asyncio.get_running_loop().run_in_executor(_threads(depth), context.run, function)


_depth = contextvars.ContextVar("dataflow_depth", default=0)


@cache
def _threads(depth: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix=f"dataflow-acall-{depth}")
