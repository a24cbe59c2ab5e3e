"""What all runs of an output have sent of one service, published or not: gathered once, and looked up by record.

    <dataset>/_effects/<service>/head.json              what the notes were made under, and which files count
    <dataset>/_effects/<service>/kept/<number>.parquet   the notes of epochs that are over, sorted by record
    <dataset>/_effects/<service>/runs/<run>/<epoch>/     those of the epochs since, as `effects` writes them

Only who holds the output gathers. The head is written last but for the removal of what was gathered, so that a kill
at any point leaves the notes as they were or as they are then. Prune leaves all of it alone.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataflow.errors import StoreError
from dataflow.policies.effects import End, Note, known
from dataflow.store.commit import RunFolder
from dataflow.store.files import files_at, is_temporary, translated

MERGED = 8
"""Small files of gathered notes that become one: a partition looks into each. A run that sends nothing adds none."""
SMALL = 250_000
"""Notes up to which a file is small: what is held in memory while some are gathered, and 10 MB on disk."""

_ROWS = 16_384
"""Notes that are read together where one of them is wanted."""

_SCHEMA = pa.schema(
    [
        pa.field("record", pa.binary(16), nullable=False),
        pa.field("inputs", pa.binary()),
        pa.field("end", pa.string()),
        pa.field("at", pa.float64()),
        pa.field("value", pa.large_string()),
        pa.field("reason", pa.string()),
        pa.field("error", pa.large_string()),
        pa.field("status", pa.int32()),
        pa.field("timed_out", pa.bool_()),
    ]
)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A file of gathered notes.

    Attributes:
        name: Its name, which no other file ever has.
        notes: How many are in it.
        inputs: Whether the inputs in it can be compared with those of today.
    """

    name: str
    notes: int
    inputs: bool = True


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about the notes of a service as a whole.

    Attributes:
        definition: What the service was when they were made, part by part.
        files: The gathered ones.
        sent: How many of them each run has made.
        gathered: The last epoch of each run whose notes are gathered, or count no more.
        anew: The run for which everything is sent anew, or empty.
    """

    definition: dict[str, str]
    files: tuple[Kept, ...] = ()
    sent: dict[str, int] = {}
    gathered: dict[str, int] = {}
    anew: str = ""


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A note as it is written: what holds for most of them is not said."""

    record: str
    end: End
    at: float
    inputs: str = ""
    nth: int = 0
    value: str = ""
    reason: str = ""
    error: str = ""
    status: int | None = None
    timed_out: bool = False


_values = attrgetter(*_Line.__struct_fields__)
_head_decoder = msgspec.json.Decoder(Head)
_note_decoder = msgspec.json.Decoder(Note)
_encoder = msgspec.json.Encoder()


def to_lines(notes: Iterable[Note]) -> bytes:
    """Notes as they are written."""
    return b"".join(_encoder.encode(_Line(*_values(note))) + b"\n" for note in notes)


def notes_of(files: Any, folder: str) -> Iterator[Note]:
    """The notes of one partition in the order in which they were made.

    Raises:
        StoreError: A file is damaged.
    """
    for name, data in sorted((name, data) for name, data in files.read_all(folder) if not _is_turn(name)):
        try:
            yield from _note_decoder.decode_lines(data)
        except msgspec.DecodeError as error:
            raise StoreError(
                f"{folder}/{name} is damaged, so nobody knows what was sent; restore it, or run again with "
                "--send-again SERVICE (send_again=), which sends everything anew"
            ) from error


def epoch_name(epoch: int) -> str:
    """The name of the folder of an epoch."""
    return f"{epoch:05d}"


def noted_services(root: str, dataset: str, *, apart: bool = False) -> set[str]:
    """The services of which something was ever noted for an output."""
    return set(files_at(root).folders(_home(root, dataset, apart=apart)))


def _home(root: str, dataset: str, *, apart: bool) -> str:
    return f"{root}/{dataset}/{'_effects_offline' if apart else '_effects'}"


class Sent:
    """What was sent of one service for one output.

    Args:
        root: The catalog.
        dataset: The output.
        service: The name of the service.
        apart: Whether nothing of it was sent, as in a block of `flow.testing.offline`.
    """

    def __init__(self, root: str, dataset: str, service: str, *, apart: bool = False) -> None:
        self._files = files_at(root)
        self._home = f"{_home(root, dataset, apart=apart)}/{service}"
        self._what = f"what `{service}` has sent for {dataset}"

    def path(self, *names: str) -> str:
        """A path within the folder of the service."""
        return "/".join((self._home, *names))

    def head(self) -> Head | None:
        """What is known about the notes as a whole; None where nothing was ever sent.

        Raises:
            StoreError: It cannot be read.
        """
        with translated(f"{self._what}: reading"):
            try:
                return _head_decoder.decode(self._files.read(self.path("head.json")))
            except FileNotFoundError:
                return None
            except msgspec.DecodeError as error:
                raise StoreError(
                    f"{self.path('head.json')} is damaged, so nobody knows what was sent; restore it"
                ) from error

    def of(self, records: Collection[str]) -> list[Note]:
        """What is noted of some records in epochs that are over, each note of an effect of its own.

        Raises:
            StoreError: The notes cannot be read.
        """
        head = self.head()
        if head is None or not head.files or not records:
            return []
        wanted = np.unique(_beginnings(pa.array(map(bytes.fromhex, records), pa.binary(16))))
        with translated(f"{self._what}: looking up records"):
            found = [note for kept in head.files for note in self._find(kept, wanted)]
        return [note for note in found if note.record in records]

    def at(self, run: str, identity: str) -> list[Note]:
        """What a partition of a run has noted in epochs that are not gathered."""
        return [note for epoch, path in self._epochs(run) for note in self._known(f"{path}/{identity}")]

    def waiting(self, *, run: str | None = None, before: int = 0) -> dict[str, int]:
        """How many effects each run has noted that are not gathered.

        Args:
            run: The run that goes on, or None.
            before: Of that run, only those of earlier epochs than this.
        """
        counts: Counter[str] = Counter()
        for one, notes in self._waiting(run, before):
            counts[one] += len(notes)
        return dict(counts)

    def runs(self) -> list[str]:
        """The runs that have noted something that is not gathered."""
        return self._files.folders(self.path("runs"))

    def gather(self, definition: Mapping[str, str] | None, *, folder: RunFolder, compares: bool = True) -> Head:
        """Gather the notes of all epochs before that of a run, for that run; only for who holds the output.

        Args:
            definition: What the service is from now on, or None as before.
            folder: The run; whoever worked under an earlier epoch of it, or for another run, sends nothing any more.
            compares: Whether the inputs of older notes can be compared with those of today.

        Raises:
            StoreError: The notes cannot be read or written.
        """
        with translated(f"{self._what}: gathering"):
            before = self.head() or Head(definition={})
            counts = Counter(before.sent)
            files = [*before.files, *self._gathered(folder, counts)]
            if not compares:
                files = [msgspec.structs.replace(one, inputs=False) for one in files]
            head = Head(
                definition=before.definition if definition is None else dict(definition),
                files=tuple(self._merged(files)),
                sent={run: count for run, count in counts.items() if count},
                gathered=before.gathered | self._over(folder),
                anew=before.anew,
            )
            self._put(head, folder)
            return head

    def begin_anew(self, definition: Mapping[str, str], *, folder: RunFolder) -> Head:
        """Let no note count that was made before a run; only for who holds the output."""
        with translated(f"{self._what}: beginning anew"):
            before = self.head() or Head(definition={})
            gathered = before.gathered | self._over(folder)
            head = Head(definition=dict(definition), gathered=gathered, anew=folder.run)
            self._put(head, folder)
            return head

    def _put(self, head: Head, folder: RunFolder) -> None:
        if head != self.head():
            self._files.make(self._home)
            self._files.write(self.path("head.json"), _encoder.encode(head))
        for run in self.runs():
            over = [path for epoch, path in self._epochs(run, every=True) if not _goes_on(run, epoch, folder)]
            whole = run != folder.run
            self._files.remove(*([self.path("runs", run)] if whole else over))
        names = {kept.name for kept in head.files}
        self._files.remove(
            *(self.path("kept", one) for one in self._files.sizes(self.path("kept")) if one not in names)
        )

    def _over(self, folder: RunFolder) -> dict[str, int]:
        found = {run: [epoch for epoch, _ in self._epochs(run, every=True)] for run in self.runs()}
        ended = {run: [epoch for epoch in some if not _goes_on(run, epoch, folder)] for run, some in found.items()}
        return {run: max(some) for run, some in ended.items() if some}

    def _epochs(self, run: str, *, every: bool = False) -> list[tuple[int, str]]:
        """The epochs of a run with their folders, by default only those whose notes are not gathered."""
        head = None if every else self.head()
        last = 0 if head is None else head.gathered.get(run, 0)
        found = ((int(name), self.path("runs", run, name)) for name in self._files.folders(self.path("runs", run)))
        return sorted(one for one in found if one[0] > last)

    def _waiting(self, run: str | None, before: int) -> Iterator[tuple[str, list[Note]]]:
        """What is not gathered, by run: the notes of one partition after the other."""
        for one in self.runs():
            for epoch, path in self._epochs(one):
                if one != run or epoch < before:
                    for identity in self._files.folders(path):
                        yield one, self._known(f"{path}/{identity}")

    def _gathered(self, folder: RunFolder, counts: Counter[str]) -> Iterator[Kept]:
        """Files of what is not gathered; counts it too."""
        tables: list[pa.Table] = []
        for run, notes in self._waiting(folder.run, folder.epoch):
            counts[run] += len(notes)
            tables.append(_table(notes))
            if sum(map(len, tables)) >= SMALL:
                yield self._write(tables)
                tables = []
        if any(map(len, tables)):
            yield self._write(tables)

    def _known(self, path: str) -> list[Note]:
        return list(known(notes_of(self._files, path)).values())

    def _merged(self, files: Sequence[Kept]) -> list[Kept]:
        """The files, the small ones as one where they are many."""
        small = [kept for kept in files if kept.notes < SMALL]
        if len(small) < MERGED:
            return list(files)
        large = [kept for kept in files if kept.notes >= SMALL]
        return [*large, self._write([self._table_of(kept) for kept in small])]

    def _table_of(self, kept: Kept) -> pa.Table:
        table = pq.read_table(self._files.source(self.path("kept", kept.name)), schema=_SCHEMA)
        if kept.inputs:
            return table
        return table.set_column(1, _SCHEMA.field("inputs"), pa.nulls(len(table), pa.binary()))

    def _write(self, tables: Sequence[pa.Table]) -> Kept:
        table = pa.concat_tables(tables)
        order = np.argsort(_beginnings(table["record"]), kind="stable")
        sink, name = pa.BufferOutputStream(), f"{os.urandom(8).hex()}.parquet"
        pq.write_table(table.take(pa.array(order)), sink, row_group_size=_ROWS, compression="zstd")
        self._files.make(self.path("kept"))
        self._files.write(self.path("kept", name), sink.getvalue())
        return Kept(name=name, notes=len(table))

    def _find(self, kept: Kept, wanted: np.ndarray[Any, np.dtype[np.uint64]]) -> Iterator[Note]:
        there = _index(self._home, kept.name)
        first, last = np.searchsorted(there, wanted, "left"), np.searchsorted(there, wanted, "right")
        rows = [row for start, stop in zip(first.tolist(), last.tolist(), strict=True) for row in range(start, stop)]
        if not rows:
            return
        by_group: dict[int, list[int]] = {}
        for row in rows:
            by_group.setdefault(row // _ROWS, []).append(row % _ROWS)
        with pq.ParquetFile(self._files.source(self.path("kept", kept.name))) as file:
            for group, some in by_group.items():
                yield from _notes(file.read_row_group(group).take(some), inputs=kept.inputs)


def _is_turn(name: str) -> bool:
    """Whether a file only says that a turn was taken."""
    return is_temporary(name) or name.endswith("-000000.jsonl")


def _goes_on(run: str, epoch: int, folder: RunFolder) -> bool:
    return run == folder.run and epoch >= folder.epoch


def _beginnings(records: Any) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The first eight bytes of names as numbers, by which the notes are sorted."""
    joined = records.combine_chunks() if isinstance(records, pa.ChunkedArray) else records
    if not len(joined):
        return np.empty(0, np.uint64)
    names = np.frombuffer(joined.buffers()[1], ">u8")[2 * joined.offset : 2 * (joined.offset + len(joined))]
    return names[::2].astype(np.uint64)


@lru_cache(maxsize=256)
def _index(home: str, name: str) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The beginnings of all names in a file, which never changes: 8 bytes for each note."""
    table = pq.read_table(files_at(home).source(f"{home}/kept/{name}"), columns=["record"], schema=_SCHEMA)
    return _beginnings(table["record"])


def _table(notes: Sequence[Note]) -> pa.Table:
    return pa.table(
        {
            "record": [bytes.fromhex(note.record) for note in notes],
            "inputs": [bytes.fromhex(note.inputs) or None for note in notes],
            "end": [note.end.value for note in notes],
            "at": [note.at for note in notes],
            "value": [note.value for note in notes],
            "reason": [note.reason for note in notes],
            "error": [note.error for note in notes],
            "status": [note.status for note in notes],
            "timed_out": [note.timed_out for note in notes],
        },
        schema=_SCHEMA,
    )


def _notes(table: pa.Table, *, inputs: bool) -> Iterator[Note]:
    for row in table.to_pylist():
        named, end = {"record": row.pop("record").hex(), "inputs": (row.pop("inputs") or b"").hex()}, row.pop("end")
        yield Note(**(named if inputs else named | {"inputs": ""}), end=End(end), **row)
