"""The style sheet of a board, for a page and for a notebook, and the script of the page; both are files beside this."""

from __future__ import annotations

import functools
from pathlib import Path

_DARK = "--ink:#e6edf3;--soft:#9198a1;--paper:#0d1117;--panel:#161b22;--rule:#30363d"
_HERE = Path(__file__).parent


@functools.cache
def page_style() -> str:
    """The style sheet of a page of its own, which follows the reader's preference for light or dark."""
    return (
        f"{_read('board.css')}body{{margin:0;padding:16px;background:#fff}}"
        "@media(max-width:720px){body{padding:10px}}"
        f"@media(prefers-color-scheme:dark){{body{{background:#0d1117}}.dataflow{{{_DARK}}}}}"
    )


@functools.cache
def notebook_style() -> str:
    """The style sheet of a board among the cells of a notebook, which has its own way to be dark."""
    return f"{_read('board.css')}[data-jp-theme-light=false] .dataflow,.vscode-dark .dataflow{{{_DARK}}}"


@functools.cache
def script() -> str:
    """What keeps the page up to date."""
    return _read("board.js")


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
