"""Rates are read from what people write, and slots keep to them in every sliding window."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.errors import DeclarationError
from dataflow.policies.rate import (
    Pace,
    Rate,
    Slots,
    Tally,
    aged,
    charge,
    give_back,
    lease,
    merged,
    pace_of,
    read_rates,
    remembered,
    room,
    wait_for_room,
)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("100/s", [Rate(count=100, period=1)]),
        ("60/min", [Rate(count=60, period=60)]),
        ("60 / minute", [Rate(count=60, period=60)]),
        ("50_000 calls per day", [Rate(count=50_000, period=86_400)]),
        ("200k tokens/min", [Rate(count=200_000, period=60, unit="tokens")]),
        ("1.5M tokens/hours", [Rate(count=1_500_000, period=3600, unit="tokens")]),
        ("5/10s", [Rate(count=5, period=10)]),
        ("0.5/s", [Rate(count=1, period=2)]),
        (100, [Rate(count=100, period=1)]),
        (2.5, [Rate(count=5, period=2)]),
        (["100/s", "50000/day"], [Rate(count=100, period=1), Rate(count=50_000, period=86_400)]),
        (Rate(count=3, period=7), [Rate(count=3, period=7)]),
        (None, []),
    ],
)
def test_a_rate_is_read_as_people_write_it(written: object, read: list[Rate]) -> None:
    assert list(read_rates(written, where="API `acme`")) == read


@pytest.mark.parametrize(
    "written",
    ["", "100", "100/fortnight", "-1/s", "0/s", 0, -3, True, float("nan"), float("inf"), "x/s", {}, ["1/s", 0]],
)
def test_what_is_no_rate_is_refused_by_name(written: object) -> None:
    with pytest.raises(DeclarationError, match="API `acme`"):
        read_rates(written, where="API `acme`")


def most_in_a_window(times: list[float], period: float) -> int:
    times = sorted(times)
    return max((bisect_right(times, at + period) - index for index, at in enumerate(times)), default=0)


@given(
    rates=st.lists(
        st.builds(Rate, count=st.integers(1, 50), period=st.sampled_from([0.5, 1.0, 7.0, 60.0])), min_size=1, max_size=3
    ),
    asked=st.lists(st.tuples(st.floats(0, 3), st.integers(0, 60), st.booleans()), max_size=30),
    draw=st.randoms(use_true_random=False),
)
def test_slots_used_within_their_tolerance_never_exceed_a_limit(rates, asked, draw) -> None:
    pace = pace_of(rates)
    slots, now, sent = Slots(), 100.0, []
    for passed, wanted, spread in asked:
        now += passed
        slots, times = lease(slots, pace, now=now, until=now + 2.0, wanted=wanted, spread=spread)
        assert all(at >= now for at in times)
        back = [at for at in times if draw.random() < 0.2]
        slots = give_back(slots, back, now=now + draw.random())
        sent += [at + draw.choice([0, 1, draw.random()]) * pace.tolerance for at in times if at not in back]
    for rate in rates:
        # The clock of a test is exact; a billionth of a second is what adding up floats may cost.
        assert most_in_a_window(sent, rate.period - 1e-9) <= rate.count


@pytest.mark.parametrize(("count", "period"), [(1, 1), (10, 1), (500, 1), (60, 60), (5000, 10)])
def test_at_least_97_percent_of_a_limit_is_leased(count: int, period: float) -> None:
    pace = pace_of([Rate(count=count, period=period)])
    assert 1 / pace.step >= 0.97 * count / period
    assert pace.tolerance == pytest.approx(0.022 * period, rel=1e-3)


def test_the_stricter_of_several_windows_binds_and_leaves_its_own_tolerance() -> None:
    pace = pace_of([Rate(count=100, period=1), Rate(count=60, period=60)])
    assert pace.step == pytest.approx(61.32 / 60, rel=1e-3)
    assert pace.tolerance == pytest.approx(1.32, rel=1e-3)


def test_time_that_nobody_asked_for_is_not_credited() -> None:
    pace = Pace(step=0.1, tolerance=0.01)
    slots, first = lease(Slots(), pace, now=0.0, until=1.0, wanted=3)
    slots, later = lease(slots, pace, now=100.0, until=100.25, wanted=99)
    assert first == pytest.approx((0.0, 0.1, 0.2))
    assert later == pytest.approx((100.0, 100.1, 100.2))


def test_a_slot_to_come_is_leased_again_and_one_that_has_passed_is_lost() -> None:
    pace = Pace(step=1.0, tolerance=0.1)
    slots, times = lease(Slots(), pace, now=0.0, until=3.0, wanted=4)
    slots = give_back(slots, times, now=1.5)
    _, again = lease(slots, pace, now=1.5, until=5.0, wanted=9)
    assert again == (2.0, 3.0, 4.0, 5.0)


def test_slots_are_spread_over_what_is_free_and_the_rest_is_there_for_others() -> None:
    pace = Pace(step=1.0, tolerance=0.1)
    slots, mine = lease(Slots(), pace, now=0.0, until=9.0, wanted=5, spread=True)
    slots, theirs = lease(slots, pace, now=0.0, until=9.0, wanted=5, spread=True)
    assert mine == (0.0, 2.0, 4.0, 6.0, 8.0)
    assert theirs == (1.0, 3.0, 5.0, 7.0, 9.0)


HOUR = Rate(count=40, period=3600)


@given(asked=st.lists(st.tuples(st.floats(0, 900), st.integers(1, 20), st.floats(0, 5), st.booleans()), max_size=60))
def test_a_counted_window_never_holds_more_than_its_count(asked) -> None:
    tally, now, sent = Tally(), 1000.0, []
    for passed, wanted, late, given_back in asked:
        now += passed
        granted = max(0, min(wanted, room(HOUR, tally, now=now, tolerance=5.0)))
        tally = charge(HOUR, tally, amounts=[(now, 1)] * granted, now=now, tolerance=5.0)
        if given_back:
            tally = charge(HOUR, tally, amounts=[(now, -granted)], now=now, tolerance=5.0)
        else:
            sent += [now + late] * granted
        if granted < wanted:
            wait = wait_for_room(HOUR, tally, now=now, tolerance=5.0)
            assert room(HOUR, tally, now=now + wait + 1e-6, tolerance=5.0) >= 1
        assert len(tally.pieces) <= 64 + 3
    times = sorted(sent)
    assert max((bisect_left(times, at + 3600) - index for index, at in enumerate(times)), default=0) <= 40


def test_a_tally_that_was_kept_counts_on_another_clock() -> None:
    tally = charge(HOUR, Tally(), amounts=[(1000.0, 40)], now=1000.0, tolerance=0.0)
    again = remembered(HOUR, aged(HOUR, tally, now=2000.0), now=50.0)
    assert room(HOUR, again, now=50.0, tolerance=0.0) == 0
    assert room(HOUR, again, now=50.0 + 2600 - 60, tolerance=0.0) == 0
    assert room(HOUR, again, now=50.0 + 2600 + 120, tolerance=0.0) == 40


def test_tokens_are_counted_as_estimated_and_settled_as_used() -> None:
    tokens = Rate(count=1000, period=60, unit="tokens")
    tally = charge(tokens, Tally(), amounts=[(0.0, 600)], now=0.0, tolerance=1.0)
    assert room(tokens, tally, now=1.0, tolerance=1.0) == 400
    less = charge(tokens, tally, amounts=[(0.0, -500)], now=1.0, tolerance=1.0)
    more = charge(tokens, tally, amounts=[(1.0, 300)], now=1.0, tolerance=1.0)
    assert (room(tokens, less, now=1.0, tolerance=1.0), room(tokens, more, now=1.0, tolerance=1.0)) == (900, 100)


@pytest.mark.parametrize("text", ["50000/day", "200000 tokens/min", "100/h", "5/s", "3/2 day", "100/5 min", "5/90 s"])
def test_a_rate_is_told_so_that_it_can_be_read_again(text: str) -> None:
    (rate,) = read_rates(text, where="test")
    assert rate.text == text


def test_what_was_counted_in_several_places_adds_up() -> None:
    tallies = [Tally(pieces=((1, 2), (3, 1))), Tally(), Tally(pieces=((0, 5), (3, 4)))]
    assert merged(tallies) == Tally(pieces=((0, 5), (1, 2), (3, 5)))
    assert merged([]) == Tally()
