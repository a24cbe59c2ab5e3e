"""Reads the statistics of columns off Arrow arrays.

Least and greatest values come from Arrow's kernels and cost little; a sketch of the distinct values costs about
0.1 microseconds a record and column, so it is made only where it was asked for (`--profile`) or decides something
(inputs of cached services). Nothing here merges or formats.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from dataflow.telemetry.columns import ColumnStatistics, Value
from dataflow.telemetry.sketches import Distinct

_PROBE = 10_000
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FIRST_SECOND, _LAST_SECOND = -62_167_219_200, 253_402_300_799

Bounds = tuple[Value | None, Value | None]


def table_statistics(table: pa.Table, *, distinct: Collection[str] = ()) -> dict[str, ColumnStatistics]:
    """The statistics of every column of a table, in its order.

    Args:
        table: The records that were written.
        distinct: Names of the columns whose distinct values are sketched.
    """
    return {name: column_statistics(table[name], distinct=name in distinct) for name in table.schema.names}


def column_statistics(values: pa.Array | pa.ChunkedArray, *, distinct: bool = False) -> ColumnStatistics:
    """The statistics of one column.

    Binary and nested types have no least and greatest value, nested ones no distinct values, and neither has what
    Arrow cannot compare. Dates and timestamps before the year 0 or after 9999 count as the nearest that ISO text
    can say; bytes that are no UTF-8 are escaped.
    """
    plain = _plain(values)
    try:
        least, greatest = _bounds(plain)
    except pa.ArrowNotImplementedError:
        least, greatest = None, None
    return ColumnStatistics(
        type=str(values.type),
        nulls=values.null_count,
        min=least,
        max=greatest,
        distinct=_sketch(plain) if distinct else None,
    )


def _plain(values: Any) -> Any:
    """The values in a type that Arrow's kernels know; of a dictionary, each value in use once."""
    if isinstance(values.type, pa.BaseExtensionType):
        return _plain(values.cast(values.type.storage_type))
    if kinds.is_dictionary(values.type):
        unified = values.unify_dictionaries() if isinstance(values, pa.ChunkedArray) else values
        return _plain(unified.unique().cast(values.type.value_type))
    if kinds.is_string_view(values.type):
        return values.cast(pa.large_string())
    if kinds.is_decimal32(values.type) or kinds.is_decimal64(values.type):
        return values.cast(pa.decimal128(values.type.precision, values.type.scale))
    return values.cast(pa.float32()) if kinds.is_float16(values.type) else values


def _is_text(kind: pa.DataType) -> bool:
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind))


def _is_clock(kind: pa.DataType) -> bool:
    return bool(kinds.is_timestamp(kind) or kinds.is_date(kind) or kinds.is_time(kind))


def _bounds(values: Any) -> Bounds:
    kind = values.type
    if _is_clock(kind):
        return _clock_bounds(values)
    if kinds.is_duration(kind):
        least, greatest = _min_max(values.cast(pa.int64()))
        per_second = _PER_SECOND[kind.unit]
        return (None, None) if least is None else (least / per_second, greatest / per_second)
    ordered = kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind)
    if _is_text(kind):
        least, greatest = _min_max(_as_bytes(values))
        return (None, None) if least is None else (text_of(least), text_of(greatest))
    if ordered or kinds.is_decimal(kind):
        return _min_max(values)
    return None, None


def _as_bytes(values: Any) -> Any:
    return values.cast(pa.large_binary() if kinds.is_large_string(values.type) else pa.binary())


def text_of(value: bytes) -> str:
    """The text of a value; bytes that are no UTF-8, which Arrow does not check, are escaped."""
    return value.decode(errors="backslashreplace")


def _min_max(values: Any) -> tuple[Any, Any]:
    pair = pc.min_max(values)
    return pair["min"].as_py(), pair["max"].as_py()


def _clock_bounds(values: Any) -> Bounds:
    """ISO text by Arrow's own printing: Python's types end at microseconds and at the year 9999."""
    kind = values.type
    least, greatest = _min_max(_integers(values))
    if least is None:
        return None, None
    first, last = _range(kind)
    pair = [min(max(value, first), last) for value in (least, greatest)]
    printed = pa.timestamp(kind.unit) if kinds.is_timestamp(kind) else kind
    texts = pa.array(pair, _integer_type(kind)).cast(printed).cast(pa.string()).to_pylist()
    zone = "Z" if kinds.is_timestamp(kind) and kind.tz else ""
    low, high = (text.replace(" ", "T") + zone for text in texts)
    return low, high


def _range(kind: pa.DataType) -> tuple[int, int]:
    """The first and the last value of a type of date or time that four digits of the year can say."""
    if kinds.is_date32(kind):
        return _FIRST_SECOND // 86_400, _LAST_SECOND // 86_400
    per_second = 10**3 if kinds.is_date64(kind) else _PER_SECOND[kind.unit]
    return _FIRST_SECOND * per_second, (_LAST_SECOND + 1) * per_second - 1


def _integer_type(kind: pa.DataType) -> pa.DataType:
    return pa.int32() if kind.bit_width == 32 else pa.int64()


def _integers(values: Any) -> Any:
    return values.cast(_integer_type(values.type))


def _sketch(values: Any) -> Distinct | None:
    """The sketch of what is not null; values that repeat are made distinct by Arrow first, which is faster."""
    keys = _keys(values.drop_null())
    if keys is None:
        return None
    probe = keys.slice(0, _PROBE)
    repeats = len(probe.unique()) * 2 < len(probe)
    listed = _listed(keys.unique() if repeats else keys)
    if listed and isinstance(listed[0], bytes):
        return Distinct.of([value.decode("latin-1") for value in listed])
    return Distinct.of(listed)


def _listed(keys: Any) -> list[Any]:
    try:
        return list(keys.to_pylist())
    except UnicodeDecodeError:
        return [text_of(value) for value in _as_bytes(keys).to_pylist()]


def _keys(values: Any) -> Any:
    """The values in a type that the sketch tells apart, or None for nested types."""
    kind = values.type
    if _is_clock(kind) or kinds.is_duration(kind):
        return _integers(values)
    if kinds.is_integer(kind) or kinds.is_boolean(kind):
        return values.cast(pa.int64(), safe=False)
    if kinds.is_decimal(kind):
        return values.cast(pa.string())
    binary = kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_fixed_size_binary(kind)
    known = binary or _is_text(kind) or kinds.is_floating(kind) or kinds.is_null(kind)
    return values if known else None
