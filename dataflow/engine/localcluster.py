"""Worker processes of our own: a Dask cluster of this machine that nobody else can reach, for one driver.

It starts beside its caller: the scheduler answers at once, and tasks wait until their workers have joined.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from dataflow.engine import processes
from dataflow.engine.drive import lost_cluster
from dataflow.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

_METHOD = "distributed.worker.multiprocessing-method"
_ABSENCE = "distributed.deploy.lost-worker-timeout"
_FOR_EVER = "1000 days"
_STARTS = 5
"""Times in a row that workers are started of which none joins, where others have: what a host lacks may come back."""
_PATIENCE = 30.0
"""Seconds for which a worker that is just being started is waited for at the end."""
_LOOK = 0.25
"""Seconds between two looks whether a worker has ended."""
_MOMENT = 0.02


class LocalWorkers:
    """A scheduler in this process and its worker processes, which may still be starting.

    Whoever ends is started again, as often as it may be: the scheduler counts the workers that a partition kills, and
    all others go on until then.

    Attributes:
        client: The connection.
    """

    def __init__(self, cluster: LocalCluster, *, client: Client, count: int) -> None:
        self.client = client
        self._cluster = cluster
        self._ready: Future[None] = Future()
        self._trouble: ClusterError | None = None
        self._over = asyncio.Event()
        asyncio.run_coroutine_threadsafe(self._keep(count), cluster.loop.asyncio_loop)

    def wait(self) -> None:
        """Wait until all workers have joined.

        Raises:
            ClusterError: One of them could not be started.
        """
        self._ready.result()

    def trouble(self) -> ClusterError | None:
        """Why these workers will never run a task again, or None."""
        return self._trouble

    def close(self) -> None:
        """Start none of them again; who is just being started is waited for, since half a process cannot be ended."""
        asyncio.run_coroutine_threadsafe(self._end(), self._cluster.loop.asyncio_loop).result()

    async def _end(self) -> None:
        self._over.set()
        until = time.monotonic() + _PATIENCE
        while any(map(_is_starting, self._cluster.workers.values())) and time.monotonic() < until:
            await asyncio.sleep(_MOMENT)

    async def _keep(self, count: int) -> None:
        """Start workers until all are there, and again whoever has ended, as long as that can be done."""
        joined = _watch_joining(self._cluster.scheduler)
        self._cluster.scale(count)
        left = _STARTS
        while not self._over.is_set():
            before = joined()
            try:
                await self._cluster
            except (RuntimeError, OSError) as error:
                left = _STARTS if joined() > before else left - 1
                if not left or not joined():
                    self._fail(error)
                    return
            else:
                left = _STARTS
                if not self._ready.done():
                    self._ready.set_result(None)
                await self._see_one_end()
            for name in _ended(self._cluster):
                del self._cluster.workers[name]

    async def _see_one_end(self) -> None:
        """Wait until a worker has ended, or none is to be started again."""
        while not _ended(self._cluster) and not self._over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), _LOOK)

    def _fail(self, error: Exception) -> None:
        if self._ready.done():
            self._trouble = lost_cluster(f"worker processes have ended and cannot be started again: {error}")
            return
        self._trouble = ClusterError(
            f"worker processes could not be started ({error}); their own messages are above, "
            "and a cause may be in the configuration files of Dask"
        )
        self._ready.set_exception(self._trouble)


@contextmanager
def start_workers(count: int, *, threads: int) -> Iterator[LocalWorkers]:
    """Begin to start worker processes with nannies on 127.0.0.1, without a dashboard; at the end they are gone.

    Raises:
        ClusterError: There can be no scheduler on this machine.
    """
    processes.start()
    import dask
    from distributed import Client

    # Dask reads the method again whenever a nanny restarts a worker, so it holds as long as the cluster. A worker that
    # is away, since its nanny starts it again, is not given up: who has ended is seen here.
    with dask.config.set({_METHOD: processes.METHOD, _ABSENCE: _FOR_EVER}):
        try:
            cluster = _scheduler(count, threads=threads)
        except (RuntimeError, OSError) as error:
            raise ClusterError(f"no scheduler could be started on this machine: {error}") from error
        with cluster, Client(cluster, set_as_default=False) as client:
            workers = LocalWorkers(cluster, client=client, count=count)
            try:
                yield workers
            finally:
                workers.close()


def _scheduler(count: int, *, threads: int) -> LocalCluster:
    from distributed import LocalCluster
    from distributed.system import MEMORY_LIMIT

    return LocalCluster(
        n_workers=0,
        threads_per_worker=threads,
        memory_limit=MEMORY_LIMIT // count,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=logging.ERROR,
        # A server that forks has the environment of its own start, not of this moment.
        env=dict(os.environ),
        # The profiler of a worker looks at the stack a hundred times a second; nobody would look at what it finds.
        config={_METHOD: "spawn", "distributed.worker.profile.enabled": False},
        # Its answers for monitoring need some port, and the usual one may be taken.
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
    )


def _watch_joining(scheduler: Any) -> Callable[[], int]:
    """How many workers have joined a scheduler from now on, whatever has become of them; to be asked again."""
    from distributed import SchedulerPlugin

    class Joining(SchedulerPlugin):  # type: ignore[misc]
        count = 0

        def add_worker(self, scheduler: Any, worker: str) -> None:
            self.count += 1

    joining = Joining()
    scheduler.add_plugin(joining, name="dataflow-joining")
    return lambda: joining.count


def _ended(cluster: Any) -> list[Any]:
    """The names of the workers that have ended, or were never started."""
    return [name for name, worker in cluster.workers.items() if worker.status.name in {"closed", "failed"}]


def _is_starting(worker: Any) -> bool:
    """Whether a nanny is just making the process of its worker, for the first time or again."""
    return worker.process is not None and worker.process.status.name == "starting"
