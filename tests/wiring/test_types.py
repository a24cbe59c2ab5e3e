"""A run keeps every column that it does not read, whatever type it has."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.wiring.run import Run


@flow.transformation(into="twice")
def double(number: int) -> int:
    return 2 * number


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Run]]:
    import dask

    monkeypatch.chdir(tmp_path)
    with dask.config.set(scheduler="threads"):
        yield lambda source, **settings: flow.Pipeline("types", [double]).run(source, "types", **settings)


def spaced(bounds: list[int], values: pa.Array) -> dict[str, pa.Array]:
    """The same values within a list, a struct and a map."""
    offsets, keys = pa.array(bounds, pa.int32()), pa.array([f"k{at}" for at in range(len(values))])
    return {
        "list": pa.ListArray.from_arrays(offsets, values),
        "struct": pa.StructArray.from_arrays([values], ["x"]).take(pa.array(range(len(bounds) - 1))),
        "map": pa.MapArray.from_arrays(offsets, keys, values),
    }


PLAIN = {
    "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int8())),
    "map of maps": pa.array(
        [[("k", [("i", 1.5)])], None, []], pa.map_(pa.string(), pa.map_(pa.string(), pa.float64()))
    ),
    "named entries": pa.array(
        [[("k", 1)], None, []], pa.map_(pa.field("id", pa.string(), nullable=False), pa.field("of", pa.int8()))
    ),
    "decimal32": pa.array([Decimal("1.10"), None, Decimal("-0.5")], pa.decimal32(9, 2)),
    "decimal64": pa.array([Decimal("1.10"), None, Decimal("-0.5")], pa.decimal64(18, 2)),
    "decimal256": pa.array([Decimal("1.10"), None, Decimal("-0.5")], pa.decimal256(70, 2)),
    "uuid": pa.array([uuid.UUID(int=7).bytes, None, uuid.UUID(int=8).bytes], pa.uuid()),
    "json": pa.array(['{"a":1}', None, "[]"], pa.json_()),
    "time": pa.array([time(1, 2, 3), None, time(4)], pa.time32("ms")),
    "moment": pa.array([datetime(2024, 1, 1), None, datetime(1, 1, 1)], pa.timestamp("us", "Europe/Berlin")),
    "day": pa.array([date(2024, 1, 1), None, date(9999, 1, 1)]),
    "duration": pa.array([1, None, 2], pa.duration("ns")),
    "fixed list": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
    "large list": pa.array([[1, 2], None, []], pa.large_list(pa.int8())),
    "bytes": pa.array([b"\xff", None, b""]),
    "fixed bytes": pa.array([b"abc", None, b"def"], pa.binary(3)),
    "dictionary": pa.array(["a", None, "b"]).dictionary_encode(),
    "half": pa.array([1.5, None, 2.5], pa.float16()),
    "null": pa.nulls(3),
}
COLUMNS = PLAIN | {
    f"{layout} of {name}": column
    for name in ("uuid", "json", "decimal32", "bytes", "dictionary", "fixed list")
    for layout, column in spaced([0, 1, 1, 3], PLAIN[name]).items()
}


@pytest.mark.parametrize("profile", [False, True])
@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_that_nobody_reads_is_published_as_it_is(
    run: Callable[..., Run], tmp_path: Path, name: str, *, profile: bool
) -> None:
    table = pa.table({"number": [1, 2, 3], "x": COLUMNS[name]})
    pq.write_table(table, tmp_path / "source.parquet")
    as_read = pq.read_table(tmp_path / "source.parquet")
    found = run(tmp_path / "source.parquet", profile=profile).to_arrow()
    assert found["x"].type == as_read["x"].type
    assert found["x"].to_pylist() == as_read["x"].to_pylist()
    assert found["twice"].to_pylist() == [2, 4, 6]


def not_utf8() -> pa.Array:
    offsets, data = np.array([0, 2, 5, 5], np.int32), b"ab\xffcd"
    return pa.StringArray.from_buffers(3, pa.py_buffer(offsets), pa.py_buffer(data))


@pytest.mark.parametrize("profile", [False, True])
@pytest.mark.parametrize("layout", ["plain", "large", "list", "struct", "map"])
def test_text_that_is_no_utf8_stops_no_run_that_does_not_read_it(
    run: Callable[..., Run], tmp_path: Path, layout: str, *, profile: bool
) -> None:
    text = not_utf8()
    large = pa.LargeStringArray.from_buffers(
        3, pa.py_buffer(np.array([0, 2, 5, 5], np.int64)), pa.py_buffer(b"ab\xffcd")
    )
    column = {"plain": text, "large": large, **spaced([0, 1, 2, 3], text)}[layout]
    pq.write_table(pa.table({"number": [1, 2, 3], "x": column}), tmp_path / "source.parquet")
    found = run(tmp_path / "source.parquet", profile=profile).to_arrow()
    flat = found["x"].combine_chunks()
    while pa.types.is_nested(flat.type):
        flat = flat.items if pa.types.is_map(flat.type) else flat.flatten()
        flat = flat[0] if isinstance(flat, list) else flat
    assert flat.cast(pa.large_binary()).to_pylist() == [b"ab", b"\xffcd", b""]


def test_the_bounds_of_text_that_is_no_utf8_are_escaped(run: Callable[..., Run], tmp_path: Path) -> None:
    pq.write_table(pa.table({"number": [1, 2, 3], "x": not_utf8()}), tmp_path / "source.parquet")
    column = run(tmp_path / "source.parquet").statistics["columns"]["x"]
    assert (column["min"], column["max"]) == ("", r"\xffcd")


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("name", ["plain list", "struct", "bytes", "time", "dictionary", "day", "decimal"])
def test_a_dask_frame_keeps_what_its_columns_hold(run: Callable[..., Run], tmp_path: Path, name: str) -> None:
    import dask.dataframe as dd

    column = {
        "plain list": pa.array([[1, 2], None, [], [3]]),
        "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": 2, "b": "y"}, {"a": 3, "b": None}]),
        "bytes": pa.array([b"\xff", None, b"", b"x"]),
        "time": pa.array([time(1, 2, 3), None, time(4), time(5)]),
        "dictionary": pa.array(["a", None, "b", "a"]).dictionary_encode(),
        "day": pa.array([date(2024, 1, 1), None, date(2024, 1, 2), date(2024, 1, 3)]),
        "decimal": pa.array([Decimal("1.10"), None, Decimal("2.20"), Decimal("3.30")]),
    }[name]
    for at in range(2):
        table = pa.table({"number": [2 * at, 2 * at + 1], "x": column.slice(2 * at, 2)})
        pq.write_table(table, tmp_path / f"{at}.parquet")
    found = run(dd.read_parquet([tmp_path / "0.parquet", tmp_path / "1.parquet"])).to_arrow()
    assert found["number"].to_pylist() == [0, 1, 2, 3]
    assert found["x"].to_pylist() == column.to_pylist()
