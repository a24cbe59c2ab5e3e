"""Parquet: planned from the footers alone, read by rows of consecutive row groups.

A slice is a range of rows that follows the row groups; only a row group of more than two slices is divided, and what
is counted in records, and then each slice decodes it up to its own end. `pyarrow.dataset` is not used: it drops in
silence what only later files have, and lets flipped bytes pass.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataflow.errors import SourceError
from dataflow.plan.graph import PUBLISHED
from dataflow.plan.partitions import Batch, PartitionSpec, SourceFile, SourcePlan, Unreadable, number_specs
from dataflow.store.filesystem import each, is_remote, open_file, read_range, shown, translated, unchanged
from dataflow.store.sources.arrays import int64_array, row_numbers
from dataflow.store.sources.drift import Seen, unify
from dataflow.store.sources.foreign import unreadable_parquet
from dataflow.store.sources.options import duplicates, listed
from dataflow.store.sources.strangers import refuse_strangers
from dataflow.store.sources.widening import widened

FORMAT = "parquet"

_DIVIDED = 2
_OPENING = 1 << 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """What the footer of one file tells.

    Attributes:
        schema: The Arrow schema, without the metadata of the file; files with equal schemas share one.
        ours: Whether dataflow has published the file.
        rows: Records by row group.
        sizes: Bytes after decompression by row group.
    """

    schema: pa.Schema
    ours: bool
    rows: tuple[int, ...]
    sizes: tuple[int, ...]


def plan_row_groups(files: Sequence[SourceFile], *, target_bytes: int, records: int | None = None) -> SourcePlan:
    """Plan Parquet files by reading every footer; the types are those of the files.

    Raises:
        SourceError: A file is cut off or damaged, or the schemas differ in what cannot be widened.
    """
    schemas: dict[bytes, pa.Schema] = {}
    footers = each(partial(_footer, schemas=schemas), files, remote=is_remote(files[0].path))
    different: dict[int, Seen] = {}
    for file, footer in zip(files, footers, strict=True):
        different.setdefault(id(footer.schema), Seen(schema=footer.schema, path=shown(file.path)))
    refuse_strangers([(seen.path, seen.schema.names) for seen in different.values()])
    unified = unify(list(different.values()))
    ours = all(footer.ours for footer in footers)
    pairs = zip(files, footers, strict=True)
    return SourcePlan(
        schema=unified.schema.with_metadata({PUBLISHED: b"1"}) if ours else unified.schema,
        specs=number_specs(
            spec for file, footer in pairs for spec in _specs(file, footer, target_bytes=target_bytes, records=records)
        ),
        files=tuple(files),
        options={"format": FORMAT},
        notes=unified.notes,
    )


def read_row_groups(options: Mapping[str, Any], spec: PartitionSpec, *, schema: pa.Schema) -> Batch:
    """Read one slice under the schema; pages with checksums are verified.

    Raises:
        SourceError: The file has changed or is damaged.
    """
    with unchanged(spec.path, spec.fingerprint), opened(spec.path) as file:
        table = _rows(file, spec.start, stop=spec.stop)
    columns, misfits = _fit(table, schema)
    fitted = pa.table(columns, schema=schema)
    if not misfits:
        return Batch(table=fitted, rows=row_numbers(spec.first_row, fitted.num_rows))
    bad = np.array(sorted(misfits), dtype=np.int64)
    kept = int64_array(np.delete(np.arange(fitted.num_rows, dtype=np.int64), bad))
    unreadable = tuple(_misfit(table, at, column=misfits[at], first_row=spec.first_row) for at in bad.tolist())
    rows = row_numbers(spec.first_row, fitted.num_rows).take(kept)
    return Batch(table=fitted.take(kept), rows=rows, unreadable=unreadable, remains=fitted.take(int64_array(bad)))


@contextmanager
def opened(path: str) -> Iterator[pq.ParquetFile]:
    """The Parquet file, open; every fault of it becomes a `SourceError` that names it."""
    with translated(path), ExitStack() as stack:
        try:
            remote = is_remote(path)
            source = stack.enter_context(open_file(path)) if remote else path
            yield stack.enter_context(pq.ParquetFile(source, pre_buffer=remote, page_checksum_verification=True))
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
                raise
            problem = unreadable_parquet(path, read_range(path, 0, stop=_OPENING), problem=str(error))
            raise SourceError(f"{shown(path)}: {problem}") from error


def _footer(found: SourceFile, schemas: dict[bytes, pa.Schema]) -> Footer:
    with opened(found.path) as file:
        ours = PUBLISHED in (file.schema_arrow.metadata or {})
        schema = file.schema_arrow.remove_metadata()
        metadata = file.metadata
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    if duplicates(schema.names):
        raise SourceError(f"{shown(found.path)}: has {listed(duplicates(schema.names))} more than once")
    if not schema.names:
        raise SourceError(f"{shown(found.path)}: has no columns")
    return Footer(
        schema=schemas.setdefault(schema.serialize().to_pybytes(), schema),
        ours=ours,
        rows=tuple(group.num_rows for group in groups),
        sizes=tuple(group.total_byte_size for group in groups),
    )


def _specs(found: SourceFile, footer: Footer, *, target_bytes: int, records: int | None) -> Iterator[PartitionSpec]:
    total = max(sum(footer.rows), 1)
    by_bytes = slice_rows(footer.rows, footer.sizes, target=target_bytes)
    for start, stop in by_bytes if records is None else _even(sum(footer.rows), records):
        yield PartitionSpec(
            index=0,
            path=found.path,
            fingerprint=found.fingerprint,
            start=start,
            stop=stop,
            first_row=start + 1,
            rows=stop - start,
            size=found.size * (stop - start) // total,
        )


def slice_rows(rows: Sequence[int], sizes: Sequence[int], *, target: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows of about `target` bytes that begin and end with row groups, but for very large groups."""
    begin, position, held = 0, 0, 0
    for count, size in zip(rows, sizes, strict=True):
        if position > begin and held + size > target:
            yield begin, position
            begin, held = position, 0
        if size > _DIVIDED * target and count > 1:
            pieces = min(math.ceil(size / target), count)
            yield from pairwise(position + count * piece // pieces for piece in range(pieces + 1))
            begin, held = position + count, 0
        else:
            held += size
        position += count
    if position > begin:
        yield begin, position


def _even(rows: int, records: int) -> Iterator[tuple[int, int]]:
    """Ranges of so many rows, whatever row groups they are in."""
    return ((start, min(start + records, rows)) for start in range(0, rows, records))


def _rows(file: pq.ParquetFile, start: int, *, stop: int) -> pa.Table:
    """The rows of a slice: whole row groups, or a part of one."""
    groups: list[int] = []
    first, begins = 0, start
    for index in range(file.metadata.num_row_groups):
        count = file.metadata.row_group(index).num_rows
        if first < stop and first + count > start:
            begins = first if not groups else begins
            groups.append(index)
        first += count
        if first >= stop:
            break
    if begins == start and first == stop:
        return file.read_row_groups(groups, use_threads=False)
    batches = list(_part(file, groups, start=start - begins, stop=stop - begins))
    return pa.Table.from_batches(batches, schema=file.schema_arrow)


def _part(file: pq.ParquetFile, groups: list[int], *, start: int, stop: int) -> Iterator[pa.RecordBatch]:
    position = 0
    for batch in file.iter_batches(row_groups=groups, use_threads=False):
        low, high = max(start - position, 0), min(stop - position, batch.num_rows)
        if low < high:
            yield batch.slice(low, high - low)
        position += batch.num_rows
        if position >= stop:
            return


def _fit(table: pa.Table, schema: pa.Schema) -> tuple[list[pa.ChunkedArray], dict[int, str]]:
    """The columns of the schema, and the first column that does not fit by position of the record."""
    columns, misfits = [], dict[int, str]()
    for field in schema:
        if field.name not in table.schema.names:
            columns.append(pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
            continue
        values = table.column(field.name)
        if values.type != field.type:
            values = _widened(values, field, misfits=misfits)
        columns.append(values)
    return columns, misfits


def _widened(values: pa.ChunkedArray, field: pa.Field, *, misfits: dict[int, str]) -> pa.ChunkedArray:
    chunks, position = [], 0
    for chunk in values.chunks:
        found = widened(chunk, field.type)
        chunks.append(found.values)
        if found.misfits is not None:
            for at in np.flatnonzero(found.misfits).tolist():
                misfits.setdefault(position + at, field.name)
        position += len(chunk)
    return pa.chunked_array(chunks, type=field.type)


def _misfit(table: pa.Table, position: int, *, column: str, first_row: int) -> Unreadable:
    record = {name: _value(table.column(name).slice(position, 1)) for name in table.schema.names}
    return Unreadable(
        row=first_row + position,
        column=column,
        error="a value is too large for the type that holds this column of all files, such as an integer past 2**53",
        raw=json.dumps(record, default=str, ensure_ascii=False),
    )


def _value(column: pa.ChunkedArray) -> Any:
    """The only value of a column; as Arrow prints it where Python has none."""
    try:
        return column.to_pylist()[0]
    except (ValueError, OverflowError):
        return str(column.combine_chunks()).strip("[] \n")
