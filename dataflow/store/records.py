"""What is known about one committed partition, as one line of JSON and back; reading and writing files is done beside.

All records of a run may be held at once, so the greater part of each is kept small.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from dataflow.store.parts import PartFile
from dataflow.telemetry.statistics import Statistics


@dataclass(frozen=True, slots=True)
class _Lacking:
    """The one count that is asked for without reading the others."""

    not_attempted_records: int = 0


class Counts:
    """The state of a `Statistics`: JSON in a file, deflated in memory, since all records of a run may be held."""

    __slots__ = ("_deflated",)

    def __init__(self, state: Any) -> None:
        self._deflated = zlib.compress(msgspec.json.encode(state), 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counts) and self.json == other.json

    def __hash__(self) -> int:
        return hash(self._deflated)

    @property
    def json(self) -> msgspec.Raw:
        """The state as JSON."""
        return msgspec.Raw(zlib.decompress(self._deflated))

    @property
    def not_attempted(self) -> int:
        """Records that lack a service which was not attempted."""
        return _lacking_decoder.decode(self.json).not_attempted_records

    @property
    def statistics(self) -> Statistics:
        """What was counted; made anew at each use."""
        return Statistics.from_dict(msgspec.json.decode(self.json))


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRecord:
    """One committed partition: where its records are and what was counted.

    Attributes:
        identity: The identity of the partition spec.
        index: Its position in the plan.
        epoch: The epoch of the run in which it was committed.
        schema: Digest of the schema of the part.
        part: The file with the output.
        rejects: The file with the rejected records, or None where there are none.
        failures: The file with the outcomes that did not succeed, or None where there are none.
        counts: What was counted, with the columns of the part.
        taken_from: The version that it was taken over from as it was, or None where it was made by its run.
    """

    identity: str
    index: int
    epoch: int
    schema: str
    part: PartFile
    rejects: PartFile | None
    failures: PartFile | None
    counts: Counts
    taken_from: int | None = None

    @property
    def rows(self) -> int:
        """Records in the output."""
        return self.part.rows

    @property
    def rejected(self) -> int:
        """Records in the rejects."""
        return self.rejects.rows if self.rejects else 0


def record_to_json(record: CommitRecord) -> bytes:
    """A commit record as one line of JSON."""
    return _record_encoder.encode(record)


def record_from_json(data: bytes) -> CommitRecord:
    """The commit record that `record_to_json` wrote; msgspec.DecodeError where it is none."""
    return _record_decoder.decode(data)


def pack_records(records: Iterable[CommitRecord]) -> pa.Buffer:
    """Many records as JSON lines under zstd, which DuckDB and polars read as they are."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        for record in records:
            packed.write(record_to_json(record) + b"\n")
    return sink.getvalue()


def unpack_records(data: bytes) -> Iterator[CommitRecord]:
    """The records that `pack_records` wrote, one at a time."""
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as packed, io.BufferedReader(packed) as lines:
        yield from map(record_from_json, lines)


def _packed(kind: type, state: Any) -> Any:
    return kind(state)


def _unpacked(value: Any) -> Any:
    return value.json


_lacking_decoder = msgspec.json.Decoder(_Lacking)
_record_decoder = msgspec.json.Decoder(CommitRecord, dec_hook=_packed)
_record_encoder = msgspec.json.Encoder(enc_hook=_unpacked)
