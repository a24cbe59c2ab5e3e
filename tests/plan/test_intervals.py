"""Bounds of what is not known: they hold for what chance does, and grow no wider than they must."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.plan.intervals import Interval, part_of, share_of

AMOUNT = st.floats(min_value=0, max_value=1e9)


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    low, likely, high = sorted(draw(st.tuples(AMOUNT, AMOUNT, AMOUNT)))
    return Interval(low=low, likely=likely, high=high)


def test_bounds_that_do_not_stand_in_order_are_refused() -> None:
    with pytest.raises(ValueError, match="does not hold"):
        Interval(low=2, likely=1, high=3)


@given(intervals(), intervals())
def test_a_product_lies_between_the_products_of_the_bounds(one: Interval, other: Interval) -> None:
    made = one.times(other)
    assert made.contains(one.likely * other.likely)
    assert made.low <= made.likely <= made.high


@given(intervals(), intervals())
def test_a_sum_holds_every_sum_of_its_parts(one: Interval, other: Interval) -> None:
    assert (one + other).contains(one.low + other.high)


def test_nothing_times_what_nobody_knows_is_nothing() -> None:
    assert Interval.exactly(0).times(Interval(low=0, likely=1, high=math.inf)).high == 0


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 10, 0.0, 0.40), (10, 10, 0.60, 1.0), (50, 100, 0.376, 0.624), (500, 1000, 0.459, 0.541)],
)
def test_a_share_is_known_as_well_as_it_was_observed(part: int, whole: int, low: float, high: float) -> None:
    share = share_of(part, whole)
    assert share.low == pytest.approx(low, abs=0.005)
    assert share.high == pytest.approx(high, abs=0.005)


@given(st.integers(1, 10_000), st.data())
def test_a_share_lies_in_its_own_interval(whole: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, whole))
    share = share_of(part, whole)
    assert 0 <= share.low <= part / whole <= share.high <= 1


@given(intervals(), st.integers(0, 200), st.integers(0, 200))
def test_a_part_is_no_more_than_the_whole(count: Interval, part: int, more: int) -> None:
    made = part_of(count, share_of(part, part + more))
    assert 0 <= made.low <= made.high <= max(count.high, 1e-9)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
@pytest.mark.parametrize(("observed", "count"), [(30, 500), (300, 300), (2000, 100)])
def test_what_chance_gives_lies_between_the_bounds(share: float, observed: int, count: int) -> None:
    chance, held = random.Random(f"{share} {observed} {count}"), 0
    for _ in range(200):
        seen = sum(chance.random() < share for _ in range(observed))
        found = sum(chance.random() < share for _ in range(count))
        held += part_of(Interval.exactly(count), share_of(seen, observed)).contains(found)
    assert held >= 196
