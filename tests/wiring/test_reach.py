"""The workers of somebody else's cluster are asked what they see before any work."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from dataflow.errors import CatalogError, SourceError
from dataflow.plan.partitions import SourceFile, SourcePlan
from dataflow.store.commit import RunFolder
from dataflow.wiring.reach import check_reach, look


class Workers:
    """Two workers; the second sees what `seen` makes of the paths."""

    def __init__(self, seen: dict[str, str]) -> None:
        self.seen = seen

    def on_every_worker(self, function, path, word, source):  # type: ignore[no-untyped-def]
        other = [self.seen.get(one, one) for one in (path, source)]
        return {"tcp://a": function(path, word, source), "tcp://b": function(other[0], word, other[1])}


def run_folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "numbers" / "_runs" / "r1").mkdir(parents=True)
    return RunFolder(root=str(tmp_path), dataset="numbers", run="r1", epoch=1)


def source_plan(tmp_path: Path) -> SourcePlan:
    (tmp_path / "source.csv").write_text("a\n1\n")
    file = SourceFile(path=str(tmp_path / "source.csv"), size=4, fingerprint="f")
    return SourcePlan(schema=pa.schema({"a": pa.string()}), specs=(), files=(file,), options={})


def test_workers_that_see_the_same_are_fine(tmp_path: Path) -> None:
    check_reach(Workers({}), run_folder(tmp_path), source_plan(tmp_path))


def test_a_worker_that_sees_another_catalog_is_named(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    with pytest.raises(CatalogError, match=r"tcp://b on host .* does not see the catalog"):
        check_reach(Workers({folder.path("nonce"): str(tmp_path / "elsewhere")}), folder, source_plan(tmp_path))


def test_a_worker_that_cannot_open_the_source_is_named(tmp_path: Path) -> None:
    plan = source_plan(tmp_path)
    with pytest.raises(SourceError, match=r"tcp://b on host .* cannot open .*source\.csv"):
        check_reach(Workers({plan.files[0].path: "/nowhere.csv"}), run_folder(tmp_path), plan)


def test_an_old_word_in_the_catalog_is_no_proof(tmp_path: Path) -> None:
    (tmp_path / "nonce").write_text("old")
    assert look(str(tmp_path / "nonce"), "new", None)[1] is not None
