"""One slice of delimited text to a batch: text parsed, columns converted, what does not fit set apart.

A source row is the number of the record, from 1 behind the header; blank lines are no records and do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.errors import SourceError
from dataflow.plan.partitions import Batch, PartitionSpec, Unreadable
from dataflow.store.filesystem import shown, unchanged
from dataflow.store.sources.arrays import int64_array, nulls
from dataflow.store.sources.content import text_file
from dataflow.store.sources.cuts import Marks, Positions, record_ends
from dataflow.store.sources.options import DelimitedOptions
from dataflow.store.sources.parsing import Parsed, parse
from dataflow.store.sources.texts import convert


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """The text of one slice.

    Attributes:
        data: All of it, as UTF-8.
        marks: Its delimiter and quote.
        names: The columns of its file, in the order of the file.
        parsed: Its records.
    """

    data: bytes
    marks: Marks
    names: tuple[str, ...]
    parsed: Parsed

    def numbers(self) -> Positions:
        """The number in the slice, from 1, of each record of the parsed table."""
        ragged = [record.number - 1 for record in self.parsed.ragged]
        return np.delete(np.arange(1, self.parsed.count + 1, dtype=np.int64), ragged)

    def raw(self, numbers: Positions) -> Iterator[str]:
        """The text of the records with these numbers, as found."""
        ends = np.concatenate((np.zeros(1, dtype=np.int64), record_ends(self.data, self.marks)))
        for number in numbers.tolist():
            yield self.data[ends[number - 1] : ends[number]].strip(b"\r\n").decode()


def read_delimited(options: Mapping[str, Any], spec: PartitionSpec, *, schema: pa.Schema) -> Batch:
    """Read one slice under the schema.

    Raises:
        SourceError: The file has changed, is not in its encoding, or ends within quotes.
    """
    text = read_text(options, spec)
    columns, misfits = _convert(text.parsed.table, schema)
    table, numbers = pa.table(columns, schema=schema), text.numbers()
    unreadable, remains = list(_ragged(text, spec.first_row)), None
    if misfits:
        bad = np.array(sorted(misfits), dtype=np.int64)
        # Of a record with too many or too few fields nobody knows which is which.
        remains = pa.concat_tables([nulls(len(unreadable), schema), table.take(int64_array(bad))])
        unreadable += _misfits(text, misfits, numbers=numbers[bad], schema=schema, first_row=spec.first_row)
        kept = np.delete(np.arange(len(numbers), dtype=np.int64), bad)
        table, numbers = table.take(int64_array(kept)), numbers[kept]
    order = np.argsort(np.array([one.row for one in unreadable], dtype=np.int64))
    return Batch(
        table=table,
        rows=int64_array(numbers + (spec.first_row - 1)),
        unreadable=tuple(unreadable[at] for at in order.tolist()),
        remains=None if remains is None else remains.take(int64_array(order)),
    )


def read_text(options: Mapping[str, Any], spec: PartitionSpec) -> Text:
    """The text of a slice with its records, all columns still text."""
    given = DelimitedOptions.from_dict(options)
    names = tuple(options["headers"].get(spec.path, options["columns"]))
    file = text_file(spec.path, fingerprint=spec.fingerprint, encoding=given.encoding, structure=given.structure)
    with unchanged(spec.path, spec.fingerprint):
        raw = file.slice(spec.start, spec.stop, limit=options["limit"])
    data = file.to_utf8(raw, offset=spec.start)
    try:
        parsed = parse(data, given.marks, names=names, null_values=given.null_values)
    except pa.ArrowInvalid as error:
        for _ in file.checked([data], offset=spec.start):
            pass
        raise SourceError(f"{shown(spec.path)}, from row {spec.first_row}: the text cannot be parsed") from error
    if parsed.unclosed:
        raise unclosed(spec.path, spec.first_row - 1 + parsed.count)
    return Text(data=data, marks=given.marks, names=names, parsed=parsed)


def unclosed(path: str, row: int) -> SourceError:
    """The error for a quote that is still open where the file ends."""
    return SourceError(
        f"{shown(path)}, row {row}: a quote opens in this record and is never closed; mend the file, "
        "or give quote=None if quotes are ordinary characters in it"
    )


def _convert(text: pa.Table, schema: pa.Schema) -> tuple[list[pa.ChunkedArray], dict[int, str]]:
    """The columns of the schema, and the first column that does not fit by position of the record."""
    columns, misfits = [], dict[int, str]()
    for field in schema:
        if field.name not in text.schema.names:
            columns.append(pa.chunked_array([pa.nulls(text.num_rows, field.type)]))
            continue
        converted = convert(text.column(field.name), field.type)
        columns.append(converted.values)
        if converted.misfits is not None:
            for position in pc.indices_nonzero(converted.misfits).to_pylist():
                misfits.setdefault(position, field.name)
    return columns, misfits


def _ragged(text: Text, first_row: int) -> Iterator[Unreadable]:
    for record in text.parsed.ragged:
        yield Unreadable(
            row=first_row - 1 + record.number,
            column=None,
            error=f"the record has {record.fields} fields, the file has {len(text.names)} columns",
            raw=record.raw,
        )


def _misfits(
    text: Text, misfits: Mapping[int, str], *, numbers: Positions, schema: pa.Schema, first_row: int
) -> Iterator[Unreadable]:
    columns = [misfits[position] for position in sorted(misfits)]
    for column, number, raw in zip(columns, numbers.tolist(), text.raw(numbers), strict=True):
        error = f"the text is no valid {schema.field(column).type}"
        yield Unreadable(row=first_row - 1 + number, column=column, error=error, raw=raw)
