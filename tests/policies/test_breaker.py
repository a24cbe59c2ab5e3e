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
    FIRST,
    IN_TURN,
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
    tries_in_turn,
)

BREAKER = Breaker()


def opened(*, at: float = 100, breaker: Breaker = BREAKER) -> BreakerStatus:
    return record(breaker, BreakerStatus(), [False] * 5, in_flight=0, now=at)


OPEN = opened()
HALF_OPEN = permit(BREAKER, OPEN, now=101, wanted=0)[0]
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
        (BreakerStatus(), [("record", [True, False] * 10, 0)], State.CLOSED),
        (BreakerStatus(), [("record", [True] + [False] * 3, 0)] * 99, State.CLOSED),
        (BreakerStatus(), [("record", [True] * 2 + ([False] * 4 + [True]) * 2 + [False] * 4, 0)], State.CLOSED),
        (BreakerStatus(), [("probes", [False], 0)], State.CLOSED),
        (OPEN, [("record", [True] * 99, 130)], State.OPEN),
        (OPEN, [("probes", [True], 130)], State.OPEN),
        (OPEN, [("permit", 9, 100.5)], State.OPEN),
        (OPEN, [("permit", 9, 101)], State.HALF_OPEN),
        (HALF_OPEN, [("record", [False] * 9, 102)], State.HALF_OPEN),
        (HALF_OPEN, [("probes", [True], 102)], State.HALF_OPEN),
        (HALF_OPEN, [("permit", 9, 102), ("probes", [True], 103)], State.CLOSED),
        (HALF_OPEN, [("permit", 9, 102), ("probes", [False], 103)], State.OPEN),
        (HALF_OPEN, [("permit", 9, 102), ("probes", [None], 103)], State.OPEN),
        (HALF_OPEN, [("permit", 9, 102), ("permit", 9, 132)], State.OPEN),
        (HALF_OPEN, [("permit", 9, 102), ("probes", [True], 132)], State.OPEN),
    ],
)
def test_the_ways_through_the_table(
    status: BreakerStatus, steps: list[tuple[str, Any, float]], expected: State
) -> None:
    for step, value, now in steps:
        if step == "permit":
            status, _, _ = permit(BREAKER, status, now=now, wanted=value)
        elif step == "record":
            status = record(BREAKER, status, value, in_flight=0, now=now)
        else:
            status = record_probes(BREAKER, status, value, now=now)
    assert status.state is expected


def test_a_closed_breaker_has_no_limit() -> None:
    assert permit(BREAKER, BreakerStatus(), now=0, wanted=10) == (BreakerStatus(), None, 0.0)


def test_failures_open_it_when_they_outlast_the_calls_that_were_in_flight() -> None:
    status = record(BREAKER, BreakerStatus(), [True] * 500 + [False], in_flight=16, now=0)
    status = record(BREAKER, status, [False] * 19, in_flight=3, now=1)
    assert (status.state, status.streak.failures) == (State.CLOSED, 20)
    assert record(BREAKER, status, [True] + [False] * 5, in_flight=16, now=1).state is State.CLOSED
    tripped = record(BREAKER, status, [False], in_flight=1, now=1)
    assert (tripped.state, tripped.answered, tripped.failed) == (State.OPEN, 0, 21)


def test_an_answer_to_a_call_from_before_the_failures_does_not_end_them_and_counts_for_the_share() -> None:
    status = record(BREAKER, BreakerStatus(), [True] * 100, in_flight=16, now=0)
    status = record(BREAKER, status, [False, True] * 21, in_flight=15, now=1, earlier=range(1, 41, 2))
    assert (status.state, status.calls, status.failed) == (State.OPEN, 139, 20)


@pytest.mark.parametrize(("succeeding", "state"), [(3, State.CLOSED), (1, State.OPEN)])
def test_where_nearly_nothing_succeeds_it_opens_however_many_are_in_flight(succeeding: int, state: State) -> None:
    calls = ([False] * 9 + [True] * succeeding) * 12
    assert record(BREAKER, BreakerStatus(), [*calls, False], in_flight=40, now=0).state is state


def test_an_open_breaker_says_when_to_ask_again() -> None:
    assert permit(BREAKER, OPEN, now=100.25, wanted=10) == (OPEN, 0, 0.75)
    assert permit(BREAKER, OPEN, now=115, wanted=10, patient=False) == (OPEN, 0, 45.0)


def test_an_open_breaker_lets_so_many_probes_through_after_its_rest() -> None:
    three = replace(BREAKER, probes=3)
    status, first, _ = permit(three, OPEN, now=160, wanted=2)
    status, second, _ = permit(three, status, now=165, wanted=2)
    status, third, wait = permit(three, status, now=166, wanted=2)
    assert (first, second, third, wait) == (2, 1, 0, ASK_AGAIN)
    assert permit(three, status, now=189.75, wanted=2)[2] == 0.25


def test_reports_of_calls_that_started_before_do_not_lengthen_the_opening() -> None:
    assert record(BREAKER, OPEN, [False] * 1000, in_flight=9, now=159) == OPEN


@pytest.mark.parametrize(
    ("patient", "expected"),
    [(True, [1, 2, 4, 8, 16, 32, 60, 60]), (False, [60, 120, 240, 300, 300, 300, 300, 300])],
)
def test_the_rest_doubles_up_to_its_end_and_starts_small_after_closing(patient: bool, expected: list[int]) -> None:
    status, now, rests = OPEN, 100.0, []
    for _ in expected:
        _, _, rest = permit(BREAKER, status, now=now, wanted=1, patient=patient)
        rests.append(rest)
        now += rest
        status, _, _ = permit(BREAKER, status, now=now, wanted=1, patient=patient)
        status = record_probes(BREAKER, status, [False], now=now)
    assert rests == expected
    assert opened_for(status, now) == now - 100
    status, _, _ = permit(BREAKER, status, now=now + 300, wanted=3)
    status = record_probes(BREAKER, status, [True], now=now + 301)
    assert (status, opened_for(status, now + 301)) == (BreakerStatus(answered=now + 301), 0)
    status = record(BREAKER, status, [False] * 5, in_flight=0, now=now + 400)
    assert permit(BREAKER, status, now=now + 400, wanted=1, patient=patient)[2] == expected[0]


def test_a_probe_that_was_answered_closes_it_whatever_others_came_to() -> None:
    status, _, _ = permit(replace(BREAKER, probes=3), OPEN, now=160, wanted=3)
    assert record_probes(BREAKER, status, [False, True, False], now=161).state is State.CLOSED


def test_inputs_that_have_failed_probe_in_turn_where_others_were_answered_just_before() -> None:
    healthy = record(BREAKER, BreakerStatus(), [True] * 9 + [False] * 5, in_flight=0, now=100)
    assert [tries_in_turn(BREAKER, one) for one in (BreakerStatus(), OPEN, healthy)] == [False, False, True]
    status, now, waits = healthy, 100.0, []
    for _ in range(5):
        _, _, wait = permit(BREAKER, status, now=now, wanted=1, in_turn=True)
        waits.append(wait)
        now += wait
        status, _, _ = permit(BREAKER, status, now=now, wanted=1, in_turn=True)
        status = record_probes(BREAKER, status, [False], now=now)
    assert waits == pytest.approx([FIRST] + [IN_TURN] * 4)


def test_an_overdue_probe_failed_when_it_was_due_and_not_when_somebody_looked() -> None:
    status, _, _ = permit(BREAKER, OPEN, now=160, wanted=1)
    later, granted, wait = permit(BREAKER, status, now=191, wanted=1)
    assert (later.state, granted, wait) == (State.OPEN, 0, 1)
    later, granted, _ = permit(BREAKER, status, now=1000, wanted=3)
    assert (later.state, granted) == (State.HALF_OPEN, 1)


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
        after = record(SMALL, status, calls, in_flight=0, now=now)
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

    def close(self) -> None:
        self.state, self.calls, self.since, self.rest, self.due = "closed", [], None, 0.0, []

    def open(self, at: float) -> None:
        self.state, self.due = "open", []
        self.since = at if self.since is None else self.since
        self.rest = 2 * self.rest or FIRST
        self.until = at + min(self.policy.reset, self.rest)

    def look(self, *, asked: bool = False) -> None:
        if self.state == "half_open" and any(due <= self.now for due in self.due):
            self.open(min(self.due))
        if asked and self.state == "open" and self.now >= self.until:
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
                if not fine and self.trips():
                    self.open(self.now)

    def permit(self, wanted: int) -> int | None:
        if self.held:
            return None if self.held == "closed" else 0
        self.look(asked=True)
        if self.state == "closed":
            return None
        free = self.policy.probes - len(self.due) if self.state == "half_open" else 0
        granted = max(0, min(free, wanted))
        self.due += [self.now + self.policy.probe_deadline] * granted
        return granted

    def probes(self, report: list[bool | None]) -> None:
        if self.held:
            return
        self.look()
        known = report[: len(self.due)]
        if True in known:
            self.close()
        elif known:
            self.open(self.now)

    def hold(self, held: str | None) -> None:
        if held != self.held:
            self.close()
            self.held = held


def step(status: BreakerStatus, what: str, *, value: Any, now: float) -> tuple[BreakerStatus, int | None, float]:
    if what == "permit":
        return permit(SMALL, status, now=now, wanted=value)
    if what == "record":
        status = record(SMALL, status, value, in_flight=0, now=now)
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
            status = record(BREAKER, status, [True, True, False] * 33, in_flight=9, now=now + part / 10)
    assert (status.state, len(status.slots)) == (State.CLOSED, SLOTS)
    status = replace(OPEN, openings=100_000)
    assert permit(BREAKER, status, now=100, wanted=1)[2] == 60
    assert permit(BREAKER, status, now=100, wanted=1, patient=False)[2] == 300


def test_an_open_breaker_says_when_it_is_tried_again_and_no_other_does() -> None:
    assert [rest(BREAKER, OPEN, now=now) for now in (100.0, 100.75, 500.0)] == [1.0, 0.25, 0.0]
    half = permit(BREAKER, OPEN, now=160.0, wanted=1)[0]
    for other in (BreakerStatus(), half, hold(OPEN, "open")):
        assert rest(BREAKER, other, now=100.0) == 0.0


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
