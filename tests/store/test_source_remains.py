"""What can be read of a record that cannot be read as a whole is kept: above all its key."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_reading import read_all

import dataflow as flow
from dataflow.store.sources import csv, jsonl, parquet

TYPES = {"lead": pa.string(), "n": pa.int64(), "day": pa.date32()}


@pytest.fixture
def write(tmp_path):
    def to(data, name="leads.csv"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return to


@pytest.mark.parametrize("target", [1 << 26, 20])
def test_a_line_keeps_the_cells_that_fit_their_columns(write, target):
    data = "lead,n,day\nA,1,2026-01-01\nB,x,2026-01-02\nC,3\nD,4,never\n,y,z\n"
    found = read_all(csv(write(data)), TYPES, target=target)
    assert [one.row for one in found.unreadable] == [2, 3, 4, 5]
    kept = [tuple(one.values()) for one in found.remains]
    assert [one for one in kept if any(one)] == [("B", None, date(2026, 1, 2)), ("D", 4, None)]


def test_a_json_line_keeps_the_values_that_fit_their_columns(write):
    lines = [
        '{"lead":"A","n":1}',
        '{"lead":"B","n":"x","day":"2026-01-02"}',
        '{"lead":"H","n":2.5}',
        '{"lead":"D',
        "[1]",
    ]
    lines += ['{"lead":"E","n":5,"day":"never"}', '{"lead":"F","n":6}', '{"lead":"G","n":99999999999999999999}']
    found = read_all(jsonl(write("\n".join(lines), "leads.jsonl"), schema=TYPES))
    assert [one.row for one in found.unreadable] == [2, 3, 4, 5, 6, 8]
    kept = [tuple(one.values()) for one in found.remains]
    none = (None, None, None)
    wanted = [("B", None, date(2026, 1, 2)), ("H", None, None), none, none, ("E", 5, None), ("G", None, None)]
    assert kept == wanted
    assert found.table.column("lead").to_pylist() == ["A", "F"]


def test_a_row_keeps_the_values_that_fit_their_columns(tmp_path):
    pq.write_table(pa.table({"lead": ["A"], "n": [1.5]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"lead": ["B", "C"], "n": [2**53 + 1, 2]}), tmp_path / "b.parquet")
    found = read_all(parquet(tmp_path))
    assert (found.remains, len(found.unreadable)) == ([{"lead": "B", "n": None}], 1)


@flow.transformation
def double(n: int) -> int:
    return 2 * n


def test_a_record_that_cannot_be_read_is_found_by_its_key(write, tmp_path):
    source = csv(write("lead,n\nA,1\nB,x\nC\n"))
    catalog = tmp_path / "catalog"
    run = flow.Pipeline("p", [double]).run(source, "o", key="lead", catalog=catalog, max_failures="100%")
    assert [(one["lead"], one["raw"]) for one in run.rejects().to_pylist()] == [("B", "B,x"), (None, "C")]
    story = flow.why("o", "B", catalog=str(catalog))
    assert "column `n`: the text is no valid int64" in str(story)
