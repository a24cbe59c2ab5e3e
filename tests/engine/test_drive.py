"""The window over the plan, seen through an engine that is told what to answer."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import pytest

from dataflow.engine.drive import Report, drive, stop_on_signal, window_size
from dataflow.engine.result import Completion
from dataflow.errors import ClusterError, DeclarationError, Interrupted
from dataflow.plan.partitions import PartitionSpec
from dataflow.telemetry.statistics import Statistics


def spec(index: int) -> PartitionSpec:
    return PartitionSpec(index=index, path=f"/data/{index}.csv", fingerprint="f", start=0, stop=-1)


def done(spec: PartitionSpec) -> Report:
    completion = Completion(identity=spec.identity, index=spec.index, rows=1, rejected=0, statistics=Statistics())
    return Report(spec=spec, kind="done", completion=completion)


class Scripted:
    """An engine whose answer to each attempt is given; by default all is done, in batches of `size`."""

    def __init__(self, answers: dict[int, list[str]] | None = None, *, threads: int = 1, size: int = 10) -> None:
        self.threads = threads
        self.size = size
        self.answers = answers or {}
        self.flying: list[PartitionSpec] = []
        self.attempts: list[int] = []
        self.widest = 0
        self.cancelled = False
        self.begun = 1000
        self.error: Exception = RuntimeError("why")

    def submit(self, specs: Sequence[PartitionSpec]) -> None:
        self.flying.extend(specs)
        self.attempts.extend(spec.index for spec in specs)
        self.widest = max(self.widest, len(self.flying))

    def completed(self) -> Iterator[list[Report]]:
        while self.flying:
            batch, self.flying = self.flying[: self.size], self.flying[self.size :]
            yield [self.answer(spec) for spec in batch]

    def answer(self, spec: PartitionSpec) -> Report:
        kinds = self.answers.get(spec.index)
        if not kinds:
            return done(spec)
        return Report(spec=spec, kind=kinds.pop(0), error=self.error)  # type: ignore[arg-type]

    def withdraw(self) -> None:
        self.flying = self.flying[: self.begun]

    def halt(self) -> None:
        self.halted = True

    def cancel(self) -> None:
        self.cancelled = True

    def close(self) -> None:
        pass


def test_every_partition_is_reported_once_and_the_window_is_never_exceeded() -> None:
    engine = Scripted()
    reports = list(drive(engine, map(spec, range(1000))))
    assert sorted(report.spec.index for report in reports) == list(range(1000))
    assert engine.widest == 64
    assert not engine.cancelled


def test_the_window_is_four_partitions_a_thread_and_at_least_64() -> None:
    assert [window_size(threads) for threads in (0, 1, 16, 100)] == [64, 64, 64, 400]


def test_a_growing_cluster_widens_the_window() -> None:
    engine = Scripted()
    for count, _ in enumerate(drive(engine, map(spec, range(500)))):
        engine.threads = 50 if count > 100 else 1
    assert engine.widest == 200


def test_the_plan_is_read_no_further_than_the_window() -> None:
    read: list[int] = []
    plan = (read.append(index) or spec(index) for index in range(1000))
    reports = drive(Scripted(size=1), plan)
    next(reports)
    assert len(read) == 64


def test_a_failed_partition_is_reported_and_the_others_go_on() -> None:
    engine = Scripted({3: ["failed"]})
    reports = list(drive(engine, map(spec, range(10))))
    assert [report.spec.index for report in reports if report.kind == "failed"] == [3]
    assert next(report.problem for report in reports if report.kind == "failed") == "RuntimeError: why"
    assert len(reports) == 10


def test_a_killed_partition_is_handed_out_again_and_ends_well() -> None:
    engine = Scripted({3: ["killed", "killed", "killed"]})
    reports = list(drive(engine, map(spec, range(10))))
    assert {report.kind for report in reports} == {"done"}
    assert engine.attempts.count(3) == 4


def test_a_partition_that_kills_every_worker_is_reported_after_three_more_tries() -> None:
    engine = Scripted({3: ["killed"] * 9})
    reports = list(drive(engine, map(spec, range(200))))
    assert [report.spec.index for report in reports if report.kind == "killed"] == [3]
    assert engine.attempts.count(3) == 4
    assert len(reports) == 200


class Deadly(Scripted):
    """An engine on which one partition kills all that are in flight with it."""

    def completed(self) -> Iterator[list[Report]]:
        while self.flying:
            batch, self.flying = self.flying, []
            kind = "killed" if 7 in [spec.index for spec in batch] else "done"
            yield [replace(done(spec), kind=kind, error=self.error) for spec in batch]  # type: ignore[arg-type]


def test_a_partition_is_not_blamed_for_another_that_kills_its_worker_each_time() -> None:
    engine = Deadly()
    reports = list(drive(engine, map(spec, range(100))))
    assert [report.spec.index for report in reports if report.kind == "killed"] == [7]
    assert sorted(report.spec.index for report in reports if report.kind == "done") == [*range(7), *range(8, 100)]
    assert engine.attempts.count(7) == 4


def test_a_lost_cluster_is_an_error_after_everything_done_is_reported() -> None:
    seen: list[Report] = []
    with pytest.raises(ClusterError, match=r"lost \(why\); run the same command again") as caught:
        seen.extend(drive(Scripted({0: ["lost"], 5: ["lost"]}), map(spec, range(10))))
    assert [report.spec.index for report in seen] == [1, 2, 3, 4, 6, 7, 8, 9]
    assert caught.value.exit_code == 75


def test_a_job_that_cannot_be_loaded_by_a_worker_ends_the_run_with_its_own_error() -> None:
    engine = Scripted({1: ["failed"]})
    engine.error = DeclarationError("job.py, line 2: no such library")
    with pytest.raises(DeclarationError, match=r"job\.py, line 2"):
        list(drive(engine, map(spec, range(10))))


def test_a_stop_hands_out_nothing_more_and_waits_for_what_is_in_flight() -> None:
    engine, stop = Scripted(), threading.Event()
    reports = []
    for report in drive(engine, map(spec, range(1000)), stop=stop):
        reports.append(report)
        stop.set()
    assert len(reports) == 64
    assert not engine.cancelled


def test_a_stop_takes_back_what_no_worker_has_begun() -> None:
    engine, stop = Scripted(size=1), threading.Event()
    engine.begun = 2
    reports = []
    for report in drive(engine, map(spec, range(1000)), stop=stop):
        reports.append(report)
        stop.set()
    assert len(reports) == 2 + 1


def test_a_stop_cancels_what_is_still_in_flight_after_the_grace() -> None:
    engine, stop, now = Scripted(size=1), threading.Event(), iter(range(1000))
    stop.set()
    reports = list(drive(engine, map(spec, range(1000)), stop=stop, grace=5, clock=lambda: next(now)))
    assert len(reports) < 10
    assert engine.cancelled


def test_an_abandoned_drive_cancels_what_is_in_flight() -> None:
    engine = Scripted()
    reports = drive(engine, map(spec, range(1000)))
    next(reports)
    reports.close()
    assert engine.cancelled


class GivingBack(Scripted):
    """An engine whose partitions are given back so many times."""

    def __init__(self, times: int, *, outage: bool, again_in: float) -> None:
        super().__init__(size=1000)
        self.times = times
        self.outage = outage
        self.again_in = again_in

    def answer(self, spec: PartitionSpec) -> Report:
        report = done(spec)
        assert report.completion is not None
        if self.attempts.count(spec.index) > self.times:
            return report
        waits = {"stopped": "`acme`: 50/day is used up", "again_in": self.again_in, "outage": self.outage}
        waits["said"] = "`acme` said: your plan ends today"
        return replace(report, completion=replace(report.completion, **waits))


def jumping() -> Callable[[], float]:
    """A clock on which a hundred seconds pass between any two looks."""
    return partial(next, itertools.count(0, 100))


def test_an_outage_of_ten_minutes_ends_a_run_that_can_go_on() -> None:
    with pytest.raises(Interrupted, match="for 10 minutes") as caught:
        list(drive(GivingBack(99, outage=True, again_in=1), [spec(0)], clock=jumping()))
    assert str(caught.value).endswith("; `acme` said: your plan ends today")
    assert "your plan" not in caught.value.plain


def test_a_rate_that_is_used_up_for_hours_is_waited_for_and_told() -> None:
    told: list[Completion] = []
    looks: list[int] = []
    engine = GivingBack(12, outage=False, again_in=150)
    reports = list(drive(engine, [spec(0)], clock=jumping(), wait=told.append, look=lambda: looks.append(1)))
    assert [report.spec.index for report in reports] == [0]
    assert [one.again_in for one in told] == [150] * 12
    assert len(looks) > 12


def test_while_many_partitions_wait_no_others_begin() -> None:
    engine, stop = GivingBack(99, outage=False, again_in=3600), threading.Event()
    list(drive(engine, map(spec, range(1000)), stop=stop, look=lambda: len(engine.attempts) > 63 and stop.set()))
    assert len(engine.attempts) == window_size(1)


def test_somebody_may_look_whatever_comes_and_a_partition_says_how_long_it_was_put_off() -> None:
    class Down(Scripted):
        def answer(self, spec: PartitionSpec) -> Report:
            report = done(spec)
            assert report.completion is not None
            again = replace(report.completion, stopped="down", again_in=0.5)
            return replace(report, completion=again) if len(self.attempts) <= 2 else report

    looks: list[float] = []
    reports = list(drive(Down(), [spec(0)], look=lambda: looks.append(time.monotonic())))
    assert [report.postponed for report in reports] == [1.0]
    assert len(looks) > 3
    assert max(after - before for before, after in itertools.pairwise(looks)) < 2


def test_an_empty_plan_ends_at_once() -> None:
    assert list(drive(Scripted(), [])) == []


def test_the_first_signal_sets_the_stop_and_the_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_whoever_gave_the_event_may_set_it_too_and_the_first_signal_stays_the_first() -> None:
    given = threading.Event()
    with stop_on_signal(given) as stop:
        assert stop is given
        stop.set()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_outside_the_main_thread_signals_stay_as_they_are() -> None:
    handlers = []

    def enter() -> None:
        with stop_on_signal():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
