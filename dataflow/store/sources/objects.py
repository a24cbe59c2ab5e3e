"""One slice of JSON lines to a batch: every line decoded by itself, what does not fit set apart.

A source row is the number of the line, from 1, without counting empty lines.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.plan.partitions import Batch, PartitionSpec, Unreadable
from dataflow.store.filesystem import unchanged
from dataflow.store.sources.arrays import empty_table, int64_array
from dataflow.store.sources.content import text_file
from dataflow.store.sources.decoding import RecordDecoder, Refused, by_text_type, read_what_fits, record_decoder
from dataflow.store.sources.lines import lines
from dataflow.store.sources.sequential import BLOCK
from dataflow.store.sources.texts import convert

# So few that the garbage collector never walks over old ones; ten times as many take twice the time.
_PIECE = 1000
_UNFIT = (pa.ArrowException, OverflowError, ValueError, TypeError)

Line: TypeAlias = tuple[int, bytes]
Record: TypeAlias = dict[str, Any]


def read_json_lines(options: Mapping[str, Any], spec: PartitionSpec, *, schema: pa.Schema) -> Batch:
    """Read one slice under the schema, a thousand lines at a time.

    Raises:
        SourceError: The file has changed, or cannot be read.
    """
    file = text_file(spec.path, fingerprint=spec.fingerprint)
    with unchanged(spec.path, spec.fingerprint):
        data = file.slice(spec.start, spec.stop, limit=options["limit"])
    decoder = record_decoder(schema, mixed=options["mixed"])
    numbered = _numbered(data, spec.first_row)
    checked = _is_utf8(data)
    batches = [_read_piece(piece, decoder, schema=schema, checked=checked) for piece in _pieces(numbered)]
    if not batches:
        return Batch(table=empty_table(schema), rows=int64_array(np.empty(0, dtype=np.int64)))
    return Batch(
        table=pa.concat_tables([batch.table for batch in batches]).combine_chunks(),
        rows=pa.concat_arrays([batch.rows for batch in batches]),
        unreadable=tuple(record for batch in batches for record in batch.unreadable),
        remains=pa.concat_tables(
            [batch.remains for batch in batches if batch.remains is not None] or [empty_table(schema)]
        ),
    )


def _numbered(data: bytes, first_row: int) -> Iterator[Line]:
    blocks = iter(partial(io.BytesIO(data).read, BLOCK), b"")
    return ((row, line) for row, (line, _) in enumerate(lines(blocks), first_row))


def _pieces(numbered: Iterator[Line]) -> Iterator[list[Line]]:
    return iter(lambda: list(islice(numbered, _PIECE)), [])


def _read_piece(piece: Sequence[Line], decoder: RecordDecoder, *, schema: pa.Schema, checked: bool) -> Batch:
    records: list[Record] = []
    taken: list[Line] = []
    unreadable: list[Unreadable] = []
    left: list[Record] = []
    for line in piece:
        try:
            records.append(_record(line[1], decoder, checked=checked))
            taken.append(line)
        except Refused as error:
            unreadable.append(_refused(line, error.column, reason=error.reason))
            left.append(read_what_fits(line[1], schema))
    table, misfits = _typed(records, schema)
    found = _without(table, taken, misfits=misfits)
    if not unreadable:
        return found
    remains = [_typed(left, schema)[0], *([] if found.remains is None else [found.remains])]
    unreadable += found.unreadable
    order = np.argsort(np.array([one.row for one in unreadable], dtype=np.int64))
    return replace(
        found,
        unreadable=tuple(unreadable[at] for at in order.tolist()),
        remains=pa.concat_tables(remains).take(int64_array(order)),
    )


def _typed(records: Sequence[Record], schema: pa.Schema) -> tuple[pa.Table, dict[int, str | None]]:
    """The records under the schema; those that do not fit have nulls and are listed with their column."""
    written = pa.schema([(column.name, _written(column.type)) for column in schema])
    table, misfits = _table(records, written)
    columns = []
    for column in schema:
        values, unfit = _convert(table.column(column.name), column.type)
        columns.append(values)
        for position in unfit:
            misfits.setdefault(position, column.name)
    return pa.table(columns, schema=schema), misfits


def _without(table: pa.Table, taken: Sequence[Line], *, misfits: Mapping[int, str | None]) -> Batch:
    """The batch without the records that do not fit, which are unreadable."""
    rows = np.array([row for row, _ in taken], dtype=np.int64)
    if not misfits:
        return Batch(table=table, rows=int64_array(rows))
    bad = sorted(misfits)
    kept = np.delete(np.arange(len(taken), dtype=np.int64), bad)
    reason = "a value does not fit the type of its column"
    return Batch(
        table=table.take(int64_array(kept)),
        rows=int64_array(rows[kept]),
        unreadable=tuple(_refused(taken[at], misfits[at], reason=reason) for at in bad),
        remains=table.take(int64_array(np.array(bad, dtype=np.int64))),
    )


def _record(line: bytes, decoder: RecordDecoder, *, checked: bool) -> Record:
    if not checked and not _is_utf8(line):
        raise Refused("the line is not UTF-8")
    return decoder.record(line)


def _table(records: Sequence[Record], schema: pa.Schema) -> tuple[pa.Table, dict[int, str | None]]:
    """The records as a table; those that Arrow refuses are all null in it and listed with their column."""
    try:
        array = pa.array(records, type=pa.struct(list(schema)))
        return pa.Table.from_batches([pa.RecordBatch.from_struct_array(array)], schema=schema), {}
    except _UNFIT:
        misfits: dict[int, str | None] = {}
        columns = [_array([r.get(c.name) for r in records], c.type, misfits=misfits, name=c.name) for c in schema]
        return pa.table(columns, schema=schema), misfits


def _array(values: list[Any], target: pa.DataType, *, misfits: dict[int, str | None], name: str) -> pa.Array:
    try:
        return pa.array(values, type=target)
    except _UNFIT:
        for position, value in enumerate(values):
            if not _fits(value, target):
                values[position] = None
                misfits.setdefault(position, name)
        return pa.array(values, type=target)


def _fits(value: Any, target: pa.DataType) -> bool:
    try:
        pa.array([value], type=target)
    except _UNFIT:
        return False
    return True


def _written(target: pa.DataType) -> pa.DataType:
    """The type in which values of a column leave the decoder."""
    return pa.string() if by_text_type(target) else target


def _convert(values: pa.ChunkedArray, target: pa.DataType) -> tuple[pa.ChunkedArray, list[int]]:
    if not by_text_type(target):
        return values, []
    converted = convert(values, target)
    return converted.values, [] if converted.misfits is None else pc.indices_nonzero(converted.misfits).to_pylist()


def _refused(line: Line, column: str | None, *, reason: str) -> Unreadable:
    row, data = line
    return Unreadable(row=row, column=column, error=reason, raw=data.decode("utf-8", errors="backslashreplace"))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
