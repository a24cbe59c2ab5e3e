"""One Parquet part: from a table to bytes and back, with its checksum and what its footer knows.

Nothing here writes to disk. A part is made in memory, where it takes a fifth of its table, so that it is
hashed and described without being read again, and reaches every kind of catalog in one piece.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as kinds

from dataflow.errors import StoreError
from dataflow.store.files import Data
from dataflow.store.sources.arrays import empty_table
from dataflow.telemetry.columns import ColumnStatistics
from dataflow.telemetry.profile import column_statistics, table_statistics, text_of

_PANDAS = b"pandas"

_WRITING: dict[str, Any] = {
    "compression": "zstd",
    "write_page_checksum": True,
    # A column of near-unique text gives its dictionary up sooner: a tenth less time, and a smaller file.
    "dictionary_pagesize_limit": 128 * 1024,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFile:
    """One written file.

    Attributes:
        name: Its name within its folder.
        rows: Rows in it.
        bytes: Its size.
        checksum: `sha256:` and the digest of all its bytes.
    """

    name: str
    rows: int
    bytes: int
    checksum: str


def encode(table: pa.Table) -> pa.Buffer:
    """The table as the bytes of a Parquet file.

    zstd, since against snappy it costs a seventh more time to write and the file is a third smaller; with page
    checksums, since without them Parquet does not notice a flipped bit. The index that pandas notes in a schema
    is left out: it is that of another table.

    Raises:
        StoreError: Parquet has no place for the type of a column.
    """
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(without_pandas(table), sink, **_WRITING)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise StoreError(f"the output cannot be written as Parquet: {_blamed(table.schema)}") from error
    return sink.getvalue()


def without_pandas(table: pa.Table) -> pa.Table:
    """The table without the note of pandas about its index."""
    metadata = table.schema.metadata or {}
    if _PANDAS not in metadata:
        return table
    return table.replace_schema_metadata({key: value for key, value in metadata.items() if key != _PANDAS} or None)


def require_writable(schema: pa.Schema) -> None:
    """Raise StoreError where Parquet has no place for a column, before anything has been done or paid."""
    encode(empty_table(schema))


def _blamed(schema: pa.Schema) -> str:
    """Which columns Parquet refuses; its own message often does not name them."""
    refused = []
    for field in schema:
        try:
            pq.write_table(empty_table(pa.schema([field])), pa.BufferOutputStream())
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            refused.append(f"column {field.name!r} has the type {field.type}")
    advice = "; let a transformation turn it into another type"
    return ", ".join(refused) + advice if refused else "a value does not fit its column; see the cause"


def checksum(data: Data) -> str:
    """The digest by which a part is recognised: sha256, which the processor computes at about 2 GB/s."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def short(digest: str) -> str:
    """The digits of a checksum that go into a file's name."""
    return digest.partition(":")[2][:8]


def type_identity(kind: pa.DataType) -> str:
    """What is the same for equal types alone; how a type prints may differ for equal ones and agree for others."""
    if isinstance(kind, pa.BaseExtensionType):
        own = kind.__arrow_ext_serialize__() if isinstance(kind, pa.ExtensionType) else b""
        return repr((str(kind), own, type_identity(kind.storage_type)))
    if kinds.is_dictionary(kind):
        return repr((kind.id, str(kind.index_type), type_identity(kind.value_type), kind.ordered))
    if kinds.is_map(kind):
        return repr((kind.id, kind.keys_sorted, _entry(kind.key_field), _entry(kind.item_field)))
    if kinds.is_struct(kind) or kinds.is_union(kind):
        return repr((kind.id, [(child.name, _entry(child)) for child in map(kind.field, range(kind.num_fields))]))
    if kinds.is_nested(kind):
        return repr((kind.id, getattr(kind, "list_size", None), _entry(kind.value_field)))
    return str(kind)


def _entry(field: pa.Field) -> tuple[str, bool]:
    """A field within another without its name, which counts in structs alone."""
    return type_identity(field.type), field.nullable


def schema_digest(schema: pa.Schema) -> str:
    """16 hex digits over names, types and nullability; metadata does not count, nor what entries are called."""
    text = "\n".join(f"{field.name}\0{type_identity(field.type)}\0{field.nullable}" for field in schema)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def described(table: pa.Table, part: pa.Buffer, *, distinct: bool = False) -> dict[str, ColumnStatistics]:
    """The statistics of every column, with an estimate of its distinct values where asked for.

    For text the least and greatest value come from the footer, which the writer had to find them for anyway:
    Arrow's kernels would take a sixth of the time that writing takes.
    """
    if distinct:
        return table_statistics(table, distinct=table.schema.names)
    footer = _text_bounds(pq.read_metadata(pa.BufferReader(part)))
    return {name: _column(table[name], footer.get(name)) for name in table.schema.names}


def _column(values: pa.ChunkedArray, bounds: tuple[str, str] | None) -> ColumnStatistics:
    if bounds is None:
        return column_statistics(values)
    return ColumnStatistics(type=str(values.type), nulls=values.null_count, min=bounds[0], max=bounds[1])


def _text_bounds(footer: pq.FileMetaData) -> dict[str, tuple[str, str]]:
    """Least and greatest text of the flat columns for which every row group knows them."""
    found: dict[str, tuple[str, str]] = {}
    for number in range(footer.num_columns):
        column = footer.schema.column(number)
        chunks = [footer.row_group(group).column(number).statistics for group in range(footer.num_row_groups)]
        if "." in column.path or column.logical_type.type != "STRING":
            continue
        if chunks and all(chunk is not None and chunk.has_min_max for chunk in chunks):
            least, greatest = min(chunk.min_raw for chunk in chunks), max(chunk.max_raw for chunk in chunks)
            found[column.path] = text_of(least), text_of(greatest)
    return found


def decode(source: Any, schema: pa.Schema, *, older: Collection[str] = ()) -> pa.Table:
    """The table of a part under the schema it was written with, see `restored`; page checksums are compared.

    Parquet forgets a few types (seconds, date64, dictionaries of numbers, large text within dictionaries); they
    are restored.
    """
    with pq.ParquetFile(source, page_checksum_verification=True) as file:
        return restored(file.read(), schema, older=older)


def restored(table: pa.Table, schema: pa.Schema, *, older: Collection[str] = ()) -> pa.Table:
    """The table under `schema`, from which it differs only by what Parquet forgets.

    Args:
        table: As it was read.
        schema: As it was written.
        older: Columns that a part may lack, since an older dataflow has written it; they are null then.
    """
    columns = [
        pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        if field.name in older and field.name not in table.schema.names
        else _restored(table[field.name], field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _restored(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if values.type == kind:
        return values
    if kinds.is_dictionary(kind) and not kinds.is_dictionary(values.type):
        return values.cast(kind.value_type).dictionary_encode().cast(kind)
    return values.cast(kind)
