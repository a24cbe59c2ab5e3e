"""Lanes: threads for functions that may take for ever; whoever has waited long enough goes on without them.

Nothing can end a thread from outside, so one that is left behind ends by itself or with the process, which waits for
none of them. What is called, and when it has taken too long, is decided elsewhere.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

MOST_LEFT = 32
"""Threads of a process that may be left behind at the same time; each keeps what its function holds in memory."""
_IDLE = 64

Value = TypeVar("Value")


class Errand(Generic[Value]):
    """A function on its way in a lane; made by `send`."""

    def __init__(self, work: Callable[[], Value], told: Callable[[], object] | None) -> None:
        self._work = work
        self._told = told
        self._value: Any = None
        self._error: BaseException | None = None
        self._returned = False
        self._ended = threading.Lock()
        self._ended.acquire()

    def wait(self, seconds: float) -> bool:
        """Wait until the function has returned or raised, for so many seconds at most; whether it has."""
        return self._returned or self._ended.acquire(timeout=seconds)

    def result(self) -> Value:
        """What the function gave, once it has ended; raises what it raised."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                # The frames that it came through hold this errand.
                self._error = None
        value: Value = self._value
        return value

    def leave(self) -> bool:
        """Wait no longer; False where the function has ended in the meantime."""
        with _counting:
            if not self._returned:
                _left.add(self)
            return not self._returned

    def _make(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:
            self._error = error
        with _counting:
            self._returned = True
            _left.discard(self)
            _counting.notify_all()

    def _end(self) -> None:
        self._ended.release()
        if self._told is not None:
            self._told()


class _Lane:
    """One thread, which makes errands one after the other."""

    def __init__(self) -> None:
        self.errands: SimpleQueue[Errand[Any]] = SimpleQueue()
        threading.Thread(target=self._go, name="dataflow-call", daemon=True).start()

    def _go(self) -> None:
        while True:
            errand = self.errands.get()
            errand._make()
            stays = len(_idle) < _IDLE
            if stays:
                # Before whoever waits goes on: the next errand finds a lane that is warm.
                _idle.append(self)
            errand._end()
            del errand
            if not stays:
                return


_idle: list[_Lane] = []
_left: set[Errand[Any]] = set()
_counting = threading.Condition()
os.register_at_fork(after_in_child=_idle.clear)


def send(work: Callable[[], Value], *, told: Callable[[], object] | None = None) -> Errand[Value]:
    """Begin a function in a lane, in a copy of the context of whoever calls.

    Args:
        work: What is called.
        told: Called in the lane when it has ended.
    """
    errand: Errand[Value] = Errand(partial(contextvars.copy_context().run, work), told)
    try:
        lane = _idle.pop()
    except IndexError:
        lane = _Lane()
    lane.errands.put(errand)
    return errand


def wait_for_room(seconds: float) -> bool:
    """Wait until one more may be left behind, for so many seconds at most; whether that is so."""
    with _counting:
        return _counting.wait_for(lambda: len(_left) < MOST_LEFT, timeout=seconds)
