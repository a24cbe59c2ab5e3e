"""A cap is divided fairly by demand, and never exceeded whatever holders do."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.concurrency import Holding, Shares, ask, divide, expired, forget


@pytest.mark.parametrize(
    ("total", "demands", "given_"),
    [
        (10, [20, 20], [5, 5]),
        (10, [2, 20], [2, 8]),
        (10, [1, 2, 3], [1, 2, 3]),
        (10, [20, 20, 20], [3, 3, 4]),
        (2, [5, 5, 5], [1, 1, 0]),
        (0, [1], [0]),
        (5, [], []),
        (5, [0, 9], [0, 5]),
    ],
)
def test_nobody_gets_more_than_another_who_wanted_as_much(total, demands, given_) -> None:
    assert divide(total, demands) == given_


def step(shares: Shares, name: str, *, cap: int, now: float, in_flight: int = 0, wanted: int = 9) -> Shares:
    before = shares.holdings.get(name, Holding())
    report = Holding(applied=before.share, in_flight=in_flight, wanted=wanted, until=now + 3)
    return ask(expired(shares, now=now, timeout=30), name, cap=cap, report=report, now=now)


def test_one_alone_gets_all_and_gives_half_of_it_to_a_second() -> None:
    shares = step(Shares(), "a", cap=16, now=0.0, wanted=1)
    assert shares.holdings["a"].share == 16
    for now in (0.1, 0.2, 0.3):
        shares = step(step(shares, "b", cap=16, now=now), "a", cap=16, now=now)
    assert [one.share for one in shares.holdings.values()] == [8, 8]


def test_a_share_that_shrinks_frees_nothing_before_its_holder_says_so() -> None:
    shares = step(step(Shares(), "a", cap=4, now=0.0), "b", cap=4, now=0.1)
    assert shares.holdings["b"].share == 0
    shares = step(shares, "a", cap=4, now=0.2, in_flight=4)
    assert (shares.holdings["a"].share, shares.holdings["a"].counted) == (2, 4)
    shares = step(shares, "a", cap=4, now=0.3, in_flight=3)
    shares = step(shares, "b", cap=4, now=0.4)
    assert shares.holdings["b"].share == 1


def test_what_a_dead_holder_had_comes_back_after_an_attempt_timeout() -> None:
    shares = step(Shares(), "a", cap=4, now=0.0)
    shares = forget(shares, "a", until=30.0)
    assert step(shares, "b", cap=4, now=29.9).holdings["b"].share == 0
    assert step(shares, "b", cap=4, now=30.0).holdings["b"].share == 4


def test_a_silent_holder_is_held_back_from_the_end_of_its_lease_and_may_come_back() -> None:
    shares = expired(step(Shares(), "a", cap=4, now=0.0, in_flight=2), now=3.1, timeout=30)
    assert shares.held == {"a": (33.0, 4)}
    back = step(shares, "a", cap=4, now=5.0, in_flight=2)
    assert (back.counted, back.held) == (4, {})


def test_where_holders_are_more_than_calls_everybody_has_its_turn() -> None:
    shares, turns, now = Shares(), Counter[str](), 0.0
    for _ in range(400):
        for name in "abcde":
            now += 0.02
            shares = step(shares, name, cap=2, now=now)
            turns[name] += shares.holdings[name].share
    assert min(turns.values()) > 0.5 * max(turns.values())


@given(
    cap=st.integers(1, 12),
    draw=st.randoms(use_true_random=False),
    steps=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 6), st.floats(0, 2)), max_size=60),
)
def test_calls_in_flight_never_exceed_the_cap(cap, draw, steps) -> None:
    """Holders start what their share allows, at any time before they hear of another; replies and holders get lost."""
    shares, now = Shares(), 0.0
    told: dict[str, int] = dict.fromkeys("abcd", 0)
    lease: dict[str, float] = dict.fromkeys("abcd", -1.0)
    running: dict[str, list[float]] = {name: [] for name in "abcd"}
    for name, wanted, passed in steps:
        now += passed
        for calls in running.values():
            calls[:] = [end for end in calls if end > now]
        valid = now < lease[name]
        report = Holding(applied=told[name] if valid else 0, in_flight=len(running[name]), wanted=wanted, until=now + 3)
        shares = ask(expired(shares, now=now, timeout=30), name, cap=cap, report=report, now=now)
        if valid:
            running[name] += [now + 30 * draw.random()] * draw.randint(0, max(0, told[name] - len(running[name])))
        if draw.random() < 0.8:
            told[name], lease[name] = shares.holdings[name].share, now + 3
        if now < lease[name]:
            running[name] += [now + 30 * draw.random()] * draw.randint(0, max(0, told[name] - len(running[name])))
        if draw.random() < 0.1:
            shares = forget(shares, name, until=now + 30)
            lease[name] = -1.0
        assert sum(map(len, running.values())) <= shares.counted <= cap
