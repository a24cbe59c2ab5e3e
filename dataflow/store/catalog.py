"""A folder or URL of datasets: what there is, its newest versions, its runs.

Reads only, but for `start`, which opens the folder of a new run, and `prune`, which removes what is old.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dataflow.errors import CatalogError
from dataflow.store.commit import RunFolder
from dataflow.store.dataset import Dataset, complete_versions, latest_of, open_version, read_report
from dataflow.store.files import files_at, is_temporary, rooted, translated
from dataflow.store.ledger import FORMAT, Epoch, Ledger, RunState, this_process, to_json
from dataflow.store.lock import DatasetLock, dataset_lock
from dataflow.store.prune import prune
from dataflow.store.schemas import Schemas
from dataflow.store.writing import FOLDERS

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REFERENCE = re.compile(r"(?P<name>[^@]+)(@v?(?P<version>[0-9]+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """One dataset at a glance.

    Attributes:
        name: Its name.
        version: The version that its name stands for: the newest that no limit has cut short, if there is one.
        versions: How many versions there are.
        rows: Records in that version.
        bytes: Size of the parts of that version.
        created: When it was published, as ISO text in UTC.
        limit: The first records of the source that it is made of, where a limit has left others out.
    """

    name: str
    version: int
    versions: int
    rows: int
    bytes: int
    created: str
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run at a glance.

    Attributes:
        id: Its id.
        dataset: The dataset it is for.
        state: How far it has come.
        started: When, as ISO text in UTC.
        planned: Partitions in its plan.
        committed: Partitions that are committed.
        reason: Why it was stopped or abandoned.
        version: The version it was published as.
    """

    id: str
    dataset: str
    state: RunState
    started: str
    planned: int
    committed: int
    reason: str | None
    version: int | None


class Catalog:
    """Datasets under one root.

    Args:
        root: A folder, or any URL that fsspec knows.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = rooted(root)
        self._files = files_at(self.root)

    def __repr__(self) -> str:
        return f"Catalog({self.root})"

    def _home(self, dataset: str) -> str:
        if not _NAME.fullmatch(dataset):
            raise CatalogError(f"{dataset!r} is no name for a dataset; use letters, digits, '.', '_' and '-'")
        return f"{self.root}/{dataset}"

    def _names(self) -> list[str]:
        return [name for name in self._files.folders(self.root) if _NAME.fullmatch(name)]

    def has(self, name: str) -> bool:
        """Whether `open(name)` finds something."""
        found = _REFERENCE.fullmatch(name)
        if found is None or not _NAME.fullmatch(found["name"]):
            return False
        versions = complete_versions(self._files, self._home(found["name"]))
        return int(found["version"]) in versions if found["version"] else bool(versions)

    def datasets(self) -> list[DatasetInfo]:
        """The datasets that have a version, by name."""
        return [info for name in self._names() if (info := self._info(name)) is not None]

    def _info(self, name: str) -> DatasetInfo | None:
        home = self._home(name)
        versions = complete_versions(self._files, home)
        if not versions:
            return None
        latest = latest_of(self._files, home, versions=versions)
        manifest = open_version(self._files, home, latest).manifest
        return DatasetInfo(
            name=name,
            version=latest,
            versions=len(versions),
            rows=manifest["rows"],
            bytes=manifest["bytes"],
            created=manifest["created"],
            limit=manifest.get("limit"),
        )

    def open(self, name: str) -> Dataset:
        """The version that a dataset stands for, or the one that is named: `leads`, `leads@v3`, `leads@3`.

        A bare name opens the newest version that no limit has cut short; the newest where a limit has cut all.

        Raises:
            CatalogError: There is no such dataset or version; the message names what there is.
        """
        found = _REFERENCE.fullmatch(name)
        if found is None:
            raise CatalogError(f"{name!r} names no dataset; write it as 'leads' or 'leads@v3'")
        home = self._home(found["name"])
        versions = complete_versions(self._files, home)
        if not versions:
            raise CatalogError(self._unknown(found["name"]))
        latest = latest_of(self._files, home, versions=versions) if not found["version"] else None
        wanted = latest or int(found["version"])
        if wanted not in versions:
            listed = ", ".join(f"v{number}" for number in versions)
            raise CatalogError(f"{found['name']} has no version {wanted} in {self.root}; there is {listed}")
        return open_version(self._files, home, wanted)

    def newest(self, name: str) -> Dataset | None:
        """The version of a dataset that was published last, cut short by a limit or not; None where there is none."""
        versions = complete_versions(self._files, self._home(name))
        return open_version(self._files, self._home(name), versions[-1]) if versions else None

    def reports(self, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The statistics of the versions of a dataset with their numbers: what its name stands for, then the newest.

        Raises:
            CatalogError: There is no such dataset.
        """
        first = self.open(name)
        yield first.version or 0, first.statistics
        home = self._home(name)
        for number in reversed(complete_versions(self._files, home)):
            if number != first.version:
                yield number, read_report(self._files, f"{home}/_meta/v{number}")

    def _unknown(self, name: str) -> str:
        names = [info.name for info in self.datasets()]
        near = get_close_matches(name, names, n=3)
        if near:
            return f"there is no dataset {name!r} in {self.root}; did you mean {' or '.join(near)}?"
        if name in self._names():
            return f"{name!r} in {self.root} has no published version yet; run its job to the end"
        listed = f"there is {', '.join(names)}" if names else "it has no datasets yet"
        return f"there is no dataset {name!r} in {self.root}; {listed}"

    def lock(self, dataset: str, *, run: str) -> DatasetLock:
        """The lock under which a run of the dataset works; it is taken by `with`."""
        return dataset_lock(self._home(dataset), run=run)

    def start(
        self,
        dataset: str,
        *,
        run_id: str,
        plan: Mapping[str, Any],
        schemas: Schemas,
        key: Sequence[str] = (),
        remembers: Mapping[str, Any] | None = None,
    ) -> RunFolder:
        """Open the folder of a new run; it exists from the moment its plan is written.

        Args:
            dataset: The dataset it will publish; the caller holds its lock.
            run_id: Letters, digits, `.`, `_` and `-`, like the name of a dataset.
            plan: Plain JSON values; its `specs` and `fingerprints` are used here.
            schemas: What the run writes.
            key: The columns that name a record.
            remembers: Which answers serve this run, as its head says it; by default `answers_since` it starts.

        Raises:
            CatalogError: A name is not allowed, or the run exists.
            StoreError: Parquet has no place for a column, or the catalog cannot be written.
        """
        if not _NAME.fullmatch(run_id):
            raise CatalogError(f"{run_id!r} is no id for a run; use letters, digits, '.', '_' and '-'")
        home = self._home(dataset)
        schemas.require_writable()
        ledger = Ledger(root=self.root, dataset=dataset, run=run_id, epoch=0)
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        head = {
            "format": FORMAT,
            "run": run_id,
            "dataset": dataset,
            "started": now,
            "answers_since": now,
            **(remembers or {}),
            "planned": len(plan.get("specs", ())),
            "key": list(key),
            "fingerprints": plan.get("fingerprints", {}),
            "schemas": schemas.to_dict(),
        }
        with translated(f"{home}: starting run {run_id}"):
            if "plan.json" in self._files.sizes(ledger.path()):
                raise CatalogError(f"run {run_id} of {dataset} exists; choose another id")
            self._files.make(ledger.path())
            self._files.write(ledger.path("run.json"), to_json(head))
            self._files.make(*(ledger.path(name) for name in (*FOLDERS, "commits", "epochs")))
            ledger = ledger.at(ledger.latest_epoch()).enter(
                Epoch(state=RunState.UNFINISHED, started=now, by=this_process())
            )
            self._files.write(ledger.path("plan.json"), to_json(plan))
        return RunFolder(root=self.root, dataset=dataset, run=run_id, epoch=ledger.epoch)

    def runs(self, dataset: str | None = None) -> list[RunRecord]:
        """The runs of a dataset, or of all, newest first."""
        names = self._names() if dataset is None else [dataset]
        found = [_record(ledger) for name in names for ledger in self._ledgers(name)]
        return sorted(found, key=lambda record: (record.started, record.id), reverse=True)

    def _ledgers(self, dataset: str) -> Iterator[Ledger]:
        for run in self._files.folders(f"{self._home(dataset)}/_runs"):
            ledger = Ledger(root=self.root, dataset=dataset, run=run, epoch=0)
            if _NAME.fullmatch(run) and "plan.json" in self._files.sizes(ledger.path()):
                yield ledger.at(ledger.latest_epoch())

    def run(self, run_id: str) -> RunFolder:
        """The folder of a run by its id, or that of the newest run for `latest`.

        Raises:
            CatalogError: There is no such run.
        """
        records = self.runs()
        for record in records:
            if run_id in (record.id, "latest"):
                return self._folder(record)
        near = get_close_matches(run_id, [record.id for record in records], n=3)
        newest = f"the newest one is {records[0].id}" if records else "there is none yet"
        advice = f"did you mean {' or '.join(near)}?" if near else newest
        raise CatalogError(f"there is no run {run_id!r} in {self.root}; {advice}")

    def unfinished(self, dataset: str) -> RunFolder | None:
        """The newest run of a dataset that can go on, or None; `resume` takes it over."""
        for record in self.runs(dataset):
            if record.state in (RunState.UNFINISHED, RunState.STOPPED):
                return self._folder(record)
        return None

    def _folder(self, record: RunRecord) -> RunFolder:
        ledger = Ledger(root=self.root, dataset=record.dataset, run=record.id, epoch=0)
        return RunFolder(root=self.root, dataset=record.dataset, run=record.id, epoch=ledger.latest_epoch())

    def prune(self, dataset: str, *, keep: int) -> list[str]:
        """Remove old versions, abandoned runs and what killed processes have left.

        The newest `keep` versions stay, and the one that the name of the dataset stands for.

        Returns:
            What was removed, such as `v1` or `run 20260101-120000`.

        Raises:
            CatalogError: `keep` is less than 1.
            OutputLocked: A run holds the dataset.
        """
        if keep < 1:
            raise CatalogError("the newest version is never pruned; keep at least 1")
        home = self._home(dataset)
        with self.lock(dataset, run="prune"), translated(f"{home}: pruning"):
            records = [record for record in self.runs(dataset) if record.state is not RunState.ABANDONED]
            return prune(self._files, home, keep=keep, runs={record.id: record.version for record in records})


def _record(ledger: Ledger) -> RunRecord:
    head, epoch = ledger.head(), ledger.read_epoch()
    records = [name for name in ledger.files.sizes(ledger.path("commits")) if not is_temporary(name)]
    return RunRecord(
        id=ledger.run,
        dataset=ledger.dataset,
        state=epoch.state,
        started=head["started"],
        planned=head["planned"],
        committed=epoch.committed if epoch.state is RunState.PUBLISHED else len(records),
        reason=epoch.reason,
        version=epoch.version,
    )
