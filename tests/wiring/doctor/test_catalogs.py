"""Whether a catalog can be used, and what is left in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataflow.errors import StoreError
from dataflow.store.catalog import RunRecord
from dataflow.store.ledger import RunState
from dataflow.store.probing import Probe
from dataflow.wiring.doctor.catalogs import judge_place, judge_runs, look_at_catalog
from dataflow.wiring.doctor.findings import Level

FINE = Probe(folder="/data", locks=True, links=True, pointers=True, free=10**12)


@pytest.mark.parametrize(
    ("probe", "level", "fact"),
    [
        (FINE, Level.OK, "/data can be read and written"),
        (replace(FINE, folder="/"), Level.OK, "is not there yet and can be made in /"),
        (replace(FINE, locks=False), Level.PROBLEM, "has no locks that hold"),
        (replace(FINE, locks=False, links=False), Level.PROBLEM, "has no locks and links that hold"),
        (replace(FINE, pointers=False), Level.WARNING, "has no symbolic links"),
        (replace(FINE, free=10**9), Level.WARNING, "1 GB free"),
    ],
)
def test_the_place_of_a_catalog(probe: Probe, level: Level, fact: str) -> None:
    found = judge_place("/data", probe)
    assert (level, True) in [(one.level, fact in one.fact) for one in found]


def test_an_object_store_has_no_disk_to_fill() -> None:
    assert [one.subject for one in judge_place("s3://data", replace(FINE, folder="s3://data", free=None))] == [
        "catalog"
    ]


def test_unfinished_runs_are_counted_and_the_newest_is_named() -> None:
    states = {"c": RunState.STOPPED, "b": RunState.PUBLISHED, "a": RunState.UNFINISHED}
    runs = [
        RunRecord(id=name, dataset="leads", state=state, started="", planned=1, committed=0, reason=None, version=None)
        for name, state in states.items()
    ]
    (found,) = judge_runs(runs)
    assert found.fact == "2 unfinished, the newest is c of leads"
    assert "publish" in found.advice
    assert judge_runs(runs[1:2])[0].fact == "none is unfinished"


def test_a_look_leaves_nothing_behind(tmp_path: Path) -> None:
    found = look_at_catalog(str(tmp_path / "new" / "catalog"))
    assert found[0].level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_that_cannot_be_written_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="writing a file"):
        look_at_catalog(str(tmp_path / "file"))
