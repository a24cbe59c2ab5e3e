from __future__ import annotations

import contextlib

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from source_reading import read_all

from dataflow.errors import SourceError
from dataflow.store.sources import csv, files, jsonl

WANTED = {"a": pa.int64(), "b": pa.date32(), "c": pa.bool_()}
DELIMITED = st.lists(
    st.sampled_from([b"a", b"1", b"2024-01-31", b"true", b",", b'"', b"\n", b"\r\n", b"\0", b"\xe9", "é".encode()])
)
JSON = st.lists(
    st.sampled_from(
        [
            b'{"a":1}',
            b'{"b":',
            b'"2024-01-31"',
            b"}",
            b"{",
            b"[",
            b"]",
            b"1.5",
            b",",
            b'"',
            b"\n",
            b"\\ud800",
            b"\xe9",
            b"NaN",
        ]
    )
)
ANYTHING = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def outcome(source, **options):
    """What came out, or None where the whole source is refused."""
    with contextlib.suppress(SourceError):
        return read_all(source, WANTED, **options)
    return None


@given(DELIMITED, st.integers(1, 40))
@ANYTHING
def test_every_delimited_record_is_read_or_listed_however_it_is_cut(tmp_path, parts, target):
    path = tmp_path / "x.csv"
    path.write_bytes(b"".join(parts))
    source = csv(path, header=False, names=["a", "b", "c"])
    whole, sliced = outcome(source), outcome(source, target=target)
    if whole is None or sliced is None:
        assert whole is sliced
        return
    assert sliced.table == whole.table
    assert (sliced.rows, sliced.unreadable) == (whole.rows, whole.unreadable)
    seen = sorted(whole.rows + [record.row for record in whole.unreadable])
    assert seen == list(range(1, len(seen) + 1))


@given(JSON, st.integers(1, 40), st.booleans())
@ANYTHING
def test_every_json_line_is_read_or_listed_however_it_is_cut(tmp_path, parts, target, infer):
    path = tmp_path / "x.jsonl"
    data = b"".join(parts)
    path.write_bytes(data)
    source = jsonl(path, infer=infer, schema=None if infer else WANTED)
    whole, sliced = outcome(source), outcome(source, target=target)
    if whole is None or sliced is None:
        assert whole is sliced
        return
    assert sliced.table == whole.table
    assert (sliced.rows, sliced.unreadable) == (whole.rows, whole.unreadable)
    lines = [line for line in data.split(b"\n") if line.strip()]
    assert sorted(whole.rows + [record.row for record in whole.unreadable]) == list(range(1, len(lines) + 1))


@pytest.mark.parametrize("name", ["x.parquet", "x.csv.gz", "x.jsonl.zst", "x.csv.xz", "x.csv.bz2"])
@given(st.binary(max_size=100))
@ANYTHING
def test_bytes_that_are_no_file_of_their_name_are_a_named_error(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    with contextlib.suppress(SourceError):
        assert read_all(files(path)).table.num_rows == 0
