"""Names the service that keeps an event loop from going on: everybody's calls wait for it, and nothing else says why.

A thread asks the loop for a sign of life while async functions of users run on it. What becomes of the sentence is
decided elsewhere.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

BLOCKED = 0.25
"""Seconds without a sign of life after which somebody is named: far more than a step of a good coroutine takes."""
ROUND = 0.25
"""Seconds between two questions."""


class Watchdog:
    """Watches one event loop while services run on it; its thread rests when none does.

    Args:
        loop: A running loop.
        thread: The thread that it runs on.
        warn: Called with one sentence for each service that blocks the loop, once.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, thread: threading.Thread, warn: Callable[[str], object]
    ) -> None:
        self._loop = loop
        self._home = thread
        self._warn = warn
        self._running: Counter[tuple[CodeType, str]] = Counter()
        self._named: set[str] = set()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def watching(self, name: str, function: Callable[..., object]) -> Iterator[None]:
        """Watch while calls of a service run on the loop."""
        code = code_of(function)
        self._begin(code, name)
        try:
            yield
        finally:
            with self._change:
                self._running[code, name] -= 1
                self._running += Counter()

    def close(self) -> None:
        """End the thread."""
        with self._change:
            self._closed = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join()

    def _begin(self, code: CodeType, name: str) -> None:
        with self._change:
            self._running[code, name] += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="dataflow-watchdog", daemon=True)
                self._thread.start()
            self._change.notify()

    def _watch(self) -> None:
        while self._rest():
            alive = threading.Event()
            self._loop.call_soon_threadsafe(alive.set)
            if not alive.wait(BLOCKED):
                self._look()

    def _rest(self) -> bool:
        """Wait for the next round; False at the end."""
        with self._change:
            while not self._running and not self._closed:
                self._change.wait()
            return not self._closed and not self._change.wait_for(lambda: self._closed, timeout=ROUND)

    def _look(self) -> None:
        frame = sys._current_frames().get(self._home.ident or 0)
        running = list(self._running)
        found = None if frame is None else blocking(frame, {code for code, _ in running})
        if found is None:
            return
        # Services that share a function cannot be told apart.
        names = [name for code, name in running if code is found[0] and name not in self._named]
        for name in names:
            self._named.add(name)
            self._warn(
                f"`{name}` blocks the event loop, at {found[1]}: no call of any service goes on meanwhile; "
                "await what it waits for, or make it `def` with threads="
            )


def code_of(function: Callable[..., object]) -> CodeType:
    """The code that runs when a function, or an instance of a class, is called."""
    plain = inspect.unwrap(function)
    if inspect.isclass(plain):
        plain = plain.__call__
    elif not hasattr(plain, "__code__"):
        plain = type(plain).__call__
    return plain.__code__  # type: ignore[no-any-return]


def blocking(frame: FrameType, services: Collection[CodeType]) -> tuple[CodeType, str] | None:
    """The service that a stack is in, and the line of its own code where it stands; None where it is in none.

    Args:
        frame: The innermost frame of a thread.
        services: The codes of services.
    """
    at: FrameType | None = frame
    while at is not None and at.f_code not in services:
        at = at.f_back
    return None if at is None else (at.f_code, f"{at.f_code.co_filename}:{at.f_lineno}")
