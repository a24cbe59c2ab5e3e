"""What `flow.open` takes: names, versions, paths and runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import CatalogError
from dataflow.store.catalog import Catalog
from dataflow.testing import memory_catalog
from dataflow.wiring.run import Run


@flow.transformation
def double(number: int) -> int:
    return 2 * number


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    monkeypatch.chdir(tmp_path)

    def publish(numbers: list[int], output: str = "numbers", **settings: Any) -> Run:
        return flow.Pipeline("p", [double]).run(pa.table({"number": numbers}), output, **settings)

    return publish


def test_a_version_by_every_name_it_has(publish: Callable[..., Run], tmp_path: Path) -> None:
    first, second = publish([1]), publish([1, 2])
    names = {
        1: ["numbers@v1", "numbers@1", "datasets/numbers@v1", "datasets/numbers/v1", first.path, first.id, first],
        2: ["numbers", "datasets/numbers", "datasets/numbers/", tmp_path / "datasets" / "numbers", second.path],
    }
    names[2] += ["datasets/numbers/latest", f"{second.path}/", second.id, second, "latest", "numbers@v2"]
    for version, given in names.items():
        for name in given:
            found = flow.open(name)  # type: ignore[arg-type]
            assert (found.version, found.rows) == (version, version), name


def test_a_run_is_opened_where_it_was_made(publish: Callable[..., Run], tmp_path: Path) -> None:
    run = publish([1], catalog=str(tmp_path / "other"))
    assert flow.open(run).path == run.path
    with pytest.raises(CatalogError, match="there is no dataset"):
        flow.open(run.id)
    assert flow.open(run.id, catalog=str(tmp_path / "other")).path == run.path


def test_a_dataset_goes_before_a_run_of_its_name(publish: Callable[..., Run]) -> None:
    publish([1, 2, 3], output="latest")
    publish([1])
    assert flow.open("latest").rows == 3


def test_a_version_folder_goes_before_a_dataset_that_is_called_like_one(publish: Callable[..., Run]) -> None:
    publish([1, 2], output="v1")
    assert flow.open("datasets/v1").rows == 2
    assert flow.open("datasets/v1/v1").rows == 2


def test_what_a_run_has_committed_is_opened_until_it_is_published(publish: Callable[..., Run]) -> None:
    class Stopped(Exception):
        pass

    def stop(event: Any) -> None:
        if event.kind == "committed":
            raise Stopped

    with pytest.raises(Stopped):
        publish([1, 2], on_event=stop)
    run = Catalog("datasets").runs("numbers")[0].id
    for name in (run, "latest"):
        found = flow.open(name)
        assert (found.version, found.rows, found.statistics["total_records"]) == (None, 2, 2)
    assert publish([1, 2]).id == run
    assert flow.open(run).version == 1


def test_catalogs_in_memory_have_paths_too(publish: Callable[..., Run]) -> None:
    catalog = memory_catalog()
    run = publish([1], catalog=catalog)
    for name in (f"{catalog}/numbers", f"{catalog}/numbers@v1", run.path, f"{catalog}/numbers/v1", run):
        assert flow.open(name).rows == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("number", r"there is no dataset 'number' in .*; did you mean numbers\?"),
        ("numbers@v7", r"numbers has no version 7 in .*; there is v1"),
        ("datasets/numbers/v7", r"numbers has no version 7 in .*; there is v1"),
        ("elsewhere/numbers", r"there is no dataset 'numbers' in .*elsewhere; it has no datasets yet"),
        ("20260101T000000-abcdef", "there is no dataset '20260101T000000-abcdef'"),
        ("a@b@c", "names no dataset"),
        ("", "names no dataset"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(publish: Callable[..., Run], name: str, message: str) -> None:
    publish([1])
    with pytest.raises(CatalogError, match=message):
        flow.open(name)


def test_a_run_whose_version_was_pruned_says_so(publish: Callable[..., Run]) -> None:
    first = publish([1])
    publish([2])
    Catalog("datasets").prune("numbers", keep=1)
    with pytest.raises(CatalogError):
        flow.open(first)
