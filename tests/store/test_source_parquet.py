from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_reading import read_all

from dataflow.errors import SourceError
from dataflow.store.sources import parquet, read
from dataflow.store.sources.drift import widen
from dataflow.store.sources.rowgroups import slice_rows


@pytest.fixture
def write(tmp_path):
    def to(columns, name="leads.parquet", **options):
        path = tmp_path / name
        pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)
        return path

    return to


EVERYTHING = pa.table(
    {
        "ns": pa.array([1, None, 2**62], pa.timestamp("ns")),
        "zoned": pa.array([1, None, 3], pa.timestamp("us", "Europe/Berlin")),
        "decimal": pa.array([Decimal("1.10"), None, Decimal("-999.99")], pa.decimal128(5, 2)),
        "dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
        "nested": pa.array([{"x": [1, None], "y": {"z": "a"}}, None, {"x": [], "y": None}]),
        "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int8())),
        "large": pa.array(["x", None, ""], pa.large_string()),
        "bytes": pa.array([b"\0", None, b""], pa.binary()),
        "small": pa.array([1, None, 255], pa.uint8()),
        "day": pa.array([date(1, 1, 1), None, date(9999, 12, 31)]),
        "float": pa.array([0.1, None, float("nan")], pa.float32()),
        "null": pa.nulls(3),
    }
)


@pytest.mark.parametrize("options", [{}, {"row_group_size": 1}, {"row_group_size": 2, "compression": "zstd"}])
@pytest.mark.parametrize("target", [1 << 26, 1])
def test_columns_come_out_bit_for_bit(write, options, target):
    path = write(EVERYTHING, write_page_checksum=True, **options)
    found = read_all(parquet(path), target=target)
    assert found.table.schema == EVERYTHING.schema
    for name in EVERYTHING.schema.names:
        if name != "float":
            assert found.table.column(name).to_pylist() == EVERYTHING.column(name).to_pylist()
    np.testing.assert_array_equal(found.table.column("float").to_numpy(), EVERYTHING.column("float").to_numpy())
    assert found.rows == [1, 2, 3]


def test_what_pandas_wrote_has_no_metadata_of_pandas(write):
    table = pa.table({"a": [1]}).replace_schema_metadata({"pandas": "{}"})
    assert read_all(parquet(write(table))).plan.schema.metadata is None


def test_slices_follow_row_groups_and_know_their_rows(write):
    path = write({"a": list(range(1000))}, row_group_size=100, use_dictionary=False, compression=None)
    size = pq.read_metadata(path).row_group(1).total_byte_size
    plan = parquet(path).plan({}, target_bytes=3 * size + 5)
    assert [(spec.start, spec.stop, spec.first_row, spec.rows) for spec in plan.specs[:2]] == [
        (0, 300, 1, 300),
        (300, 600, 301, 300),
    ]
    found = read_all(parquet(path), target=3 * size + 5)
    assert found.table.column("a").to_pylist() == list(range(1000))
    assert found.rows == list(range(1, 1001))


def test_a_large_row_group_is_divided_by_rows(write):
    path = write({"a": list(range(1000)), "b": [[str(i)] for i in range(1000)]}, use_dictionary=False)
    found = read_all(parquet(path), target=1000)
    assert len(found.plan.specs) > 5
    assert found.table.column("a").to_pylist() == list(range(1000))
    assert found.table.column("b").to_pylist() == [[str(i)] for i in range(1000)]
    assert found.rows == list(range(1, 1001))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 500)), max_size=20), st.integers(1, 600))
def test_slices_cover_all_rows_once_and_stay_near_the_target(groups, target):
    rows, sizes = [count for count, _ in groups], [size for _, size in groups]
    slices = list(slice_rows(rows, sizes, target=target))
    assert [row for start, stop in slices for row in range(start, stop)] == list(range(sum(rows)))
    assert all(start < stop for start, stop in slices)


def test_files_are_not_glued_together(write, tmp_path):
    for number in range(3):
        write({"a": [number]}, name=f"{number}.parquet")
    plan = parquet(tmp_path).plan({}, target_bytes=1 << 26)
    assert [spec.rows for spec in plan.specs] == [1, 1, 1]


@pytest.mark.parametrize("table", [EVERYTHING.slice(0, 0), EVERYTHING.schema.empty_table()])
def test_a_file_without_rows_has_its_schema(write, table):
    found = read_all(parquet(write(table)))
    assert found.plan.schema == EVERYTHING.schema
    assert found.plan.specs == ()


def test_a_file_without_row_groups_has_its_schema(tmp_path):
    with pq.ParquetWriter(tmp_path / "none.parquet", pa.schema([("a", pa.int8())])):
        pass
    assert read_all(parquet(tmp_path)).plan.schema == pa.schema([("a", pa.int8())])


def test_a_column_that_only_some_files_have_is_null_elsewhere(write, tmp_path):
    write({"a": [1]}, name="1.parquet")
    write({"b": ["x"], "a": [2]}, name="2.parquet")
    found = read_all(parquet(tmp_path))
    assert found.records == [(1, None), (2, "x")]
    assert found.plan.notes[0].startswith("`b` is missing in some files and null there, as in ")


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.uint8(), pa.int8(), pa.int16()),
        (pa.uint32(), pa.int8(), pa.int64()),
        (pa.int64(), pa.float64(), pa.float64()),
        (pa.int8(), pa.float32(), pa.float64()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.binary(), pa.large_binary(), pa.large_binary()),
        (pa.null(), pa.date32(), pa.date32()),
        (pa.list_(pa.null()), pa.list_(pa.string()), pa.list_(pa.string())),
        (pa.list_(pa.int8()), pa.large_list(pa.int64()), pa.large_list(pa.int64())),
        (pa.dictionary(pa.int32(), pa.string()), pa.string(), pa.string()),
        (pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.string()), pa.string()),
        (pa.uint64(), pa.int64(), None),
        (pa.string(), pa.int64(), None),
        (pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ns")),
        (pa.timestamp("s", "UTC"), pa.timestamp("us", "UTC"), pa.timestamp("us", "UTC")),
        (pa.timestamp("us", "UTC"), pa.timestamp("us"), None),
        (pa.duration("s"), pa.duration("ms"), pa.duration("ms")),
        (pa.time32("s"), pa.time64("ns"), pa.time64("ns")),
        (pa.decimal128(5, 2), pa.decimal128(6, 2), pa.decimal128(6, 2)),
        (pa.decimal32(9, 0), pa.decimal32(9, 9), pa.decimal64(18, 9)),
        (pa.decimal128(38, 0), pa.decimal128(38, 38), pa.decimal256(76, 38)),
        (pa.decimal256(76, 0), pa.decimal128(5, 2), None),
        (pa.bool_(), pa.int8(), None),
        (pa.struct([("a", pa.int8())]), pa.struct([("a", pa.int16())]), pa.struct([("a", pa.int16())])),
        (pa.struct([("a", pa.int8())]), pa.struct([("a", pa.string())]), None),
        (pa.list_(pa.int8()), pa.list_(pa.string()), None),
    ],
)
def test_two_types_widen_to_one_that_holds_both_or_to_none(one, other, both):
    assert widen(one, other) == both
    assert widen(other, one) == both


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pa.array([1], pa.int8()), pa.array([2.5])),
        (pa.array([1], pa.int32()), pa.array([2**40])),
        (pa.array(["x"]).dictionary_encode(), pa.array(["y"])),
        (pa.array(["x"], pa.large_string()), pa.array(["y"])),
        (pa.nulls(1), pa.array([date(2024, 1, 1)])),
        (pa.array([[]], pa.list_(pa.null())), pa.array([["x"]])),
        (pa.array([5], pa.timestamp("us")), pa.array([7000], pa.timestamp("ns"))),
        (pa.array([5], pa.duration("s")), pa.array([7], pa.duration("us"))),
        (pa.array([5, None], pa.time32("s")), pa.array([7], pa.time64("us"))),
        (pa.array([Decimal("1.1")], pa.decimal128(5, 1)), pa.array([Decimal("1.111")], pa.decimal64(18, 3))),
        (pa.array([{"a": 1, "b": [None, 2]}, None]), pa.array([{"b": [0.5], "a": 2}, {"b": None, "a": None}])),
        (pa.array([[1, 2], None, [], [3]]), pa.array([[0.5]])),
    ],
)
def test_widened_columns_hold_the_values_of_all_files(write, tmp_path, first, second):
    write({"a": first}, name="1.parquet")
    write({"a": second}, name="2.parquet")
    found = read_all(parquet(tmp_path))
    assert found.table.column("a").to_pylist() == first.to_pylist() + second.to_pylist()


def test_a_widening_is_noted(write, tmp_path):
    write({"a": [1]}, name="1.parquet")
    write({"a": [2.5]}, name="2.parquet")
    plan = parquet(tmp_path).plan({}, target_bytes=1)
    assert plan.notes == ("`a` is int64 and double in different files and is read as double",)


def test_an_integer_that_a_fraction_cannot_hold_is_rejected_alone(write, tmp_path):
    write({"a": [1, 2**53 + 1, None, 2**53], "b": ["x", "y", "z", "w"]}, name="1.parquet")
    write({"a": [0.5], "b": ["v"]}, name="2.parquet")
    found = read_all(parquet(tmp_path))
    assert found.records == [(1.0, "x"), (None, "z"), (2.0**53, "w"), (0.5, "v")]
    assert found.rows == [1, 3, 4, 1]
    assert [(r.row, r.column, r.raw) for r in found.unreadable] == [(2, "a", '{"a": 9007199254740993, "b": "y"}')]


def test_any_other_drift_is_refused_by_file_column_and_both_types(write, tmp_path):
    write({"a": [1]}, name="1.parquet")
    write({"a": ["x"]}, name="2.parquet")
    with pytest.raises(SourceError, match=r"2\.parquet: column `a` is string here and int64 in .*1\.parquet"):
        parquet(tmp_path).plan({}, target_bytes=1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-3],
        lambda b: b[: len(b) // 2],
        lambda b: b"",
        lambda b: b"a,b\n1,2\n",
        lambda b: b[: -8 - int.from_bytes(b[-8:-4], "little")] + b"\xff" * 200 + b[-8:],
    ],
)
def test_a_damaged_file_is_named_before_any_work(write, tmp_path, damage):
    write({"a": [1]}, name="1.parquet")
    path = write({"a": list(range(100))}, name="2.parquet")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SourceError, match=r"2\.parquet: is cut off, damaged or no Parquet file"):
        parquet(tmp_path).plan({}, target_bytes=1)


def test_a_flipped_byte_is_found_by_the_checksum_of_its_page(write):
    path = write({"a": list(range(1000))}, write_page_checksum=True, compression=None, use_dictionary=False)
    plan = parquet(path).plan({}, target_bytes=1 << 20)
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    specs = parquet(path).plan({}, target_bytes=1 << 20).specs
    with pytest.raises(SourceError, match="is cut off, damaged or no Parquet file"):
        read(plan.options, specs[0], schema=plan.schema)


def test_names_that_come_twice_are_refused(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), tmp_path / "x.parquet")
    with pytest.raises(SourceError, match="has `a` more than once"):
        parquet(tmp_path).plan({}, target_bytes=1)


def test_a_file_without_columns_is_refused(write):
    with pytest.raises(SourceError, match="has no columns"):
        parquet(write(pa.table({"a": [1]}).select([]))).plan({}, target_bytes=1)


def test_a_value_that_the_wider_type_cannot_hold_rejects_its_record_at_any_depth(write, tmp_path):
    late, big = 2**62, 2**53 + 1
    first = {"t": pa.array([late, 1, 2, None], pa.timestamp("us")), "l": [[1], [1, big], None, [2]]}
    write({**first, "s": [{"x": [1]}, {"x": []}, {"x": [big]}, None]}, name="1.parquet")
    second = {"t": pa.array([1000], pa.timestamp("ns")), "l": [[0.5]], "s": [{"x": [0.5], "y": "new"}]}
    write(second, name="2.parquet")
    found = read_all(parquet(tmp_path))
    assert [(record.row, record.column) for record in found.unreadable] == [(1, "t"), (2, "l"), (3, "s")]
    assert found.rows == [4, 1]
    assert found.table.select(["l", "s"]).to_pylist() == [
        {"l": [2.0], "s": None},
        {"l": [0.5], "s": {"x": [0.5], "y": "new"}},
    ]
