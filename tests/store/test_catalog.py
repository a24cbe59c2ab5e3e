"""What a catalog shows of its datasets and runs, and how a version is read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from committing import SCHEMAS, SPECS, published, result_of, spec_of, started

from dataflow.errors import CatalogError, OutputLocked, StoreError
from dataflow.store.catalog import Catalog
from dataflow.store.ledger import RunState


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    for number in (1, 2, 3):
        published(catalog, f"r{number}", SPECS[: min(number, 2)])
    return catalog


@pytest.mark.parametrize(
    ("name", "version", "rows"), [("leads", 3, 6), ("leads@v1", 1, 3), ("leads@1", 1, 3), ("leads@3", 3, 6)]
)
def test_a_dataset_is_opened_by_name_and_version(filled: Catalog, name: str, version: int, rows: int) -> None:
    dataset = filled.open(name)
    assert (dataset.name, dataset.version, dataset.rows) == ("leads", version, rows)
    assert filled.has(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("leds", "there is no dataset 'leds' in .*; did you mean leads"),
        ("products", "there is no dataset 'products' in .*; there is leads"),
        ("leads@v9", "leads has no version 9 in .*; there is v1, v2, v3"),
        ("leads@newest", "names no dataset; write it as 'leads' or 'leads@v3'"),
        ("../etc", "is no name for a dataset; use letters"),
        ("_runs", "is no name for a dataset; use letters"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(filled: Catalog, name: str, words: str) -> None:
    assert not filled.has(name)
    with pytest.raises(CatalogError, match=words):
        filled.open(name)


def test_an_empty_catalog_says_so(catalog: Catalog) -> None:
    assert catalog.datasets() == []
    assert catalog.runs() == []
    with pytest.raises(CatalogError, match="it has no datasets yet"):
        catalog.open("leads")


def test_a_dataset_whose_first_run_has_not_ended_has_no_version(catalog: Catalog) -> None:
    started(catalog)
    assert catalog.datasets() == []
    with pytest.raises(CatalogError, match="has no published version yet"):
        catalog.open("leads")


def test_datasets_are_listed_at_a_glance(filled: Catalog) -> None:
    (info,) = filled.datasets()
    assert (info.name, info.version, info.versions, info.rows) == ("leads", 3, 3, 6)
    assert info.bytes > 1000
    assert info.created.endswith("+00:00")


def test_files_in_the_catalog_are_no_datasets(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text("id\n1\n")
    (tmp_path / "notes").mkdir()
    assert Catalog(tmp_path).datasets() == []


def test_a_run_is_seen_in_every_state(catalog: Catalog) -> None:
    abandoned, stopped, unfinished = (started(catalog, name) for name in ("r1", "r2", "r3"))
    abandoned.abandon("the source has changed")
    stopped.commit(SPECS[0], result_of(0))
    stopped.stop("the deadline has passed")
    published(catalog, "r4")
    found = {record.id: record for record in catalog.runs("leads")}
    assert list(found) == ["r4", "r3", "r2", "r1"]
    assert [record.state for record in found.values()] == [
        RunState.PUBLISHED,
        RunState.UNFINISHED,
        RunState.STOPPED,
        RunState.ABANDONED,
    ]
    assert (found["r2"].reason, found["r2"].planned, found["r2"].committed) == ("the deadline has passed", 2, 1)
    assert found["r1"].reason == "the source has changed"
    assert found["r4"].version == 1
    assert unfinished.plan()["fingerprints"] == {"pipeline": "p1"}


def test_the_newest_run_that_can_go_on_is_found(catalog: Catalog) -> None:
    assert catalog.unfinished("leads") is None
    started(catalog, "r1").stop("interrupted")
    started(catalog, "r2").abandon("the pipeline has changed")
    published(catalog, "r3")
    found = catalog.unfinished("leads")
    assert found is not None
    assert found.run == "r1"
    resumed = found.resume()
    resumed.commit(SPECS[0], result_of(0))
    assert catalog.runs("leads")[2].state is RunState.UNFINISHED


def test_a_run_is_found_by_its_id_in_any_dataset(catalog: Catalog) -> None:
    started(catalog, "20260101-120000")
    latest = catalog.start("products", run_id="20260102-120000", plan={}, schemas=SCHEMAS)
    assert catalog.run("20260101-120000").dataset == "leads"
    assert catalog.run("latest") == latest
    with pytest.raises(CatalogError, match="did you mean 20260101-120000"):
        catalog.run("20260101-12000")
    with pytest.raises(CatalogError, match="the newest one is 20260102-120000"):
        catalog.run("yesterday")


def test_an_id_is_used_for_one_run_only(catalog: Catalog) -> None:
    started(catalog)
    with pytest.raises(CatalogError, match="run r1 of leads exists; choose another id"):
        started(catalog)


def test_names_that_would_leave_the_catalog_are_refused(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="is no id for a run"):
        started(catalog, "../r1")
    with pytest.raises(CatalogError, match="is no name for a dataset"):
        catalog.start("../leads", run_id="r1", plan={}, schemas=SCHEMAS)


def test_what_a_run_has_committed_is_read_like_a_version(catalog: Catalog) -> None:
    run = started(catalog)
    run.commit(SPECS[1], result_of(1))
    dataset = run.partial()
    assert dataset.version is None
    assert dataset.to_arrow()["id"].to_pylist() == [10, 11, 12]
    assert dataset.rejects()["id"].to_pylist() == [19]
    assert dataset.failures().schema == SCHEMAS.failures
    assert dataset.statistics["total_records"] == 4
    assert repr(dataset).startswith("Dataset(leads (r1): 3 rows")


def test_pruning_keeps_the_newest_versions_and_what_can_go_on(filled: Catalog) -> None:
    started(filled, "r4").abandon("the source has changed")
    started(filled, "r5")
    assert filled.prune("leads", keep=1) == ["v1", "v2", "run r1", "run r2", "run r4"]
    assert [record.id for record in filled.runs("leads")] == ["r5", "r3"]
    assert filled.open("leads").version == 3
    filled.open("leads").verify()
    assert not filled.has("leads@1")
    assert filled.prune("leads", keep=1) == []


def test_a_pruned_version_does_not_give_its_number_to_another(filled: Catalog) -> None:
    filled.prune("leads", keep=1)
    assert published(filled, "r4").version == 4


def test_pruning_leaves_nothing_of_a_version(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    for number in (1, 2):
        published(catalog, f"r{number}")
    (tmp_path / "leads" / ".LATEST.123abc.tmp").write_bytes(b"v")
    (tmp_path / "leads" / "_meta" / "v7").mkdir()
    (tmp_path / "leads" / "_runs" / "source-1").mkdir()
    catalog.prune("leads", keep=1)
    names = sorted(str(path.relative_to(tmp_path / "leads")) for path in (tmp_path / "leads").glob("*/*"))
    assert names[:2] == ["_meta/v2", "_runs/r2"]
    assert [name for name in names if "v1" in name or "v7" in name] == []
    assert (tmp_path / "leads" / "_runs" / "source-1").is_dir()
    assert not (tmp_path / "leads" / ".LATEST.123abc.tmp").exists()


def test_pruning_waits_for_no_run(catalog: Catalog) -> None:
    published(catalog)
    with catalog.lock("leads", run="r2"), pytest.raises(OutputLocked, match="run r2 holds this dataset"):
        catalog.prune("leads", keep=1)
    with pytest.raises(CatalogError, match="keep at least 1"):
        catalog.prune("leads", keep=0)


@pytest.mark.parametrize(("n", "ids"), [(0, []), (2, [0, 1]), (4, [0, 1, 2, 10]), (99, [0, 1, 2, 10, 11, 12])])
def test_the_head_is_the_beginning(filled: Catalog, n: int, ids: list[int]) -> None:
    head = filled.open("leads").head(n)
    assert head["id"].to_pylist() == ids
    assert head.schema == SCHEMAS.output


def test_pandas_gets_arrow_types(filled: Catalog) -> None:
    pandas = pytest.importorskip("pandas")
    frame = filled.open("leads").to_pandas()
    assert dict(frame.dtypes) == {"id": pandas.ArrowDtype(pa.int64()), "name": pandas.ArrowDtype(pa.string())}
    assert frame["id"].tolist() == [0, 1, 2, 10, 11, 12]


def test_dask_gets_a_partition_for_each_part(filled: Catalog) -> None:
    pytest.importorskip("dask.dataframe")
    dataset = filled.open("leads")
    frame = dataset.to_dask()
    assert frame.npartitions == 2
    assert frame.dtypes.equals(dataset.to_pandas().dtypes)
    assert frame.compute(scheduler="sync")["id"].tolist() == [0, 1, 2, 10, 11, 12]


def test_a_flipped_bit_is_noticed_by_readers_and_by_verify(tmp_path: Path) -> None:
    dataset = published(Catalog(tmp_path))
    path = Path(dataset.files[0])
    data = bytearray(path.read_bytes())
    data[data.index(b"ann")] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=f"{path.name}: this part of leads@v1 is damaged"):
        dataset.to_arrow()
    with pytest.raises(StoreError, match=f"{path.name} differs from what was written"):
        dataset.verify()


def test_a_missing_part_is_noticed_by_readers_and_by_verify(tmp_path: Path) -> None:
    dataset = published(Catalog(tmp_path))
    Path(dataset.files[1]).unlink()
    with pytest.raises(StoreError, match="this part of leads@v1 is gone"):
        dataset.to_arrow()
    with pytest.raises(StoreError, match="is missing"):
        dataset.verify()


def test_readers_take_what_the_manifest_names_and_nothing_else(tmp_path: Path) -> None:
    dataset = published(Catalog(tmp_path))
    Path(dataset.path, "part-00009-stranger.parquet").write_bytes(Path(dataset.files[0]).read_bytes())
    assert Catalog(tmp_path).open("leads").to_arrow().num_rows == 6


@pytest.mark.parametrize(("damage", "words"), [('"format": 2', "format 2 is not known"), ("{", "no readable manifest")])
def test_a_manifest_that_cannot_be_read_is_refused_by_name(tmp_path: Path, damage: str, words: str) -> None:
    dataset = published(Catalog(tmp_path))
    manifest = Path(dataset.meta, "dataset.json")
    manifest.write_text(manifest.read_text().replace('"format": 1', damage) if damage != "{" else damage)
    with pytest.raises(CatalogError, match=words):
        Catalog(tmp_path).open("leads")


def test_a_dataset_shows_itself_shortly(filled: Catalog) -> None:
    dataset = filled.open("leads")
    assert repr(dataset) == f"Dataset(leads@v3: 6 rows, 2 columns, 2 parts, {dataset.path})"
    assert "<b>name</b>" in dataset._repr_html_()


def test_names_of_columns_are_shown_as_text(catalog: Catalog) -> None:
    schemas = type(SCHEMAS)(
        output=pa.schema([(f"<b>{number}", pa.string()) for number in range(70)]),
        rejects=SCHEMAS.rejects,
        failures=SCHEMAS.failures,
    )
    html = catalog.start("leads", run_id="r1", plan={}, schemas=schemas).publish([])._repr_html_()
    assert "&lt;b&gt;0" in html
    assert "and 10 more" in html
    assert "<b>0" not in html


def test_a_large_plan_is_written_whole(catalog: Catalog) -> None:
    specs = [spec_of(index) for index in range(2000)]
    run = started(catalog, "r1", specs)
    assert run.plan()["specs"] == [spec.to_dict() for spec in specs]
    assert catalog.runs("leads")[0].planned == 2000
