"""Whatever happens while a run is published, the same command again ends in one whole version."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from committing import SCHEMAS, SPECS, broken_at, published, python, result_of, run_job, spec_of, started

from dataflow.errors import DataflowError, OutputLocked, StoreError
from dataflow.store.catalog import Catalog
from dataflow.store.dataset import Dataset
from dataflow.store.ledger import RunState, to_json
from dataflow.telemetry.statistics import Statistics

SWEEP = """
import os, shutil, signal, sys
from pathlib import Path
from committing import SPECS, broken_at, run_job, spec_of
from dataflow.store.catalog import Catalog

template, root = sys.argv[1:3]
specs = SPECS if len(sys.argv) == 3 else (*SPECS, spec_of(2))
for number in range(1, 2000):
    folder = f"{root}/{number}"
    if template:
        shutil.copytree(template, folder, symlinks=True)
    child = os.fork()
    if child == 0:
        with broken_at(number, lambda: os.kill(os.getpid(), signal.SIGKILL)):
            run_job(Catalog(folder), specs)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(number, flush=True)
"""


def check_reader(catalog: Catalog) -> int:
    """What a reader sees at any moment is a whole version or none; the newest is returned."""
    if not catalog.has("leads"):
        return 0
    dataset = catalog.open("leads")
    dataset.verify()
    assert dataset.to_arrow().num_rows == dataset.rows
    return dataset.version or 0


def check_whole(dataset: Dataset, *, version: int, partitions: int) -> None:
    """Every record is in one place, once; readers of the folder see the same; nothing is left lying about."""
    expected = [index * 10 + number for index in range(partitions) for number in range(3)]
    folder, home = Path(dataset.path), Path(dataset.path).parent
    assert dataset.version == version
    assert dataset.to_arrow()["id"].to_pylist() == expected
    assert dataset.rejects()["id"].to_pylist() == [index * 10 + 9 for index in range(partitions)]
    assert dataset.statistics["total_records"] == 4 * partitions
    assert sorted(path.name for path in folder.iterdir()) == sorted(Path(path).name for path in dataset.files)
    assert (home / "latest").resolve() == folder
    assert (home / "LATEST").read_text() == f"v{version}\n"
    Catalog(home.parent).prune("leads", keep=9)
    assert [path for path in home.rglob("*") if path.name.endswith(".tmp") or path.name == "commits"] == []
    assert sorted(path.name for path in home.glob("v*")) == [f"v{number + 1}" for number in range(version)]


@pytest.mark.slow
def test_a_first_run_killed_before_any_operation_is_finished_by_the_next(quick_path: Path) -> None:
    process = python(SWEEP, "", quick_path)
    count = int(process.communicate()[0])
    assert count > 100
    for number in range(1, count):
        catalog = Catalog(quick_path / str(number))
        check_reader(catalog)
        check_whole(run_job(catalog), version=1, partitions=2)


@pytest.mark.slow
def test_a_second_run_killed_before_any_operation_is_finished_by_the_next(quick_path: Path) -> None:
    published(Catalog(quick_path / "template"))
    process = python(SWEEP, quick_path / "template", quick_path, "more")
    count = int(process.communicate()[0])
    assert count > 100
    for number in range(1, count):
        catalog = Catalog(quick_path / str(number))
        assert check_reader(catalog) in (1, 2)
        check_whole(run_job(catalog, (*SPECS, spec_of(2))), version=2, partitions=3)


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
def test_a_full_disk_before_any_operation_is_reported_and_the_next_run_finishes(
    quick_path: Path, for_good: bool
) -> None:
    published(Catalog(quick_path / "template"))
    specs = (*SPECS, spec_of(2))
    for number in range(1, 2000):
        catalog = Catalog(quick_path / str(number))
        shutil.copytree(quick_path / "template", catalog.root, symlinks=True)
        refused: object = "No space left on device"
        try:
            with broken_at(number, full, for_good=for_good) as passed:
                run_job(catalog, specs)
        except DataflowError as error:
            refused = error
            check_reader(catalog)
        assert "No space left on device" in str(refused)
        check_whole(run_job(catalog, specs), version=2, partitions=3)
        shutil.rmtree(catalog.root)
        if passed() < number:
            break
    assert number > 100


def test_publishing_twice_gives_the_same_version(catalog: Catalog) -> None:
    run = started(catalog)
    run.commit(SPECS[0], result_of(0))
    first = run.publish(SPECS[:1])
    again = run.publish(SPECS[:1])
    assert (first.version, again.version) == (1, 1)
    assert again.manifest == first.manifest
    assert [info.versions for info in catalog.datasets()] == [1]


def test_each_run_gets_the_next_version(catalog: Catalog) -> None:
    assert [published(catalog, f"r{number}").version for number in (1, 2, 3)] == [1, 2, 3]
    assert catalog.open("leads@v2").manifest["run"] == "r2"


def test_the_number_of_a_version_is_claimed_by_one_run_only(catalog: Catalog) -> None:
    first, second = started(catalog, "r1"), started(catalog, "r2")
    catalog._files.make(f"{catalog.root}/leads/_meta/v1")
    catalog._files.create(f"{catalog.root}/leads/_meta/v1/run.json", b'{"run": "r9"}')
    catalog._files.write(first.path("intent.json"), b'{"version": 1}')
    assert first.publish([]).version == 2
    assert second.publish([]).version == 3


def test_what_readers_see_and_what_was_counted_agree(catalog: Catalog) -> None:
    dataset = published(catalog)
    assert dataset.rows == 6
    assert dataset.manifest["rejected"] == 2
    assert dataset.manifest["key"] == ["id"]
    assert dataset.manifest["fingerprints"] == {"pipeline": "p1"}
    assert dataset.statistics["total_records"] == 8
    assert dataset.statistics["total_duration"] == 1.0
    assert dataset.statistics["columns"]["id"] == {"type": "int64", "nulls": 0, "min": 0, "max": 12}


def test_a_run_that_is_not_complete_is_not_published(catalog: Catalog) -> None:
    run = started(catalog)
    run.commit(SPECS[0], result_of(0))
    with pytest.raises(StoreError, match="1 of 2 partitions are not committed, the first is 1; run again to go on"):
        run.publish(SPECS)
    assert not catalog.has("leads")


def test_a_stopped_run_is_published_as_it_is_where_that_is_asked_for(catalog: Catalog) -> None:
    run = started(catalog)
    run.commit(SPECS[1], result_of(1))
    run.stop("budget: 5 of 5 are spent")
    found = catalog.run("r1")
    records = found.committed()
    dataset = found.publish([spec for spec in SPECS if spec.identity in records])
    assert dataset.to_arrow()["id"].to_pylist() == [10, 11, 12]


def test_an_abandoned_run_is_not_published(catalog: Catalog) -> None:
    run = started(catalog)
    run.abandon("the source has changed")
    with pytest.raises(OutputLocked, match="it is abandoned"):
        run.publish([])


def test_a_file_listed_twice_is_refused(catalog: Catalog) -> None:
    run = started(catalog)
    run.commit(SPECS[0], result_of(0))
    with pytest.raises(StoreError, match="is a file listed twice"):
        run.publish([SPECS[0], replace(SPECS[0], index=1)])


@pytest.mark.parametrize(("fault", "words"), [("gone", "is missing"), ("cut", "has 4 bytes instead of")])
@pytest.mark.parametrize("folder", ["parts", "rejects"])
def test_a_committed_file_that_is_gone_or_cut_is_named(tmp_path: Path, folder: str, fault: str, words: str) -> None:
    run = started(Catalog(tmp_path))
    run.commit(SPECS[0], result_of(0))
    path = next(Path(run.path(folder)).iterdir())
    path.unlink()
    if fault == "cut":
        path.write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=f"{path.name}: {words}.*run again to do this partition anew"):
        run.publish(SPECS[:1])


def test_files_without_a_record_are_not_published(tmp_path: Path) -> None:
    run = started(Catalog(tmp_path))
    run.commit(SPECS[0], result_of(0))
    for folder in ("parts", "rejects"):
        source = next(Path(run.path(folder)).iterdir())
        shutil.copy(source, source.with_name("part-00000-0123456789abcdef-01234567.parquet"))
        source.with_name(".part-00001.parquet.123abc.tmp").write_bytes(b"half")
    dataset = run.publish(SPECS[:1])
    check_whole(dataset, version=1, partitions=1)
    assert len(list(Path(dataset.meta, "rejects").iterdir())) == 1


def test_rejects_that_an_earlier_attempt_has_placed_are_not_published(catalog: Catalog) -> None:
    run, files, meta = started(catalog), catalog._files, f"{catalog.root}/leads/_meta/v1"
    run.commit(SPECS[0], result_of(0))
    files.make(f"{meta}/rejects")
    files.write(f"{meta}/rejects/part-00000-stranger.parquet", b"PAR1")
    files.write(f"{meta}/run.json", to_json({"run": "r1"}))
    files.write(run.path("intent.json"), to_json({"version": 1}))
    dataset = run.publish(SPECS[:1])
    assert list(files.sizes(f"{dataset.meta}/rejects")) == [dataset.manifest["parts"][0]["rejects"]["name"]]


def test_a_dataset_without_partitions_has_its_columns(catalog: Catalog) -> None:
    dataset = started(catalog).publish([])
    assert dataset.rows == 0
    assert dataset.to_arrow().schema == SCHEMAS.output
    assert dataset.head().schema == SCHEMAS.output
    assert dataset.rejects().schema == SCHEMAS.rejects
    assert len(dataset.files) == 1


def test_a_reader_that_looks_all_the_time_sees_whole_versions_only(tmp_path: Path) -> None:
    catalog, seen, ended = Catalog(tmp_path), set(), threading.Event()
    faults: list[BaseException] = []

    def read() -> None:
        try:
            while not ended.is_set():
                latest = tmp_path / "leads" / "latest"
                if latest.is_symlink():
                    seen.add(sum(pq.read_metadata(path).num_rows for path in latest.resolve().iterdir()))
                check_reader(catalog)
        except BaseException as error:
            faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(12):
        published(catalog, f"r{number}")
    ended.set()
    reader.join()
    assert faults == []
    assert seen == {6}


def test_the_runs_folder_keeps_nothing_that_is_published_already(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    published(catalog)
    assert sorted(path.name for path in (tmp_path / "leads" / "_runs" / "r1").iterdir()) == [
        "epochs",
        "plan.json",
        "run.json",
    ]
    record = catalog.runs("leads")[0]
    assert (record.state, record.version, record.committed) == (RunState.PUBLISHED, 1, 2)


def test_an_object_store_writes_the_manifest_last() -> None:
    catalog = Catalog(f"memory://{uuid4().hex}")
    run = started(catalog)
    run.commit(SPECS[0], result_of(0))
    files, order = catalog._files, []
    pipe, copy = files._remote.pipe_file, files._remote.copy  # type: ignore[attr-defined]
    files._remote.pipe_file = lambda path, *a, **o: (order.append(path), pipe(path, *a, **o))  # type: ignore[attr-defined]
    files._remote.copy = lambda sources, targets, **o: (order.extend(targets), copy(sources, targets, **o))  # type: ignore[attr-defined]
    try:
        run.publish(SPECS[:1])
    finally:
        del files._remote.pipe_file, files._remote.copy  # type: ignore[attr-defined]
    names = [path.rpartition("/leads/")[2] for path in order]
    last_part = max(position for position, name in enumerate(names) if name.startswith("v1/"))
    manifest = names.index("_meta/v1/dataset.json")
    assert last_part < manifest < names.index("LATEST")


def test_pandas_reads_the_folder(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    dataset = published(Catalog(tmp_path))
    frame = pandas.read_parquet(tmp_path / "leads" / "latest", dtype_backend="pyarrow")
    assert sorted(frame["id"]) == dataset.to_arrow()["id"].to_pylist()


def test_polars_reads_the_folder(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    dataset = published(Catalog(tmp_path))
    assert sorted(polars.read_parquet(dataset.path)["id"]) == dataset.to_arrow()["id"].to_pylist()


def test_duckdb_reads_the_folder(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    dataset = published(Catalog(tmp_path))
    found = duckdb.sql(f"select id from '{dataset.path}/*.parquet' order by id").fetchall()
    assert [row[0] for row in found] == dataset.to_arrow()["id"].to_pylist()


def test_every_reader_reads_the_verdicts_of_validations(tmp_path: Path) -> None:
    pandas, polars, duckdb = (pytest.importorskip(name) for name in ("pandas", "polars", "duckdb"))
    verdict = pa.struct([("validator", pa.dictionary(pa.int8(), pa.string())), ("is_valid", pa.bool_())])
    output = pa.table({"validations": pa.array([[{"validator": "email", "is_valid": True}], []], pa.list_(verdict))})
    run = Catalog(tmp_path).start("leads", run_id="r1", plan={}, schemas=replace(SCHEMAS, output=output.schema))
    counted = Statistics(total_records=2, valid_records=2)
    empty = result_of(0)
    rejects = empty.rejects.schema.empty_table()
    run.commit(SPECS[0], replace(empty, output=output, rejects=rejects, statistics=counted))
    dataset = run.publish(SPECS[:1])
    expected = [{"validator": "email", "is_valid": True}]
    assert dataset.to_arrow().equals(output)
    assert polars.read_parquet(dataset.path)["validations"].to_list() == [expected, []]
    found = duckdb.sql(f"select validations from '{dataset.path}/*.parquet'").fetchall()
    assert found == [(expected,), ([],)]
    assert list(pandas.read_parquet(dataset.path)["validations"][0]) == expected
    assert list(dataset.to_pandas()["validations"][0]) == expected


def test_every_reader_reads_an_empty_version(tmp_path: Path) -> None:
    pandas, polars, duckdb = (pytest.importorskip(name) for name in ("pandas", "polars", "duckdb"))
    dataset = started(Catalog(tmp_path)).publish([])
    assert list(pandas.read_parquet(dataset.path).columns) == ["id", "name"]
    assert polars.read_parquet(dataset.path).columns == ["id", "name"]
    assert duckdb.sql(f"select * from '{dataset.path}/*.parquet'").columns == ["id", "name"]


def test_a_version_names_where_its_records_come_from(catalog: Catalog) -> None:
    lineage = {"source": "leads.csv", "pipeline": "leads"}
    dataset = started(catalog).publish([], lineage=lineage)
    assert json.loads(json.dumps(dataset.manifest))["lineage"] == lineage


def test_a_process_that_lost_the_run_publishes_nothing(catalog: Catalog) -> None:
    run = started(catalog)
    run.resume()
    with pytest.raises(OutputLocked, match="another process has taken it over"):
        run.publish([])
    assert not catalog.has("leads")


def test_a_killed_process_is_what_the_sweep_thinks_it_is() -> None:
    child = os.fork()
    if child == 0:
        with broken_at(2, lambda: os.kill(os.getpid(), signal.SIGKILL)):
            os.mkdir(f"/tmp/{uuid4().hex}")  # noqa: PTH102
            os.mkdir("/never")  # noqa: PTH102
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
