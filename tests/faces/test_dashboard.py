"""A run that shows itself: in a notebook and as text, while it goes on and when it has ended."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.faces.dashboard import Dashboard, board_html, board_lines
from tests.faces.boards import board

TABLE = pa.table({"email": ["a"]})


@flow.transformation
def email(email: str) -> str:
    return email


pipeline = flow.Pipeline("p", [email])


def test_a_board_is_a_few_lines_with_the_address_of_its_page() -> None:
    drawn = {**board(["email", "company"]), "page": "http://127.0.0.1:8787/dataflow"}
    assert board_lines(drawn).splitlines() == [
        "leads: running by run 20261128T111723-7bde55",
        "12 of 40 partitions, 12,000 records, 240 rejected",
        "live page: http://127.0.0.1:8787/dataflow",
    ]


def test_a_board_in_a_notebook_has_its_style_its_panels_and_a_link() -> None:
    html = board_html({**board(["email", "company"]), "page": 'http://h/"dataflow'})
    assert html.startswith("<style>")
    assert 'data-panel="services"' in html
    assert 'href="http://h/&quot;dataflow"' in html


def test_a_run_that_changes_while_it_is_looked_at_is_shown_as_it_was() -> None:
    boards = [board(["email"])]

    def look() -> dict[str, object]:
        if not boards:
            raise RuntimeError("dictionary changed size during iteration")
        return boards.pop()

    dashboard = Dashboard(look, ended=lambda _: True)
    assert str(dashboard) == str(dashboard)


def test_a_run_that_has_ended_keeps_its_last_board(tmp_path: Path) -> None:
    dashboard = pipeline.run(TABLE, "out", catalog=str(tmp_path)).dashboard()
    assert "Published after" in dashboard._repr_html_()
    assert dashboard.board["seconds"] == dashboard.board["seconds"]
    with pytest.raises(NotImplementedError):
        dashboard._ipython_display_()


def test_a_run_in_which_nothing_was_done_shows_what_there_is(tmp_path: Path) -> None:
    pipeline.run(TABLE, "out", catalog=str(tmp_path))
    unchanged = pipeline.run(TABLE, "out", catalog=str(tmp_path), if_changed=True)
    assert str(unchanged.dashboard()).startswith(f"out@v1: unchanged by run {unchanged.id}")
    assert "1 record" in str(unchanged.dashboard())


def test_a_run_that_goes_on_shows_where_it_is(tmp_path: Path) -> None:
    begun, going = threading.Event(), threading.Event()

    @flow.transformation
    def held(email: str) -> str:
        begun.set()
        going.wait(60)
        return email

    run = flow.Pipeline("held", [held]).run(TABLE, "out", catalog=str(tmp_path), wait=False)
    dashboard = run.dashboard()
    assert begun.wait(60)
    assert "0 of 1 partition," in str(dashboard)
    going.set()
    run.wait()
    assert "1 of 1 partition," in str(dashboard)
