"""A page that follows a run: shown at once, updated in place while it changes, right at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.faces.live import follow


class Screen:
    """What a notebook would show, in one place."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, page: str, *, display_id: bool) -> Screen:
        assert display_id
        self.shown.append(page)
        return self

    def update(self, page: str) -> None:
        self.shown.append(page)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    made, module = Screen(), ModuleType("IPython.display")
    module.HTML = str  # type: ignore[attr-defined]
    module.display = made.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return made


def test_a_page_is_updated_when_it_changes_and_at_the_end(screen: Screen) -> None:
    pages = iter(["0 of 2", "1 of 2", "1 of 2", "done"])
    over = iter([False, False, True])
    follow(lambda: next(pages), lambda _: next(over)).join(10)
    assert screen.shown == ["0 of 2", "1 of 2", "done"]


def test_a_notebook_that_was_closed_stops_nothing(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(page: str) -> None:
        raise OSError("closed")

    monkeypatch.setattr(screen, "update", closed)
    pages = iter(["0 of 2", "1 of 2"])
    thread = follow(lambda: next(pages), lambda _: False)
    thread.join(10)
    assert not thread.is_alive()


@flow.transformation
def email(email: str) -> str:
    return email


pipeline = flow.Pipeline("p", [email])
TABLE = pa.table({"email": ["a"]})


def test_a_run_that_has_ended_is_a_page_that_stays(tmp_path: Path) -> None:
    run = pipeline.run(TABLE, "out", catalog=str(tmp_path))
    with pytest.raises(NotImplementedError):
        run._ipython_display_()
    assert "published" in run._repr_html_()
    assert "<progress" not in run._repr_html_()


def test_outside_of_a_notebook_a_live_run_is_a_line(tmp_path: Path) -> None:
    run = pipeline.run(TABLE, "out", catalog=str(tmp_path), wait=False)
    with pytest.raises(NotImplementedError):
        run._ipython_display_()
    run.wait()
