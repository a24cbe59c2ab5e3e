"""Partition specs: which slice of which file is one unit of work, and the identity it keeps over runs.

Pure values. How files are opened and cut is the business of the store; this file only says what a cut is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of a source, as it was when the run was planned.

    Attributes:
        path: Absolute path, or the URL for a remote file.
        size: Bytes.
        fingerprint: Etag where the file system gives one, else size and modification time, else a digest of its bytes.
    """

    path: str
    size: int
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionSpec:
    """A slice of one source file: plain data, so it travels to workers and into `plan.json`.

    Attributes:
        index: Position in the plan, which is the order of the source.
        path: The file, as in `SourceFile.path`.
        fingerprint: The file's fingerprint when planned; a reader refuses a file that has changed since.
        start: First unit of the slice; the unit belongs to the format (row group, byte, row).
        stop: One past the last unit; -1 means to the end.
        first_row: Source row number (from 1, headers not counted) of the first record of the slice.
        rows: Records in the slice, or -1 where only reading tells.
        size: Bytes on disk, an estimate for ordering and progress.
        identity: 16 hex digits over path, fingerprint, start and stop.
    """

    index: int
    path: str
    fingerprint: str
    start: int
    stop: int
    first_row: int = 1
    rows: int = -1
    size: int = 0
    identity: str = ""

    def __post_init__(self) -> None:
        if not self.identity:
            object.__setattr__(self, "identity", self._digest())

    def _digest(self) -> str:
        text = json.dumps([self.path, self.fingerprint, self.start, self.stop])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def place(self) -> str:
        """Where its records are, for people."""
        return f"partition {self.index} ({self.path} from record {self.first_row})"

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PartitionSpec:
        """The spec that `to_dict` wrote."""
        return cls(**values)


def number_specs(specs: Iterable[PartitionSpec]) -> tuple[PartitionSpec, ...]:
    """The specs in the given order with `index` counted from 0; identities stay."""
    return tuple(PartitionSpec(**{**asdict(spec), "index": index}) for index, spec in enumerate(specs))


def known_rows(specs: Sequence[PartitionSpec]) -> int | None:
    """The records behind all specs, or None where some slice is not counted yet."""
    if any(spec.rows < 0 for spec in specs):
        return None
    return sum(spec.rows for spec in specs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A record that could not be read as planned; it goes to the rejects with its raw text.

    Attributes:
        row: Source row number, from 1.
        column: The column that did not fit, or None where the whole line is broken.
        error: What is wrong, without the value.
        raw: The raw text of the record, as found.
    """

    row: int
    column: str | None
    error: str
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What was read from one slice.

    Attributes:
        table: The readable records, under the source schema fixed when planned.
        rows: int64 array, the source row number of each record of `table`.
        unreadable: The records that did not fit, in order of their rows.
        remains: What can be read of each of those, under the source schema, null elsewhere; None where nothing can.
    """

    table: pa.Table
    rows: pa.Array
    unreadable: tuple[Unreadable, ...] = ()
    remains: pa.Table | None = None

    def first(self, records: int) -> Batch:
        """The first so many records of it, in the order of the source."""
        if self.table.num_rows + len(self.unreadable) <= records:
            return self
        numbers = sorted([*self.rows.to_pylist(), *(one.row for one in self.unreadable)])
        last = numbers[records - 1]
        return self.until(last)

    def until(self, row: int) -> Batch:
        """Its records up to a row of the source."""
        kept = sum(one <= row for one in self.rows.to_pylist())
        unreadable = tuple(one for one in self.unreadable if one.row <= row)
        return Batch(
            table=self.table.slice(0, kept),
            rows=self.rows.slice(0, kept),
            unreadable=unreadable,
            remains=None if self.remains is None else self.remains.slice(0, len(unreadable)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlan:
    """A source when planned: one schema for all of it, and the slices it is read in.

    Attributes:
        schema: The schema of every `Batch.table`.
        specs: The slices, in the order of the source.
        files: The files behind them, for the fingerprint of the run.
        options: Plain values that a worker needs to read a slice (format, delimiter, encoding, ...).
        notes: Sentences about what was decided, such as a widened column; shown by `explain` and `run`.
    """

    schema: pa.Schema
    specs: tuple[PartitionSpec, ...]
    files: tuple[SourceFile, ...]
    options: dict[str, Any]
    notes: tuple[str, ...] = ()

    def file(self, spec: PartitionSpec) -> SourceFile:
        """The file that a slice is of."""
        return next(file for file in self.files if file.path == spec.path)
