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
        keys: For each key column, its distinct values; a key of one column has them in the order of the table.
        pairs: For each further key column, the distinct keys up to it as numbers; the last ones in the order of
            the table.
        values: The columns to add, aligned with the keys.
    """

    keys: tuple[pa.Array, ...]
    pairs: tuple[pa.Array, ...]
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
    pairs: list[pa.Array] = []
    for at in range(1, len(columns)):
        paired = _paired(_places(columns[:at], keys, pairs), columns[at], keys[at])
        pairs.append(paired if at == len(columns) - 1 else pc.unique(paired))
    distinct = pc.count_distinct([*keys[:1], *pairs][-1]).as_py()
    if distinct != table.num_rows:
        raise DeclarationError(
            f"`{step.service.name}`: {table.num_rows - distinct} rows of the table repeat a key "
            f"({', '.join(names)}); a record would become several, so make the key unique first"
        )
    return Index(keys=keys, pairs=tuple(pairs), values=_values(table, step))


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
    places = _places(wanted, index.keys, index.pairs)
    missing = to_mask(pc.is_null(places))
    rows = np.flatnonzero(missing)
    marks = (Mark(status=Status.NOT_FOUND, reason="no match", rows=rows),) if len(rows) else ()
    return Effect(values=tuple(pc.take(value, places) for value in index.values), marks=marks, calls=len(columns[0]))


def _decoded(column: Any) -> Any:
    joined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return joined.dictionary_decode() if pa.types.is_dictionary(joined.type) else joined


def _as_key(column: Any, arrow: pa.DataType) -> Any:
    decoded = _decoded(column)
    if decoded.type == arrow:
        return decoded
    try:
        return decoded.cast(arrow)
    except pa.ArrowInvalid:
        return _cast_where_exact(decoded, arrow)


def _cast_where_exact(column: pa.Array, arrow: pa.DataType) -> pa.Array:
    """The values that the other type can hold; null for the rest, which no key can equal."""
    cast = column.cast(arrow, safe=False)
    exact = pc.equal(cast.cast(column.type, safe=False), column)
    if pa.types.is_integer(column.type):
        zero, also = pa.scalar(0, column.type), pa.scalar(0, arrow)
        exact = pc.and_(exact, pc.equal(pc.less(column, zero), pc.less(cast, also)))
    return pc.if_else(exact, cast, pa.scalar(None, arrow))


def _places(columns: Sequence[Any], keys: Sequence[pa.Array], pairs: Sequence[pa.Array]) -> pa.Array:
    """The number of each key among the distinct ones; after each column anew, so that no number grows past 64 bits."""
    places = pc.index_in(columns[0], value_set=keys[0])
    for column, known, paired in zip(columns[1:], keys[1:], pairs, strict=False):
        places = pc.index_in(_paired(places, column, known), value_set=paired)
    return places


def _paired(places: pa.Array, column: Any, known: pa.Array) -> pa.Array:
    code = pc.index_in(column, value_set=known).cast(pa.int64())
    return pc.add(pc.multiply(places.cast(pa.int64()), pa.scalar(len(known), pa.int64())), code)
