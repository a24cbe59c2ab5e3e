"""What the place of a catalog allows, tried out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest

from dataflow.errors import StoreError
from dataflow.store import probing
from dataflow.store.catalog import Catalog
from dataflow.store.probing import probe


def test_a_folder_of_this_machine_can_do_everything(tmp_path: Path) -> None:
    found = probe(str(tmp_path))
    assert (found.locks, found.links, found.pointers) == (True, True, True)
    assert (found.folder, found.free) == (str(tmp_path), pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_tried_out_above_and_not_made(tmp_path: Path) -> None:
    assert probe(str(tmp_path / "a" / "b")).folder == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_object_store_must_refuse_a_second_object(tmp_path: Path) -> None:
    root = f"memory://{tmp_path.name}"
    found = probe(root)
    assert (found.locks, found.links, found.free) == (True, True, None)
    assert fsspec.filesystem("memory").find(root) == []


def test_a_file_system_without_links_or_locks_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    monkeypatch.setattr(probing.fcntl, "flock", refuse)
    found = probe(str(tmp_path))
    assert (found.locks, found.links, found.pointers) == (False, False, False)


def test_locks_that_keep_nobody_out_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing.fcntl, "flock", lambda *_: None)
    assert not probe(str(tmp_path)).locks


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="writing a file"):
        probe(str(tmp_path / "file" / "catalog"))


def test_a_catalog_does_not_see_a_probe_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / ".probe-1.tmp").mkdir()
    assert Catalog(tmp_path).datasets() == []
    assert Catalog(tmp_path).runs() == []
