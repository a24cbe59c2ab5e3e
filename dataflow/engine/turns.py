"""Whose turn it is in one process: which partitions may compute, and which only wait for answers.

Computing partitions are as many as there are threads, whatever else waits; partitions that wait make room for
others, up to a few, since each holds its records in memory. What a partition does in its turn is not known here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Worker

SIDE_BY_SIDE = 4
"""Partitions begun in one process at the same time, computing or waiting: enough to hide the tail of one."""


class Turns:
    """The turns of the partitions of one process.

    Args:
        threads: Partitions that may compute at the same time.
        give_up_thread: Called in the thread of a partition that begins to wait, where its thread stands in the way
            of another partition that may begin; None where every partition has a thread of its own.
    """

    def __init__(self, threads: int, *, give_up_thread: Callable[[], None] | None = None) -> None:
        self.most = max(SIDE_BY_SIDE, threads)
        self._computing = threading.Semaphore(threads)
        self._give_up_thread = give_up_thread
        self._rooms = self.most - threads
        self._lock = threading.Lock()
        self._here = threading.local()

    @contextmanager
    def partition(self) -> Iterator[None]:
        """One partition from its beginning to its end; waits until it may compute."""
        self._here.gave_up = False
        self._computing.acquire()
        try:
            yield
        finally:
            self._computing.release()
            if self._here.gave_up:
                with self._lock:
                    self._rooms += 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What a partition does in here is only waiting: others compute meanwhile."""
        self._computing.release()
        try:
            yield
        finally:
            self._computing.acquire()

    def make_room(self) -> None:
        """Give up the thread of a waiting partition where another may begin.

        Asked now and then while it waits, and not at once: the worker that joins first would take all there is, and
        leave nothing to those who join a moment later.
        """
        if self._give_up_thread is None or self._here.gave_up or not self._take_room():
            return
        self._here.gave_up = True
        self._give_up_thread()

    def _take_room(self) -> bool:
        with self._lock:
            taken = self._rooms > 0
            self._rooms -= taken
        return taken


def turns_of(worker: Worker) -> Turns:
    """The turns of a Dask worker: a partition that gives up its thread lets the worker begin another task."""
    from distributed import secede

    return Turns(worker.state.nthreads, give_up_thread=secede)
