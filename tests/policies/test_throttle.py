"""An API without a declared rate that answers 429 is called more slowly, and gets its rate back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.throttle import LEAST, PERIOD, SLOWEST, Cut, pause, throttle, undeclared_rate


def refuse(cut: Cut, *, now: float, after: float | None = None, accepted: float = 100.0, ended: int = 100) -> Cut:
    return throttle(cut, now=now, refused=[after], accepted=accepted, ended=ended)


def test_a_burst_of_429_is_one_cut_of_what_was_accepted() -> None:
    cut = Cut()
    for tenth in range(10):
        cut = refuse(cut, now=100 + tenth / 10)
    assert undeclared_rate(cut, now=100.0) == pytest.approx(70.0)


@pytest.mark.parametrize(("periods", "rate"), [(0, 70), (0.5, 96.25), (1, 100), (2, 130), (3, 340), (3.2, None)])
def test_it_comes_back_fast_then_slowly_then_ever_faster(periods: float, rate: float | None) -> None:
    found = undeclared_rate(refuse(Cut(), now=5.0), now=5.0 + periods * PERIOD)
    assert found == (None if rate is None else pytest.approx(rate))


def test_a_rate_that_was_taken_for_too_low_is_left_behind_within_seconds() -> None:
    cut = refuse(Cut(), now=0.0, accepted=0.0, ended=10)
    assert undeclared_rate(cut, now=0.0) == pytest.approx(0.7)
    assert undeclared_rate(cut, now=7.0) is None
    assert undeclared_rate(Cut(), now=0.0) is None


def test_a_second_cut_takes_from_what_has_come_back() -> None:
    cut = refuse(refuse(Cut(), now=0.0), now=1.5, accepted=3.0)
    assert undeclared_rate(cut, now=1.5) == pytest.approx((100 - 30 / 64) * 0.7)


def test_where_it_is_cut_again_at_the_same_height_it_is_tried_ever_less_often() -> None:
    cut, periods = refuse(Cut(), now=0.0), []
    for _ in range(6):
        periods.append(cut.period)
        cut = refuse(cut, now=cut.since + cut.period)
    assert periods == [2, 4, 8, 16, 20, SLOWEST]
    assert undeclared_rate(cut, now=cut.since) == pytest.approx(70.0)
    assert refuse(cut, now=cut.since + SLOWEST / 2).period == SLOWEST
    assert refuse(cut, now=cut.since + 2 * SLOWEST).period == PERIOD


def test_the_first_calls_say_nothing_of_a_rate_but_are_waited_for() -> None:
    cut = refuse(Cut(), now=0.0, after=3, ended=9)
    assert (undeclared_rate(cut, now=0.0), pause(cut, now=0.0)) == (None, 3)


@pytest.mark.parametrize(("after", "seconds"), [(None, 0), (-5, 0), (float("nan"), 0), (7, 7), (9999, 300)])
def test_a_retry_after_pauses_for_five_minutes_at_most(after: float | None, seconds: float) -> None:
    assert pause(refuse(Cut(), now=10.0, after=after), now=10.0) == seconds


def test_a_shorter_retry_after_does_not_end_a_longer_pause() -> None:
    cut = throttle(refuse(Cut(), now=0.0, after=60), now=0.5, refused=[1, None, 2], accepted=9.0, ended=100)
    assert pause(cut, now=0.5) == 59.5


@given(times=st.lists(st.floats(0, 100), max_size=40), look=st.floats(0, 1000))
def test_the_rate_stays_above_a_tenth_of_what_was_accepted(times: list[float], look: float) -> None:
    cut = Cut()
    for now in sorted(times):
        cut = refuse(cut, now=now, accepted=50.0)
    most = undeclared_rate(cut, now=100 + look)
    assert most is None or most >= 50 * LEAST * 0.99
