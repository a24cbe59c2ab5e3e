"""The files of the passes that ask for distinct keys: keys by partition, answers by bucket, and what each bucket cost.

All are Arrow files in the folder of the run, sorted by key, so that a bucket is a slice; a run that goes on finds them,
and publishing removes them. What a key or an answer means is not known here.
"""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from dataflow.engine.foreseeing import Foreseen
from dataflow.engine.marks import Rows
from dataflow.engine.resolving import KeyRecord, Keys, bucket_of, cut, failed_keys, prefixes_of, sorted_by_key, united
from dataflow.errors import StoreError
from dataflow.plan.resolve import Answered, BucketTask, KeyTask, read_answered
from dataflow.store.commit import RunFolder
from dataflow.store.files import files_at, is_temporary, translated
from dataflow.store.filesystem import is_remote
from dataflow.store.sources.arrays import empty_table
from dataflow.telemetry.sketches import Distinct
from dataflow.telemetry.statistics import Statistics

_SLICE = 2048
"""Keys of one batch of a file: what is read at least for a bucket."""
_FOLDED = 200_000
"""Keys of a bucket that are held before those that were seen are dropped."""
_OPEN = 256
"""Answers of buckets that a process keeps open."""
_HELD = 256 * 2**20
"""Bytes of them where they are no files that can be mapped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A bucket whose keys have been called.

    Attributes:
        bucket: Its number.
        epoch: The epoch of the run in which it was.
        failed: Keys that a service has failed for.
        statistics: What the calls have cost.
    """

    bucket: int
    epoch: int
    failed: int
    statistics: Statistics


class ResolveFiles:
    """The files of one run, as of the epoch of whoever holds its folder.

    Args:
        folder: The run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._files = files_at(folder.root)
        self._tables: OrderedDict[str, pa.Table] = OrderedDict()
        self._listed: dict[str, dict[int, str]] = {}
        self._lock = threading.Lock()

    def put_keys(self, task: KeyTask, keys: Mapping[str, Keys], *, foreseen: Foreseen | None = None) -> None:
        """Keep the keys of a partition, and what became of its records before; on return they are on disk."""
        ahead = {} if foreseen is None else {"foreseen": msgspec.json.encode(foreseen.to_dict())}
        with self._translated(f"keeping {task.place}"):
            for service, one in keys.items():
                path = self._path(task.folder, "keys", service)
                self._files.make(path)
                note = {
                    "records": str(one.records),
                    "own": str(one.table.num_rows),
                    "sketch": base64.b64encode(one.sketch.state),
                    **ahead,
                }
                self._files.write(
                    f"{path}/{task.spec.identity}.arrow", _encode(one.table.replace_schema_metadata(note))
                )

    def key_records(self, folder: str, services: Sequence[str]) -> dict[str, dict[str, KeyRecord]]:
        """By partition, the counts of each service; partitions that lack one are left out."""
        found: dict[str, dict[str, KeyRecord]] = {}
        with self._translated("reading which keys are known"):
            for service in services:
                for name in self._names(folder, "keys", service):
                    record = self._key_record(self._path(folder, "keys", service, name))
                    found.setdefault(name.removesuffix(".arrow"), {})[service] = record
        return {name: one for name, one in found.items() if len(one) == len(services)}

    def _key_record(self, path: str) -> KeyRecord:
        reader = self._open(path)
        note = reader.schema.metadata
        sketch = Distinct(state=base64.b64decode(note[b"sketch"]))
        ahead = note.get(b"foreseen")
        foreseen = None if ahead is None else Foreseen.from_dict(msgspec.json.decode(ahead))
        return KeyRecord(records=int(note[b"records"]), own=int(note[b"own"]), sketch=sketch, foreseen=foreseen)

    def keys_of(self, task: BucketTask, service: str) -> pa.Table | None:
        """The distinct keys of a bucket with their inputs, from all partitions; None where there is no file."""
        held: list[pa.Table] = []
        with self._translated(f"reading {task.place}"):
            for name in self._names(task.folder, "keys", service):
                held.append(self._slice(self._path(task.folder, "keys", service, name), task))
                if sum(table.num_rows for table in held) > _FOLDED:
                    held = [united(held)]
        return sorted_by_key(united(held)) if held else None

    def _slice(self, path: str, task: BucketTask) -> pa.Table:
        reader = self._open(path)
        parts = [
            cut(pa.Table.from_batches([batch]), bucket=task.index, buckets=task.buckets) for batch in _batches(reader)
        ]
        whole = pa.concat_tables(parts) if parts else empty_table(reader.schema)
        return whole.replace_schema_metadata(None)

    def put_answers(self, task: BucketTask, answers: Mapping[str, pa.Table], *, statistics: Statistics) -> Done:
        """Keep the answers of a bucket, and then that it is done."""
        done = Done(
            bucket=task.index,
            epoch=self._folder.epoch,
            failed=sum(int(np.sum(failed_keys(table).to_numpy())) for table in answers.values()),
            statistics=statistics,
        )
        name = f"{task.index:05d}-{done.epoch:05d}"
        with self._translated(f"keeping {task.place}"):
            for service, table in answers.items():
                path = self._path(task.folder, "answers", service)
                self._files.make(path)
                self._files.write(f"{path}/{name}.arrow", _encode(table))
            self._files.make(self._path(task.folder, "done"))
            record = {"failed": done.failed, "statistics": statistics.to_dict()}
            self._files.create(self._path(task.folder, "done", f"{name}.json"), msgspec.json.encode(record))
        return done

    def done(self, folder: str) -> list[Done]:
        """The buckets of a stage that were called, each as often as it was."""
        with self._translated("reading which keys were called"):
            read = self._files.read_all(self._path(folder, "done"))
            return [_done(name, msgspec.json.decode(data)) for name, data in read]

    def spent(self) -> Statistics:
        """What all calls of keys have cost in this run so far."""
        with self._translated("reading what distinct keys have cost"):
            folders = self._files.folders(self._path())
        return Statistics.merged([one.statistics for folder in folders for one in self.done(folder)])

    def is_done(self, task: BucketTask) -> bool:
        """Whether a bucket was called, in this epoch where it is to be called again."""
        names = self._names(task.folder, "done")
        least = self._folder.epoch if task.again else 0
        return any(_number(name)[0] == task.index and _number(name)[1] >= least for name in names)

    def answers_before(self, task: BucketTask, service: str) -> pa.Table | None:
        """The answers of a bucket that was called in an earlier epoch."""
        path = self._answer_paths(task.folder, service).get(task.index)
        return None if path is None else self._table(path)

    def put_plan(self, folder: str, services: Sequence[str], *, buckets: int) -> None:
        """Note which services of a stage are resolved, in how many buckets."""
        with self._translated("noting what is resolved"):
            self._files.make(self._path(folder))
            values = {"services": list(services), "buckets": buckets}
            self._files.create(self._path(folder, "plan.json"), msgspec.json.encode(values))

    def plan(self, folder: str) -> tuple[tuple[str, ...], int] | None:
        """What `put_plan` noted, or None."""
        try:
            values = msgspec.json.decode(self._files.read(self._path(folder, "plan.json")))
        except FileNotFoundError:
            return None
        return tuple(values["services"]), values["buckets"]

    def put_answered(self, answered: Answered) -> None:
        """Note which services are resolved, for a run that is published as it is."""
        values = {name: {"folder": one.folder, "buckets": one.buckets} for name, one in answered.items()}
        with self._translated("noting what is resolved"):
            self._files.make(self._path())
            self._files.write(self._path("answered.json"), msgspec.json.encode(values))

    def answered(self) -> Answered:
        """What `put_answered` noted last; nothing where it was never called."""
        try:
            return read_answered(msgspec.json.decode(self._files.read(self._path("answered.json"))))
        except FileNotFoundError:
            return {}

    def reader(self, answered: Answered) -> AnswerReader:
        """The answers of some services."""
        return AnswerReader(self, answered)

    def _answer_paths(self, folder: str, service: str, *, whole: int | None = None) -> dict[int, str]:
        """The newest file of each bucket; `whole` is how many there are when nothing more will come."""
        home = self._path(folder, "answers", service)
        if home in self._listed:
            return self._listed[home]
        paths: dict[int, str] = {}
        for name in sorted(self._names(folder, "answers", service)):
            paths[_number(name)[0]] = f"{home}/{name}"
        if len(paths) == whole:
            self._listed[home] = paths
        return paths

    def _table(self, path: str) -> pa.Table:
        with self._lock, self._translated("reading answers"):
            if path not in self._tables:
                self._tables[path] = self._open(path).read_all()
            self._tables.move_to_end(path)
            while len(self._tables) > 1 and (len(self._tables) > _OPEN or self._weight() > _HELD):
                self._tables.popitem(last=False)
            return self._tables[path]

    def _weight(self) -> int:
        """Bytes in memory; what is mapped counts for none."""
        return sum(table.nbytes for table in self._tables.values()) if is_remote(self._folder.root) else 0

    def _open(self, path: str) -> Any:
        source = self._files.source(path)
        try:
            return pa.ipc.open_file(pa.memory_map(source) if isinstance(source, str) else source)
        except pa.ArrowInvalid as error:
            raise StoreError(f"{path} is damaged; remove it and run again") from error

    def _names(self, *names: str) -> list[str]:
        return [name for name in self._files.sizes(self._path(*names)) if not is_temporary(name)]

    def _path(self, *names: str) -> str:
        return self._folder.path("resolve", *names)

    def _translated(self, doing: str) -> Any:
        return translated(f"run {self._folder.run} of {self._folder.dataset}: {doing}")


class AnswerReader:
    """The answers to distinct keys, as partitions ask for them; buckets are opened when they are needed.

    Args:
        files: Where they are.
        answered: The services that are resolved.
    """

    def __init__(self, files: ResolveFiles, answered: Answered) -> None:
        self._files = files
        self.services = frozenset(answered)
        self._answered = answered

    def find(self, service: str, keys: Sequence[bytes]) -> tuple[pa.Table, Rows]:
        """Rows of answers, and for each key its row among them or -1."""
        resolved = self._answered[service]
        paths = self._files._answer_paths(resolved.folder, service, whole=resolved.buckets)
        by_bucket: dict[int, list[int]] = {}
        for at, key in enumerate(keys):
            by_bucket.setdefault(bucket_of(key, buckets=resolved.buckets), []).append(at)
        places = np.full(len(keys), -1, np.int64)
        found, size = [], 0
        for bucket, wanted in by_bucket.items():
            if bucket in paths:
                table = self._files._table(paths[bucket])
                rows = _rows_of(table, [keys[at] for at in wanted])
                known = np.flatnonzero(rows >= 0)
                places[np.array(wanted)[known]] = np.arange(size, size + len(known))
                found.append(table.take(pa.array(rows[known])))
                size += len(known)
        # An older dataflow has noted less of its answers.
        whole = pa.concat_tables(found, promote_options="default").combine_chunks() if found else pa.table({})
        return whole, places


def stage_folder(number: int, before: Sequence[Done]) -> str:
    """The folder of a stage: its keys follow from what the stage before it has answered, and from nothing else."""
    if number == 0:
        return "0"
    text = repr(sorted((one.bucket, one.epoch) for one in before))
    return f"{number}-{blake2b(text.encode(), digest_size=6).hexdigest()}"


def _rows_of(table: pa.Table, keys: Sequence[bytes]) -> Rows:
    """The row of each key in a sorted table, or -1."""
    prefixes = prefixes_of(table)
    wanted = np.array([int.from_bytes(key[:8], "big") for key in keys], np.uint64)
    rows = np.searchsorted(prefixes, wanted).astype(np.int64)
    there = np.flatnonzero(rows < len(prefixes))
    same = table["key"].take(pa.array(rows[there])).to_pylist()
    kept = [at for at, key in zip(there.tolist(), same, strict=True) if key == keys[at]]
    found = np.full(len(keys), -1, np.int64)
    found[kept] = rows[kept]
    return found


def _encode(table: pa.Table, *, batch: int | None = None) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks(), max_chunksize=batch)
    return sink.getvalue()


def _batches(reader: Any) -> Iterator[pa.RecordBatch]:
    return (reader.get_batch(at) for at in range(reader.num_record_batches))


def _number(name: str) -> tuple[int, int]:
    """Bucket and epoch of a file."""
    bucket, _, epoch = name.partition(".")[0].partition("-")
    return int(bucket), int(epoch)


def _done(name: str, values: Mapping[str, Any]) -> Done:
    bucket, epoch = _number(name)
    return Done(
        bucket=bucket, epoch=epoch, failed=values["failed"], statistics=Statistics.from_dict(values["statistics"])
    )
