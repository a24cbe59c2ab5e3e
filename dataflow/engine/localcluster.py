"""Worker processes of our own: a Dask cluster of this machine that nobody else can reach, for one driver.

It starts beside its caller: the scheduler answers at once, and tasks wait until their workers have joined.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dataflow.engine import processes
from dataflow.engine.drive import lost_cluster
from dataflow.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

_METHOD = "distributed.worker.multiprocessing-method"
_STARTS = 5
"""Times that workers which have failed are started beside others that run: a partition may kill as many in a row."""


class LocalWorkers:
    """A scheduler in this process and its worker processes, which may still be starting.

    Attributes:
        client: The connection.
    """

    def __init__(self, cluster: LocalCluster, *, client: Client, count: int) -> None:
        self.client = client
        self._cluster = cluster
        loop = cluster.loop.asyncio_loop
        self._ready: Future[None] = asyncio.run_coroutine_threadsafe(_scale(cluster, count=count), loop)

    def wait(self) -> None:
        """Wait until all workers have joined.

        Raises:
            ClusterError: One of them could not be started.
        """
        self._ready.result()

    def trouble(self) -> ClusterError | None:
        """Why these workers will never run a task again, or None."""
        if not self._ready.done():
            return None
        try:
            self._ready.result()
        except ClusterError as error:
            return error
        ended = all(map(_has_ended, list(self._cluster.workers.values())))
        return lost_cluster("all worker processes have ended") if ended else None


@contextmanager
def start_workers(count: int, *, threads: int) -> Iterator[LocalWorkers]:
    """Begin to start worker processes with nannies on 127.0.0.1, without a dashboard; at the end they are gone.

    Raises:
        ClusterError: There can be no scheduler on this machine.
    """
    processes.start()
    import dask
    from distributed import Client

    # Dask reads the method again whenever a nanny restarts a worker, so it holds as long as the cluster.
    with dask.config.set({_METHOD: processes.METHOD}):
        try:
            cluster = _scheduler(count, threads=threads)
        except (RuntimeError, OSError) as error:
            raise ClusterError(f"no scheduler could be started on this machine: {error}") from error
        with cluster, Client(cluster, set_as_default=False) as client:
            yield LocalWorkers(cluster, client=client, count=count)


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


async def _scale(cluster: Any, *, count: int) -> None:
    """Start workers until all are there; one that dies of its first task while it starts is started again."""
    for left in reversed(range(_STARTS)):
        cluster.scale(count)
        try:
            await cluster
        except (RuntimeError, OSError) as error:
            failed = [name for name, worker in cluster.workers.items() if _has_ended(worker)]
            if not left or len(failed) == len(cluster.workers):
                raise ClusterError(
                    f"worker processes could not be started ({error}); their own messages are above, "
                    "and a cause may be in the configuration files of Dask"
                ) from error
            for name in failed:
                del cluster.workers[name]
        else:
            return


def _has_ended(worker: Any) -> bool:
    return worker.status.name in {"closed", "failed"}
