"""Everything that may be named as a source gives the same run."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.errors import SourceError
from dataflow.store.catalog import Catalog
from dataflow.testing import memory_catalog
from dataflow.wiring.inputs import partition_bytes, plan_source, resolve_source
from dataflow.wiring.run import Run

RECORDS = [{"name": f"n{at}", "size": at, "extra": None if at % 3 else "x"} for at in range(12)]


@flow.transformation
def double(size: int) -> int:
    return 2 * size


@flow.validation
def small(size: int) -> bool:
    return size < 10


pipeline = flow.Pipeline("sizes", [double, small])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    monkeypatch.chdir(tmp_path)

    def start(source: Any, output: str = "sizes", **settings: Any) -> Run:
        return pipeline.run(source, output, **{"catalog": "catalog", "key": "name", **settings})

    return start


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    import dask

    with dask.config.set(scheduler="threads"):
        yield


def write(folder: Path, kind: str, records: list[dict[str, Any]], name: str = "a") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
        return path
    lines = [json.dumps(record) for record in records]
    if kind.startswith("csv"):
        lines = ["name,size,extra", *(f"{one['name']},{one['size']},{one['extra'] or ''}" for one in records)]
    text = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if kind.endswith("gz") else text)
    return path


def check(run: Run) -> None:
    found = run.to_arrow()
    assert found.select(["name", "size", "extra"]).to_pylist() == RECORDS
    assert found["double"].to_pylist() == [2 * record["size"] for record in RECORDS]
    assert run.statistics["invalid_records"] == 2


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "parquet"])
def test_a_file_a_folder_and_a_glob_of_each_format(run: Callable[..., Run], tmp_path: Path, kind: str) -> None:
    one = write(tmp_path / "one", kind, RECORDS)
    for at in range(3):
        write(tmp_path / "many", kind, RECORDS[at * 4 : at * 4 + 4], name=f"part-{at}")
    for source in (one, str(one), one.parent, tmp_path / "many", "many", f"many/part-*.{kind}", flow.files("many")):
        check(run(source))
    assert run("many").partitions == 3


def opened(folder: Path) -> list[str]:
    """The files of a folder that this process has open."""
    held = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            held.append(str(entry.readlink()))
    return [path for path in held if path.startswith(str(folder))]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are looked up in /proc")
@pytest.mark.parametrize("settings", [{}, {"limit": 7}], ids=["whole", "limited"])
def test_a_run_leaves_no_packed_file_open(run: Callable[..., Run], tmp_path: Path, settings: dict[str, Any]) -> None:
    many = [{"name": f"n{at}", "size": at % 9, "extra": None} for at in range(500)]
    for at in range(2):
        write(tmp_path / "packed", "csv.gz", many, name=f"part-{at}")
    source = flow.csv(str(tmp_path / "packed"), partition_size=150)
    assert run(source, **settings).partitions in (1, 8)
    assert opened(tmp_path / "packed") == []


def test_a_process_that_only_looks_at_packed_files_ends_without_a_warning(tmp_path: Path) -> None:
    write(tmp_path / "packed", "csv.gz", RECORDS * 100)
    script = (
        "import dataflow as flow\n"
        "@flow.transformation\n"
        "def double(size: int) -> int:\n"
        "    return 2 * size\n"
        "pipeline = flow.Pipeline('sizes', [double])\n"
        "source = flow.csv('packed', partition_size=300)\n"
        "pipeline.explain(source)\n"
        "pipeline.sample(source, 5)\n"
        "pipeline.quote(source)\n"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "ResourceWarning" not in done.stderr


def arrow() -> pa.Table:
    return pa.Table.from_pylist(RECORDS)


def pandas() -> Any:
    import pandas as pd

    return pd.DataFrame(RECORDS, index=[5] * 12)


def dask_frame() -> Any:
    import dask.dataframe as dd

    return dd.from_pandas(pandas().reset_index(drop=True), npartitions=3)


def bag() -> Any:
    import dask.bag

    return dask.bag.from_sequence(RECORDS, npartitions=3)


@pytest.mark.parametrize("make", [arrow, pandas, dask_frame, bag])
@pytest.mark.parametrize("remote", [False, True])
def test_tables_and_collections_are_kept_beside_the_run(
    run: Callable[..., Run], tmp_path: Path, make: Callable[[], Any], remote: bool
) -> None:
    catalog = memory_catalog() if remote else "catalog"
    done = run(make(), catalog=catalog)
    check(done)
    sources = [one["path"] for one in done.dataset.manifest["lineage"]["source"]]  # type: ignore[union-attr]
    assert all("/sizes/_runs/source-" in path for path in sources)
    assert done.partitions == (3 if make in (dask_frame, bag) else 1)
    unchanged = run(make(), catalog=catalog, if_changed=True)
    assert unchanged.status == "unchanged"
    assert [path.name for path in tmp_path.iterdir()] == ([] if remote else ["catalog"])


def test_a_dataset_is_a_source_by_name_version_folder_and_value(run: Callable[..., Run], tmp_path: Path) -> None:
    made = run(write(tmp_path, "csv", RECORDS), output="first")
    run(write(tmp_path, "csv", RECORDS[:3]), output="first")
    for source in ("first@v1", made.dataset, "catalog/first/v1", made.path):
        again = run(source, output="second")
        assert again.to_arrow().drop_columns("double").to_pylist() == made.to_arrow().drop_columns("double").to_pylist()
    for source in ("first", "catalog/first", Path("catalog") / "first", f"{tmp_path}/catalog/first/"):
        assert run(source, output="second").to_arrow()["name"].to_pylist() == ["n0", "n1", "n2"]


def test_a_dataset_in_memory_is_a_source(run: Callable[..., Run], tmp_path: Path) -> None:
    catalog = memory_catalog()
    run(write(tmp_path, "csv", RECORDS), output="first", catalog=catalog)
    check(run("first", catalog=catalog))
    check(run(f"{catalog}/first"))


def test_what_an_unfinished_run_has_committed_is_a_source(run: Callable[..., Run], tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(event: Any) -> None:
        if event.kind == "committed":
            raise Stopped

    write(tmp_path / "many", "csv", RECORDS[:5], name="a")
    write(tmp_path / "many", "csv", RECORDS[5:], name="b")
    with pytest.raises(Stopped):
        run("many", threads=1, on_event=stop)
    found = flow.open(Catalog("catalog").runs("sizes")[0].id, catalog="catalog")
    assert run(found, output="second").to_arrow()["name"].to_pylist() == found.to_arrow()["name"].to_pylist()


def test_a_file_goes_before_a_dataset_of_its_name(run: Callable[..., Run], tmp_path: Path) -> None:
    run(write(tmp_path, "csv", RECORDS), output="sizes.csv")
    write(tmp_path, "csv", RECORDS[:2], name="sizes")
    assert run("sizes.csv", output="other").to_arrow().num_rows == 2


@pytest.mark.parametrize("source", [None, 5, ["a.csv"], {"a": [1]}, object()])
def test_what_is_no_source_is_refused_by_its_type(run: Callable[..., Run], source: Any) -> None:
    with pytest.raises(SourceError, match=f"a {type(source).__name__} is no source; give a path"):
        run(source)


def test_a_text_that_can_be_no_path_is_refused_without_showing_it(run: Callable[..., Run]) -> None:
    with pytest.raises(SourceError, match="can be no path") as caught:
        run("a,b\n" + "1,2\n" * 200)
    assert "1,2" not in str(caught.value)


def test_a_frame_without_one_type_for_a_column_is_refused(run: Callable[..., Run]) -> None:
    import pandas as pd

    with pytest.raises(SourceError, match=r"`?size.*convert it before"):
        run(pd.DataFrame({"name": ["a", "b"], "size": [1, "x"]}))


def test_records_of_a_bag_are_checked_like_those_of_a_file(run: Callable[..., Run]) -> None:
    import dask.bag
    import numpy as np

    records = [{"name": "a", "size": np.int64(4)}, {"name": "b", "size": "x"}, "no record"]
    done = run(dask.bag.from_sequence(records, npartitions=1), max_failures="100%")
    assert done.to_arrow()["name"].to_pylist() == ["a"]
    assert done.rejects()["service"].to_pylist() == ["source", "source"]
    with pytest.raises(SourceError, match="holds a object, for which JSON has no form"):
        run(dask.bag.from_sequence([{"name": object()}], npartitions=1))


def test_an_empty_frame_and_an_empty_bag(run: Callable[..., Run]) -> None:
    import dask.bag

    assert run(pandas().head(0).astype({"size": "int64"})).to_arrow().num_rows == 0
    assert run(dask.bag.from_sequence([], npartitions=1), key=None).to_arrow().num_rows == 0


def test_a_limit_cuts_the_plan(tmp_path: Path) -> None:
    for at in range(3):
        write(tmp_path / "many", "csv", RECORDS[at * 4 : at * 4 + 4], name=f"part-{at}")
    source = resolve_source(tmp_path / "many", catalog=Catalog(tmp_path), spool=str(tmp_path))
    rows = [[spec.rows for spec in plan_source(source, {}, limit=limit).specs] for limit in (1, 4, 6, 100)]
    assert rows == [[1], [4], [4, 2], [4, 4, 4]]


@pytest.mark.parametrize(
    ("limits", "batch", "records"),
    [
        ({}, None, 960),
        ({}, 100, 96_000),
        ({"rate": "10/s"}, None, 500),
        ({"rate": "10/s"}, 100, 30_000),
        ({"rate": "1/min"}, 100, 2_000),
        ({"rate": "1/min"}, 10, 500),
        ({"concurrency": None}, 1000, 262_144),
    ],
)
def test_a_partition_holds_as_many_records_as_half_a_minute_of_calls_can_carry(
    limits: dict[str, Any], batch: int | None, records: int
) -> None:
    api = flow.API("acme", "https://acme.example", **limits)
    body = {"json": ["{name}"], "batch": batch} if batch else {"params": {"name": "{name}"}}
    asked = flow.Pipeline("asked", [api.post("title", "/titles", returns=str, **body)])
    assert partition_bytes(asked) == records * 256
