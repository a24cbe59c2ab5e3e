"""A run as a notebook follows it: the panels of its board, drawn again and again in one place.

What the board holds comes from the run; here it is looked at, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from html import escape

from dataflow.faces.page import sections
from dataflow.faces.panels import Board, draw
from dataflow.faces.style import notebook_style
from dataflow.faces.texts import count, counted, printable

EVERY = 1.0
"""Seconds between two looks: what a person can follow, and nothing for a kernel."""


class Dashboard:
    """The live page of one run: it updates itself in a notebook, and is a few lines elsewhere.

    Args:
        look: Gives the board as it is now.
        ended: Waits at most so many seconds, and says whether the run is over.
    """

    def __init__(self, look: Callable[[], Board], *, ended: Callable[[float], bool]) -> None:
        self._look = look
        self._ended = ended
        self._last: Board | None = None

    @property
    def board(self) -> Board:
        """All that is shown of the run now, as plain JSON values."""
        with suppress(RuntimeError):
            # The run goes on meanwhile: what grows while it is counted is counted at the next look.
            self._last = self._look()
        return self._look() if self._last is None else self._last

    def __str__(self) -> str:
        return board_lines(self.board)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return board_html(self.board)

    def _ipython_display_(self) -> None:
        from dataflow.faces.live import follow
        from dataflow.faces.progress import in_notebook

        if self._ended(0) or not in_notebook():
            # IPython shows the panels or the lines above then.
            raise NotImplementedError
        follow(self._repr_html_, self._ended, every=EVERY)


def board_html(board: Board) -> str:
    """The panels of a board with all they need, and a link to its page."""
    page = board["page"]
    link = "" if page is None else f'<p class="facts"><a href="{escape(page)}" target="_blank">{escape(page)}</a></p>'
    return f'<style>{notebook_style()}</style><div class="dataflow">{sections(draw(board))}{link}</div>'


def board_lines(board: Board) -> str:
    """Where a run is, in a few lines of text."""
    records, parts = board["records"], board["partitions"]
    target = board["dataset"] if board["version"] is None else f"{board['dataset']}@v{board['version']}"
    lines = [
        f"{target}: {board['status']} by run {board['run']}",
        f"{count(parts['done'])} of {counted(parts['planned'], 'partition')}, {counted(records['done'], 'record')}, "
        f"{count(records['rejected'])} rejected",
    ]
    lines += [board["reason"]] if board["reason"] else []
    lines += [f"live page: {board['page']}"] if board["page"] else []
    return "\n".join(printable(line) for line in lines)
