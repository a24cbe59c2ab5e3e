"""Services that wait: async functions on the I/O loop, many calls side by side.

A partition hands its calls over and goes on with what it can compute. Policies over these calls come with the
caller; here is only the deadline of one call.
"""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar

from dataflow.engine.calling import Answers
from dataflow.engine.patience import LateError
from dataflow.engine.spending import Spent
from dataflow.engine.tally import Tally
from dataflow.engine.watchdog import Watchdog
from dataflow.services.service import Service
from dataflow.services.signature import Form

Value = TypeVar("Value")

IN_FLIGHT = 16
"""Calls of one async service at the same time in one partition: polite to a server that nobody asked."""


class IOLoop:
    """One event loop on a thread of its own, for all coroutines of this process.

    Args:
        loop: A running loop to use instead, such as the one that awaits a single call; it is not closed.
        warn: Called with a sentence about a service that blocks the loop; default: a Python warning.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop | None = None, *, warn: Callable[[str], object] = warnings.warn
    ) -> None:
        self._own = loop is None
        self.loop = loop or asyncio.new_event_loop()
        if self._own:
            self._thread = threading.Thread(target=self.loop.run_forever, name="dataflow-io", daemon=True)
            self._thread.start()
            self._watchdog = Watchdog(self.loop, thread=self._thread, warn=warn)

    @property
    def is_here(self) -> bool:
        """Whether the caller runs on this loop, which would wait for itself."""
        return asyncio._get_running_loop() is self.loop

    def watching(self, service: Service) -> AbstractContextManager[None]:
        """Watch for the async function of a service to block the loop; a loop of somebody else is not watched."""
        if not self._own or service.form is not Form.ASYNC or service.function is None:
            return nullcontext()
        return self._watchdog.watching(service.name, service.function)

    def start(self, coroutine: Coroutine[Any, Any, Value]) -> Future[Value]:
        """Run a coroutine on the loop; the future may be cancelled, which cancels its calls."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, Value]) -> Value:
        """Run a coroutine on the loop and wait for it."""
        return self.start(coroutine).result()

    def close(self) -> None:
        """Stop the loop and wait for its thread, if it is our own."""
        if self._own and not self.loop.is_closed():
            self._watchdog.close()
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()


class Flights:
    """What is under way for one caller: all of it ends when nobody waits for it any more, and nothing more starts.

    Attributes:
        cancelled: Whether nobody waits any more.
        halted: Whether the run is being stopped, so that what only computes is not waited for.
        spent: What the services of APIs have called so far, whether or not it has led to anything.
        tallies: The same while it goes on, by service, for whoever watches.
    """

    def __init__(self) -> None:
        self.spent: list[tuple[Service, Spent]] = []
        self._started: set[Future[Any]] = set()
        self.tallies: dict[str, Tally] = {}
        self._lock = threading.Lock()
        self.cancelled = False
        self.halted = False

    def tally(self, service: str) -> Tally:
        """Where the calls of a service are counted while they are made."""
        return self.tallies.setdefault(service, Tally())

    def start(self, io: IOLoop, coroutine: Coroutine[Any, Any, Value]) -> Future[Value]:
        """Run a coroutine on a loop.

        Raises:
            CancelledError: Nobody waits for it any more.
        """
        with self._lock:
            if self.cancelled:
                coroutine.close()
                raise CancelledError
            future = io.start(coroutine)
            self._started.add(future)
        future.add_done_callback(self._started.discard)
        return future

    def cancel(self) -> None:
        """Cancel what is under way; a plain function on a thread runs to its end."""
        with self._lock:
            self.cancelled = True
        for future in list(self._started):
            future.cancel()


async def call_async(
    function: Callable[..., Coroutine[Any, Any, Any]], columns: Sequence[Sequence[Any]], *, size: int, timeout: float
) -> Answers:
    """Await the function for each record, `IN_FLIGHT` at a time, each with a deadline in seconds.

    A few callers pull from one iterator, so memory does not grow with the records that wait.
    """
    if size == 1:
        # What is made after the wait does not lie about during it: hundreds of records may be awaited one by one.
        ended = await _end_of(function, [column[0] for column in columns], timeout=timeout)
        answers = Answers(values=[None])
        _note(answers, 0, ended)
        return answers
    answers = Answers(values=[None] * size)
    records = iter(enumerate(zip(*columns, strict=True)))

    async def caller() -> None:
        for row, arguments in records:
            _note(answers, row, await _end_of(function, arguments, timeout=timeout))

    await asyncio.gather(*(caller() for _ in range(min(IN_FLIGHT, size))))
    return answers


class _End(NamedTuple):
    """How one call has ended."""

    value: Any
    error: BaseException | None
    timed_out: bool
    seconds: float


def _note(answers: Answers, row: int, ended: _End) -> None:
    answers.values[row] = ended.value
    answers.durations[row] = ended.seconds
    if ended.error is not None:
        answers.raise_at(row, ended.error)
    if ended.timed_out:
        answers.timed_out.add(row)


async def _end_of(
    function: Callable[..., Coroutine[Any, Any, Any]], arguments: Sequence[Any], *, timeout: float
) -> _End:
    began = time.perf_counter()
    value: Any = None
    raised: BaseException | None = None
    late = False
    try:
        async with asyncio.timeout(timeout) as deadline:
            value = await function(*arguments)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raised = error
    except Exception as error:
        late = isinstance(error, TimeoutError) and deadline.expired()
        raised = LateError(timeout) if late else error
    return _End(value, raised, late, time.perf_counter() - began)
