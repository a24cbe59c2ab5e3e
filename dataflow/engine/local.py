"""Runs partitions on threads of this process: no cluster, no copy of the job, nothing of Dask imported."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

from dataflow.engine.drive import TICK, Report
from dataflow.engine.live.sight import Sight
from dataflow.engine.result import Completion
from dataflow.plan.resolve import Task


class LocalEngine:
    """A thread pool with the interface of an engine.

    Args:
        work: Runs one partition and commits it; called from several threads.
        threads: Partitions at the same time; default: as many as this process may use processors.
    """

    def __init__(self, work: Callable[[Task], Completion], *, threads: int | None = None) -> None:
        self.threads = threads or available_processors()
        self.page: str | None = None
        self._work = work
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="dataflow-partition")
        self._ended: queue.SimpleQueue[Future[Completion]] = queue.SimpleQueue()
        self._specs: dict[Future[Completion], Task] = {}

    def submit(self, specs: Sequence[Task]) -> None:
        """Hand partitions to the pool."""
        for spec in specs:
            future = self._pool.submit(self._work, spec)
            self._specs[future] = spec
            future.add_done_callback(self._ended.put)

    def completed(self) -> Iterator[list[Report]]:
        """Reports in batches, until nothing is in flight."""
        while self._specs:
            yield [self._report(future) for future in self._batch() if future in self._specs]

    def withdraw(self) -> None:
        """Take back what no thread has begun."""
        for future in [one for one in self._specs if one.cancel()]:
            del self._specs[future]

    def halt(self) -> None:
        """Tell the work to make no new calls, where it makes any."""
        halt = getattr(self._work, "halt", None)
        if halt is not None:
            halt()

    def cancel(self) -> None:
        """Drop what no thread has begun, and end the calls of what has; what only computes runs to its end."""
        cancel = getattr(self._work, "cancel", None)
        if cancel is not None:
            cancel()
        for future in self._specs:
            future.cancel()
        self._specs.clear()

    def tell(self, board: bytes, *, lines: Sequence[str] = (), names: Sequence[str] = ()) -> Future[Sight] | None:
        """The state of the APIs that this process calls, and what it has under way."""
        from dataflow.engine.control.home import read_status

        read = getattr(self._work, "under_way", None)
        asked: Future[Sight] = Future()
        asked.set_result(Sight(apis=read_status(), under_way=() if read is None else [read()]))
        return asked

    def close(self) -> None:
        """Wait for the threads and end them."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _batch(self) -> list[Future[Completion]]:
        try:
            batch = [self._ended.get(timeout=TICK)]
            while not self._ended.empty():
                batch.append(self._ended.get_nowait())
        except queue.Empty:
            return []
        return batch

    def _report(self, future: Future[Completion]) -> Report:
        spec = self._specs.pop(future)
        try:
            return Report(spec=spec, kind="done", completion=future.result())
        except (Exception, CancelledError) as error:
            return Report(spec=spec, kind="failed", error=error)


def available_processors() -> int:
    """Processors that this process may use, at least 1; a container's or a batch system's mask counts."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
