"""What is known about one run from its own folder: its plan, its epochs and its commit records.

A run passes through epochs. Each is one file, created exclusively, that says in which state the run is and
which partitions had been committed before; whoever works under an earlier epoch has lost the run. Writing
parts and publishing them is the business of the modules beside this one.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec

from dataflow.errors import CatalogError, OutputLocked, StoreError
from dataflow.store.files import Files, files_at, is_temporary
from dataflow.store.records import CommitRecord, record_from_json
from dataflow.store.schemas import Schemas

FORMAT = 1
"""The form of what is written here; a folder of another form is refused by name."""


class RunState(StrEnum):
    """How far a run has come."""

    UNFINISHED = "unfinished"
    STOPPED = "stopped"
    ABANDONED = "abandoned"
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One stretch of a run's life.

    Attributes:
        state: The state since then.
        started: When, as ISO text in UTC.
        by: Which process began it; no two are the same, not even of one process.
        reason: Why it was stopped or abandoned.
        version: The version it was published as.
        accepted: Identities of the partitions that had been committed before.
        committed: How many partitions were published.
    """

    state: RunState
    started: str
    by: str
    reason: str | None = None
    version: int | None = None
    accepted: tuple[str, ...] = ()
    committed: int = 0


def this_process() -> str:
    """Host, process and a number that is drawn, to tell two takers of one epoch apart."""
    return f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"


_epoch_decoder = msgspec.json.Decoder(Epoch)


def to_json(values: Any) -> bytes:
    """Plain values as JSON for people and machines."""
    return msgspec.json.format(msgspec.json.encode(values), indent=1) + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The folder of one run as seen from one epoch; plain data that travels to workers.

    Attributes:
        root: The catalog.
        dataset: The name of the dataset.
        run: The id of the run.
        epoch: The epoch under which the holder works.
    """

    root: str
    dataset: str
    run: str
    epoch: int

    @property
    def files(self) -> Files:
        """The operations of the catalog."""
        return files_at(self.root)

    @property
    def home(self) -> str:
        """The folder of the dataset."""
        return f"{self.root}/{self.dataset}"

    def path(self, *names: str) -> str:
        """A path within the folder of the run."""
        return "/".join((self.home, "_runs", self.run, *names))

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file of the run.

        Raises:
            CatalogError: It is missing or damaged.
        """
        try:
            values: dict[str, Any] = msgspec.json.decode(self.files.read(self.path(name)))
        except (FileNotFoundError, msgspec.DecodeError) as error:
            raise CatalogError(f"run {self.run} of {self.dataset}: {self.path(name)} is missing or damaged") from error
        return values

    def head(self) -> dict[str, Any]:
        """What the run wrote about itself when it started.

        Raises:
            CatalogError: It is missing, or of a form that this version does not know.
        """
        values = self.json("run.json")
        if values.get("format") != FORMAT:
            form = values.get("format")
            raise CatalogError(f"{self.path()}: format {form} is not known here; use the dataflow that wrote it")
        return values

    @property
    def schemas(self) -> Schemas:
        """What the run writes, as it was planned."""
        return _schemas(self.at(0))

    def latest_epoch(self) -> int:
        """The number of the newest epoch; 0 where the run's folder is gone."""
        numbers = self.files.sizes(self.path("epochs"))
        return max((int(name[:5]) for name in numbers if not is_temporary(name)), default=0)

    def require_current(self) -> None:
        """Raise OutputLocked where the run has gone on without whoever holds this."""
        latest = self.latest_epoch()
        if latest == self.epoch:
            return
        state = self.at(latest).read_epoch().state if latest else RunState.PUBLISHED
        what = "another process has taken it over" if state is RunState.UNFINISHED else f"it is {state} since"
        raise OutputLocked(
            f"run {self.run} of {self.dataset}: {what} (epoch {latest}, not {self.epoch}); nothing is committed here"
        )

    def at(self, epoch: int) -> Ledger:
        """The same run seen from another epoch."""
        return Ledger(root=self.root, dataset=self.dataset, run=self.run, epoch=epoch)

    def read_epoch(self) -> Epoch:
        """What is written about the epoch."""
        return _epoch_decoder.decode(self.files.read(self.path("epochs", f"{self.epoch:05d}.json")))

    def enter(self, epoch: Epoch) -> Ledger:
        """Begin the next epoch; whoever works under an earlier one commits nothing from then on.

        Raises:
            OutputLocked: Somebody else has begun it.
        """
        following = self.epoch + 1
        data = msgspec.json.encode(epoch)
        if not self.files.create(self.path("epochs", f"{following:05d}.json"), data):
            raise OutputLocked(
                f"run {self.run} of {self.dataset}: another process has taken it over (epoch {following} has begun)"
            )
        return self.at(following)

    def record_path(self, identity: str) -> str:
        """Where the commit record of a partition is."""
        return self.path("commits", f"{identity}.json")

    def record(self, identity: str) -> CommitRecord | None:
        """The commit record of one partition, or None while it is not committed."""
        found = self.any_record(identity)
        return found if found is not None and self.accepts(found) else None

    def any_record(self, identity: str) -> CommitRecord | None:
        """The record of a partition, also one that was written too late to count."""
        try:
            return self._decoded(self.files.read(self.record_path(identity)), identity)
        except FileNotFoundError:
            return None

    def accepts(self, record: CommitRecord) -> bool:
        """Whether a record counts: it is of this epoch, or it was there when this epoch began."""
        return record.epoch == self.epoch or record.identity in _accepted(self)

    def committed(self) -> dict[str, CommitRecord]:
        """All commit records that count, by identity, in the order of the plan."""
        found = (self._decoded(data, name) for name, data in self.files.read_all(self.path("commits")))
        kept = sorted((record for record in found if self.accepts(record)), key=lambda record: record.index)
        return {record.identity: record for record in kept}

    def _decoded(self, data: bytes, name: str) -> CommitRecord:
        try:
            return record_from_json(data)
        except msgspec.DecodeError as error:
            raise StoreError(
                f"run {self.run} of {self.dataset}: the commit record {name} is damaged; remove it and run again"
            ) from error


@lru_cache(maxsize=8)
def _accepted(ledger: Ledger) -> frozenset[str]:
    """What an epoch has found committed; its file never changes, so a process reads it once."""
    return frozenset(ledger.read_epoch().accepted)


@lru_cache(maxsize=8)
def _schemas(ledger: Ledger) -> Schemas:
    """The schemas of a run, which never change either."""
    return Schemas.from_dict(ledger.head()["schemas"])
