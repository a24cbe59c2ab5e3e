"""The source rows beside failures and rejects: the right ones, read from no more than is needed, or an error."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflow as flow
from dataflow.errors import CatalogError, SourceError
from dataflow.plan.partitions import PartitionSpec
from dataflow.store.inputs import concerned
from dataflow.wiring.run import Run

NUMBERS = range(60)


@flow.transformation
def double(number: int) -> int:
    if number % 7 == 3:
        raise ValueError("seven")
    return 2 * number


@flow.enrichment
def label(number: int) -> str:
    if number % 5 == 0:
        raise LookupError("five")
    return f"n{number}"


def write_csv(folder: Path) -> None:
    for at in range(3):
        rows = "".join(f'{number},"a\n{number}",s{number}\n' for number in NUMBERS[20 * at : 20 * at + 20])
        (folder / f"{at}.csv").write_text(f"number,note,status\n{rows}")


def write_packed(folder: Path) -> None:
    rows = "".join(f"{number},a{number},s{number}\n" for number in NUMBERS)
    (folder / "0.csv.gz").write_bytes(gzip.compress(f"number,note,status\n{rows}".encode()))


def write_jsonl(folder: Path) -> None:
    rows = [json.dumps({"number": number, "note": [number], "status": f"s{number}"}) for number in NUMBERS]
    (folder / "0.jsonl").write_text("\n".join(rows))


def write_parquet(folder: Path) -> None:
    table = pa.table({"number": list(NUMBERS), "status": [f"s{number}" for number in NUMBERS]})
    pq.write_table(table, folder / "0.parquet", row_group_size=7)


def run(source: Any, folder: Path, **options: Any) -> Run:
    job = flow.Job(flow.Pipeline("p", [double, label]), source=source, output="out", max_failures="100%", **options)
    return job.run(catalog=str(folder / "catalog"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("write", [write_csv, write_packed, write_jsonl, write_parquet])
@pytest.mark.parametrize("key", [None, "number"])
def test_each_failure_has_the_row_that_it_came_from(
    source: Path, tmp_path: Path, write: Callable[[Path], None], key: str | None
) -> None:
    write(source)
    done = run(str(source), tmp_path, key=key)
    plain, found = done.failures(), done.failures(inputs=True)
    assert found.select(plain.column_names).equals(plain)
    expected = [number for number in NUMBERS if number % 7 == 3], [number for number in NUMBERS if number % 5 == 0]
    assert sorted(found["number"].to_pylist()) == sorted([*expected[0], *expected[1]])
    for row in found.to_pylist():
        assert (row["number"] % 7 == 3) if row["service"] == "double" else row["number"] % 5 == 0
        assert (row["status"], row["source_status"]) == ("failed", f"s{row['number']}")
    rejected = done.rejects(inputs=True)
    assert rejected["number"].to_pylist() == expected[0]
    assert rejected["status"].to_pylist() == [f"s{number}" for number in expected[0]]


def test_a_table_that_is_gone_from_memory_is_read_from_where_it_was_kept(tmp_path: Path) -> None:
    done = run(pa.table({"number": list(NUMBERS), "reason": ["r"] * 60, "source_reason": ["s"] * 60}), tmp_path)
    found = done.failures(inputs=True)
    assert found["number"].null_count == 0
    assert set(found["source_reason"].to_pylist()) == {"s"}
    assert set(found["source_source_reason"].to_pylist()) == {"r"}


def test_a_record_that_could_not_be_read_has_nulls_beside_its_raw_text(source: Path, tmp_path: Path) -> None:
    (source / "0.csv").write_text("number,note\n3,a\nx,b\n10,c\n")
    found = run(str(source), tmp_path).rejects(inputs=True).to_pylist()
    assert [(row["service"], row["number"], row["note"], row["raw"]) for row in found] == [
        ("double", 3, "a", None),
        ("source", None, None, "x,b"),
        ("double", 10, "c", None),
    ]


def test_nothing_failed_has_the_columns_too(source: Path, tmp_path: Path) -> None:
    (source / "0.csv").write_text("number,note\n1,a\n")
    found = run(str(source), tmp_path).failures(inputs=True)
    assert (found.num_rows, found.column_names[-2:]) == (0, ["number", "note"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.write_text("number,note\n5,a\n6,b\n"), "the file has changed since the run was planned"),
        (lambda path: path.unlink(), "there is no such file"),
    ],
)
def test_a_source_that_changed_or_is_gone_gives_an_error_and_no_wrong_rows(
    source: Path, tmp_path: Path, change: Callable[[Path], Any], said: str
) -> None:
    (source / "0.csv").write_text("number,note\n3,a\n")
    (source / "1.csv").write_text("number,note\n1,a\n")
    done = run(str(source), tmp_path)
    change(source / "1.csv")
    assert done.failures(inputs=True)["note"].to_pylist() == ["a"]
    change(source / "0.csv")
    with pytest.raises(SourceError, match=f"0.csv.*{said}"):
        done.failures(inputs=True)
    assert done.failures().num_rows == 1


def test_a_run_without_its_plan_says_so(source: Path, tmp_path: Path) -> None:
    (source / "0.csv").write_text("number,note\n3,a\n")
    done = run(str(source), tmp_path)
    plan = tmp_path / "catalog" / "out" / "_runs" / done.id / "plan.json"
    values = json.loads(plan.read_text())
    del values["reading"]
    plan.write_text(json.dumps(values))
    with pytest.raises(CatalogError, match="did not keep how its source is read"):
        done.failures(inputs=True)
    plan.unlink()
    with pytest.raises(CatalogError, match="is gone or damaged"):
        done.failures(inputs=True)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_every_row_is_looked_for_in_the_slice_that_holds_it(sizes: list[int], data: st.DataObject) -> None:
    specs, first = [], 1
    for index, size in enumerate(sizes):
        specs.append(PartitionSpec(index=index, path="a", fingerprint="", start=index, stop=index + 1, first_row=first))
        first += size
    rows = data.draw(st.lists(st.integers(1, first - 1), max_size=20))
    table = pa.table(
        {"source_file": pa.array(["a"] * len(rows), pa.string()), "source_row": pa.array(rows, pa.int64())}
    )
    found = list(concerned(table, specs))
    assert sorted(place for _, _, places in found for place in places.tolist()) == list(range(len(rows)))
    for spec, listed, places in found:
        assert listed.to_pylist() == [rows[place] for place in places]
        assert all(spec.first_row <= row < spec.first_row + sizes[spec.index] for row in listed.to_pylist())
    assert len(found) == len({spec.index for spec, _, _ in found})


def test_a_file_that_the_plan_does_not_know_is_an_error() -> None:
    table = pa.table({"source_file": ["b"], "source_row": [1]})
    with pytest.raises(SourceError, match="b, row 1: is not in the plan of the run"):
        list(concerned(table, []))
