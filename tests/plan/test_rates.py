"""What was seen of a service becomes shares with bounds, and nothing seen becomes defaults."""

import math

import pytest

from dataflow.plan.intervals import Interval
from dataflow.plan.rates import ASSUMED, Rates, Seen, rates_of


def test_nothing_seen_gives_the_defaults() -> None:
    assert rates_of(None) == Rates()
    assert rates_of(Seen(origin="leads@v1")).origin == ASSUMED


def test_shares_are_taken_of_keys_and_retries_of_first_calls() -> None:
    rates = rates_of(Seen(origin="leads@v1", keys=100, could=200, found=80, failed=5, calls=110, retries=10))
    assert rates.asked is not None
    shares = [one.likely for one in (rates.asked, rates.found, rates.failed, rates.retries)]
    assert shares == pytest.approx([0.5, 0.8, 0.05, 0.1])


def test_more_retries_than_calls_are_no_share_but_a_number() -> None:
    rates = rates_of(Seen(origin="leads@v1", keys=10, calls=30, retries=20))
    assert rates.retries.likely == 2
    assert 0 <= rates.retries.low < 2 < rates.retries.high < 5


def test_keys_that_the_cache_answered_say_nothing_of_retries() -> None:
    assert rates_of(Seen(origin="leads@v1", keys=10, found=10)).retries.high == math.inf


def test_what_a_call_cost_is_known_as_well_as_it_was_seen() -> None:
    few = rates_of(Seen(origin="a sample of 4", keys=4, calls=4, cost=0.4, spread=0.02)).cost
    many = rates_of(Seen(origin="a sample of 400", keys=400, calls=400, cost=40.0, spread=0.02)).cost
    assert few is not None
    assert many is not None
    assert few.likely == many.likely == 0.1
    assert few.high - few.low == pytest.approx(10 * (many.high - many.low))


def test_a_key_may_take_several_requests_and_what_was_timed_are_all_of_them() -> None:
    rates = rates_of(
        Seen(origin="a", keys=50, called=40, calls=130, retries=10, seconds=Interval.exactly(0.6), cost=1.3)
    )
    assert rates.further.likely == 2
    assert 0 < rates.further.low < 2 < rates.further.high < 4
    assert rates.seconds.likely == pytest.approx(0.2)
    assert rates_of(Seen(origin="a", keys=50, called=40, calls=40)).further == Rates().further
