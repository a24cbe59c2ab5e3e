"""Slices that are counted in records, in every format, and the first records of a source."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from source_reading import read_all

from dataflow.errors import SourceError
from dataflow.plan.sizes import PartitionSize
from dataflow.store.sources import Source, csv, files, jsonl, parquet, read
from dataflow.store.sources.heads import read_head

WANTED = {"a": pa.int64(), "b": pa.string()}
FORMATS = ["csv", "csv.gz", "csv utf-16", "jsonl", "jsonl declared", "jsonl.gz", "parquet"]


def source_of(folder: Path, kind: str, records: list[tuple[int, str]], **options: Any) -> Source:
    name, _, rest = kind.partition(" ")
    path = folder / f"x.{name}"
    if name == "parquet":
        table = pa.table({"a": [a for a, _ in records], "b": [b for _, b in records]}, pa.schema(WANTED))
        pq.write_table(table, path, row_group_size=7)
        return parquet(path, **options)
    if name.startswith("csv"):
        text = "a,b\n" + "".join('{},"{}"\n'.format(a, b.replace('"', '""')) for a, b in records)
        data = text.encode("utf-16" if rest else "utf-8")
        path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        return csv(path, **({"encoding": "utf-16"} if rest else {}), **options)
    data = "".join(json.dumps({"a": a, "b": b}) + "\n" for a, b in records).encode()
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    return jsonl(path, **({"schema": WANTED, "infer": False} if rest else {}), **options)


def cuts_of(source: Source, records: int) -> list[int]:
    return [spec.rows for spec in source.plan(WANTED, target_bytes=1 << 26, records=records).specs]


@pytest.mark.parametrize("kind", FORMATS)
def test_slices_have_so_many_records_and_the_last_one_the_rest(tmp_path: Path, kind: str) -> None:
    source = source_of(tmp_path, kind, [(at, f"b\n{at}") for at in range(23)])
    assert cuts_of(source, 10) == [10, 10, 3]
    assert cuts_of(source, 23) == [23]
    assert cuts_of(source, 1) == [1] * 23
    assert cuts_of(source, 1000) == [23]


@pytest.mark.parametrize("kind", FORMATS)
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(-(2**40), 2**40), st.text('ab,"\n\r;é', max_size=6)), min_size=1, max_size=40),
    st.integers(1, 45),
)
def test_data_do_not_depend_on_how_a_source_is_cut(
    tmp_path: Path, kind: str, records: list[tuple[int, str]], size: int
) -> None:
    source = source_of(tmp_path, kind, records)
    plan = source.plan(WANTED, target_bytes=1 << 26, records=size)
    batches = [read(json.loads(json.dumps(plan.options)), spec, schema=plan.schema) for spec in plan.specs]
    whole = read_all(source, WANTED)
    assert pa.concat_tables([one.table for one in batches]) == whole.table
    assert [row for one in batches for row in one.rows.to_pylist()] == whole.rows
    assert all(one.table.num_rows + len(one.unreadable) <= size for one in batches)


def test_several_files_are_cut_each_for_itself(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text("a,b\n" + "1,x\n" * (5 + number))
    assert cuts_of(files(tmp_path, format="csv"), 4) == [4, 1, 4, 2, 4, 3]


@pytest.mark.parametrize("make", [csv, jsonl, parquet, files])
def test_a_source_keeps_what_it_was_given(make: Any) -> None:
    assert make("x.csv", partition_size=50).partition_size == PartitionSize(records=50)
    assert make("x.csv", partition_size="1MiB").partition_size == PartitionSize(bytes=1 << 20)
    assert make("x.csv").partition_size is None
    with pytest.raises(SourceError, match="partition_size takes a number of records"):
        make("x.csv", partition_size=0)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_first_records_come_without_the_others(tmp_path: Path, kind: str) -> None:
    records = [(at + 100_000, f"name of {at + 10_000}") for at in range(5000)]
    source = source_of(tmp_path, kind, records)
    for plan in (source.plan(WANTED, target_bytes=1 << 26), source.plan(WANTED, target_bytes=1 << 12)):
        head = read_head(plan, 30)
        assert head is not None
        assert head.table.to_pylist() == [{"a": a, "b": b} for a, b in records[:30]]
        assert 0.7 * 5000 < head.rows < 1.6 * 5000
        assert head.largest <= head.rows


def test_an_empty_source_has_no_first_records(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n")
    assert read_head(csv(tmp_path / "x.csv").plan(WANTED, target_bytes=100), 30) is None
