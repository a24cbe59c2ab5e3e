"""What may be wrong with a cluster, judged by what its processes say of themselves."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.engine.inspection import Place
from dataflow.wiring.doctor.clusters import judge_clocks, judge_disks, judge_openness, judge_sight, judge_size, offset
from dataflow.wiring.doctor.findings import Level


def place(*listening: str, ahead: float = 0.0, trip: float = 0.2, free: int = 10**12) -> Place:
    """A process that was asked at 100 and has answered after a round trip."""
    clock = 100 + trip / 2 + ahead
    return Place(clock=clock, asked=100, answered=100 + trip, listening=listening, folder="/spill", free=free)


@pytest.mark.parametrize(
    ("workers", "level", "fact"),
    [
        ({}, Level.WARNING, "no worker has joined"),
        ({"a": {"nthreads": 1, "memory_limit": 10**9}}, Level.OK, "1 worker, 1 thread, 1 GB of memory"),
        ({"a": {"nthreads": 2, "memory_limit": 0}, "b": {"nthreads": 2}}, Level.OK, "4 threads, memory without a"),
    ],
)
def test_the_size_of_a_cluster(workers: dict[str, Any], level: Level, fact: str) -> None:
    (found,) = judge_size("tcp://127.0.0.1:1", workers)
    assert found.level is level
    assert fact in found.fact


def test_a_scheduler_that_others_reach_without_tls_is_named_with_its_danger() -> None:
    (found,) = judge_openness("tcp://10.0.0.1:8786", scheduler=place("tcp://0.0.0.0:8786"), workers={})
    assert found.level is Level.WARNING
    assert "anyone who reaches 10.0.0.1:8786 can run code on every worker as its user" in found.fact


def test_a_tunnel_hides_no_open_port() -> None:
    (found,) = judge_openness("tcp://127.0.0.1:8786", scheduler=place("tcp://0.0.0.0:8786"), workers={})
    assert "anyone who reaches port 8786 of its host" in found.fact


def test_an_open_worker_is_as_dangerous_as_an_open_scheduler() -> None:
    workers = {"a": place("tcp://127.0.0.1:2"), "b": place("tcp://0.0.0.0:3"), "c": place("tcp://0.0.0.0:4")}
    (found,) = judge_openness("tcp://127.0.0.1:1", scheduler=place("tcp://127.0.0.1:1"), workers=workers)
    assert found.fact.startswith("worker b and 1 more has no TLS: anyone who reaches port 3 of its host")


@pytest.mark.parametrize(
    ("address", "fact"),
    [("tls://0.0.0.0:1", "encrypted with TLS"), ("tcp://127.0.0.1:1", "of this machine only, without TLS")],
)
def test_what_nobody_else_can_use_is_fine(address: str, fact: str) -> None:
    (found,) = judge_openness(address, scheduler=place(address), workers={"a": place(address)})
    assert (found.level, found.fact) == (Level.OK, fact)


def test_half_of_the_round_trip_is_taken_off_a_clock() -> None:
    by, unsure = offset(place(ahead=3, trip=0.5))
    assert (by, unsure) == pytest.approx((3, 0.25))


@pytest.mark.parametrize(
    ("places", "level", "fact"),
    [
        ({"a": place()}, Level.OK, "agree with the one here within 0.1 s"),
        ({"a": place(ahead=0.8)}, Level.OK, "within 0.9 s"),
        (
            {"a": place(ahead=2), "b": place(ahead=-5)},
            Level.WARNING,
            "that of b is 5.0 s behind the one here, and 1 more",
        ),
        ({"a": place(ahead=2)}, Level.WARNING, "that of a is 2.0 s ahead of the one here"),
        # A slow answer says little about a clock.
        ({"a": place(ahead=2, trip=4)}, Level.OK, "within 4 s"),
    ],
)
def test_clocks_that_differ_by_more_than_a_second(places: dict[str, Place], level: Level, fact: str) -> None:
    (found,) = judge_clocks(places)
    assert found.level is level
    assert fact in found.fact
    assert ("limits of a day" in found.advice) is (level is Level.WARNING)


def test_the_smallest_disk_counts() -> None:
    (found,) = judge_disks({"a": place(), "b": place(free=10**9)})
    assert str(found).startswith("warning  worker disks: 1 GB free for worker b in /spill")
    assert judge_disks({"a": place()})[0].level is Level.OK
    assert judge_disks({}) == []


def test_workers_that_do_not_see_what_a_run_reads_are_a_problem() -> None:
    (found,) = judge_sight({"a": [], "b": ["/data/leads.csv"]})
    assert str(found).startswith("problem  shared folders: worker b does not see /data/leads.csv")
    assert judge_sight({"a": [], "b": []}) == []
