"""The boards of the runs on one cluster: what their drivers told last, what their workers have under way. No clock.

A board is JSON that `telemetry.board` makes; here it is carried, not read. The scheduler imports this module:
nothing but the standard library.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

KEPT = 50
"""Runs that are remembered; of more, those that were not heard of for the longest time are forgotten."""
LATEST = "latest"
"""What the run is called that was begun last."""
LINES = 1000
"""Lines of the log of a run that are kept."""
TELLS = 50.0
"""Times in a second that all workers together tell at most; then each tells less often than once a second."""
_SILENCE = 4.0
"""Times its interval that a worker may be silent before what it has told is no news."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One run.

    Attributes:
        board: The board as JSON, empty until the driver has told one.
        heard: When the driver was heard last.
        stretch: Which of the stretches of a run that is gone on with again and again this is; None before it is heard.
        names: Other ids by which it is asked for, such as that of its submission.
        cancelled: Whether somebody wants it stopped.
        attempts: How often a driver has begun it here.
        lines: Of its log.
        under_way: By worker, until when it holds what it has told, and that.
    """

    board: bytes = b""
    heard: float = 0.0
    stretch: int | None = None
    names: frozenset[str] = frozenset()
    cancelled: bool = False
    attempts: int = 0
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LINES))
    under_way: dict[str, tuple[float, Mapping[str, Any]]] = field(default_factory=dict)


class Boards:
    """All runs that a scheduler knows of."""

    def __init__(self) -> None:
        self.runs: dict[str, Entry] = {}

    def tell(
        self,
        run: str,
        *,
        board: bytes,
        now: float,
        lines: Iterable[str] = (),
        names: Iterable[str] = (),
        stretch: int = 0,
    ) -> Entry:
        """Take up what a driver says of its run; the entry says what it does not know.

        An empty board leaves the one that was told before. Who goes on with a run that was cancelled wants it to go on.
        """
        entry = self.runs.pop(run, None) or Entry()
        entry.cancelled &= entry.stretch in (None, stretch)
        for name in names:
            # A cancel may have come before the run had an id.
            before = self.runs.get(name) if name != run else None
            entry.cancelled |= before is not None and before.cancelled
        entry.board, entry.heard, entry.stretch = board or entry.board, now, stretch
        entry.names |= frozenset(names)
        entry.lines.extend(lines)
        return self._keep(run, entry)

    def hear(self, run: str, *, worker: str, told: Mapping[str, Any], now: float) -> float:
        """Take up what a worker has under way for a run; it gets the seconds until it should tell again."""
        found = (self.runs.get(run) or self._keep(run, Entry())).under_way
        interval = max(1.0, (len(found) + 1) / TELLS)
        found[worker] = (now + _SILENCE * interval, told)
        return interval

    def attempt(self, run: str) -> int:
        """Count that a driver begins a run, and say how many have."""
        entry = self.runs.setdefault(run, Entry())
        entry.attempts += 1
        return entry.attempts

    def forget_worker(self, worker: str) -> None:
        """A worker is gone, with what it had under way."""
        for entry in self.runs.values():
            entry.under_way.pop(worker, None)

    def cancel(self, run: str) -> bool:
        """Let the driver of a run know that it shall stop; whether that run is known."""
        entry = self.find(run)
        if entry is None and run != LATEST:
            self._keep(run, Entry(cancelled=True))
        if entry is not None:
            entry.cancelled = True
        return entry is not None

    def find(self, run: str) -> Entry | None:
        """A run by its id or another of its names; `latest` is the one that was begun last."""
        if run == LATEST:
            told = [entry for _, entry in sorted(self.runs.items()) if entry.board]
            return told[-1] if told else None
        entry = self.runs.get(run)
        if entry is not None and entry.board:
            return entry
        return next((one for one in self.runs.values() if run in one.names), entry)

    def _keep(self, run: str, entry: Entry) -> Entry:
        self.runs[run] = entry
        while len(self.runs) > KEPT:
            del self.runs[next(iter(self.runs))]
        return entry

    def told(self) -> dict[str, Entry]:
        """The runs whose drivers have told something, the newest first: ids sort by time."""
        return {run: self.runs[run] for run in sorted(self.runs, reverse=True) if self.runs[run].board}


def under_way(entry: Entry, *, now: float) -> list[Mapping[str, Any]]:
    """What the workers have under way that were heard lately."""
    return [told for until, told in entry.under_way.values() if until > now]
