"""A quote follows from keys, rates and limits: exact where all is known, honest bounds where it is not."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.plan.forecast import Setting, make_quote
from dataflow.plan.hours import Capacity
from dataflow.plan.intervals import Interval
from dataflow.plan.quote import Called, KeyCount, Quote, Tariff
from dataflow.plan.rates import Rates, Seen, rates_of
from dataflow.policies.rate import read_rates

CENT = Tariff(call=Interval.exactly(0.01))
COMPANY = Called(service="company", api="acme", attempts=1, tariff=CENT)
PEOPLE = Called(service="people", api="acme", attempts=1, tariff=CENT)
SETTING = Setting(records=1000, capacities={"acme": Capacity(concurrency=16)})


def quoted(*pairs: tuple[Called, KeyCount], rates: dict[str, Rates] | None = None, setting: Setting = SETTING) -> Quote:
    counts = {count.service: count for _, count in pairs}
    known = {name: (rates or {}).get(name, Rates()) for name in counts}
    return make_quote("leads", [called for called, _ in pairs], counts, known, setting=setting)


def bounds(interval: Interval) -> tuple[float, float, float]:
    return round(interval.low, 6), round(interval.likely, 6), round(interval.high, 6)


def test_without_retries_each_key_that_the_cache_lacks_is_one_call() -> None:
    quote = quoted((COMPANY, KeyCount(service="company", records=1000, keys=120, cached=20)))
    assert bounds(quote.calls) == (100, 100, 100)
    assert bounds(quote.cost) == (1, 1, 1)


def test_calling_per_row_would_cost_a_call_for_each_record() -> None:
    quote = quoted((COMPANY, KeyCount(service="company", records=1000, keys=120, cached=120)))
    assert bounds(quote.row_cost) == (10, 10, 10)
    assert quote.cost.high == 0


@pytest.mark.parametrize(("keys", "most"), [(5, 15), (40, 120), (10_000, 30_000)])
def test_retries_that_nobody_has_seen_are_bounded_by_the_attempts_that_are_declared(keys: int, most: int) -> None:
    quote = quoted((replace(COMPANY, attempts=3), KeyCount(service="company", records=keys, keys=keys)))
    assert bounds(quote.calls) == (keys, keys, pytest.approx(most, rel=0.05))


def test_retries_that_were_seen_narrow_the_bounds() -> None:
    seen = rates_of(Seen(origin="leads@v1", keys=5000, found=4000, calls=5100, retries=100))
    quote = quoted((replace(COMPANY, attempts=3), KeyCount(service="company", keys=10_000)), rates={"company": seen})
    low, likely, high = bounds(quote.calls)
    assert likely == pytest.approx(10_200)
    assert 10_080 < low < likely < high < 10_380


def test_a_chained_service_asks_for_no_more_than_the_first_one_finds() -> None:
    seen = rates_of(Seen(origin="leads@v1", keys=1000, found=600, calls=1000))
    chained = KeyCount(service="people", open_records=900, open_keys=None, after=("company",), reads="company")
    quote = quoted((COMPANY, KeyCount(service="company", keys=500)), (PEOPLE, chained), rates={"company": seen})
    people = quote.services[1].calls
    assert people.low == 0
    assert people.likely == pytest.approx(300)
    assert 300 < people.high < 380


def test_a_chained_service_with_history_is_bounded_from_both_sides() -> None:
    rates = {
        "company": rates_of(Seen(origin="leads@v1", keys=1000, found=600, calls=1000)),
        "people": rates_of(Seen(origin="leads@v1", keys=590, could=600, found=300, calls=590)),
    }
    chained = KeyCount(service="people", open_records=900, open_keys=None, after=("company",), reads="company")
    quote = quoted((COMPANY, KeyCount(service="company", keys=500)), (PEOPLE, chained), rates=rates)
    assert 200 < quote.services[1].calls.low < 295 < quote.services[1].calls.high < 380


def test_a_waterfall_without_history_may_ask_for_every_key_or_none() -> None:
    second = KeyCount(service="people", open_records=900, open_keys=500, after=("company",))
    quote = quoted((COMPANY, KeyCount(service="company", keys=500)), (PEOPLE, second))
    assert bounds(quote.services[1].calls) == (0, 250, 500)


def test_what_several_unknown_inputs_allow_is_a_call_for_each_record() -> None:
    mixed = KeyCount(service="people", open_records=900, open_keys=None, after=("company",))
    quote = quoted((COMPANY, KeyCount(service="company", keys=500)), (PEOPLE, mixed))
    assert bounds(quote.services[1].calls) == (0, 900, 900)


def test_keys_of_several_partitions_may_be_asked_for_again_by_those_under_way() -> None:
    count = KeyCount(service="company", records=1000, keys=100, repeats=500)
    quote = quoted((COMPANY, count), setting=replace(SETTING, partitions=8, most_failures={"company": 0}))
    assert bounds(quote.calls) == (100, 100, 400)


def test_a_batch_shares_requests_and_is_paid_by_record() -> None:
    tariff = Tariff(record=0.001)
    called = replace(COMPANY, batch=100, tariff=tariff)
    quote = quoted((called, KeyCount(service="company", records=1000, keys=950)))
    assert bounds(quote.calls)[0] == 10
    assert quote.calls.high <= 10
    assert bounds(quote.cost) == (0.95, 0.95, 0.95)


def test_answers_alone_are_billed_where_the_service_says_so() -> None:
    called = replace(COMPANY, tariff=replace(CENT, billed="answers"))
    count = KeyCount(service="company", records=1000, keys=1000)
    quote = quoted((called, count), setting=replace(SETTING, most_failures={"company": 100}))
    assert bounds(quote.cost) == (9, 10, 10)


def test_a_price_that_only_the_answer_tells_is_unknown_until_it_is_seen() -> None:
    tariff = Tariff(call=Interval(low=0, likely=0, high=math.inf), from_answer=True)
    called, count = replace(COMPANY, tariff=tariff), KeyCount(service="company", keys=1000)
    unknown = quoted((called, count))
    assert unknown.cost.high == math.inf
    assert "max_price" in unknown.notes[0]
    seen = rates_of(Seen(origin="a sample", keys=100, found=100, calls=100, cost=2.0, spread=0.01))
    known = quoted((called, count), rates={"company": seen})
    assert known.cost.likely == pytest.approx(20)
    assert 15 < known.cost.low < known.cost.high < 25


@pytest.mark.parametrize(("budget", "low", "likely", "high"), [(20, 1, 1, 1), (10.5, 0.525, 1, 1), (5, 0.25, 0.5, 0.5)])
def test_the_budget_pays_for_a_share_of_the_run(budget: float, low: float, likely: float, high: float) -> None:
    count = KeyCount(service="company", records=1000, keys=1000)
    setting = replace(SETTING, budget=budget)
    enough = quoted((replace(COMPANY, attempts=2), count), setting=setting).enough
    assert enough is not None
    assert (enough.low, enough.likely, enough.high) == pytest.approx((low, likely, high), abs=1e-3)


def test_a_bound_that_nobody_knows_is_null_in_json() -> None:
    tariff = Tariff(call=Interval(low=0, likely=0, high=math.inf), from_answer=True)
    quote = quoted((replace(COMPANY, tariff=tariff), KeyCount(service="company", keys=10)))
    assert quote.to_dict()["cost"] == {"low": 0, "likely": 0, "high": None}


def test_what_binds_is_told_with_what_raising_it_would_give() -> None:
    seen = rates_of(Seen(origin="v1", keys=9, calls=9, seconds=Interval.exactly(1.0)))
    capacity = Capacity(rates=read_rates("100/s", where=""), concurrency=16)
    setting = replace(SETTING, capacities={"acme": capacity})
    quote = quoted((COMPANY, KeyCount(service="company", keys=1600)), rates={"company": seen}, setting=setting)
    binding = quote.hours.binding
    assert binding is not None
    assert (binding.api, binding.limit, binding.raised) == ("acme", "concurrency 16", "at 64")
    assert (quote.hours.seconds.likely, binding.seconds) == (100, 25)


@given(st.integers(0, 2**32), st.integers(1, 400), st.floats(0, 0.3), st.floats(0, 1))
def test_the_bounds_hold_what_chance_makes_of_a_chain(seed: int, keys: int, failing: float, found: float) -> None:
    chance = random.Random(seed)
    before = _world(chance, 200, failing, found)
    rates = {name: rates_of(one) for name, one in before.items()}
    now = _world(chance, keys, failing, found)
    chained = KeyCount(service="people", open_records=10_000, open_keys=None, after=("company",), reads="company")
    services = [(replace(COMPANY, attempts=3), KeyCount(service="company", keys=keys)), (PEOPLE, chained)]
    quote = quoted(*services, rates=rates, setting=replace(SETTING, partitions=1))
    company = min(now["company"].calls, quote.services[0].calls.high)
    assert quote.cost.low - 0.02 <= 0.01 * (company + now["people"].calls) <= quote.cost.high + 0.02


def _world(chance: random.Random, keys: int, failing: float, found: float) -> dict[str, Seen]:
    retries = sum(chance.random() < failing for _ in range(keys))
    hits = sum(chance.random() < found for _ in range(keys))
    return {
        "company": Seen(origin="v1", keys=keys, found=hits, calls=keys + retries, retries=retries),
        "people": Seen(origin="v1", keys=hits, could=hits, found=hits, calls=hits),
    }
