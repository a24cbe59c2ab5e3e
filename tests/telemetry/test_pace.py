from __future__ import annotations

import pytest

from dataflow.faces.pace import STALE, calls, phrases
from dataflow.outcomes import Event, Traffic
from dataflow.telemetry.pace import LEAST_MARKS, WINDOW, Pace


def event(kind: str, partitions: int = 0, records: int = 0, rejected: int = 0) -> Event:
    return Event(kind=kind, run="r", partitions=partitions, records=records, rejected=rejected)


def told(*events: tuple[float, Event]) -> Pace:
    pace = Pace()
    for now, one in events:
        pace = pace.after(one, now)
    return pace


def test_commits_add_up():
    pace = told((0, event("planned", 10)), (1, event("committed", 1, 100, 3)), (2, event("committed", 2, 200)))
    assert (pace.partitions, pace.done, pace.records, pace.rejected) == (10, 3, 300, 3)


def test_speed_does_not_count_what_an_earlier_attempt_did():
    pace = told((0, event("planned", 10, 1000)), (5, event("resumed", 8, 800)), (7, event("committed", 1, 100)))
    assert pace.done == 9
    assert pace.speed(7) == 50
    assert pace.left(7) == 2


def test_nothing_is_promised_before_the_first_commit():
    pace = told((0, event("planned", 10, 1000)), (5, event("resumed", 8, 800)))
    assert (pace.speed(9), pace.left(9)) == (None, None)
    assert phrases(pace, 9) == ("8 of 10 partitions",)


def test_without_a_count_of_records_the_partitions_say_what_is_left():
    pace = told((0, event("planned", 4)), (10, event("committed", 1, 7)))
    assert pace.left(10) == 30


def test_unequal_partitions_are_weighed_by_their_records():
    pace = told((0, event("planned", 2, 1000)), (10, event("committed", 1, 900)))
    assert pace.left(10) == pytest.approx(10 / 9)


def test_a_run_that_stalls_gets_slower():
    pace = told((0, event("planned", 4)), (10, event("committed", 1, 100)))
    assert pace.speed(10) == 10
    assert pace.speed(100) == 1


def test_speed_follows_the_last_minute():
    events = [(float(at), event("committed", 1, 1000)) for at in range(1, 101)]
    events += [(float(at), event("committed", 1, 10)) for at in range(101, 201)]
    pace = told((0, event("planned", 1000)), *events)
    assert pace.speed(200) == pytest.approx(10)
    assert pace.speed(200) < pace.records / 200


def test_slow_partitions_are_measured_over_several_of_them():
    events = [(at * 2 * WINDOW, event("committed", 1, 120)) for at in range(1, 6)]
    pace = told((0, event("planned", 10)), *events)
    assert pace.speed(10 * WINDOW) == 1


def test_ten_thousand_commits_are_not_remembered_one_by_one():
    events = [(at / 100, event("committed", 1, 10)) for at in range(10_000)]
    pace = told((0, event("planned", 10_000)), *events)
    assert len(pace.marks) <= WINDOW + LEAST_MARKS + 2
    assert pace.speed(100) == pytest.approx(1000, rel=0.05)


def test_phrases_say_what_matters_first():
    pace = told((0, event("planned", 4)), (10, event("committed", 1, 1000, 3)))
    assert phrases(pace, 10) == ("1 of 4 partitions", "100 records/s", "3 rejected", "30 s left")


def test_nothing_is_left_at_the_end():
    pace = told((0, event("planned", 1)), (10, event("committed", 1, 1000)))
    assert phrases(pace, 10) == ("1 of 1 partition", "100 records/s")


def test_what_was_heard_of_the_calls_is_shown_until_it_is_no_news():
    heard = Event(kind="calling", run="r", traffic=(Traffic(api="acme", in_flight=2),))
    pace = told((0, event("planned", 4)), (10, heard))
    assert calls(pace, 10) == calls(pace, 10 + STALE - 1) == ("acme: 2 in flight",)
    assert calls(pace, 10 + STALE) == ()
    assert calls(pace.after(event("calling"), 11), 11) == ()
    assert pace.done == 0


@pytest.mark.parametrize("kind", ["warned", "retried", "published", "stopped"])
def test_other_events_move_nothing(kind):
    pace = told((0, event("planned", 4)))
    assert pace.after(event(kind, 1, 1, 1), 5) == pace
