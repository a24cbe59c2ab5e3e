"""How an author's function is called under the policies of an API, whether or not it asks for the client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from dataflow.engine.http.attempts import AttemptError, Call, CallError
from dataflow.engine.http.provider import Provider
from dataflow.engine.http.raised import ended_by, hear, is_asked_again, meant_by
from dataflow.engine.lanes import send, wait_for_room
from dataflow.engine.patience import Once, left_behind_text
from dataflow.engine.texts import ours_of
from dataflow.policies.effects import Reach

LOOK = 0.1
"""Seconds between two looks at a function whose time may be up."""


async def perform(
    provider: Provider, function: Callable[..., Awaitable[Any]], values: Sequence[Any], call: Call
) -> Any:
    """Call a function that does not ask for the client: the whole call is one attempt."""
    return await provider.caller.perform(partial(_attempt, provider, function, values, call), call)


async def _attempt(
    provider: Provider, function: Callable[..., Awaitable[Any]], values: Sequence[Any], call: Call
) -> Any:
    call.leave()
    try:
        return await function(*values)
    except Exception as error:
        meant = meant_by(error, later=provider.api.later)
        if meant is None:
            raise
        if isinstance(meant, AttemptError) and not is_asked_again(meant):
            # Of the requests that it made before nobody here knows.
            call.reach = Reach.UNCLEAR
            meant.again = "repeatable" if meant.again == "always" else meant.again
        raise meant from error


class InLanes:
    """A plain function as one that is awaited; the loop goes on while it runs, and a cancelled call is left behind.

    Args:
        function: What is called.
        service: Its name.
        timeout: Seconds of one call.
        warn: Told once where calls take longer.
    """

    def __init__(
        self, function: Callable[..., Any], *, service: str, timeout: float, warn: Callable[[str], object]
    ) -> None:
        self._function = function
        self._service = service
        self._timeout = timeout
        self._warn = Once(warn)

    async def __call__(self, *values: Any) -> Any:
        """Call it in a lane; where too many were left behind, when one of these has ended."""
        while not wait_for_room(0):
            await asyncio.sleep(LOOK)
        loop, ended, began = asyncio.get_running_loop(), asyncio.Event(), time.perf_counter()

        def tell() -> None:
            # Nobody waits any more where the loop is closed.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(ended.set)

        errand = send(partial(_heard, self._function, values), told=tell)
        try:
            await ended.wait()
        except asyncio.CancelledError:
            if errand.leave() and time.perf_counter() - began >= self._timeout:
                self._warn(left_behind_text(self._service, self._timeout))
            raise
        return errand.result()


def _heard(function: Callable[..., Any], values: Sequence[Any]) -> Any:
    """Call a function; what an answer says that it raises is read here, where waiting for it keeps nobody else."""
    try:
        return function(*values)
    except Exception as error:
        hear(error)
        raise


def in_turn(made: Callable[[Any, Call], Awaitable[Any]], threads: int) -> Callable[[Any, Call], Awaitable[Any]]:
    """So many calls of a function at the same time; whoever waits for a thread has not begun its attempt."""
    places = asyncio.Semaphore(threads)

    async def call(values: Any, call: Call) -> Any:
        async with places:
            return await made(values, call)

    return call


async def apply(
    provider: Provider,
    function: Callable[..., Awaitable[Any]],
    clock: Callable[[], float],
    values: Sequence[Any],
    call: Call,
) -> Any:
    """Call a function whose client keeps the policies, request by request, again where it asks for that.

    What it raises when its client has made all attempts is told as for an endpoint. The deadline of the record holds
    too.
    """
    while True:
        try:
            return await _once(function, clock, values, call)
        except Exception as error:
            meant = None if ours_of(error) else meant_by(error, later=provider.api.later)
            if meant is None:
                raise
            if not (isinstance(meant, AttemptError) and is_asked_again(meant)):
                raise ended_by(meant) from error
            again = meant
        await provider.caller.rest(call, again)


async def _once(
    function: Callable[..., Awaitable[Any]], clock: Callable[[], float], values: Sequence[Any], call: Call
) -> Any:
    task = asyncio.ensure_future(function(*values))
    try:
        while not task.done():
            left = call.deadline.left(clock())
            if left <= 0 and not call.only_waits:
                raise CallError("deadline", "the time for this record is used up", timed_out=True)
            # What its requests wait for is known, and perhaps excused, when they have waited.
            await asyncio.wait({task}, timeout=max(left, LOOK))
        if call.refused is not None:
            # A function that catches everything must not turn a call that was never made into an answer.
            raise call.refused
        return task.result()
    finally:
        task.cancel()
