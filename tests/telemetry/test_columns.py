from __future__ import annotations

import json
from decimal import Decimal

import pytest

from dataflow.errors import StoreError
from dataflow.telemetry.columns import ColumnStatistics
from dataflow.telemetry.sketches import Distinct

VALUES = [
    ("bool", False, True),
    ("int64", -(2**63), 2**63),
    ("double", 0.1, float("inf")),
    ("double", float("-inf"), -1.0),
    ("string", "", "Zoë\n"),
    ("decimal128(20, 2)", Decimal("9.00"), Decimal("10.00")),
    ("timestamp[ns]", "2025-01-01T00:00:00.000000001", "2025-01-01T00:00:00.000000002"),
    ("struct<a: int64>", None, None),
]


@pytest.mark.parametrize(("kind", "low", "high"), VALUES)
def test_the_state_survives_json_with_the_types_of_its_values(kind, low, high):
    column = ColumnStatistics(type=kind, nulls=3, min=low, max=high)
    read = ColumnStatistics.from_dict(json.loads(json.dumps(column.to_dict(), allow_nan=False)))
    assert read == column
    assert (type(read.min), type(read.max)) == (type(low), type(high))


@pytest.mark.parametrize(("kind", "low", "high"), VALUES)
def test_merging_keeps_the_least_and_the_greatest_value(kind, low, high):
    parts = [
        ColumnStatistics(type=kind, min=high, max=high),
        ColumnStatistics(type=kind, nulls=7),
        ColumnStatistics(type=kind, min=low, max=low, nulls=1),
    ]
    assert ColumnStatistics.merged("x", parts) == ColumnStatistics(type=kind, nulls=8, min=low, max=high)


def test_decimals_are_compared_as_numbers_after_json():
    parts = [
        ColumnStatistics(type="decimal128(4, 2)", min=Decimal(value), max=Decimal(value)) for value in ("9.00", "10.00")
    ]
    read = [ColumnStatistics.from_dict(part.to_dict()) for part in parts]
    assert ColumnStatistics.merged("x", read).max == Decimal("10.00")


def test_partitions_of_different_types_are_refused_by_name():
    parts = [ColumnStatistics(type="int64"), ColumnStatistics(type="string")]
    with pytest.raises(StoreError, match=r"'amount'.*int64.*string"):
        ColumnStatistics.merged("amount", parts)


def test_a_long_text_is_cut_and_still_sorts():
    column = ColumnStatistics(type="string", min="a" * 10_000_000, max="b" * 65)
    assert (column.min, column.max) == ("a" * 64, "b" * 64)


def test_not_a_number_is_not_a_value():
    column = ColumnStatistics(type="double", min=float("nan"), max=float("nan"))
    assert (column.min, column.max) == (None, None)


def test_the_report_holds_numbers_as_numbers_and_the_rest_as_text():
    column = ColumnStatistics(type="decimal128(4, 2)", nulls=1, min=Decimal("-1.50"), max=Decimal("2.00"))
    assert column.report() == {"type": "decimal128(4, 2)", "nulls": 1, "min": "-1.50", "max": "2.00"}
    assert ColumnStatistics(type="double", max=float("inf")).report()["max"] == "inf"


def test_distinct_values_are_reported_only_where_they_were_sketched():
    column = ColumnStatistics(type="string", distinct=Distinct.of(["a", "b"]))
    assert column.report()["distinct"]["estimate"] == 2
    assert "distinct" not in ColumnStatistics(type="string").report()
    assert ColumnStatistics.from_dict(json.loads(json.dumps(column.to_dict()))) == column
