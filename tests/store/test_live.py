"""What a run shows in its folder: a board, a log, a wish to stop it."""

from __future__ import annotations

import pytest
from committing import started

from dataflow.errors import StoreError
from dataflow.store.live import (
    ask_to_stop,
    is_asked_to_stop,
    is_slow,
    keep_board,
    keep_lines,
    read_board,
    read_lines,
)


def test_a_board_is_read_as_it_was_shown_last(catalog):
    folder = started(catalog)
    assert read_board(folder) is None
    keep_board(folder, b"one")
    keep_board(folder, b"two")
    assert read_board(folder) == b"two"


def test_the_log_keeps_the_lines_of_every_stretch_in_order(catalog):
    folder = started(catalog)
    assert read_lines(folder) == []
    keep_lines(folder, ["a"])
    keep_lines(folder, ["a", "b"])
    keep_lines(folder.resume(), ["c"])
    assert read_lines(folder) == ["a", "b", "c"]


def test_a_wish_to_stop_is_for_the_stretch_that_was_asked(catalog):
    folder = started(catalog)
    assert not is_asked_to_stop(folder)
    ask_to_stop(folder)
    ask_to_stop(folder)
    assert is_asked_to_stop(folder)
    assert not is_asked_to_stop(folder.resume())


def test_an_object_store_is_slow(catalog):
    assert is_slow(started(catalog)) is ("memory://" in catalog.root)


def test_a_folder_that_cannot_be_read_is_named(catalog, monkeypatch):
    folder = started(catalog)
    keep_board(folder, b"one")

    def broken(*arguments):
        raise OSError(5, "broken")

    monkeypatch.setattr("dataflow.store.files.LocalFiles.read", broken)
    monkeypatch.setattr("dataflow.store.objects.ObjectFiles.read", broken)
    with pytest.raises(StoreError, match="run r1: reading its board"):
        read_board(folder)
    assert not is_asked_to_stop(folder)
