from __future__ import annotations

import gzip
import os
import pickle
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_reading import read_all

from dataflow.errors import SourceError
from dataflow.store.filesystem import describe, natural, shown, unchanged
from dataflow.store.listing import find
from dataflow.store.sources import Source, csv, files, infer_source, jsonl, parquet, read

NAMES = {
    "x.csv": "csv",
    "x.TSV": "csv",
    "x.csv.gz": "csv",
    "x.jsonl.zst": "jsonl",
    "x.ndjson.bz2": "jsonl",
    "x.json.xz": "jsonl",
    "x.parquet": "parquet",
    "x.pq": "parquet",
    "s3://bucket/x.parquet": "parquet",
    "https://host/x.csv?signature=1": "csv",
    "folder": None,
    "x.gz": None,
}


@pytest.fixture
def memory():
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


@pytest.mark.parametrize(("name", "kind"), NAMES.items())
def test_the_name_tells_the_format(name, kind):
    assert infer_source(name).format == files(name).format == kind


def test_a_source_is_a_plain_value_that_touches_no_file():
    for source in (
        csv("no.csv", schema={"a": int}),
        jsonl(Path("no.jsonl")),
        parquet(["a", "b"]),
        files("no", infer=True),
    ):
        assert pickle.loads(pickle.dumps(source)) == source
        assert infer_source(source) is source


def test_a_source_shows_its_path_and_no_secret():
    assert repr(csv("leads.csv")) == "csv('leads.csv')"
    assert repr(files("https://me:word@host/a?key=word")) == "files('https://host/a?…')"
    assert shown("s3://me:word@bucket/part-?.csv") == "s3://bucket/part-?.csv"


@pytest.mark.parametrize("given", [5, None, {"a": 1}])
def test_what_is_no_path_is_no_source(given):
    with pytest.raises(SourceError, match="is no source; give a path"):
        infer_source(given)
    with pytest.raises(SourceError, match="a path is text or a path object"):
        csv(given)


def test_an_empty_path_is_refused():
    with pytest.raises(SourceError, match="no path is given"):
        csv("")


def test_options_are_checked_when_they_are_given():
    with pytest.raises(SourceError, match=r"csv has no option 'delimeter'; it has `delimiter`"):
        files("x.csv", delimeter=";")
    with pytest.raises(SourceError, match="parquet has no option 'infer'; it has none"):
        files("x.parquet", infer=True)
    with pytest.raises(SourceError, match="format 'xlsx' is not known; there are `csv`, `jsonl`, `parquet`"):
        files("x.xlsx", format="xlsx")


def test_options_of_a_folder_are_checked_when_its_format_is_known(tmp_path):
    (tmp_path / "x.jsonl").write_text("{}")
    with pytest.raises(SourceError, match="jsonl has no option 'delimiter'"):
        files(tmp_path, delimiter=";").plan({}, target_bytes=1)


def test_folders_and_globs_are_read_in_natural_order(tmp_path):
    for number in (10, 9, 1, 2):
        (tmp_path / f"part-{number}.csv").write_text(f"a\n{number}\n")
    for source in (
        files(tmp_path),
        csv(f"{tmp_path}/part-*.csv"),
        csv([f"{tmp_path}/part-?.csv", tmp_path / "part-10.csv"]),
    ):
        assert [record[0] for record in read_all(source).records] == ["1", "2", "9", "10"]


def test_a_file_that_is_named_twice_is_read_once(tmp_path):
    (tmp_path / "x.csv").write_text("a\n1\n")
    assert read_all(csv([tmp_path / "x.csv", f"{tmp_path}/*.csv"])).records == [("1",)]


def test_natural_order_goes_folder_by_folder():
    names = ["a/2/x", "a/10/x", "a2/x", "a10/x", "a/2/10", "a/2/9"]
    assert sorted(names, key=natural) == ["a/2/9", "a/2/10", "a/2/x", "a/10/x", "a2/x", "a10/x"]


def test_hidden_files_and_markers_of_a_folder_are_passed_over(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "_temporary").mkdir()
    for name in (".x.csv.crc", "_SUCCESS", "_temporary/y.csv", "sub/x.csv"):
        (tmp_path / name).write_text("a\n1\n")
    assert [Path(file.path).name for file in find(str(tmp_path))] == ["x.csv"]


def test_a_folder_of_two_formats_is_refused_by_name(tmp_path):
    (tmp_path / "1.csv").write_text("a\n")
    (tmp_path / "2.jsonl").write_text("{}")
    for source in (files(tmp_path), csv(tmp_path)):
        with pytest.raises(SourceError, match=r"2\.jsonl: is jsonl among files of csv"):
            source.plan({}, target_bytes=1)


def test_a_name_that_tells_no_format_is_refused_unless_the_format_is_given(tmp_path):
    (tmp_path / "1.csv").write_text("a\n1\n")
    (tmp_path / "2.txt").write_text("a\n2\n")
    with pytest.raises(SourceError, match=r"2\.txt: the name does not tell the format; use flow\.csv"):
        files(tmp_path).plan({}, target_bytes=1)
    assert read_all(files(tmp_path, format="csv")).records == [("1",), ("2",)]


def test_tabs_are_found_in_a_folder_of_tsv(tmp_path):
    (tmp_path / "1.tsv").write_text("a\tb\n1\t2\n")
    assert read_all(files(tmp_path)).records == [("1", "2")]


@pytest.mark.parametrize("name", ["no.csv", "*.csv", "no/*.csv", "empty"])
def test_a_missing_path_is_named(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=f"{name.replace('*', '.')}: (there is no such file|no file is there)"):
        infer_source(tmp_path / name).plan({}, target_bytes=1)


def test_a_file_whose_name_holds_wildcards_is_found_as_it_is(tmp_path):
    (tmp_path / "x[1].csv").write_text("a\n1\n")
    assert read_all(csv(tmp_path / "x[1].csv")).records == [("1",)]


def test_folders_that_hold_a_column_in_their_name_are_refused(tmp_path):
    (tmp_path / "year=2024").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "year=2024" / "x.parquet")
    with pytest.raises(SourceError, match="year=2024: folders named `column=value` hold a column"):
        files(tmp_path).plan({}, target_bytes=1)
    assert read_all(files(f"{tmp_path}/*/*.parquet")).records == [(1,)]


def test_a_file_that_may_not_be_read_is_named(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a\n1\n")
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(SourceError, match=r"x\.csv: permission denied"):
            csv(path).plan({}, target_bytes=1)
    finally:
        if root:
            os.seteuid(0)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "x.csv")
    with pytest.raises(SourceError, match="is not a regular file"):
        csv(tmp_path / "x.csv").plan({}, target_bytes=1)


def test_a_fingerprint_changes_with_the_file(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a\n1\n")
    before = describe(str(path))
    os.utime(path, ns=(1, 1))
    assert describe(str(path)).fingerprint != before.fingerprint
    assert describe(str(path)).size == before.size == 4


def test_a_file_that_changes_before_or_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a\n")
    planned = describe(str(path)).fingerprint
    begun = []

    def rewrite():
        with unchanged(str(path), planned):
            begun.append(True)
            path.write_text("a\n1\n")

    for _ in range(2):
        with pytest.raises(SourceError, match="has changed"):
            rewrite()
    assert begun == [True]


def test_relative_and_file_urls_are_local_absolute_paths(tmp_path, monkeypatch):
    (tmp_path / "x.csv").write_text("a\n1\n")
    monkeypatch.chdir(tmp_path)
    assert {find(name)[0].path for name in ("x.csv", f"file://{tmp_path}/x.csv", "./x.csv")} == {f"{tmp_path}/x.csv"}


@pytest.mark.parametrize("target", [1 << 20, 30])
def test_remote_files_are_read_like_local_ones(memory, tmp_path, target):
    pq.write_table(pa.table({"a": ["1", "2"]}), tmp_path / "x.parquet")
    memory.pipe(
        {
            "/in/csv/1.csv": b"a\n1\n" + b"2\n" * 50,
            "/in/csv/_SUCCESS": b"",
            "/in/jsonl/1.jsonl": b'{"a":"1"}\n' + b'{"a":"2"}\n' * 50,
            "/in/parquet/1.parquet": (tmp_path / "x.parquet").read_bytes(),
        }
    )
    for name in ("csv", "jsonl", "parquet"):
        for path in (f"memory://in/{name}", f"memory://in/{name}/*.{name}", f"memory://in/{name}/1.{name}"):
            found = read_all(infer_source(path), target=target)
            assert [found.records[0], found.records[-1]] == [("1",), ("2",)]
            assert found.plan.files[0].path == f"memory:///in/{name}/1.{name}" or path.endswith(f"1.{name}")


def test_a_remote_file_that_has_changed_is_refused(memory):
    memory.pipe("/x.csv", b"a\n1\n")
    plan = csv("memory://x.csv").plan({}, target_bytes=100)
    read(plan.options, plan.specs[0], schema=plan.schema)
    memory.pipe("/x.csv", b"a\n1,2\n")
    with pytest.raises(SourceError, match="has changed since"):
        read(plan.options, plan.specs[0], schema=plan.schema)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("memory://no.csv", "memory://no.csv: there is no such file"),
        ("memory://no/*.csv", "no file is there"),
        ("nosuch://bucket/x.csv", "fsspec knows no protocol 'nosuch'"),
        ("gs://bucket/x.csv", "reading gs needs another package"),
        ("s3://me:word@bucket/x.csv", "a password in a URL"),
    ],
)
def test_a_url_that_cannot_be_read_is_named_without_secrets(memory, path, message):
    if path.startswith("gs:"):
        try:
            import gcsfs  # noqa: F401
        except ImportError:
            pass
        else:
            pytest.skip("gcsfs is installed")
    with pytest.raises(SourceError, match=message.replace("*", ".")) as caught:
        files(path).plan({}, target_bytes=1)
    assert "word@" not in str(caught.value)


def test_chained_urls_are_read(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("in/x.csv", "a\n1\n")
        archive.writestr("in/y.csv.gz", gzip.compress(b"a\n" + b"1\n" * 500_000))
    source = csv(f"zip://in/x.csv::file://{tmp_path}/x.zip")
    assert read_all(source).records == [("1",)]
    packed = csv(f"zip://in/y.csv.gz::file://{tmp_path}/x.zip")
    assert read_all(packed, target=100_000).records == [("1",)] * 500_000


@pytest.mark.parametrize("name", ["csv", "jsonl", "parquet"])
def test_ten_thousand_files_are_planned_in_seconds(tmp_path, name):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_text("a\n1\n")
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n')
    (tmp_path / name).mkdir()
    for number in range(10_000):
        (tmp_path / name / f"{number}.{name}").hardlink_to(tmp_path / f"x.{name}")
    started = time.process_time()
    plan = files(tmp_path / name).plan({}, target_bytes=1 << 26)
    assert time.process_time() - started < 10
    assert len(plan.specs) == len({spec.identity for spec in plan.specs}) == 10_000


def test_a_source_has_one_repr_for_files_of_unknown_format():
    assert repr(Source(paths=("a", "b"))) == "files('a', 'b')"
