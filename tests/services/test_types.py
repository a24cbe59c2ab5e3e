"""Which Arrow columns can be read under a declaration, and which types hold the values of another."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from dataflow.services.annotations import declare
from dataflow.services.types import accepts, holds

FITS: list[tuple[Any, list[pa.DataType]]] = [
    (str, [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.large_string()), pa.null()]),
    (int, [pa.int8(), pa.int64(), pa.uint64(), pa.dictionary(pa.int8(), pa.int32())]),
    (float, [pa.float16(), pa.float64(), pa.int64()]),
    (bool, [pa.bool_()]),
    (bytes, [pa.binary(), pa.large_binary(), pa.binary(4)]),
    (datetime.datetime, [pa.timestamp("s"), pa.timestamp("ns", "UTC")]),
    (datetime.date, [pa.date32(), pa.date64()]),
    (datetime.time, [pa.time32("s"), pa.time64("ns")]),
    (datetime.timedelta, [pa.duration("ms")]),
    (Decimal, [pa.decimal128(5, 2), pa.decimal256(60, 2)]),
    (
        list[str],
        [pa.list_(pa.large_string()), pa.large_list(pa.string()), pa.list_(pa.string(), 3), pa.list_(pa.null())],
    ),
    (dict[str, int], [pa.map_(pa.string(), pa.int8())]),
    (pa.struct({"a": pa.int64()}), [pa.struct({"b": pa.string(), "a": pa.int32()})]),
    (pa.dictionary(pa.int32(), pa.string()), [pa.string(), pa.dictionary(pa.int8(), pa.string())]),
    (Any, [pa.int8(), pa.list_(pa.int8())]),
]

MISFITS: list[tuple[Any, list[pa.DataType]]] = [
    (str, [pa.int64(), pa.binary(), pa.list_(pa.string())]),
    (int, [pa.float64(), pa.bool_(), pa.string(), pa.decimal128(5, 0)]),
    (float, [pa.string(), pa.bool_(), pa.decimal128(5, 2)]),
    (bool, [pa.int8(), pa.string()]),
    (datetime.datetime, [pa.date32(), pa.int64(), pa.string()]),
    (datetime.date, [pa.timestamp("s")]),
    (list[int], [pa.list_(pa.string()), pa.int64(), pa.list_(pa.float64())]),
    (list[list[int]], [pa.list_(pa.int64()), pa.list_(pa.list_(pa.string()))]),
    (dict[str, int], [pa.struct({"a": pa.int64()}), pa.map_(pa.int8(), pa.int8()), pa.map_(pa.string(), pa.string())]),
    (pa.struct({"a": pa.int64()}), [pa.struct({"a": pa.string()}), pa.struct({"b": pa.int64()}), pa.int64()]),
]


@pytest.mark.parametrize(("hint", "types"), FITS, ids=lambda one: str(one)[:30])
def test_a_column_of_the_same_family_can_be_read(hint: Any, types: list[pa.DataType]) -> None:
    assert all(accepts(declare(hint, where=""), arrow) for arrow in types)


@pytest.mark.parametrize(("hint", "types"), MISFITS, ids=lambda one: str(one)[:30])
def test_a_column_of_another_family_cannot(hint: Any, types: list[pa.DataType]) -> None:
    assert not any(accepts(declare(hint, where=""), arrow) for arrow in types)


@pytest.mark.parametrize(
    ("wanted", "arrow", "expected"),
    [
        (pa.int64(), pa.int32(), True),
        (pa.int32(), pa.int64(), False),
        (pa.int64(), pa.uint64(), False),
        (pa.float64(), pa.float32(), True),
        (pa.float64(), pa.int64(), False),
        (pa.string(), pa.large_string(), True),
        (pa.string(), pa.dictionary(pa.int8(), pa.string()), True),
        (pa.string(), pa.int64(), False),
        (pa.timestamp("us"), pa.timestamp("us", "UTC"), False),
        (pa.list_(pa.int8()), pa.list_(pa.int8()), True),
    ],
)
def test_a_type_holds_another_if_every_value_fits(wanted: pa.DataType, arrow: pa.DataType, expected: bool) -> None:
    assert holds(wanted, arrow) is expected
