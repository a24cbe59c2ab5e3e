"""How an author's function is called under the policies of an API, whether or not it asks for the client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from dataflow.engine.http.attempts import AttemptError, Call, CallError, asked_again
from dataflow.engine.http.provider import Provider
from dataflow.errors import RetryLater

LOOK = 0.1
"""Seconds between two looks at a function whose time may be up."""


async def perform(
    provider: Provider, function: Callable[..., Awaitable[Any]], values: Sequence[Any], call: Call
) -> Any:
    """Call a function that does not ask for the client: the whole call is one attempt."""
    return await provider.caller.perform(partial(_attempt, function, values, call), call)


async def _attempt(function: Callable[..., Awaitable[Any]], values: Sequence[Any], call: Call) -> Any:
    call.leave()
    try:
        return await function(*values)
    except RetryLater as error:
        raise asked_again(error) from error
    except OSError as error:
        kind = type(error).__name__
        raise AttemptError(kind, f"the connection failed ({kind})", again="repeatable") from error


async def apply(
    function: Callable[..., Awaitable[Any]], clock: Callable[[], float], values: Sequence[Any], call: Call
) -> Any:
    """Call a function whose client keeps the policies, request by request; the deadline of the record holds too."""
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
