"""Segments: immutable Parquet files of answers, sorted by key, that anybody may query.

    service, version, key, status, value (JSON), created, cost, code, run

The footer names the segments that one has replaced. A file that cannot be read is damaged, and costs only itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from dataflow.store.cache.answers import FOUND, Origin
from dataflow.store.files import Files

HOME = "_cache"
"""The folder of all segments in a catalog."""

SCHEMA = pa.schema(
    [
        pa.field("service", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("key", pa.binary(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("value", pa.string()),
        pa.field("created", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("cost", pa.float64(), nullable=False),
        pa.field("code", pa.string()),
        pa.field("run", pa.string()),
    ]
)

_ABOUT = b"dataflow"
_ENDING = ".parquet"
_GROUP = 50_000
"""Answers of one row group: what is read at once."""

_WRITING: dict[str, Any] = {
    "compression": "zstd",
    "write_page_checksum": True,
    "row_group_size": _GROUP,
    "use_dictionary": ["service", "version", "status", "code", "run"],
}


class Damaged(Exception):
    """A segment cannot be read; its text says which, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the footer of a segment says.

    Attributes:
        service: The name of the service.
        version: Its version.
        definition: The name of the folder below that of the service.
        replaces: Names of the segments whose answers are all in this one.
        rows: Answers in it.
        bytes: Their size in memory.
    """

    service: str
    version: str
    definition: str
    replaces: tuple[str, ...]
    rows: int
    bytes: int

    def origin(self, code: str | None, run: str | None) -> Origin:
        """Whose answers they are, for those that this code has given in this run."""
        return Origin(service=self.service, version=self.version, definition=self.definition, code=code, run=run)


class Segments:
    """The segments of one catalog.

    Args:
        files: The operations of the catalog.
        root: The catalog, or another folder that has segments.
        home: The folder of them there.
    """

    def __init__(self, files: Files, root: str, *, home: str = HOME) -> None:
        self._files = files
        self._home = f"{root}/{home}"

    def path(self, folder: str, name: str = "") -> str:
        """Where a segment is, or all of a service and definition are."""
        return f"{self._home}/{folder}/{name}" if name else f"{self._home}/{folder}"

    def folders(self, service: str | None = None) -> list[str]:
        """The folders with segments, as `service/definition`: those of a service, or all."""
        services = self._files.folders(self._home) if service is None else [service]
        return [f"{one}/{name}" for one in services for name in self._files.folders(f"{self._home}/{one}")]

    def sizes(self, folder: str) -> dict[str, int]:
        """The segments in a folder and their bytes, by name, in the order in which they were written."""
        found = self._files.sizes(self.path(folder))
        return {name: size for name, size in sorted(found.items()) if name.endswith(_ENDING)}

    def write(self, folder: str, table: pa.Table, *, replaces: Sequence[str] = ()) -> str:
        """Let a segment appear, with its rows as they are; its name.

        Args:
            folder: As `folders` gives it.
            table: Answers under `SCHEMA`, sorted by key.
            replaces: Segments whose answers are all in this one.
        """
        service, _, definition = folder.rpartition("/")
        version = table["version"][0].as_py()
        about = {"service": service, "version": version, "definition": definition, "replaces": list(replaces)}
        described = table.replace_schema_metadata({_ABOUT: msgspec.json.encode(about)})
        sink = pa.BufferOutputStream()
        pq.write_table(described, sink, **_WRITING)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.urandom(5).hex()}{_ENDING}"
        self._files.make(self.path(folder))
        self._files.create(self.path(folder, name), sink.getvalue())
        return name

    def remove(self, folder: str, names: Sequence[str]) -> None:
        """Remove segments; those that are gone are no error."""
        self._files.remove(*(self.path(folder, name) for name in names))

    def read(self, folder: str, name: str, *, columns: Sequence[str] | None = None) -> pa.Table:
        """The answers of a segment, or only some columns of them.

        Raises:
            Damaged: It cannot be read.
            FileNotFoundError: It is gone.
        """
        with self.opened(folder, name) as (file, _):
            return file.read(columns=None if columns is None else list(columns))

    @contextmanager
    def opened(self, folder: str, name: str) -> Iterator[tuple[pq.ParquetFile, About]]:
        """A segment, open for reading, and what its footer says.

        Raises:
            Damaged: It cannot be read, also by what is done in the block.
            FileNotFoundError: It is gone.
        """
        path = self.path(folder, name)
        try:
            with pq.ParquetFile(self._files.source(path), page_checksum_verification=True) as file:
                yield file, _about(file)
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError, ValueError, KeyError, msgspec.MsgspecError) as error:
            raise Damaged(f"{path} cannot be read ({_first_line(error)})") from error


def _about(file: pq.ParquetFile) -> About:
    footer = file.metadata
    given = msgspec.json.decode(footer.metadata[_ABOUT])
    return About(
        service=given["service"],
        version=given["version"],
        definition=given["definition"],
        replaces=tuple(given["replaces"]),
        rows=footer.num_rows,
        bytes=sum(footer.row_group(at).total_byte_size for at in range(footer.num_row_groups)),
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__


def table_of(rows: Sequence[tuple[Origin, bytes, int, int, float, bytes]]) -> pa.Table:
    """Answers of one service and definition as a table.

    Args:
        rows: Origin, key, found, created in microseconds, cost, value; sorted by key.
    """
    origins, keys, found, created, costs, values = zip(*rows, strict=True)
    first = origins[0]
    return pa.table(
        [
            pa.repeat(pa.scalar(first.service), len(rows)),
            pa.repeat(pa.scalar(first.version), len(rows)),
            pa.array(keys, pa.binary()),
            pa.array([str(FOUND[one]) for one in found], pa.string()),
            pa.array([value if one else None for value, one in zip(values, found, strict=True)], pa.binary()).cast(
                pa.string()
            ),
            pa.array(created, pa.int64()).cast(pa.timestamp("us", tz="UTC")),
            pa.array(costs, pa.float64()),
            pa.array([one.code for one in origins], pa.string()),
            pa.array([one.run for one in origins], pa.string()),
        ],
        schema=SCHEMA,
    )
