"""The live page: a document that draws itself again and again from boards. Pure, standard library only.

The scheduler draws it in its own process; so does `dataflow dashboard` for a run without one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dataflow.faces.meters import attribute, text
from dataflow.faces.panels import SILENT, draw
from dataflow.faces.style import page_style, script

_RUNS = 12
_EMPTY = (
    "<h1>dataflow</h1>"
    '<p class="word">No run yet. A run on this cluster appears here by itself: give its command '
    "<code>--scheduler</code> with the address of this scheduler.</p>"
)


def page(boards: Mapping[str, tuple[bytes, float]], *, run: str | None = None, nonce: str) -> str:
    """The whole document, with the panels as they are now.

    Args:
        boards: By run, the newest first: its board as JSON, and the seconds since its driver was heard.
        run: The run to show; the newest one by default.
        nonce: What lets the script of this page run, and no other.
    """
    told = panels(boards, run=run)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{attribute(told['title'])}</title><style>{page_style()}</style></head>"
        f'<body><main class="dataflow" data-seen="{told["seen"]}">'
        f'<p id="lost" class="word bad" role="status" hidden></p>{sections(told["panels"])}</main>'
        f'<script nonce="{nonce}">{script()}</script></body></html>'
    )


def sections(panels: Mapping[str, str]) -> str:
    """The panels as they stand below one another."""
    return "".join(f'<section data-panel="{name}">{html}</section>' for name, html in panels.items())


def policy(nonce: str) -> str:
    """The Content-Security-Policy of the page: nothing from elsewhere, and no script but its own."""
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def panels(boards: Mapping[str, tuple[bytes, float]], *, run: str | None = None) -> dict[str, Any]:
    """The panels by name, the title, and `seen`, which is the same as long as nothing has changed.

    Args: as for `page`.
    """
    chosen = run if run in boards else next(iter(boards), None)
    if chosen is None:
        return {"seen": "none", "title": "dataflow", "panels": {"head": _EMPTY}}
    board, heard_ago = boards[chosen]
    told = json.loads(board)
    drawn = draw(told, heard_ago=heard_ago)
    listed = _runs(list(boards), chosen)
    return {
        "seen": seen(boards, run=run),
        "title": f"{told.get('status', '')}: {told.get('dataset', '')} · dataflow",
        "panels": {**({"runs": listed} if listed else {}), **drawn},
    }


def values(boards: Mapping[str, tuple[bytes, float]]) -> dict[str, dict[str, Any]]:
    """The boards for machines: by run, with the seconds since its driver was heard, and without the picture."""
    found = {run: {**json.loads(board), "heard_ago": ago} for run, (board, ago) in boards.items()}
    return {run: {name: one for name, one in told.items() if name != "graph"} for run, told in found.items()}


def seen(boards: Mapping[str, tuple[bytes, float]], *, run: str | None = None) -> str:
    """What tells one state of the page from the next, without drawing it."""
    chosen = run if run in boards else next(iter(boards), None)
    if chosen is None:
        return "none"
    board, heard_ago = boards[chosen]
    # A driver that is missed is missed for longer each time.
    missed = int(heard_ago) if heard_ago > SILENT else 0
    return hashlib.blake2b(board + f"{missed} {list(boards)}".encode(), digest_size=8).hexdigest()


def _runs(runs: Sequence[str], chosen: str) -> str:
    """Links to the other runs."""
    if len(runs) < 2:
        return ""
    links = "".join(
        f'<a href="?run={attribute(one)}"{" class=here" if one == chosen else ""}>{text(one, 60)}</a>'
        for one in runs[:_RUNS]
    )
    return f'<nav class="runs">{links}</nav>'
