"""Runs as people hold them: where it stands, what came out, what went wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflow.errors import CatalogError, OutputLocked
from dataflow.store.dataset import Dataset
from dataflow.telemetry.statistics import Statistics

if TYPE_CHECKING:
    from dataflow.faces.dashboard import Dashboard
    from dataflow.wiring.saying import ErrorLine

_LOOK = 0.5
"""Seconds between two looks of somebody who waits for a run."""
_LAST_LOOK = 2.0
"""Seconds at most that the page in a notebook takes to show the end."""


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """One execution of a job.

    Attributes:
        id: Names the run.
        output: The name of the dataset it publishes.
        catalog: Where that dataset is.
        status: `running`, `published`, `unchanged`, `stopped` or `failed`.
        dataset: What was published; the newest version where nothing had changed; None until then.
        counts: The statistics so far.
        duration: Seconds so far.
        partitions: Partitions planned.
        done: Partitions committed.
        notes: Sentences about what was decided.
        warnings: Sentences about what deserves a look.
        page: The address of the live page on the scheduler of its cluster, or None.
    """

    id: str
    output: str
    catalog: str
    status: str = "running"
    dataset: Dataset | None = None
    counts: Statistics = field(default_factory=Statistics)
    duration: float = 0.0
    partitions: int = 0
    done: int = 0
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    page: str | None = None
    _thread: threading.Thread | None = None
    _shown: threading.Thread | None = None
    _error: BaseException | None = None
    _publish: Callable[..., None] | None = None
    _repair: Callable[..., Run] | None = None
    _board: Callable[[], dict[str, Any]] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def statistics(self) -> dict[str, Any]:
        """The statistics in their public form: so far, or of the newest version where nothing had changed."""
        if self.status == "unchanged" and self.dataset is not None:
            return self.dataset.statistics
        return self.counts.report(self.duration)

    @property
    def reason(self) -> str | None:
        """Why it ended before its time, or None."""
        return None if self._error is None else str(self._error)

    @property
    def errors(self) -> tuple[ErrorLine, ...]:
        """Its most frequent errors, with what providers and exceptions have said; read from the catalog."""
        from dataflow.wiring.saying import errors_of

        return errors_of(self.statistics["services"], self._so_far)

    @property
    def version(self) -> int | None:
        """The number of the published version, or None."""
        return self.dataset.version if self.dataset else None

    @property
    def path(self) -> str | None:
        """The folder of the published version, or None."""
        return self.dataset.path if self.dataset else None

    def wait(self) -> Run:
        """Block until a live run has ended, and return it.

        Ctrl-C, or the interrupt of a notebook, ends the waiting only: the run goes on, and `stop` stops it.

        Raises:
            DataflowError: What ended it.
        """
        if self._thread is not None:
            # A join that was interrupted takes the thread for ended ever after.
            while not self._ended.wait(_LOOK):
                # Where a library has set a handler of its own, Ctrl-C ends no wait that has no timeout.
                pass
        if self._shown is not None:
            # What the cell of a notebook shows of the run is its end, then.
            self._shown.join(_LAST_LOOK)
        if self._error is not None:
            raise self._error
        return self

    def publish(self, **settings: Any) -> Run:
        """Publish a run that was stopped, as it is, as a new version, and return it.

        The partitions that are left are run without a new call: local services compute, those of an API answer
        from what is remembered, and all their other records are `not_attempted`. A run that is published already
        stays as it is.

        Args:
            **settings: Where it is done, if elsewhere than the run: `client`, `scheduler`, `workers`, `threads`, and
                `on_event`; see `Settings`.

        Raises:
            OutputLocked: It is still running, or another run holds the output.
            DeclarationError: The source or what it is run with has changed since.
            CatalogError: It has not begun, or was abandoned.
            Interrupted: Publishing was stopped; the same call goes on.
        """
        if self._thread is not None and self._thread.is_alive():
            raise OutputLocked(f"run {self.id} has not ended; run.wait() waits for it")
        if self.dataset is None and self._publish is None:
            raise CatalogError(f"run {self.id} cannot be published here; use `dataflow publish {self.id}`")
        if self.dataset is None and self._publish is not None:
            self._publish(**settings)
        return self

    def repair(self, service: str | None = None, **settings: Any) -> Run:
        """Try again what failed in a published run, and publish it with all that was good as a new version.

        Only partitions with a failed outcome are done again, and in them only what failed is called: everything else
        answers from what is remembered. What may have taken effect and may be sent only once is not tried again.

        Args:
            service: Only the failures of this service; those of others stay without a call.
            **settings: Where it is done, if elsewhere than the run, and `on_event`; see `Settings`.

        Returns:
            The run that repairs; its status is `unchanged` where nothing had failed.

        Raises:
            CatalogError: The run has published nothing, or its version was pruned.
            DeclarationError: The source or what it is run with has changed since, or there is no such service.
            DataflowError: As for every run.
        """
        from dataflow.wiring.repairing import repair_run

        if self.dataset is None:
            raise CatalogError(f"run {self.id} has published nothing that could be repaired; run it again to its end")
        if self._repair is not None:
            return self._repair(service, **settings)
        return repair_run(self.dataset.manifest["run"], catalog=self.catalog, service=service, **settings)

    def stop(self) -> None:
        """Stop a live run as the first Ctrl-C does, and return at once; a run that has ended stays as it is.

        No new calls begin, those in flight have 20 s to end, what is done is kept; `wait` then raises Interrupted,
        and the same run started again goes on.
        """
        self._stop.set()

    def dashboard(self) -> Dashboard:
        """The live page of this run for a notebook: it updates itself in place until the run has ended.

        Elsewhere it is an object to print: where the run is, and the address of its page, if it has one.
        """
        from dataflow.faces.dashboard import Dashboard
        from dataflow.wiring.plainboard import board_of_run

        return Dashboard(lambda: board_of_run(self, now=time.time()), ended=self._has_ended)

    def to_pandas(self) -> Any:
        """The output as a pandas DataFrame with Arrow types."""
        return self._published().to_pandas()

    def to_arrow(self) -> Any:
        """The output as an Arrow table."""
        return self._published().to_arrow()

    def to_dask(self) -> Any:
        """The output as a Dask DataFrame."""
        return self._published().to_dask()

    def head(self, n: int = 10) -> Any:
        """The first records of the output; of a live run, of the partitions committed so far."""
        return self._so_far().head(n)

    def rejects(self, *, inputs: bool = False) -> Any:
        """The rejected records, as an Arrow table; see `Dataset.rejects`."""
        return self._so_far().rejects(inputs=inputs)

    def failures(self, *, inputs: bool = False) -> Any:
        """The outcomes that did not succeed, as an Arrow table; see `Dataset.failures`."""
        return self._so_far().failures(inputs=inputs)

    def _has_ended(self, seconds: float) -> bool:
        """Wait at most so long for the end of what goes on in the background, and say whether it has come."""
        return self._thread is None or self._ended.wait(seconds)

    def _so_far(self) -> Dataset:
        """What was published, or what is committed by now."""
        if self.dataset is not None:
            return self.dataset
        from dataflow.wiring.opening import open_run

        try:
            return open_run(self.id, catalog=self.catalog)
        except CatalogError:
            if self.status != "running":
                raise
            raise CatalogError(f"run {self.id} is still being planned; ask again in a moment") from None

    def _published(self) -> Dataset:
        if self.dataset is not None:
            return self.dataset
        if self.status == "running":
            raise CatalogError(f"run {self.id} has not ended; run.wait() waits for it, run.head() shows what is there")
        raise CatalogError(f"run {self.id} has published nothing; flow.open({self.id!r}) reads what it has committed")

    def __repr__(self) -> str:
        place = f" -> {self.path}" if self.path else ""
        return (
            f"<Run {self.id} {self.status}: {self.done} of {self.partitions} partitions, "
            f"{self.counts.output_records:,} records, {self.counts.rejected_records:,} rejected{place}>"
        )

    def _repr_html_(self) -> str:
        from dataflow.faces.render import run_html
        from dataflow.faces.view import view_run

        return run_html(view_run(self))

    def _ipython_display_(self) -> None:
        from dataflow.faces.live import follow
        from dataflow.faces.progress import in_notebook

        if self._thread is None or self._ended.is_set() or not in_notebook():
            # IPython shows the page or the line above then.
            raise NotImplementedError
        self._shown = follow(self._repr_html_, self._ended.wait)
