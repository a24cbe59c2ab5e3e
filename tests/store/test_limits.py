"""What planes have counted is kept in a catalog, one file for each, and what cannot be read is named and left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataflow.store.files import files_at
from dataflow.store.limits import Counted, CountedFiles
from dataflow.testing import memory_catalog

DAY = 86_400.0


def counted(plane: str, *, api: str = "acme", written: float = 1000.0, age: float = 5.0) -> Counted:
    return Counted(api=api, plane=plane, written=written, windows=[(DAY, "calls", [(age, 30)])])


@pytest.fixture(params=["folder", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return memory_catalog() if request.param == "memory" else str(tmp_path / "catalog")


def opened(root: str, said: list[str] | None = None) -> CountedFiles:
    return CountedFiles(root, unreadable=[].append if said is None else said.append)


def test_each_plane_reads_what_the_others_have_written_last(root: str) -> None:
    files = opened(root)
    assert list(files.read("acme", besides="a", now=1000.0)) == []
    for one in (counted("a"), counted("b", age=1.0), counted("b", age=2.0), counted("c", api="other")):
        files.write(one)
    assert list(files.read("acme", besides="a", now=1000.0)) == [counted("b", age=2.0)]
    assert list(files.read("other", besides="a", now=1000.0)) == [counted("c", api="other")]


def test_ages_go_on_while_nobody_writes_and_clocks_that_go_wrong_make_nothing_younger() -> None:
    assert counted("a").aged(1060.0) == [[DAY, "calls", [[65.0, 30]]]]
    assert counted("a").aged(-1e6) == [[DAY, "calls", [[5.0, 30]]]]


def test_what_no_window_counts_any_more_is_removed(root: str) -> None:
    files = opened(root)
    files.write(counted("old"))
    files.write(counted("a", written=1000.0 + 2 * DAY))
    assert list(files.read("acme", besides="a", now=1000.0 + 2 * DAY)) == []
    assert list(files_at(root).sizes(f"{root}/_limits/acme")) == ["a.json"]


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"\xff\xfe", b"null", json.dumps({"api": "acme"}).encode(), b'{"windows": NaN}'],
)
def test_a_file_that_cannot_be_read_is_named_and_ignored(root: str, data: bytes) -> None:
    said: list[str] = []
    files = opened(root, said)
    files.write(counted("b"))
    files_at(root).write(f"{root}/_limits/acme/c.json", data)
    assert list(files.read("acme", besides="a", now=1000.0)) == [counted("b")]
    assert len(said) == 1
    assert "_limits/acme/c.json" in said[0]


@pytest.mark.parametrize("row", [[0.0, "calls", []], [DAY, "money", []], [DAY, "calls", [[-1.0, 3]]], [DAY, "calls"]])
def test_numbers_that_make_no_sense_are_not_believed(root: str, row: list[object]) -> None:
    said: list[str] = []
    files = opened(root, said)
    files_at(root).make(f"{root}/_limits/acme")
    text = json.dumps({"api": "acme", "plane": "b", "written": 1.0, "windows": [row]})
    files_at(root).write(f"{root}/_limits/acme/b.json", text.encode())
    assert list(files.read("acme", besides="a", now=1000.0)) == []
    assert len(said) == 1


def test_names_that_a_disk_could_take_for_the_same_or_for_a_path_have_folders_of_their_own(root: str) -> None:
    files = opened(root)
    names = ["acme", "Acme", "ACME", "a..", "_.", "a.b", "ab", "über", "uber"]
    for name in names:
        files.write(counted("b", api=name))
    for name in names:
        assert [one.api for one in files.read(name, besides="a", now=1000.0)] == [name]
    folders = files_at(root).folders(f"{root}/_limits")
    assert len({folder.lower() for folder in folders}) == len(names)
    assert not any("." in folder for folder in folders)
