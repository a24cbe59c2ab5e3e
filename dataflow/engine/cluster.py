"""Finds a Dask cluster or starts one, and makes it ready for a job.

How the package gets there is in `travel`, what runs on the workers in `plugin`, how partitions are handed to them
in `submission`, how cluster objects of other libraries are asked for a client in `foreign`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflow.engine.drive import lost_cluster
from dataflow.engine.local import available_processors
from dataflow.engine.submission import (
    ClusterEngine,
    connection_errors,
    lost_errors,
    register_plugin,
    unanswered,
    unregister_plugin,
)
from dataflow.errors import ClusterError, DataflowError, DeclarationError

if TYPE_CHECKING:
    from distributed import Client, WorkerPlugin

    from dataflow.engine.arrival import Arrival
    from dataflow.engine.localcluster import LocalWorkers
    from dataflow.engine.plugin import Assignment

TIMEOUT = 10.0
"""Seconds to wait for a scheduler's answer; one that is there answers in milliseconds."""


class Cluster:
    """A cluster that answers, with this package on it; closing it leaves alone what we did not start.

    Attributes:
        client: The connection.
        address: The scheduler's address.
        workers: Our own worker processes, which may still be starting; None for a cluster of somebody else.
    """

    def __init__(self, client: Client, *, stack: ExitStack, workers: LocalWorkers | None = None) -> None:
        self.client = client
        self.address: str = client.scheduler.address
        self.workers = workers
        self._stack = stack

    def engine(
        self, assignment: Assignment, *, run: str = "", stretch: int = 0, page: str | None = None
    ) -> ClusterEngine:
        """Load a job on every worker and give the engine that runs its partitions.

        Workers that are still starting load it when they join; what they raise then comes out of `drive`.

        Args:
            assignment: The job.
            run: The id of the run.
            stretch: How often it was gone on with.
            page: Where it is shown, or None.

        Raises:
            DeclarationError: The job cannot be loaded there; the message names file and line.
            ClusterError: The cluster does not answer, or the job's factory fails there.
        """
        from dataflow.engine.plugin import JobPlugin

        key = f"{assignment.program.hash}-{uuid.uuid4().hex[:8]}"
        plugin = JobPlugin(assignment, key=key)
        with connection_errors(self.address):
            try:
                self._register(plugin)
            except BaseException:
                # A worker that joins later would load it again, for nobody.
                unregister_plugin(self.client, plugin.name)
                raise
            return ClusterEngine(
                self.client, key=key, plugin=plugin.name, trouble=self.trouble, run=run, stretch=stretch, page=page
            )

    def show(self) -> str | None:
        """See that the scheduler shows runs on a page; its address, or None where it has none.

        Raises:
            ClusterError: The cluster does not answer.
        """
        from dataflow.engine.live.scheduler import install

        return install(self.client)

    def _register(self, plugin: WorkerPlugin) -> None:
        known: tuple[type[BaseException], ...] = (DataflowError, *lost_errors())
        try:
            register_plugin(self.client, plugin)
        except known:
            raise
        except Exception as error:
            raise ClusterError(
                f"a worker cannot be made ready for the job: {type(error).__name__}: {error}; "
                "it needs the same libraries and folders as this process"
            ) from error

    def on_every_worker(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        """Call an importable function once in every worker process; results by worker address.

        Raises:
            ClusterError: The cluster does not answer. Errors of the function come through.
        """
        if self.workers is not None:
            self.workers.wait()
        with connection_errors(self.address):
            results: dict[str, Any] = self.client.run(function, *args, on_error="return")
            errors = {address: one for address, one in results.items() if isinstance(one, BaseException)}
            # A cluster that changes its size may take a worker away that was about to answer.
            present = self.client.nthreads() if errors else {}
        for error in (one for address, one in errors.items() if address in present):
            raise error
        return {address: one for address, one in results.items() if address not in errors}

    def trouble(self) -> ClusterError | None:
        """Why nothing will come from this cluster any more, or None."""
        if self.client.status != "running":
            return lost_cluster(f"the scheduler at {self.address} does not answer")
        return self.workers.trouble() if self.workers is not None else None

    def close(self) -> None:
        """End what was started here."""
        self._stack.close()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def connect(
    client: Client | None = None,
    *,
    scheduler: str | None = None,
    scheduler_file: str | Path | None = None,
    workers: int | None = None,
    threads: int | None = None,
    timeout: float = TIMEOUT,
    arrival: Arrival | None = None,
) -> Cluster:
    """The first cluster there is: one that is named, the current client's, the environment's, or a new one.

    Args:
        client: An open client; it stays open. Beside an asynchronous one we open our own to the same scheduler.
        scheduler: Address of a scheduler.
        scheduler_file: The JSON file that a scheduler has written.
        workers: Worker processes of a new cluster; default: one for each processor.
        threads: Threads of each; default 1, since Python code of one process runs one thread at a time.
        timeout: Seconds to wait for a scheduler.
        arrival: How to wait for the first worker of a cluster that is there; None for not at all.

    Without any of the first three: the current default client, `DASK_SCHEDULER_ADDRESS`,
    `DASK_SCHEDULER_FILE` (also from Dask's configuration), else worker processes of this machine.

    Raises:
        ClusterError: It cannot be reached (the message names the address) or has other versions.
        DeclarationError: An asynchronous client's cluster lives on the event loop that would wait for it.
        Interrupted: The run was stopped while it waited for a worker.
    """
    if client is None and scheduler is None and scheduler_file is None:
        client = current_client()
        if client is None:
            scheduler, scheduler_file = _configured("scheduler-address"), _configured("scheduler-file")
    if client is not None:
        with ExitStack() as stack:
            return fitted(usable(client, stack), stack=stack.pop_all(), arrival=arrival)
    if scheduler is not None:
        return _reach(scheduler, timeout=timeout, arrival=arrival)
    if scheduler_file is not None:
        return _reach(_address_in(Path(scheduler_file)), timeout=timeout, arrival=arrival)
    return _start(workers=workers or available_processors(), threads=threads or 1)


def usable(client: Client, stack: ExitStack) -> Client:
    """A client that can be waited for: the one that is given, or where that is asynchronous our own beside it.

    Args:
        client: Somebody's client.
        stack: Closes what is opened here.

    Raises:
        ClusterError: It is none, or not connected.
        DeclarationError: Its cluster lives on the event loop that would wait for it.
    """
    from distributed import Client

    if not isinstance(client, Client):
        raise ClusterError(f"client= takes a distributed.Client, not {type(client).__name__}")
    if client.status != "running":
        hint = "; await it first" if client.asynchronous else "; open a new one"
        raise ClusterError(f"the client is not connected (it is {client.status}){hint}")
    if not client.asynchronous:
        return client
    if client.cluster is not None:
        refuse_own_loop(client.cluster)
    return open_client(client.scheduler.address, stack, security=client.security)


@contextmanager
def reached(
    *, scheduler: str | None = None, scheduler_file: str | Path | None = None, timeout: float = TIMEOUT
) -> Iterator[Client]:
    """A connection to a cluster of somebody else that is only asked: nothing is brought there, nothing is checked.

    Args: as for `connect`; without any, the current client or the environment says where.

    Raises:
        ClusterError: None is named, or it cannot be reached.
    """
    with ExitStack() as stack:
        if scheduler is None and scheduler_file is None:
            client = current_client()
            if client is not None:
                yield usable(client, stack)
                return
            scheduler, scheduler_file = _configured("scheduler-address"), _configured("scheduler-file")
        address = scheduler or (_address_in(Path(scheduler_file)) if scheduler_file else None)
        if address is None:
            raise ClusterError("no cluster is named; give --scheduler or --scheduler-file")
        yield open_client(address, stack, timeout=timeout)


def open_client(address: str, stack: ExitStack, *, security: Any = None, timeout: float = TIMEOUT) -> Client:
    """A client of our own, closed with the stack.

    Raises:
        ClusterError: There is no answer; the message names the address.
    """
    from distributed import Client

    failures: tuple[type[BaseException], ...] = (OSError, ValueError, TypeError, *lost_errors())
    try:
        return stack.enter_context(Client(address, security=security, timeout=timeout, set_as_default=False))
    except failures as error:
        raise unanswered(address, error) from error


def refuse_own_loop(cluster: Any) -> None:
    """Refuse to wait on the very event loop on which a cluster object lives, which would then never answer.

    Raises:
        DeclarationError: It does; the message says what to do.
    """
    running = None
    with suppress(RuntimeError):
        running = asyncio.get_running_loop()
    if running is not None and getattr(cluster.loop, "asyncio_loop", None) is running:
        raise DeclarationError(
            f"{type(cluster).__name__} lives on the event loop that would wait for the run; "
            "run it with wait=False, or on a thread: await asyncio.to_thread(...)"
        )


def fitted(client: Client, *, stack: ExitStack, arrival: Arrival | None = None, name: str = "the cluster") -> Cluster:
    """A cluster that somebody else has started, after a look at its versions and with this package on it.

    Args:
        client: The connection.
        stack: Closes what was opened for it; closed here where anything fails.
        arrival: How to wait for its first worker; None for not at all.
        name: What it is called in messages, before its address.

    Raises:
        ClusterError: It does not answer, or has other versions.
        Interrupted: The run was stopped while it waited.
    """
    from dataflow.engine import travel

    address = client.scheduler.address
    with stack, connection_errors(address):
        if arrival is not None:
            # Versions can be compared only where there is somebody to ask.
            arrival.wait(client, cluster=f"{name} at {address}")
        travel.check_versions(client)
        travel.send_package(client)
        return Cluster(client, stack=stack.pop_all())


def _reach(address: str, *, timeout: float, arrival: Arrival | None) -> Cluster:
    with ExitStack() as stack:
        client = open_client(address, stack, timeout=timeout)
        return fitted(client, stack=stack.pop_all(), arrival=arrival)


def _start(*, workers: int, threads: int) -> Cluster:
    from dataflow.engine.localcluster import start_workers

    with ExitStack() as stack:
        started = stack.enter_context(start_workers(workers, threads=threads))
        return Cluster(started.client, workers=started, stack=stack.pop_all())


def current_client() -> Client | None:
    """The client that this process already has; distributed is not imported to find that there is none."""
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None


def _configured(name: str) -> str | None:
    import dask

    variable = "DASK_" + name.upper().replace("-", "_")
    value: str | None = os.environ.get(variable) or dask.config.get(name, None)
    return value


def _address_in(file: Path) -> str:
    try:
        return str(json.loads(file.read_text())["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{file} is no scheduler file ({type(error).__name__}: {error}); is the scheduler running?"
        ) from error


def scheduler_address(scheduler: str | None = None, *, scheduler_file: str | Path | None = None) -> str | None:
    """The address of the scheduler that is named, or else of the one that the environment names; None without one.

    Raises:
        ClusterError: The file is no scheduler file.
    """
    if scheduler is None and scheduler_file is None:
        scheduler, scheduler_file = _configured("scheduler-address"), _configured("scheduler-file")
    if scheduler is not None or scheduler_file is None:
        return scheduler
    return _address_in(Path(scheduler_file))
