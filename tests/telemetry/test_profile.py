from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest

from dataflow.engine.arrow import keep_pandas_out
from dataflow.telemetry.columns import ColumnStatistics
from dataflow.telemetry.profile import column_statistics, table_statistics

keep_pandas_out()

BERLIN = timezone(timedelta(hours=1))
BOUNDS = [
    (pa.array([True, None, False]), False, True),
    (pa.array([3, None, -2], pa.int8()), -2, 3),
    (pa.array([2**64 - 1, 0], pa.uint64()), 0, 2**64 - 1),
    (pa.array([0.5, float("nan"), 2.0]), 0.5, 2.0),
    (pa.array([0.5, 2.0], pa.float16()), 0.5, 2.0),
    (pa.array([float("nan")]), None, None),
    (pa.array(["b", None, "a"]), "a", "b"),
    (pa.array(["b", "a"], pa.large_string()), "a", "b"),
    (pa.array(["b", "a"], pa.string_view()), "a", "b"),
    (pa.array(["b", "a", None]).dictionary_encode(), "a", "b"),
    (pa.array([Decimal("10.00"), Decimal("9.00")]), Decimal("9.00"), Decimal("10.00")),
    (pa.array([date(2025, 3, 1), date(1969, 12, 31)]), "1969-12-31", "2025-03-01"),
    (pa.array([1, -1], pa.timestamp("ns")), "1969-12-31T23:59:59.999999999", "1970-01-01T00:00:00.000000001"),
    (pa.array([0, 2**60], pa.timestamp("s")), "1970-01-01T00:00:00", "9999-12-31T23:59:59"),
    (
        pa.array([datetime(2025, 1, 1, 0, 30, tzinfo=BERLIN)], pa.timestamp("us", "Europe/Berlin")),
        "2024-12-31T23:30:00.000000Z",
        "2024-12-31T23:30:00.000000Z",
    ),
    (pa.array([1, 2], pa.time64("ns")), "00:00:00.000000001", "00:00:00.000000002"),
    (pa.array([1, 2], pa.time32("ms")), "00:00:00.001", "00:00:00.002"),
    (pa.array([1_500, None], pa.duration("ms")), 1.5, 1.5),
    (pa.array([b"\xff", b"a"]), None, None),
    (pa.array([[1], [2]]), None, None),
    (pa.array([{"a": 1}]), None, None),
    (pa.nulls(2), None, None),
    (pa.array([], pa.date32()), None, None),
]


@pytest.mark.parametrize(("values", "low", "high"), BOUNDS, ids=[str(row[0].type) for row in BOUNDS])
def test_the_least_and_greatest_value_of_every_type(values, low, high):
    found = column_statistics(values)
    assert found == ColumnStatistics(type=str(values.type), nulls=values.null_count, min=low, max=high)


def test_a_dictionary_counts_the_values_in_use_not_those_it_holds():
    values = pa.chunked_array(
        [
            pa.DictionaryArray.from_arrays(pa.array([1, None]), pa.array(["zz", "b"])),
            pa.DictionaryArray.from_arrays(pa.array([0, 0]), pa.array(["c", "a"])),
        ]
    )
    found = column_statistics(values, distinct=True)
    assert (found.nulls, found.min, found.max, found.distinct.estimate()) == (1, "b", "c", 2)


DISTINCT = [
    (pa.array(["", "a", None, "a"]), 2),
    (pa.array([2**63, 2**63 + 1], pa.uint64()), 2),
    (pa.array([True, False, None]), 2),
    (pa.array([1.0, 1.5, 1.5]), 2),
    (pa.array([0, 1], pa.timestamp("ns")), 2),
    (pa.array([date(2025, 1, 1), date(2025, 1, 2)]), 2),
    (pa.array([1, 2], pa.time32("s")), 2),
    (pa.array([1, 2], pa.duration("us")), 2),
    (pa.array([Decimal("1.0"), Decimal("1.5")]), 2),
    (pa.array([b"\xff", b"\xfe", b"\xff"]), 2),
    (pa.array(["a", "b", "b"]).dictionary_encode(), 2),
    (pa.nulls(3), 0),
    (pa.array([], pa.string()), 0),
    (pa.array(["x", "y"] * 20_000), 2),
]


@pytest.mark.parametrize(("values", "expected"), DISTINCT, ids=[str(row[0].type) for row in DISTINCT])
def test_distinct_values_are_counted_in_every_flat_type(values, expected):
    assert column_statistics(values, distinct=True).distinct.estimate() == expected


def test_many_distinct_values_over_chunks_are_estimated_within_the_error():
    values = pa.chunked_array([pa.array([f"user{number}" for number in range(30_000)])] * 2)
    found = column_statistics(values, distinct=True).distinct
    assert found.estimate() == pytest.approx(30_000, rel=found.relative_error)


def test_nested_values_have_no_sketch():
    assert column_statistics(pa.array([[1], [2]]), distinct=True).distinct is None


def test_a_table_is_sketched_only_where_asked():
    table = pa.table({"b": ["x", "y"], "a": [1, None]})
    found = table_statistics(table, distinct={"a"})
    assert list(found) == ["b", "a"]
    assert found["b"] == ColumnStatistics(type="string", min="x", max="y")
    assert found["a"].distinct.estimate() == 1
