"""Partitions of one run as futures on a Dask cluster, and what their ends mean.

Finding a cluster is the business of `cluster`, what runs on its workers that of `plugin`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future as Answer
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from dataflow.engine.drive import TICK, Report, lost_cluster
from dataflow.errors import ClusterError
from dataflow.plan.resolve import Task

if TYPE_CHECKING:
    from distributed import Client, Future, WorkerPlugin

    from dataflow.engine.live.sight import Sight
    from dataflow.engine.result import Completion

_RECOUNT = 5.0
"""Seconds between two questions for the size of the cluster."""

_TELLINGS = 4
"""Times at most that all workers are told about a plugin: workers rarely leave at each of them."""


class ClusterEngine:
    """The engine of one run.

    Args:
        client: The connection.
        key: Names the assignment that the workers hold, and every task.
        plugin: The name under which they hold it; taken from them at the end.
        trouble: Says why nothing will come from the cluster any more, or None; asked at every look.
        run: The id of the run, under which its board is shown.
        stretch: How often it was gone on with.
        page: Where it is shown, or None.
    """

    def __init__(
        self,
        client: Client,
        *,
        key: str,
        plugin: str,
        trouble: Callable[[], ClusterError | None],
        run: str = "",
        stretch: int = 0,
        page: str | None = None,
    ) -> None:
        from distributed import as_completed

        self.threads = 0
        self._client = client
        self._trouble = trouble
        self.page = page
        self._run = run or key
        self._stretch = stretch
        self._key = key
        # One name for all keys: the scheduler keeps something for each name that it ever saw.
        self._name = f"dataflow-partition-{key}"
        self._plugin = plugin
        self._ended = as_completed(loop=client.loop)
        self._flying: dict[Any, tuple[Future, Task]] = {}
        self._attempts = itertools.count()
        self._recount_at = 0.0
        self._lost = False

    def submit(self, specs: Sequence[Task]) -> None:
        """Send partitions as one message."""
        if not specs:
            return
        from dataflow.engine.plugin import perform

        tasks = [{"key": self._key, "spec": spec.to_dict()} for spec in specs]
        keys = [(self._name, spec.index, next(self._attempts)) for spec in specs]
        try:
            futures = self._client.map(perform, tasks, key=keys, pure=False, retries=0)
        except lost_errors() as error:
            raise lost_cluster(f"{type(error).__name__}: {error}") from error
        self._flying.update((future.key, (future, spec)) for future, spec in zip(futures, specs, strict=True))
        self._ended.update(futures)

    def completed(self) -> Iterator[list[Report]]:
        """Reports in batches until nothing is in flight; all of it is `lost` when the scheduler is."""
        while self._flying:
            trouble = self._trouble()
            if trouble is not None:
                self._lost = True
                yield self._lose(trouble)
                return
            self._recount()
            reports = self._reports(self._batch())
            self._lost |= any(report.kind == "lost" for report in reports)
            yield reports

    def withdraw(self) -> None:
        """Take back what no worker has."""
        with suppress(*lost_errors()):
            begun = {key for keys in self._client.processing().values() for key in keys}
            waiting = [future for key, (future, _) in self._flying.items() if key not in begun]
            for future in waiting:
                del self._flying[future.key]
            self._client.cancel(waiting, force=True)

    def halt(self) -> None:
        """Tell the work on every worker to make no new calls."""
        from dataflow.engine.plugin import halt

        self._tell(halt)

    def cancel(self) -> None:
        """Tell the scheduler to forget what is in flight."""
        futures = [future for future, _ in self._flying.values()]
        self._flying.clear()
        from dataflow.engine.plugin import cancel

        with suppress(*lost_errors()):
            self._client.cancel(futures, force=True)
        self._tell(cancel)

    def tell(self, board: bytes, *, lines: Sequence[str] = (), names: Sequence[str] = ()) -> Answer[Sight] | None:
        """Show the board on the scheduler; it knows the APIs that the workers call, and what these have under way."""
        if self._lost or self._trouble() is not None:
            return None
        from dataflow.engine.live.scheduler import start_telling

        given = {"board": board, "lines": list(lines), "names": list(names), "stretch": self._stretch}
        return start_telling(self._client, self._run, **given)

    def close(self) -> None:
        """Take the job from the workers."""
        self._ended.clear()
        unregister_plugin(self._client, self._plugin)

    def _tell(self, function: Callable[[str], None]) -> None:
        """Call a function of ours in every worker process; a scheduler that was lost is not waited for."""
        if self._lost or self._trouble() is not None:
            return
        with suppress(OSError, *lost_errors()):
            self._client.run(function, self._key, on_error="ignore")

    def _batch(self) -> list[Future]:
        with self._ended.thread_condition:
            if not self._ended.has_ready():
                self._ended.thread_condition.wait(TICK)
        return [future for future in self._ended.next_batch(block=False) if future.key in self._flying]

    def _reports(self, futures: Sequence[Future]) -> list[Report]:
        # A result goes with the worker that held it, and its task runs again: a look at the commit record.
        self._ended.update([future for future in futures if future.status in {"lost", "pending"}])
        finished = [future for future in futures if future.status == "finished"]
        reports = [self._ill(future) for future in futures if future.status in {"error", "cancelled"}]
        if finished:
            reports += self._gathered(finished)
        return reports

    def _gathered(self, futures: list[Future]) -> list[Report]:
        completions = self._gather(futures)
        if completions is None and (trouble := self._trouble()) is not None:
            return [Report(spec=self._land(future), kind="lost", error=trouble) for future in futures]
        if completions is None:
            return [self._alone(future) for future in futures]
        return [
            Report(spec=self._land(future), kind="done", completion=completion)
            for future, completion in zip(futures, completions, strict=True)
        ]

    def _gather(self, futures: list[Future]) -> list[Completion] | None:
        """What the futures hold, in one message; None where that failed, or nobody is there to answer."""
        gathering = self._client.gather(futures, asynchronous=True)
        answer = asyncio.run_coroutine_threadsafe(gathering, self._client.loop.asyncio_loop)
        while True:
            # A client whose scheduler has died waits for it to come back.
            if wait([answer], timeout=TICK).done:
                return None if answer.cancelled() or answer.exception() else answer.result()
            if self._trouble() is not None:
                answer.cancel()
                return None

    def _alone(self, future: Future) -> Report:
        try:
            completion = future.result()
        except Exception as error:
            return self._ill(future) if future.status in {"error", "cancelled"} else self._failed(future, error)
        return Report(spec=self._land(future), kind="done", completion=completion)

    def _ill(self, future: Future) -> Report:
        """What a future says that has an error of its own, or that nobody holds any more."""
        if future.status == "error":
            return self._failed(future, future.exception())
        spec = self._land(future)
        return Report(spec=spec, kind="lost", error=lost_cluster(f"it has dropped partition {spec.index}"))

    def _failed(self, future: Future, error: BaseException) -> Report:
        from distributed.scheduler import KilledWorker

        kind: Literal["killed", "failed"] = "killed" if isinstance(error, KilledWorker) else "failed"
        return Report(spec=self._land(future), kind=kind, error=error)

    def _land(self, future: Future) -> Task:
        return self._flying.pop(future.key)[1]

    def _lose(self, trouble: ClusterError) -> list[Report]:
        specs = [spec for _, spec in self._flying.values()]
        self._flying.clear()
        return [Report(spec=spec, kind="lost", error=trouble) for spec in specs]

    def _recount(self) -> None:
        if time.monotonic() >= self._recount_at:
            with suppress(*lost_errors()):
                self.threads = sum(self._client.nthreads().values())
            self._recount_at = time.monotonic() + _RECOUNT


def register_plugin(client: Client, plugin: WorkerPlugin) -> None:
    """Register a plugin on all workers, also on those that join later.

    A cluster that changes its size may take a worker away that was just told about it; then all are told again,
    and whoever has the plugin already takes it anew. What a plugin raises on a worker comes through.
    """
    for _ in range(_TELLINGS - 1):
        try:
            client.register_plugin(plugin)
        except lost_errors():
            if client.status != "running":
                raise
        else:
            return
    client.register_plugin(plugin)


def unregister_plugin(client: Client, name: str) -> None:
    """Take a plugin from all workers and from the scheduler, where somebody is there to answer."""
    if client.status == "running":
        with suppress(ValueError, *lost_errors()):
            client.unregister_worker_plugin(name)


@contextmanager
def connection_errors(address: str) -> Iterator[None]:
    """Turn what distributed raises without an answer into a ClusterError that names the address."""
    try:
        yield
    except lost_errors() as error:
        raise unanswered(address, error) from error


def unanswered(address: str, error: BaseException) -> ClusterError:
    """The error for a scheduler that is not where it was looked for, or wants a certificate that nobody has named."""
    if isinstance(error, TypeError):
        return ClusterError(
            f"the scheduler at {address} wants a certificate; name ca-file, client.cert and client.key under "
            "distributed.comm.tls in Dask's configuration (DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ...)"
        )
    return ClusterError(
        f"the scheduler at {address} does not answer ({type(error).__name__}: {error}); "
        "check the address and that it is running"
    )


def lost_errors() -> tuple[type[BaseException], ...]:
    """What distributed raises when there is nobody at the other end."""
    from asyncio import CancelledError
    from concurrent.futures import CancelledError as FutureCancelled

    from distributed.client import ClosedClientError
    from distributed.comm import CommClosedError
    from distributed.core import RPCClosed

    # No OSError as such: a factory may raise one on a worker.
    gone = (CommClosedError, RPCClosed, ClosedClientError, ConnectionError, TimeoutError)
    return (*gone, CancelledError, FutureCancelled)
