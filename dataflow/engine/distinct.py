"""The distinct inputs of a service among some records: who may share a call, and the key of each. Nothing is called.

Records are compared in Arrow first, so that Python sees each combination of inputs once. Two records in one group
always have one key; two groups may still have the same one, such as of two NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.engine.applicability import exclude
from dataflow.engine.arrow import arrow_array
from dataflow.engine.environment import Environment
from dataflow.engine.keys import is_unlike, key_of, keys_of
from dataflow.engine.marks import NO_ROWS, Rows, join_chunks
from dataflow.plan.graph import Step
from dataflow.services.signature import Injected

_BITS = {pa.float64(): pa.int64(), pa.float32(): pa.int32(), pa.float16(): pa.int16()}
"""Floats are compared bit by bit: 0.0 and -0.0 have different keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Records with the same inputs.

    Attributes:
        first: The place of the first record of each group, ascending.
        of: For each record, its group.
    """

    first: Rows
    of: Rows

    @classmethod
    def alone(cls, size: int) -> Groups:
        """Every record in a group of its own."""
        return cls(first=np.arange(size), of=np.arange(size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The distinct calls that some records would need.

    Attributes:
        asking: The records for which the service would be called, as rows of the partition, ascending.
        first: The first of them for each distinct call.
        keys: The key of each distinct call.
        call_of: For each asking record, the place of its call.
    """

    asking: Rows
    first: Rows
    keys: list[bytes]
    call_of: Rows


def group(step: Step, environment: Environment, rows: Rows | None) -> Groups:
    """Group some records of a partition by what the step would be given for them.

    Args:
        step: A service that is called by record.
        environment: The partition, with all that the step reads.
        rows: The records, or None for all of them.
    """
    size = environment.size if rows is None else len(rows)
    if is_unlike(step):
        return Groups.alone(size)
    columns = [environment.column(column) for column in step.inputs]
    taken = columns if rows is None else [pc.take(column, arrow_array(rows)) for column in columns]
    return group_columns(taken, size)


def group_columns(columns: Sequence[Any], size: int) -> Groups:
    """Group records by their values in all of the columns; where Arrow cannot compare some, each stays alone."""
    codes: Rows | None = None
    for column in columns:
        found = _codes(column)
        if found is None:
            return Groups.alone(size)
        codes = found if codes is None else _combined(codes, found)
    if codes is None:
        codes = np.zeros(size, np.int64)
    first = np.empty(int(codes.max()) + 1 if size else 0, np.int64)
    # Written from the last record to the first, so that the first one stays.
    first[codes[::-1]] = np.arange(size)[::-1]
    return Groups(first=first, of=codes)


def distinct_calls(step: Step, environment: Environment) -> Calls:
    """The distinct calls of a step over a partition whose earlier services have run; see `Calls`.

    Raises:
        DeclarationError: An input is of a type that cannot be part of a key.
    """
    rows = exclude(step, environment).rows
    asking = np.arange(environment.size) if rows is None else rows
    groups = group(step, environment, rows)
    first = asking[groups.first]
    key = key_of(step, keys_of(step))
    columns = environment.values_of(step, first, len(first), injected=dict.fromkeys(Injected))
    places: dict[bytes, int] = {}
    call_of = np.array([places.setdefault(key(row), len(places)) for row in _rows(columns, len(first))], np.int64)
    if len(places) < len(first):
        _, at = np.unique(call_of, return_index=True)
        first = first[at]
    return Calls(asking=asking, first=first, keys=list(places), call_of=call_of[groups.of] if len(asking) else NO_ROWS)


def _rows(columns: Sequence[Sequence[Any]], size: int) -> Any:
    return zip(*columns, strict=True) if columns else [()] * size


def _codes(column: Any) -> Rows | None:
    """A number for each different value, counted from 0 in order of appearance; None where Arrow has no such order."""
    joined = join_chunks(column)
    kind = joined.type
    if pa.types.is_dictionary(kind):
        joined, kind = joined.dictionary_decode(), kind.value_type
    if kind in _BITS:
        joined = joined.view(_BITS[kind])
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        return np.zeros(len(joined), np.int64) if pa.types.is_null(kind) else None
    try:
        encoded = pc.dictionary_encode(joined, null_encoding="encode")
    except pa.ArrowNotImplementedError:
        return None
    codes: Rows = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    return codes


def _combined(one: Rows, other: Rows) -> Rows:
    """The numbers of pairs."""
    if not len(one):
        return one
    pairs = one * (int(other.max()) + 1) + other
    codes: Rows = pa.array(pairs).dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes
