"""Lookups: joins records to reference data by kernels, order kept, one row in and one row out.

The index is made once for a worker. Where the table comes from is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.engine.marks import Effect, Mark, to_mask
from dataflow.errors import DeclarationError
from dataflow.outcomes import Status
from dataflow.plan.graph import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Reference data by key.

    Attributes:
        keys: For each key column, its distinct values.
        codes: For each row of the table, its key as one number; None for a key of one column.
        values: The columns to add, aligned with the keys.
    """

    keys: tuple[pa.Array, ...]
    codes: pa.Array | None
    values: tuple[pa.Array, ...]


def build_index(table: pa.Table, step: Step) -> Index:
    """Index the table of a lookup.

    Raises:
        DeclarationError: A key stands in the table twice.
    """
    lookup = step.service.lookup
    names = list(lookup.on.values())
    known = np.logical_and.reduce([to_mask(pc.is_valid(table[name])) for name in names])
    table = table.filter(pa.array(known)) if not known.all() else table
    columns = [_decoded(table[name]) for name in names]
    keys = tuple(pc.unique(column) if len(columns) > 1 else column for column in columns)
    codes = _combined(columns, keys) if len(columns) > 1 else None
    distinct = pc.count_distinct(columns[0] if codes is None else codes).as_py()
    if distinct != table.num_rows:
        raise DeclarationError(
            f"`{step.service.name}`: {table.num_rows - distinct} rows of the table repeat a key "
            f"({', '.join(names)}); a record would become several, so make the key unique first"
        )
    return Index(keys=keys, codes=codes, values=_values(table, step))


def _values(table: pa.Table, step: Step) -> tuple[pa.Array, ...]:
    if step.fields != (None,):
        return tuple(table[field].combine_chunks() for field in step.fields)
    chosen = [name for name in table.column_names if name not in set(step.service.lookup.on.values())]
    names = step.service.lookup.select or chosen
    columns = [table[name].combine_chunks() for name in names]
    return (pa.StructArray.from_arrays(columns, fields=list(step.types[0])),)


def find(index: Index, columns: Sequence[Any]) -> Effect:
    """The values for each record; a record without a match is `not_found`."""
    wanted = [_as_key(column, keys.type) for column, keys in zip(columns, index.keys, strict=True)]
    if index.codes is None:
        places = pc.index_in(wanted[0], value_set=index.keys[0])
    else:
        places = pc.index_in(_combined(wanted, index.keys), value_set=index.codes)
    places = places.combine_chunks() if isinstance(places, pa.ChunkedArray) else places
    missing = to_mask(pc.is_null(places))
    rows = np.flatnonzero(missing)
    marks = (Mark(status=Status.NOT_FOUND, reason="no match", rows=rows),) if len(rows) else ()
    return Effect(values=tuple(pc.take(value, places) for value in index.values), marks=marks, calls=len(columns[0]))


def _decoded(column: Any) -> Any:
    joined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return joined.dictionary_decode() if pa.types.is_dictionary(joined.type) else joined


def _as_key(column: Any, arrow: pa.DataType) -> Any:
    decoded = _decoded(column)
    return decoded if decoded.type == arrow else decoded.cast(arrow)


def _combined(columns: Sequence[Any], keys: Sequence[pa.Array]) -> pa.Array:
    total: Any = None
    for column, known in zip(columns, keys, strict=True):
        code = pc.index_in(column, value_set=known).cast(pa.int64())
        total = code if total is None else pc.add(pc.multiply(total, pa.scalar(len(known), pa.int64())), code)
    return total
