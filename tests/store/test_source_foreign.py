"""Files that are no source say what they are, and values that are no JSON say why."""

from __future__ import annotations

import base64
import decimal
import sqlite3
import zipfile

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as encryption
import pytest
from source_reading import read_all

from dataflow.errors import SourceError
from dataflow.store.sources import csv, infer_source, jsonl, parquet


def _workbook(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")


def _archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("leads.csv", "a\n1\n")


def _parquet(path):
    pq.write_table(pa.table({"a": [1]}), path)


def _feather(path):
    pyarrow.feather.write_feather(pa.table({"a": [1]}), str(path))


def _database(path):
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (a)")
    connection.close()


KINDS = {
    ".xlsx": (_workbook, r"is a workbook of a spreadsheet; save its sheet as CSV, or give pandas\.read_excel"),
    ".zip": (_archive, r"is a zip archive; unpack it, or name a file in it as zip://NAME\.csv"),
    ".feather": (_feather, "is an Arrow file"),
    ".db": (_database, "is an SQLite database"),
    ".parquet": (_parquet, r"is a Parquet file; use flow\.parquet"),
}


@pytest.mark.parametrize("end", KINDS)
def test_a_file_that_is_no_source_says_what_it_is(tmp_path, end):
    write, words = KINDS[end]
    write(tmp_path / f"x{end}")
    write(tmp_path / "y.csv")
    write(tmp_path / "y.jsonl")
    sources = [infer_source(tmp_path / "y.csv"), jsonl(tmp_path / "y.jsonl"), csv(tmp_path / f"x{end}")]
    if end != ".parquet":
        sources += [infer_source(tmp_path / f"x{end}"), parquet(tmp_path / "y.csv")]
    for source in sources:
        with pytest.raises(SourceError, match=words) as caught:
            source.plan({}, target_bytes=1 << 20)
        assert "rename" not in str(caught.value)


@pytest.mark.parametrize("header", ["ORCID", "BZh", "PAR1", "PARE", "ARROW1", "Objects"])
def test_a_header_may_begin_like_another_format(tmp_path, header):
    (tmp_path / "x.csv").write_text(f"{header}\n1\n")
    assert read_all(csv(tmp_path / "x.csv")).table.to_pylist() == [{header: "1"}]


class _Keys(encryption.KmsClient):
    def wrap_key(self, key, name):
        return base64.b64encode(key)

    def unwrap_key(self, wrapped, name):
        return base64.b64decode(wrapped)


@pytest.mark.parametrize("plain", [False, True])
def test_encrypted_parquet_is_not_called_damaged(tmp_path, plain):
    factory = encryption.CryptoFactory(lambda config: _Keys())
    config = encryption.EncryptionConfiguration(footer_key="k", column_keys={"k": ["b"]}, plaintext_footer=plain)
    properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), config)
    table = pa.table({"a": [1], "b": [1]})
    with pq.ParquetWriter(tmp_path / "x.parquet", table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    with pytest.raises(SourceError, match=r"x\.parquet: is an encrypted Parquet file, .* write it without encryption"):
        read_all(infer_source(tmp_path))


def test_a_type_that_cannot_be_read_is_not_called_damage(tmp_path):
    wide = pa.table({"d": pa.array([decimal.Decimal(1)], pa.decimal256(76, 2))})
    pq.write_table(wide, tmp_path / "x.parquet", store_schema=False, compression="none")
    data = (tmp_path / "x.parquet").read_bytes()
    assert data.count(b"\x98\x01") == 2
    wider = data.replace(b"\x98\x01", b"\x9a\x01").replace(b"\x15\x0e\x15\x40", b"\x15\x0e\x15\x42")
    (tmp_path / "x.parquet").write_bytes(wider)
    with pytest.raises(SourceError, match=r"has a type that cannot be read .*77") as caught:
        read_all(infer_source(tmp_path))
    assert "damaged" not in str(caught.value)


BROKEN = {
    b'{"a": NaN}': ("a", "the line holds NaN at `a`, which is no JSON"),
    b'{"a": -Infinity}': ("a", "the line holds -Infinity at `a`"),
    b'{"b": {"c": [Infinity]}}': ("b", "the line holds Infinity at `b.c"),
    b'{"a": 1, "b": {"c": ["\\ud800"]}}': (None, "half a surrogate pair"),
    b'{"a": 1,}': (None, "the line is no JSON object: "),
    b'{"a": 1} x': (None, "the line is no JSON object: extra data at character 10"),
    b"{'a': 1}": (None, "at character 2"),
}


@pytest.mark.parametrize("line", BROKEN)
def test_a_line_that_is_no_json_says_why(tmp_path, line):
    column, reason = BROKEN[line]
    (tmp_path / "x.jsonl").write_bytes(b'{"a": 1.5, "b": {"c": ["x"]}}\n' + line + b"\n")
    schema = {"a": pa.float64(), "b": pa.struct({"c": pa.list_(pa.string())})}
    found = read_all(jsonl(tmp_path / "x.jsonl", schema=schema, infer=False))
    assert len(found.records) == 1
    assert [(one.row, one.column) for one in found.unreadable] == [(2, column)]
    assert reason in found.unreadable[0].error
    assert found.unreadable[0].raw == line.decode()


def test_a_file_without_any_record_says_why_its_first_line_is_none(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"a": NaN}\n{"a": NaN}\n')
    with pytest.raises(SourceError, match=r"none of 2 lines holds a JSON object .*holds NaN at `a`"):
        jsonl(tmp_path / "x.jsonl").plan({}, target_bytes=100)
