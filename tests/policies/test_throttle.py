"""An API without a declared rate that answers 429 is called more slowly, and gets its rate back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.throttle import LEAST, Cut, pause, throttle, undeclared_rate


def test_a_burst_of_429_is_one_cut() -> None:
    cut = Cut()
    for tenth in range(10):
        cut = throttle(cut, now=100 + tenth / 10, observed=100.0)
    assert undeclared_rate(cut, now=100.0) == pytest.approx(70.0)


def test_a_second_cut_takes_from_what_has_come_back() -> None:
    cut = throttle(throttle(Cut(), now=0.0, observed=100.0), now=20.0, observed=80.0)
    assert undeclared_rate(cut, now=20.0) == pytest.approx(100 * 0.8 * 0.7)


def test_the_base_is_what_was_observed_until_it_has_grown_well_past_it() -> None:
    cut = throttle(Cut(), now=0.0, observed=100.0)
    assert undeclared_rate(Cut(), now=0.0) is None
    assert undeclared_rate(cut, now=0.0) == pytest.approx(70.0)
    assert undeclared_rate(cut, now=100.0) == pytest.approx(120.0)
    assert undeclared_rate(cut, now=161.0) is None
    assert undeclared_rate(throttle(cut, now=200.0, observed=50.0), now=200.0) == pytest.approx(35.0)


@pytest.mark.parametrize(("after", "seconds"), [(None, 0), (-5, 0), (float("nan"), 0), (7, 7), (9999, 300)])
def test_a_retry_after_pauses_for_five_minutes_at_most(after: float | None, seconds: float) -> None:
    assert pause(throttle(Cut(), now=10.0, observed=9.0, after=after), now=10.0) == seconds


def test_a_shorter_retry_after_does_not_end_a_longer_pause() -> None:
    cut = throttle(throttle(Cut(), now=0.0, observed=9.0, after=60), now=0.5, observed=9.0, after=1)
    assert pause(cut, now=0.5) == 59.5


@given(times=st.lists(st.floats(0, 100), max_size=40), look=st.floats(0, 1000))
def test_the_rate_stays_above_0(times: list[float], look: float) -> None:
    cut = Cut()
    for now in sorted(times):
        cut = throttle(cut, now=now, observed=50.0)
    most = undeclared_rate(cut, now=100 + look)
    assert most is None or most >= 50 * LEAST * 0.99
