"""The folder of a run, as workers and the driver use it: commit a partition, look, stop, resume, publish.

A thin face over the modules beside it; plain data, so that it travels to workers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from dataflow.engine.result import PartitionResult
from dataflow.plan.partitions import PartitionSpec
from dataflow.store.carry import carry_over
from dataflow.store.dataset import SIDES, Dataset
from dataflow.store.files import translated
from dataflow.store.ledger import Epoch, Ledger, RunState, this_process
from dataflow.store.manifest import manifest
from dataflow.store.publish import Publication, placed, publish
from dataflow.store.records import CommitRecord
from dataflow.store.writing import commit, totals
from dataflow.telemetry.statistics import Statistics

__all__ = ["CommitRecord", "RunFolder", "RunState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """One run of a dataset, as of the epoch under which its holder works.

    Attributes:
        root: The catalog, as an absolute path or a URL.
        dataset: The name of the dataset.
        run: The id of the run.
        epoch: Counted from 1; who works under an earlier epoch than the newest commits nothing.
    """

    root: str
    dataset: str
    run: str
    epoch: int

    @property
    def _ledger(self) -> Ledger:
        return Ledger(root=self.root, dataset=self.dataset, run=self.run, epoch=self.epoch)

    def to_dict(self) -> dict[str, Any]:
        """The folder as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunFolder:
        """The folder that `to_dict` wrote."""
        return cls(**values)

    def path(self, *names: str) -> str:
        """A path within the folder, for what the run keeps beside its commits."""
        return self._ledger.path(*names)

    @property
    def is_current(self) -> bool:
        """Whether nobody has gone on with the run, or ended it, since this was opened."""
        return self._ledger.latest_epoch() == self.epoch

    def head(self) -> dict[str, Any]:
        """What the run wrote about itself when it was started."""
        return self._ledger.head()

    @property
    def started_at(self) -> datetime:
        """When the run was begun for the first time."""
        return datetime.fromisoformat(self.head()["started"])

    def plan(self) -> dict[str, Any]:
        """The plan that the run was started with."""
        return self._ledger.json("plan.json")

    def find(self, spec: PartitionSpec) -> CommitRecord | None:
        """The commit record of one partition, or None while it is not committed."""
        return self._ledger.record(spec.identity)

    def committed(self) -> dict[str, CommitRecord]:
        """All commit records by identity, in the order of the plan."""
        with translated(f"run {self.run}: reading its commit records"):
            return self._ledger.committed()

    def commit(self, spec: PartitionSpec, result: PartitionResult, *, profile: bool = False) -> CommitRecord:
        """Make one partition part of the run; a second commit changes nothing and returns the first's record.

        On return the data and the record are on disk.

        Args:
            spec: The partition.
            result: What the graph made of it.
            profile: Whether distinct values of every column are estimated too.

        Raises:
            StoreError: The sums or the schema are not as planned, or the catalog cannot be written.
            OutputLocked: The run has gone on without this process, or is over.
        """
        return commit(self._ledger, spec, result, profile=profile)

    def carry_over(
        self,
        specs: Sequence[PartitionSpec],
        dataset: Dataset,
        *,
        asked: Collection[str] = (),
        as_it_is: bool = False,
    ) -> dict[str, CommitRecord]:
        """Commit those partitions that a version of the dataset holds unchanged, without doing them again.

        Args:
            specs: The partitions that are not committed yet.
            dataset: The version, made under the same plan but for its source.
            asked: The services that have an API; the calls that they have made are counted by the run that made them.
            as_it_is: Whether partitions are carried over too where something was not attempted.

        Returns:
            The new records by identity; the other partitions are to be done.
        """
        folders = {"parts": dataset.path, **{kind: f"{dataset.meta}/{kind}" for kind in SIDES}}
        return carry_over(
            self._ledger,
            specs,
            records=dataset.records(),
            folders=folders,
            version=dataset.version,
            asked=asked,
            as_it_is=as_it_is,
        )

    def resume(self, *, as_it_is: bool = False) -> RunFolder:
        """Take the run over: what is committed counts, and who worked on it before commits nothing any more.

        Args:
            as_it_is: True keeps partitions too where something was not attempted, which only publishing may
                leave so; they are done anew by default.

        Raises:
            OutputLocked: Another process has done so at the same moment.
        """
        return self._enter(RunState.UNFINISHED, as_it_is=as_it_is)

    def stop(self, reason: str) -> RunFolder:
        """Note why the run ended before its time; it can be resumed, or published as it is."""
        return self._enter(RunState.STOPPED, reason)

    def abandon(self, reason: str) -> RunFolder:
        """Note that nobody will resume the run, and why; its files stay until `prune`."""
        return self._enter(RunState.ABANDONED, reason)

    def _enter(self, state: RunState, reason: str | None = None, *, as_it_is: bool = True) -> RunFolder:
        with translated(f"run {self.run} of {self.dataset}: noting that it is {state}"):
            found = self._ledger.committed()
            accepted = tuple(name for name, record in found.items() if as_it_is or not record.counts.not_attempted)
            epoch = Epoch(state=state, started=_now(), by=this_process(), reason=reason, accepted=accepted)
            return RunFolder.from_dict({**asdict(self), "epoch": self._ledger.enter(epoch).epoch})

    def state(self) -> Epoch:
        """How far the run has come, why it was stopped, and as which version it was published."""
        with translated(f"run {self.run} of {self.dataset}: reading how far it has come"):
            return self._ledger.at(self._ledger.latest_epoch()).read_epoch()

    def placed(self) -> Dataset | None:
        """The version of a run that was killed after it was placed, before it was noted as published."""
        with translated(f"run {self.run} of {self.dataset}: looking for its version"):
            return placed(self._ledger)

    def partial(self, bill: Callable[[RunFolder, Sequence[CommitRecord]], Statistics] | None = None) -> Dataset:
        """What is committed so far, to be read like a version; its manifest says how far the run has come too.

        Args:
            bill: Gives the statistics of the run, given its commit records; default: what these say.
        """
        ledger, head, epoch = self._ledger, self.head(), self.state()
        records = list(self.committed().values())
        made = manifest(head, records, version=None, created=_now(), lineage={}, limit=self.plan().get("limit"))
        values = msgspec.json.decode(made)
        values |= {"state": epoch.state.value, "planned": head["planned"], "reason": epoch.reason}
        return Dataset(
            name=self.dataset,
            version=None,
            path=ledger.path("parts"),
            meta=ledger.path(),
            manifest=values,
            statistics=(totals(records) if bill is None else bill(self, records)).report(0.0),
        )

    def publish(
        self,
        specs: Sequence[PartitionSpec],
        *,
        lineage: Mapping[str, Any] | None = None,
        duration: float = 0.0,
        spent: Statistics | None = None,
    ) -> Dataset:
        """Publish the run as the next version; calling it again after whatever happened ends in the same version.

        Args:
            specs: The partitions, in the order of the version: all of the plan, or those that are committed.
            lineage: Where the records come from, as plain JSON values.
            duration: Seconds of the whole run, for the statistics.
            spent: What was called beside what the commit records count.

        Raises:
            StoreError: A partition is not committed, a file is missing, or sums do not add up; nothing is
                published then.
            OutputLocked: The run has gone on without this process, or was abandoned.
        """
        publication = Publication(
            specs=specs, lineage=lineage or {}, duration=duration, created=_now(), spent=spent or Statistics()
        )
        return publish(self._ledger, publication)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
