"""Hands out partitions: a bounded window over the plan, and what to do when one does not come back.

The decisions are pure; running a partition is the business of an `Engine`, writing it down that of the caller.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from types import FrameType
from typing import Literal, Protocol

from dataflow.engine.live.sight import Sight
from dataflow.engine.result import Completion
from dataflow.errors import ClusterError, DataflowError, DeclarationError, Interrupted
from dataflow.plan.resolve import Task
from dataflow.policies.breaker import OUTAGE
from dataflow.services.units import seconds

RESUBMITS = 3
"""How often a partition that lost its worker is handed out again; a service may kill what it runs in."""
GRACE = 20.0
"""Seconds for what is in flight after a stop: it may be waiting for answers that are paid for."""
TICK = 0.25
"""Seconds at most between two looks of `Engine.completed` at the world."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How one attempt at a partition ended.

    Attributes:
        spec: The partition.
        kind: `done` (see `completion`), `failed` (its task raised), `killed` (its worker process died under it,
            more often than the cluster allows) or `lost` (the cluster does not answer any more).
        completion: What the task sent back, for `done` only.
        error: What it raised, else None.
        postponed: Seconds for which it was put off before, since an API was down.
    """

    spec: Task
    kind: Literal["done", "failed", "killed", "lost"]
    completion: Completion | None = None
    error: BaseException | None = None
    postponed: float = 0.0

    @property
    def problem(self) -> str | None:
        """What went wrong in one line, or None for `done`."""
        if self.kind == "done":
            return None
        return f"{type(self.error).__name__}: {self.error}" if self.error else self.kind


class Engine(Protocol):
    """Whatever runs partitions: threads of this process, or a Dask cluster."""

    @property
    def threads(self) -> int:
        """Partitions that can run at the same time, as far as known."""

    @property
    def page(self) -> str | None:
        """Where the run is shown while it goes on, or None."""

    def submit(self, specs: Sequence[Task]) -> None:
        """Hand out partitions; returns at once."""

    def completed(self) -> Iterator[list[Report]]:
        """Reports in the order in which they come, in batches, until nothing is in flight.

        Gives an empty batch at least every `TICK` seconds, so that the caller can look at the clock.
        """

    def withdraw(self) -> None:
        """Take back what no worker has begun; what has begun is reported as usual."""

    def halt(self) -> None:
        """Let what has begun make no new calls; partitions that are not whole then are given back."""

    def cancel(self) -> None:
        """Forget what is in flight; a partition that has begun may still commit."""

    def tell(self, board: bytes, *, lines: Sequence[str] = (), names: Sequence[str] = ()) -> Future[Sight] | None:
        """Show how the run stands to whoever watches, and ask for what its driver does not see itself.

        Args:
            board: As `telemetry.board` makes it, in JSON; empty where there is nothing to show yet.
            lines: What has come to its log.
            names: Other ids of the run.

        Returns:
            At once; None where there is nobody.
        """

    def close(self) -> None:
        """Give back what was taken for this run."""


def drive(
    engine: Engine,
    specs: Iterable[Task],
    *,
    stop: threading.Event | None = None,
    look: Callable[[], object] = lambda: None,
    grace: float = GRACE,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[Completion], object] = lambda completion: None,
) -> Generator[Report, None, None]:
    """Run all partitions and report each of them once, in the order in which they end.

    Closing it cancels what is in flight. Killed partitions come again, 3 times at most, the last time alone and when
    all others have ended: so none is blamed for its neighbour. Given back ones come in their time; while many of these
    wait, no others begin.

    Args:
        engine: Who runs them.
        specs: The plan, or what is left of it; read as it is handed out.
        stop: When set, nothing more is handed out, and the iterator ends with what is in flight.
        look: Called at least every `TICK` seconds; signals and stops are not heard before it returns.
        grace: Seconds after which a stop cancels what is in flight.
        clock: Seconds that only grow.
        wait: Told of each partition that was given back.

    Raises:
        ClusterError: The cluster was lost.
        DeclarationError: The job cannot be loaded where partitions run.
        Interrupted: Nothing but given back partitions came for ten minutes.
    """
    stop, stopped = stop or threading.Event(), None
    window = _Window(specs, clock=clock, wait=wait)
    engine.submit(window.take(engine.threads))
    try:
        while window.in_flight or (window.waits and not stop.is_set()):
            for batch in engine.completed():
                look()
                yield from window.settle(batch)
                if not stop.is_set():
                    engine.submit(window.take(engine.threads))
                    continue
                if stopped is None:
                    stopped = clock()
                    engine.withdraw()
                    engine.halt()
                if clock() - stopped >= grace:
                    return
            look()
            if stop.wait(TICK if window.waits else 0):
                return
            engine.submit(window.take(engine.threads))
    finally:
        if window.in_flight:
            engine.cancel()


@contextmanager
def stop_on_signal(stop: threading.Event | None = None) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets, also that of a notebook's kernel; the second interrupts.

    Outside the main thread, where Python allows no signal handlers, no signal sets it.

    Args:
        stop: The event, for whoever sets it too; a new one by default.

    Raises:
        KeyboardInterrupt: At the second signal, whatever else has set the event before.
    """
    stop, heard = stop or threading.Event(), threading.Event()

    def receive(number: int, frame: FrameType | None) -> None:
        if heard.is_set():
            raise KeyboardInterrupt
        heard.set()
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stop_after(deadline: float | str | None, stop: threading.Event) -> Iterator[threading.Event]:
    """Set `stop` when the deadline has come, in seconds or as a duration; the event given tells that it has."""
    late = threading.Event()

    def end() -> None:
        late.set()
        stop.set()

    timer = threading.Timer(seconds(deadline, where="deadline"), end) if deadline is not None else None
    if timer is not None:
        timer.daemon = True
        timer.start()
    try:
        yield late
    finally:
        if timer is not None:
            timer.cancel()


def window_size(threads: int) -> int:
    """Partitions to have in flight: enough to keep threads busy, few enough to stay flat in memory."""
    return max(4 * threads, 64)


def lost_cluster(problem: str) -> ClusterError:
    """The error for a cluster that was there and is gone; what is committed stays so."""
    return ClusterError(f"connection to the cluster lost ({problem}); run the same command again to go on")


class _Window:
    """What is still to do, in flight, and to be done again."""

    def __init__(
        self, specs: Iterable[Task], *, clock: Callable[[], float], wait: Callable[[Completion], object]
    ) -> None:
        self.in_flight = 0
        self._clock = clock
        self._wait = wait
        self._later: list[tuple[float, Task]] = []
        self._stuck: float | None = None
        self._seen = 0.0
        self._todo = iter(specs)
        self._again: deque[Task] = deque()
        self._kills: Counter[str] = Counter()
        self._suspects: deque[Task] = deque()
        self._alone = False
        self._postponed: dict[str, float] = {}

    @property
    def waits(self) -> bool:
        """Whether partitions are left whose time has not come."""
        return bool(self._later or self._suspects)

    def take(self, threads: int) -> list[Task]:
        """The next partitions that the window has room for."""
        if self._alone:
            return []
        now = self._clock()
        self._again.extend(spec for at, spec in self._later if at <= now)
        self._later = [(at, spec) for at, spec in self._later if at > now]
        room = max(0, window_size(threads) - self.in_flight - len(self._later))
        again = [self._again.popleft() for _ in range(min(room, len(self._again)))]
        taken = [*again, *islice(self._todo, room - len(again))]
        if not taken and not self.in_flight and self._suspects:
            taken, self._alone = [self._suspects.popleft()], True
        self.in_flight += len(taken)
        return taken

    def settle(self, batch: Sequence[Report]) -> Iterator[Report]:
        """Keep what must be done again, give the rest, and only then raise what ends the run."""
        self.in_flight -= len(batch)
        self._alone = self._alone and self.in_flight > 0
        endings = [ending for report in batch if (ending := _ending(report))]
        for report in batch:
            if _ending(report) is None and not self._resubmit(report) and not self._postpone(report):
                yield replace(report, postponed=self._postponed.pop(report.spec.identity, 0.0))
        if endings:
            raise endings[0]

    def _resubmit(self, report: Report) -> bool:
        if report.kind != "killed":
            self._kills.pop(report.spec.identity, None)
            return False
        self._kills[report.spec.identity] += 1
        if self._kills[report.spec.identity] > RESUBMITS:
            return False
        (self._suspects if self._kills[report.spec.identity] == RESUBMITS else self._again).append(report.spec)
        return True

    def _postpone(self, report: Report) -> bool:
        """Keep a partition that was given back for later; raise where that is all that has come for too long.

        One that lacks money is left: there will be no more in this run.
        """
        now, completion = self._clock(), report.completion
        if completion is None or completion.stopped is None:
            self._stuck = None
            return False
        self._wait(completion)
        if completion.over is not None:
            return True
        if completion.outage and self._has_lasted(now) >= OUTAGE:
            outage = Interrupted(
                f"{completion.stopped} for {OUTAGE / 60:g} minutes; what is done and paid for is kept, "
                "run the same command again to go on"
            )
            outage.said = completion.said
            raise outage
        if completion.outage:
            before = self._postponed.get(report.spec.identity, 0.0)
            self._postponed[report.spec.identity] = before + completion.again_in
        self._later.append((now + completion.again_in, report.spec))
        return True

    def _has_lasted(self, now: float) -> float:
        """Seconds of an outage so far; one that was not seen for ten minutes, as for a rate, is another one."""
        if self._stuck is None or now - self._seen > OUTAGE:
            self._stuck = now
        self._seen = now
        return now - self._stuck


def _ending(report: Report) -> DataflowError | None:
    """The error that ends the run, where no other partition can do better."""
    if report.kind == "lost":
        return report.error if isinstance(report.error, DataflowError) else lost_cluster(str(report.error))
    return report.error if isinstance(report.error, DeclarationError) else None
