"""A page in the output of a cell that follows something until it has ended, without widgets.

IPython is imported only when something is really shown, and nothing here may stop what is followed.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_BETWEEN = 0.5
"""Seconds between two looks."""


def follow(look: Callable[[], str], ended: Callable[[float], bool], *, every: float = _BETWEEN) -> threading.Thread:
    """Show a page now, and again in the same place whenever it has changed, until the end.

    Args:
        look: Draws the page.
        ended: Waits at most so many seconds, and says whether it is over.
        every: Seconds between two looks.

    Returns:
        The thread that follows; it ends after the last look.
    """
    notebook: Any = importlib.import_module("IPython.display")
    page = look()
    handle = notebook.display(notebook.HTML(page), display_id=True)

    def watch() -> None:
        shown, over = page, False
        while not over:
            over = ended(every)
            found = look()
            if found != shown:
                handle.update(notebook.HTML(found))
                shown = found

    def watch_quietly() -> None:
        # The notebook may be closed by now.
        with suppress(Exception):
            watch()

    thread = threading.Thread(target=watch_quietly, name="dataflow-display", daemon=True)
    thread.start()
    return thread
