"""The circuit breaker: its table, and a plain model beside it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.errors import DeclarationError
from dataflow.policies.breaker import (
    ASK_AGAIN,
    SLOTS,
    TABLE,
    Breaker,
    BreakerStatus,
    Event,
    State,
    from_dict,
    hold,
    opened_for,
    permit,
    read_breaker,
    record,
    record_probes,
    rest,
    to_dict,
)

BREAKER = Breaker()
OPEN = record(BREAKER, BreakerStatus(), [False] * 5, now=100)
HALF_OPEN = permit(BREAKER, OPEN, now=160, wanted=0)[0]
SMALL = Breaker(threshold=3, share=0.5, minimum=4, window=30, reset=10, maximum=45, probes=2, probe_deadline=6)

reports = st.lists(st.booleans(), max_size=6)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("record"), reports | st.just([False] * 3)),
        st.tuples(st.just("permit"), st.sampled_from([3, 2, 1, 0, -1])),
        st.tuples(st.just("probes"), st.sampled_from([[True] * 3, [True], [True, False], [None], []])),
        st.tuples(st.just("wait"), st.sampled_from([10, 1, 0.25, 5.75, 6, 31, 200])),
        st.sampled_from([("permit", 2), ("probes", [True]), ("probes", [True] * 2), ("wait", 10), ("wait", 20)]),
        st.sampled_from([("permit", 2), ("probes", [False]), ("wait", 45), ("hold", None), ("hold", "open")]),
        st.sampled_from([("permit", 2), ("record", [False] * 3), ("hold", None), ("hold", None), ("hold", "closed")]),
    ),
    min_size=20,
    max_size=60,
)
"""A walk through the table: what is done, and with what; mostly what leads on to the next state."""


def test_the_table_is_that_of_every_circuit_breaker() -> None:
    assert {f"{state} {event} {after}" for (state, event), after in TABLE.items()} == {
        "closed tripped open",
        "open rested half_open",
        "half_open proved closed",
        "half_open refuted open",
    }


@pytest.mark.parametrize(
    ("status", "steps", "expected"),
    [
        (BreakerStatus(), [("record", [True] * 99, 0)], State.CLOSED),
        (BreakerStatus(), [("record", [False] * 4, 0)], State.CLOSED),
        (BreakerStatus(), [("record", [False] * 4, 0), ("record", [False], 999)], State.OPEN),
        (BreakerStatus(), [("record", [False] * 4 + [True] + [False] * 4, 0)], State.CLOSED),
        (BreakerStatus(), [("record", [True, False] * 9 + [True], 0)], State.CLOSED),
        (BreakerStatus(), [("record", [True, False] * 10, 0)], State.OPEN),
        (BreakerStatus(), [("record", [True, False] * 9, 0), ("record", [True, False], 61)], State.CLOSED),
        (BreakerStatus(), [("probes", [False], 0)], State.CLOSED),
        (OPEN, [("record", [True] * 99, 130)], State.OPEN),
        (OPEN, [("probes", [True] * 3, 130)], State.OPEN),
        (OPEN, [("permit", 9, 159)], State.OPEN),
        (OPEN, [("permit", 9, 160)], State.HALF_OPEN),
        (HALF_OPEN, [("record", [False] * 9, 161)], State.HALF_OPEN),
        (HALF_OPEN, [("probes", [True] * 3, 161)], State.HALF_OPEN),
        (HALF_OPEN, [("permit", 9, 161), ("probes", [True] * 2, 162)], State.HALF_OPEN),
        (HALF_OPEN, [("permit", 9, 161), ("probes", [True] * 3, 162)], State.CLOSED),
        (HALF_OPEN, [("permit", 1, t) for t in (161, 162, 163)] + [("probes", [True] * 3, 164)], State.CLOSED),
        (HALF_OPEN, [("permit", 9, 161), ("probes", [True, False], 162)], State.OPEN),
        (HALF_OPEN, [("permit", 9, 161), ("probes", [None], 162)], State.OPEN),
        (HALF_OPEN, [("permit", 9, 161), ("probes", [True] * 2, 162), ("permit", 9, 191)], State.OPEN),
        (HALF_OPEN, [("permit", 9, 161), ("probes", [True] * 3, 191)], State.OPEN),
    ],
)
def test_the_ways_through_the_table(
    status: BreakerStatus, steps: list[tuple[str, Any, float]], expected: State
) -> None:
    for step, value, now in steps:
        if step == "permit":
            status, _, _ = permit(BREAKER, status, now=now, wanted=value)
        else:
            status = (record if step == "record" else record_probes)(BREAKER, status, value, now=now)
    assert status.state is expected


def test_a_closed_breaker_has_no_limit() -> None:
    assert permit(BREAKER, BreakerStatus(), now=0, wanted=10) == (BreakerStatus(), None, 0.0)


def test_an_open_breaker_says_when_to_ask_again() -> None:
    assert permit(BREAKER, OPEN, now=115, wanted=10) == (OPEN, 0, 45.0)


def test_an_open_breaker_lets_three_probes_through_after_its_rest() -> None:
    status, first, _ = permit(BREAKER, OPEN, now=160, wanted=2)
    status, second, _ = permit(BREAKER, status, now=165, wanted=2)
    status, third, wait = permit(BREAKER, status, now=166, wanted=2)
    assert (first, second, third, wait) == (2, 1, 0, ASK_AGAIN)
    assert permit(BREAKER, status, now=189.75, wanted=2)[2] == 0.25


def test_reports_of_calls_that_started_before_do_not_lengthen_the_opening() -> None:
    assert record(BREAKER, OPEN, [False] * 1000, now=159) == OPEN


def test_the_rest_doubles_up_to_its_maximum_and_starts_small_after_closing() -> None:
    status, now, rests = OPEN, 100.0, []
    for _ in range(5):
        _, _, rest = permit(BREAKER, status, now=now, wanted=1)
        rests.append(rest)
        now += rest
        status, _, _ = permit(BREAKER, status, now=now, wanted=1)
        status = record_probes(BREAKER, status, [False], now=now)
    assert rests == [60, 120, 240, 300, 300]
    assert opened_for(status, now) == now - 100
    status, _, _ = permit(BREAKER, status, now=now + 300, wanted=3)
    status = record_probes(BREAKER, status, [True] * 3, now=now + 301)
    assert (status, opened_for(status, now + 301)) == (BreakerStatus(), 0)
    status = record(BREAKER, status, [False] * 5, now=now + 400)
    assert permit(BREAKER, status, now=now + 400, wanted=1)[2] == 60


def test_an_overdue_probe_failed_when_it_was_due_and_not_when_somebody_looked() -> None:
    status, _, _ = permit(BREAKER, OPEN, now=160, wanted=1)
    later, granted, wait = permit(BREAKER, status, now=200, wanted=1)
    assert (later.state, granted, wait) == (State.OPEN, 0, 110)
    later, granted, _ = permit(BREAKER, status, now=1000, wanted=3)
    assert (later.state, granted) == (State.HALF_OPEN, 3)


def test_a_report_is_taken_for_the_oldest_probe() -> None:
    status, _, _ = permit(BREAKER, OPEN, now=160, wanted=1)
    status, _, _ = permit(BREAKER, status, now=170, wanted=1)
    status = record_probes(BREAKER, status, [True], now=175)
    assert (status.probes, status.proved) == ((200,), 1)


@pytest.mark.parametrize("status", [BreakerStatus(), OPEN, HALF_OPEN], ids=lambda status: status.state)
def test_a_hand_is_above_the_table(status: BreakerStatus) -> None:
    assert permit(BREAKER, hold(status, "open"), now=500, wanted=9)[1:] == (0, ASK_AGAIN)
    assert permit(BREAKER, hold(status, "closed"), now=500, wanted=9)[1:] == (None, 0.0)
    assert hold(status, None) == status
    assert hold(hold(status, "open"), None) == BreakerStatus()


@given(reports=st.lists(st.tuples(reports, reports)), held=st.sampled_from(["open", "closed"]))
def test_nothing_is_counted_while_held(reports: list[tuple[list[bool], list[bool]]], held: Any) -> None:
    status = hold(OPEN, held)
    for now, (calls, probes) in enumerate(reports):
        after = record(SMALL, status, calls, now=now)
        after = record_probes(SMALL, after, probes, now=now)
        after, _, _ = permit(SMALL, after, now=now, wanted=3)
        assert after == status
        assert opened_for(after, now) == 0


@dataclass
class Model:
    """The same breaker by plain bookkeeping: every call since it closed, every probe of a half-open period."""

    policy: Breaker
    now: float = 0.0
    state: str = "closed"
    held: str | None = None
    calls: list[tuple[float, bool]] = field(default_factory=list)
    since: float | None = None
    until: float = 0.0
    rest: float = 0.0
    due: list[float] = field(default_factory=list)
    proved: int = 0

    def close(self) -> None:
        self.state, self.calls, self.since, self.rest, self.due = "closed", [], None, 0.0, []

    def open(self, at: float) -> None:
        self.state, self.due, self.proved = "open", [], 0
        self.since = at if self.since is None else self.since
        self.rest = min(self.policy.maximum, 2 * self.rest or self.policy.reset)
        self.until = at + self.rest

    def look(self) -> None:
        if self.state == "half_open" and any(due <= self.now for due in self.due):
            self.open(min(self.due))
        if self.state == "open" and self.now >= self.until:
            self.state = "half_open"

    def trips(self) -> bool:
        width = self.policy.window / SLOTS
        row = next((at for at, (_, fine) in enumerate(reversed(self.calls)) if fine), len(self.calls))
        recent = [fine for at, fine in self.calls if at // width > self.now // width - SLOTS]
        most = len(recent) >= self.policy.minimum and recent.count(False) >= self.policy.share * len(recent)
        return row >= self.policy.threshold or most

    def record(self, report: list[bool]) -> None:
        for fine in report:
            if self.state == "closed" and not self.held:
                self.calls.append((self.now, fine))
                if self.trips():
                    self.open(self.now)

    def permit(self, wanted: int) -> int | None:
        if self.held:
            return None if self.held == "closed" else 0
        self.look()
        if self.state == "closed":
            return None
        free = self.policy.probes - self.proved - len(self.due) if self.state == "half_open" else 0
        granted = max(0, min(free, wanted))
        self.due += [self.now + self.policy.probe_deadline] * granted
        return granted

    def probes(self, report: list[bool | None]) -> None:
        if self.held:
            return
        self.look()
        known = report[: len(self.due)]
        if False in known or None in known:
            self.open(self.now)
        elif known:
            self.due, self.proved = self.due[len(known) :], self.proved + len(known)
            if self.proved == self.policy.probes:
                self.close()

    def hold(self, held: str | None) -> None:
        if held != self.held:
            self.close()
            self.held, self.proved = held, 0


def step(status: BreakerStatus, what: str, *, value: Any, now: float) -> tuple[BreakerStatus, int | None, float]:
    if what == "permit":
        return permit(SMALL, status, now=now, wanted=value)
    if what == "record":
        status = record(SMALL, status, value, now=now)
    elif what == "probes":
        status = record_probes(SMALL, status, value, now=now)
    elif what == "hold":
        status = hold(status, value)
    return status, None, 0.0


@settings(max_examples=250, derandomize=True, deadline=None)
@given(steps=steps)
def test_the_breaker_does_what_the_model_does(steps: list[tuple[str, Any]]) -> None:
    status, model = BreakerStatus(), Model(SMALL)
    for what, value in steps:
        model.now += value if what == "wait" else 0.0
        expected = getattr(model, what)(value) if what != "wait" else None
        status, granted, wait = step(status, what, value=value, now=model.now)
        assert granted == expected
        assert 0 <= wait <= SMALL.maximum
        assert (status.state, status.held, status.probes) == (model.state, model.held, tuple(model.due))
        assert opened_for(status, model.now) == (0 if model.since is None else model.now - model.since)
        assert len(status.slots) <= SLOTS
        assert from_dict(json.loads(json.dumps(to_dict(status), allow_nan=False))) == status


@settings(max_examples=100, derandomize=True, deadline=None)
@given(steps=steps)
def test_no_more_than_its_probes_go_through_in_a_half_open_period(steps: list[tuple[str, Any]]) -> None:
    status, now, period, through = BreakerStatus(), 0.0, (0, None), 0
    for what, value in steps:
        now += value if what == "wait" else 0.0
        status, granted, _ = step(status, what, value=value, now=now)
        if (status.openings, status.opened) != period:
            period, through = (status.openings, status.opened), 0
        if what == "permit" and granted is not None:
            through += granted
            assert through <= SMALL.probes


@settings(max_examples=100, derandomize=True, deadline=None)
@given(steps=steps)
def test_with_healthy_probes_it_closes_in_the_end_by_asking_when_it_said(steps: list[tuple[str, Any]]) -> None:
    status, now = BreakerStatus(), 0.0
    for what, value in steps:
        now += value if what == "wait" else 0.0
        status, _, _ = step(status, what, value=value, now=now)
    status = hold(status, None)
    for _ in range(100):
        status, granted, wait = permit(SMALL, status, now=now, wanted=1)
        if granted is None:
            break
        status = record_probes(SMALL, status, [True] * granted, now=now)
        now += wait
    assert status.state is State.CLOSED


def test_a_million_calls_and_a_thousand_openings_leave_it_small() -> None:
    status = BreakerStatus()
    for now in range(1000):
        for part in range(10):
            status = record(BREAKER, status, [True, True, False] * 33, now=now + part / 10)
    assert (status.state, len(status.slots)) == (State.CLOSED, SLOTS)
    status = replace(OPEN, openings=100_000)
    assert permit(BREAKER, status, now=100, wanted=1)[2] == 300


def test_an_open_breaker_says_when_it_is_tried_again_and_no_other_does() -> None:
    opened = record(Breaker(), BreakerStatus(), [False] * 5, now=100.0)
    assert [rest(Breaker(), opened, now=now) for now in (100.0, 130.0, 500.0)] == [60.0, 30.0, 0.0]
    half = permit(Breaker(), opened, now=160.0, wanted=1)[0]
    for other in (BreakerStatus(), half, hold(opened, "open")):
        assert rest(Breaker(), other, now=100.0) == 0.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, Breaker()),
        (True, Breaker()),
        (False, None),
        (Breaker(threshold=2), Breaker(threshold=2)),
        ({"threshold": 2, "reset": 5}, Breaker(threshold=2, reset=5)),
        ({}, Breaker()),
    ],
)
def test_what_an_author_may_write(value: Any, expected: Breaker | None) -> None:
    assert read_breaker(value, where="breaker") == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "takes flow.Breaker"),
        ("off", "False means none"),
        ({"treshold": 5}, "has no treshold; it has threshold, share"),
        ({"threshold": 0}, "threshold takes a whole number from 1"),
        ({"probes": 2.0}, "probes takes a whole number from 1"),
        ({"minimum": True}, "minimum takes a whole number from 1"),
        ({"share": 50}, "share takes a share above 0, up to 1"),
        ({"share": 0}, "share takes"),
        ({"reset": "60s"}, "reset takes a number of seconds above 0"),
        (Breaker(window=math.nan), "window takes"),
        (Breaker(probe_deadline=math.inf), "probe_deadline takes"),
        (Breaker(maximum=0), "maximum takes"),
        (Breaker(reset=600), r"maximum \(300 s\) is less than reset \(600 s\); give both"),
    ],
)
def test_anything_else_is_refused_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=f"API `acme`: breaker.*{message}"):
        read_breaker(value, where="API `acme`: breaker")


def test_every_event_of_the_table_is_known() -> None:
    assert {event for _, event in TABLE} == set(Event)
