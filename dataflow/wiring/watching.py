"""Shows a run while it goes on, and sees what its driver does not see itself: traffic, what is under way, a cancel.

Told are the scheduler of its cluster, the folder of the run and the listener; none of them is ever waited for, and
whatever goes wrong in telling never harms the run.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from dataflow.engine.drive import Engine
from dataflow.engine.live.sight import Sight
from dataflow.engine.result import Completion
from dataflow.outcomes import Event, Traffic
from dataflow.store.commit import RunFolder
from dataflow.store.live import is_asked_to_stop, is_slow, keep_board, keep_lines
from dataflow.telemetry.board import Head, Rejects, Snapshot, make_board
from dataflow.telemetry.pace import Pace
from dataflow.wiring.run import Run
from dataflow.wiring.saying import plain_of
from dataflow.wiring.traffic import traffic_of

EVERY = 1.0
"""Seconds between two looks: what a person can follow, and nothing for a scheduler."""
SELDOM = 10.0
"""The same for folders where each look is a request that costs."""
_LAST = 2.0
_LINES = 1000


class Watching:
    """One run as others see it.

    Args:
        run: What the user holds.
        tell: The listener, told of the traffic too.
        traffic: Whether it wants to hear of it.
        live: Whether anything is shown to others.
        names: Other ids of the run, such as that of its submission.
        clock: Seconds that only grow.
        wall: Seconds since 1970.
    """

    def __init__(
        self,
        run: Run,
        *,
        tell: Callable[[Event], None],
        traffic: bool,
        live: bool,
        names: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._run = run
        self._listener = tell
        self._traffic = traffic
        self._live = live
        self._names = tuple(names)
        self._clock = clock
        self._wall = wall
        self._began = clock()
        self._until: float | None = None
        self._pace = Pace()
        self._rejects = Rejects()
        self._sight = Sight()
        self._engine: Engine | None = None
        self._folder: RunFolder | None = None
        self._head: Callable[[], Head] | None = None
        self._made: Head | None = None
        self._apis: Collection[str] = ()
        self._budgets: Callable[[], Sequence[dict[str, Any]]] = list
        self._asked: Future[Sight] | None = None
        self._next = self._began
        self._shown = float("-inf")
        self._busy = False
        self._stopping = False
        self._stage: tuple[str, int, int] | None = None
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._told = self._sent = self._written = 0
        self._marked = float("-inf")

    def begin(
        self,
        folder: RunFolder,
        *,
        apis: Collection[str],
        head: Callable[[], Head],
        budgets: Callable[[], Sequence[dict[str, Any]]] = list,
    ) -> None:
        """Show this run from now on.

        Args:
            folder: Where its board is shown.
            apis: Those whose traffic is told to the listener.
            head: Makes what does not change on the board; called when it is shown first.
            budgets: What may be spent and what was.
        """
        self._folder, self._apis, self._head, self._budgets = folder, apis, head, budgets
        self._run._board = self.snapshot

    def attach(self, engine: Engine | None) -> None:
        """Tell whoever runs the partitions from now on, and see through its eyes."""
        self._engine = engine

    def hear(self, event: Event) -> None:
        """Take note of an event, and pass it on."""
        now = self._clock()
        self._pace = self._pace.after(event, now)
        self._stopping |= event.kind == "stopping"
        line = self._line(event, now)
        if line is not None:
            self._lines.append(line)
            self._told += 1
        self._listener(event)

    def take(self, completion: Completion) -> None:
        """Take note of what was rejected in a partition."""
        for one in completion.rejects:
            self._rejects.add(one.service, one.reason, one.records, one.examples)

    def stage(self, title: str | None, *, done: int = 0, planned: int = 0) -> None:
        """Say what is done before the partitions; None where these are."""
        self._stage = None if title is None else (title, done, planned)

    def look(self) -> bool:
        """Tell and ask where it is time to, take an answer that has come; whether somebody wants the run stopped."""
        now = self._clock()
        if self._asked is None and self._engine is not None and now >= self._next:
            self._next = now + EVERY
            self._ask()
        if self._asked is not None and self._asked.done():
            answer, self._asked = self._asked, None
            if not answer.cancelled() and answer.exception() is None:
                self._see(answer.result())
        return self._sight.cancelled

    def close(self) -> None:
        """Show how the run has ended, and say that its calls rest."""
        self._until = self._clock()
        if self._asked is not None:
            self._asked.cancel()
        with suppress(Exception):
            # A listener that fails must not hide what ended the run.
            self._report(())
        if not self._live or self._folder is None:
            return
        self._sight = Sight(workers=[{**one, "leases": {}} for one in self._sight.workers])
        with suppress(Exception):
            board = self._board()
            with suppress(Exception):
                self._show(board)
            if self._engine is not None and (asked := self._engine.tell(board, lines=self._news(), names=self._names)):
                asked.result(timeout=_LAST)

    def snapshot(self) -> dict[str, Any]:
        """The board as it is now."""
        assert self._head is not None
        run, now = self._run, self._clock() if self._until is None else self._until
        if self._made is None or self._made.page != run.page:
            self._made = self._head()
        status = "stopping" if self._stopping and run.status == "running" else run.status
        snapshot = Snapshot(
            status=status,
            counts=run.counts,
            reason=None if run._error is None else plain_of(run._error),
            error=None if run._error is None else type(run._error).__name__,
            planned=run.partitions,
            done=run.done,
            records=self._pace.planned_records or None,
            seconds=now - self._began,
            speed=self._pace.speed(now),
            left=self._pace.left(now) if run.status == "running" else None,
            stage=self._stage,
            budgets=self._budgets(),
            version=run.version,
            warnings=run.warnings,
            notes=run.notes,
        )
        sight = self._sight
        return make_board(
            self._made,
            snapshot,
            rejects=self._rejects,
            apis=sight.apis,
            under_way=sight.under_way,
            workers=sight.workers,
            now=self._wall(),
        )

    def _ask(self) -> None:
        assert self._engine is not None
        board, lines = b"", []
        # A run that is over by then needs no board; whoever has submitted it waits for one.
        early = self._clock() < self._began + EVERY and not self._names
        if self._live and self._folder is not None and not early:
            with suppress(Exception):
                board, lines = self._board(), self._news()
                self._show(board)
        with suppress(Exception):
            self._asked = self._engine.tell(board, lines=lines, names=self._names)

    def _board(self) -> bytes:
        return msgspec.json.encode(self.snapshot())

    def _show(self, board: bytes) -> None:
        """Show it in the folder of the run, and see whether somebody wants the run stopped."""
        assert self._folder is not None
        now, ended = self._clock(), self._run.status != "running"
        if not ended and now < self._shown + (SELDOM if is_slow(self._folder) else 0.0):
            return
        self._shown = now
        if not ended and is_asked_to_stop(self._folder):
            self._run.stop()
        keep_board(self._folder, board)
        if self._written != self._told:
            self._written = self._told
            keep_lines(self._folder, self._lines)

    def _news(self) -> list[str]:
        """The lines that the cluster has not been told; those that were pushed out meanwhile are lost."""
        fresh, self._sent = self._told - self._sent, self._told
        return list(self._lines)[-fresh:] if fresh else []

    def _see(self, sight: Sight) -> None:
        self._sight = sight
        if self._traffic:
            self._report(traffic_of(sight.apis, apis=self._apis))

    def _report(self, traffic: tuple[Traffic, ...]) -> None:
        if self._traffic and (traffic or self._busy):
            self._busy = bool(traffic)
            self.hear(Event(kind="calling", run=self._run.id, traffic=traffic))

    def _line(self, event: Event, now: float) -> str | None:
        """An event as a line of the log: what is committed at most once a second, the traffic not at all."""
        if event.kind == "calling":
            return None
        message = event.message
        if event.kind == "committed":
            if now < self._marked + EVERY and self._pace.done < self._pace.partitions:
                return None
            self._marked = now
            message = f"{self._pace.done} of {self._pace.partitions} partitions, {self._pace.records} records"
        level = "warning" if event.kind in ("warned", "stopped") else "info"
        at = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="milliseconds")
        said = {"at": at, "level": level, "logger": "dataflow.run", "run": event.run, "event": event.kind}
        return json.dumps({**said, "message": message})
