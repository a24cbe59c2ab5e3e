"""Where `dataflow dashboard` looks: the board of a run on the scheduler of a cluster, or in its folder."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder
from dataflow.store.live import is_slow, read_board
from dataflow.wiring.boards import Places
from dataflow.wiring.plainboard import board_of_folder
from dataflow.wiring.watching import SELDOM

_AGAIN = 10.0
"""Seconds after which a board is made anew of what a run has committed: all its records are read for that."""
_PATIENCE = 3.0
_LOST = 60.0
"""Seconds without a word of a driver, after which nothing is expected of it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A board, and how old it is.

    Attributes:
        run: The id of the run.
        board: The board, as JSON.
        heard_ago: Seconds since the driver of the run was heard.
    """

    run: str
    board: bytes
    heard_ago: float

    @property
    def values(self) -> dict[str, Any]:
        """What the board says."""
        values: dict[str, Any] = json.loads(self.board)
        return values

    @property
    def is_awaited(self) -> bool:
        """Whether more is to come: the run has not ended, and its driver was heard in the last minute."""
        return self.values["status"] in ("running", "stopping") and self.heard_ago < _LOST


Look = Callable[[], Seen]


@contextmanager
def seeing(run: str, *, catalog: str, scheduler: str | None = None) -> Iterator[Look]:
    """Give what looks at a run again and again.

    Args:
        run: Its id, or `latest`.
        catalog: Where it is looked for.
        scheduler: The address of the cluster where it is looked for instead.

    Raises:
        CatalogError: There is no such run. What looks raises this too, where the cluster knows none.
        ClusterError: The cluster does not answer.
    """
    if scheduler is None:
        yield FolderSight(Catalog(catalog).run(run)).look
        return
    with Places(catalog, scheduler=scheduler) as places:

        def look() -> Seen:
            told = places.find(run)
            return Seen(run=told.board["run"], board=msgspec.json.encode(told.board), heard_ago=told.heard_ago)

        yield look


class FolderSight:
    """Looks into the folder of a run.

    Args:
        folder: The folder.
        wall: Seconds since 1970.
    """

    def __init__(self, folder: RunFolder, *, wall: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._wall = wall
        self._made: Seen | None = None
        self._at = float("-inf")

    def look(self) -> Seen:
        """The board that its driver shows; one made of its statistics where there is none.

        Raises:
            CatalogError: The folder is gone or damaged.
        """
        now = self._wall()
        board = read_board(self._folder)
        if board is None:
            return self._plain(now)
        late = SELDOM if is_slow(self._folder) else 0.0
        heard_ago = max(0.0, now - json.loads(board)["at"] - late)
        return Seen(run=self._folder.run, board=board, heard_ago=heard_ago)

    def _plain(self, now: float) -> Seen:
        if self._made is None or now >= self._at + _AGAIN:
            board = msgspec.json.encode(board_of_folder(self._folder, now=now))
            self._made, self._at = Seen(run=self._folder.run, board=board, heard_ago=0.0), now
        return self._made


def answering_page(seen: Seen) -> str | None:
    """The address of the page on a scheduler that shows this run right now, or None."""
    page = seen.values["page"]
    if not page or not page.startswith(("http://", "https://")):
        return None
    with suppress(OSError, ValueError, KeyError), urllib.request.urlopen(f"{page}.json", timeout=_PATIENCE) as answer:
        if seen.run in json.load(answer)["runs"]:
            return f"{page}?run={seen.run}"
    return None
