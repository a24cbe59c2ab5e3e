"""The deadline of a record over all its attempts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.deadline import Deadline, allows, attempt_timeout, record_limit

DEADLINE = Deadline(started=100.0)
times = st.floats(0, 1e6)


@pytest.mark.parametrize(("now", "left"), [(100, 300), (250, 150), (400, 0), (401, 0)])
def test_a_record_has_five_minutes(now: float, left: float) -> None:
    assert DEADLINE.left(now) == left


@pytest.mark.parametrize(("now", "timeout"), [(100, 30), (370, 30), (390, 10), (400, 0), (500, 0)])
def test_an_attempt_ends_with_the_record_at_the_latest(now: float, timeout: float) -> None:
    assert attempt_timeout(DEADLINE, 30, now=now) == timeout


@pytest.mark.parametrize(("wait", "fine"), [(0, True), (9.9, True), (10, False), (300, False), (math.inf, False)])
def test_a_wait_is_allowed_when_time_for_an_attempt_is_left_after_it(wait: float, fine: bool) -> None:
    assert allows(DEADLINE, wait, now=390) is fine


def test_after_the_deadline_no_wait_is_allowed() -> None:
    assert not allows(DEADLINE, 0, now=400)


@given(now=times, waited=st.integers(0, 10**6))
def test_an_excused_wait_does_not_count(now: float, waited: int) -> None:
    assert DEADLINE.excused(waited).left(now + waited) == pytest.approx(DEADLINE.left(now), abs=1e-6)


@pytest.mark.parametrize("waited", [0, -5, math.nan])
def test_what_is_no_wait_excuses_nothing(waited: float) -> None:
    assert DEADLINE.excused(waited) == DEADLINE


@pytest.mark.parametrize(
    ("timeout", "attempts", "limit"), [(30, 3, 300), (100, 3, 300), (101, 3, 303), (3600, 3, 10_800), (3600, 1, 3600)]
)
def test_a_record_has_the_time_of_all_its_attempts_where_that_is_longer(
    timeout: float, attempts: int, limit: float
) -> None:
    assert record_limit(timeout, attempts) == limit
