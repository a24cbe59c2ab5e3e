"""Files that do not belong together are refused by name, and not joined with nulls."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_reading import read_all

from dataflow.errors import SourceError
from dataflow.store.sources import csv, infer_source

STRANGERS = {
    "another table": ({"1.csv": "id,name\n1,a\n", "2.csv": "x,y,z\n1,2,3\n"}, "2.csv", "read them as two sources"),
    "tabs beside commas": (
        {"1.csv": "id,name\n1,a\n", "2.tsv": "id\tname\n1\ta\n"},
        "2.tsv",
        r"2.tsv fits delimiter='\t'",
    ),
    "commas beside tabs": (
        {"1.tsv": "id\tname\n1\ta\n", "2.csv": "id,name\n1,a\n"},
        "2.csv",
        r"1.tsv fits delimiter='\t'",
    ),
    "semicolons": ({"1.csv": "id,name\n1,a\n", "2.csv": "id;name\n1;a\n"}, "2.csv", "2.csv fits delimiter=';'"),
    "commas beside one column": ({"1.csv": "a;b\n1;2\n", "2.csv": "a\n1\n"}, "2.csv", "1.csv fits delimiter=';'"),
    "no header": ({"1.csv": "id,name\n1,a\n", "2.csv": "2,b\n3,c\n"}, "2.csv", "if its first line is a record already"),
    "case": ({"1.csv": "id,name\n1,a\n", "2.csv": "ID, Name\n2,b\n"}, "2.csv", "only case or spaces differ"),
    "objects": ({"1.jsonl": '{"a": 1}\n', "2.jsonl": '{}\n{"b": 1}\n'}, "2.jsonl", "first line is a record already"),
    "the third of three": ({"1.csv": "a\n1\n", "2.csv": "a,b\n1,2\n", "3.csv": "c,d\n1,2\n"}, "3.csv", "two sources"),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_a_file_that_shares_no_column_is_named(tmp_path, case):
    files, named, advice = STRANGERS[case]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(SourceError, match=f"{named}: has no column of .*1\\.(csv|tsv|jsonl), but `") as caught:
        infer_source(tmp_path).plan({}, target_bytes=1 << 20)
    assert advice in str(caught.value)


def test_parquet_files_that_share_no_column_are_refused(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"b": [1]}), tmp_path / "2.parquet")
    with pytest.raises(SourceError, match=re.escape("2.parquet: has no column of")):
        infer_source(tmp_path).plan({}, target_bytes=1 << 20)


def test_files_are_joined_by_way_of_others_and_empty_ones_say_nothing(tmp_path):
    for name, text in {"1.csv": "a\n1\n", "2.csv": "b\n2\n", "3.csv": "b,a\n3,4\n", "4.csv": ""}.items():
        (tmp_path / name).write_text(text)
    assert read_all(csv(tmp_path)).table.to_pylist() == [
        {"a": "1", "b": None},
        {"a": None, "b": "2"},
        {"a": "4", "b": "3"},
    ]
