from __future__ import annotations

import bz2
import gzip
import lzma
from dataclasses import replace

import pyarrow as pa
import pytest
from source_reading import read_all

from dataflow.errors import SourceError
from dataflow.store.sources import csv, jsonl, read, sequential
from dataflow.store.sources.content import text_file
from dataflow.store.sources.sequential import SequentialReader


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}
TEXT = ("a,b\n" + "".join(f'{i},"x\n{i}"\n' for i in range(3000))).encode()


@pytest.fixture(autouse=True)
def _no_reader_stays():
    yield
    sequential.close_idle()


@pytest.fixture
def write(tmp_path):
    def to(data, name):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return to


@pytest.mark.parametrize("end", PACK)
@pytest.mark.parametrize("target", [1 << 26, 5000])
def test_a_compressed_csv_is_read_in_bounded_slices(write, end, target):
    found = read_all(csv(write(PACK[end](TEXT), f"leads.csv{end}")), {"a": pa.int64()}, target=target)
    assert found.records == [(i, f"x\n{i}") for i in range(3000)]
    assert found.rows == list(range(1, 3001))
    assert len(found.plan.specs) == (1 if target > 5000 else pytest.approx(len(TEXT) / 5000, abs=1))


@pytest.mark.parametrize("end", PACK)
def test_compressed_json_lines_are_read_in_bounded_slices(write, end):
    text = "".join(f'{{"i":{i}}}\n' for i in range(2000)).encode()
    found = read_all(jsonl(write(PACK[end](text), f"leads.jsonl{end}")), target=1000)
    assert found.table.column("i").to_pylist() == list(range(2000))
    assert len(found.plan.specs) > 15


@pytest.mark.parametrize("end", PACK)
def test_members_one_after_the_other_are_one_text(write, end):
    path = write(PACK[end](TEXT) + PACK[end](b"9,z\n"), f"leads.csv{end}")
    assert read_all(csv(path)).records[-1] == ("9", "z")


@pytest.mark.parametrize("end", PACK)
@pytest.mark.parametrize("target", [1 << 26, 5000])
def test_a_file_that_is_cut_off_is_named(write, end, target):
    path = write(PACK[end](TEXT)[:-9], f"leads.csv{end}")
    with pytest.raises(SourceError, match=r"leads\.csv.*: the \w+ data is cut off or damaged"):
        read_all(csv(path), target=target)


@pytest.mark.parametrize("end", PACK)
def test_a_file_that_is_not_compressed_at_all_is_named(write, end):
    with pytest.raises(SourceError, match="data is cut off or damaged"):
        read_all(csv(write(TEXT, f"leads.csv{end}")))


@pytest.mark.parametrize("end", PACK)
def test_a_compressed_header_alone_has_no_records(write, end):
    found = read_all(csv(write(PACK[end](b"a,b\n"), f"leads.csv{end}")))
    assert (found.records, found.table.column_names) == ([], ["a", "b"])


def test_compression_and_encoding_may_come_together(write):
    text = "a,b\n" + "ü,ß\n" * 500
    for encoding in ("latin-1", "utf-16"):
        path = write(gzip.compress(text.encode(encoding)), "leads.csv.gz")
        assert read_all(csv(path, encoding=encoding), target=300).records == [("ü", "ß")] * 500


def test_slices_read_in_any_order_are_the_same(write):
    path = write(gzip.compress(TEXT), "leads.csv.gz")
    plan = csv(path).plan({}, target_bytes=5000)
    parts = {spec.index: read(plan.options, spec, schema=plan.schema).table for spec in reversed(plan.specs)}
    table = pa.concat_tables([parts[index] for index in range(len(parts))])
    assert table.column("a").to_pylist() == [str(i) for i in range(3000)]


def test_slices_read_in_order_inflate_the_file_once(write):
    plan = csv(write(gzip.compress(TEXT), "leads.csv.gz")).plan({}, target_bytes=5000)
    waiting = []
    for spec in plan.specs[:-1]:
        read(plan.options, spec, schema=plan.schema)
        (reader,) = sequential._idle
        assert reader.position == spec.stop
        waiting.append(reader)
    assert len(waiting) > 5
    assert all(reader is waiting[0] for reader in waiting)


def test_only_a_few_readers_wait_and_none_for_a_file_that_was_read_to_its_end(write):
    for number in range(9):
        plan = csv(write(gzip.compress(TEXT), f"{number}.csv.gz")).plan({}, target_bytes=5000)
        read(plan.options, plan.specs[0], schema=plan.schema)
    assert len(sequential._idle) == 4
    read(plan.options, replace(plan.specs[-1], stop=-1), schema=plan.schema)
    assert len(sequential._idle) == 3


def test_a_file_that_inflates_without_end_is_refused_and_not_read(write):
    path = write(gzip.compress(b"a\n" + b"0\n" * 5_000_000), "bomb.csv.gz")
    plan = csv(path).plan({}, target_bytes=1 << 30)
    with pytest.raises(SourceError, match="inflates to more than 1,000,000 bytes"):
        read({**plan.options, "limit": 1_000_000}, plan.specs[0], schema=plan.schema)


def test_a_highly_compressed_file_is_cut_by_its_text_and_not_by_its_size(write):
    path = write(gzip.compress(b"a\n" + b"0\n" * 5_000_000), "dense.csv.gz")
    assert path.stat().st_size < 20_000
    plan = csv(path).plan({}, target_bytes=1_000_000)
    assert max(spec.stop - spec.start for spec in plan.specs) <= 1_000_002
    assert sum(spec.size for spec in plan.specs) == pytest.approx(path.stat().st_size, rel=0.01)


def test_a_reader_gives_the_same_bytes_in_any_portions(write):
    path = write(gzip.compress(TEXT), "leads.csv.gz")
    reader = SequentialReader(text_file(str(path), fingerprint="").packed)
    parts = []
    while part := reader.read(777):
        parts.append(part)
    reader.close()
    assert b"".join(parts) == TEXT
    assert {len(part) for part in parts[:-1]} == {777}
