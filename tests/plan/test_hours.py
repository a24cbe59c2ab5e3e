"""How long calls take: the tightest limit decides, APIs work side by side, chains add up."""

import math

import pytest

from dataflow.plan.hours import Binding, Capacity, Stage, hours
from dataflow.plan.intervals import Interval
from dataflow.policies.rate import read_rates

DAY = 86400.0


def stage(name: str, calls: float, *, api: str | None = "acme", seconds: float = 1.0, after: str = "") -> Stage:
    exact = Interval.exactly
    return Stage(service=name, api=api, calls=exact(calls), seconds=exact(seconds), after=(after,) if after else ())


def took(*stages: Stage, partitions: int = 1, **limits: Capacity) -> float:
    return hours(stages, limits, partitions=partitions).seconds.likely


def capacity(*rates: str, concurrency: int | None = 10) -> Capacity:
    return Capacity(rates=read_rates(list(rates), where=""), concurrency=concurrency)


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        (capacity(), 100.0),
        (capacity(concurrency=100), 10.0),
        (capacity("5/s"), 1000 * 1.022 / 5),
        (capacity("5/s", concurrency=1), 1000.0),
        (capacity("1000/day"), 100.0),
        (capacity("600/day"), DAY * 65 / 64 + 40),
        (capacity("100k tokens/min"), 100.0),
    ],
)
def test_the_tightest_limit_decides(limits: Capacity, seconds: float) -> None:
    assert took(stage("company", 1000), acme=limits) == pytest.approx(seconds)


def test_services_of_one_api_share_its_limits() -> None:
    assert took(stage("company", 500), stage("people", 500), acme=capacity()) == pytest.approx(100)


def test_apis_work_side_by_side() -> None:
    stages = [stage("company", 1000), stage("phone", 400, api="zeta")]
    assert took(*stages, acme=capacity(), zeta=capacity()) == pytest.approx(100)


@pytest.mark.parametrize(("partitions", "seconds"), [(1, 140.0), (4, 110.0), (1000, 100.04)])
def test_a_chain_adds_up_but_over_many_partitions(partitions: int, seconds: float) -> None:
    stages = [stage("company", 1000), stage("phone", 400, api="zeta", after="company")]
    assert took(*stages, partitions=partitions, acme=capacity(), zeta=capacity()) == pytest.approx(seconds)


def test_no_call_takes_no_time_and_nothing_binds() -> None:
    found = hours([stage("company", 0)], {"acme": capacity("1/day")}, partitions=1)
    assert (found.seconds.high, found.binding) == (0, None)


def test_one_call_takes_as_long_as_it_takes() -> None:
    assert took(stage("company", 1, seconds=3), acme=capacity()) == 3


def test_calls_without_bound_take_for_ever() -> None:
    endless = Stage(
        service="a", api="acme", calls=Interval(low=1, likely=1, high=math.inf), seconds=Interval.exactly(1)
    )
    assert hours([endless], {"acme": capacity("5/day")}, partitions=1).seconds.high == math.inf


@pytest.mark.parametrize(
    ("limits", "binding"),
    [
        (capacity(), Binding(api="acme", limit="concurrency 10", raised="at 40", seconds=25.0)),
        (capacity("5/s"), Binding(api="acme", limit="5/s", raised="at 20/s", seconds=100.0)),
        (capacity("600/day"), Binding(api="acme", limit="600/day", raised="without it", seconds=100.0)),
    ],
)
def test_what_binds_is_told_with_what_raising_it_gives(limits: Capacity, binding: Binding) -> None:
    assert hours([stage("company", 1000)], {"acme": limits}, partitions=1).binding == binding


def test_functions_without_an_api_have_no_limit_to_raise() -> None:
    assert hours([stage("score", 1000, api=None)], {}, partitions=1).binding == Binding(api=None)
