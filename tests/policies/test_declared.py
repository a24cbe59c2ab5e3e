"""How much of a declared rate is used where its provider answers "later" all the same, played on a clock of its own."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.declared import DEAF, LEAST, TOLERATED, Use, pause, share_of, take_up

RATE, STEP, ANSWER, EXCHANGE = 50, 0.002, 0.02, 0.1

Accepts = Callable[[float, random.Random, list[float]], bool]
"""Whether a call at a time is accepted, by the times of those that were."""


class Played:
    """Calls at a declared rate of 50 in a second, and what became of them."""

    def __init__(self, accepts: Accepts, *, seconds: float, after: float | None = None) -> None:
        self.times: list[float] = []
        self.refused: list[float] = []
        self.use = Use()
        draw, accepted, flying, free, heard = random.Random(8), list[float](), list[tuple[float, bool]](), 0.0, 0.0
        for now in (step * STEP for step in range(int(seconds / STEP))):
            if now >= heard + EXCHANGE:
                heard = now
                done = [good for end, good in flying if end <= now]
                flying = [one for one in flying if one[0] > now]
                self.use = take_up(self.use, ended=len(done), refused=[after] * done.count(False), now=now)
            if now < free or pause(self.use, now=now) > 0:
                continue
            good = accepts(now, draw, accepted)
            self.times.append(now)
            (accepted if good else self.refused).append(now)
            flying.append((now + ANSWER, good))
            free = max(free, now - EXCHANGE) + 1 / (RATE * share_of(self.use, now=now))

    def used(self, since: float, until: float) -> float:
        """The share of the rate that was used between two times."""
        return sum(since <= at < until for at in self.times) / (RATE * (until - since))

    def share_refused(self, since: float = 0.0) -> float:
        """The share of the calls that was refused."""
        return sum(at >= since for at in self.refused) / sum(at >= since for at in self.times)


def at_most(count: int) -> Accepts:
    """A provider that takes so many calls in any second."""
    return lambda now, draw, accepted: sum(at > now - 1 for at in accepted[-count:]) < count


@pytest.mark.parametrize("after", [None, 1.0, 60.0])
def test_single_refusals_leave_the_whole_rate(after: float | None) -> None:
    played = Played(
        lambda now, draw, accepted: len(accepted) % 40 != 39 or draw.random() < 0.5, seconds=20, after=after
    )
    assert played.refused
    assert played.used(0, 20) >= 0.99


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_a_tenth_of_refusals_leaves_nine_tenths_of_the_rate(share: float) -> None:
    assert Played(lambda now, draw, accepted: draw.random() >= share, seconds=30).used(0, 30) >= 0.9


@pytest.mark.parametrize(("lasts", "back"), [(0.5, 4), (1, 4), (2, 5)])
def test_after_a_burst_of_refusals_the_rate_comes_back_within_seconds(lasts: float, back: float) -> None:
    played = Played(lambda now, draw, accepted: not 5 <= now < 5 + lasts, seconds=20)
    assert played.used(5 + lasts + back, 20) >= 0.97
    assert played.used(0, 20) >= 0.9


def test_a_burst_that_says_how_long_it_lasts_is_heard() -> None:
    played = Played(lambda now, draw, accepted: not 5 <= now < 6, seconds=20, after=1.0)
    assert not [at for at in played.times if 5.5 < at < 6]
    assert played.used(0, 20) >= 0.9


@pytest.mark.parametrize("count", [10, 25])
@pytest.mark.parametrize("after", [None, 1.0])
def test_a_rate_that_is_declared_too_high_comes_down_to_what_is_accepted(count: int, after: float | None) -> None:
    played = Played(at_most(count), seconds=60, after=after)
    assert played.use.share < 1
    assert played.used(20, 60) <= 1.5 * count / RATE
    assert len(played.times) - len(played.refused) >= 0.5 * 60 * count


def test_a_provider_that_takes_nothing_is_hardly_called_and_is_called_again_as_soon_as_it_takes_some() -> None:
    played = Played(lambda now, draw, accepted: now >= 20, seconds=40)
    assert played.used(10, 20) <= 0.1
    assert played.used(30, 40) >= 0.97


def test_where_slowing_down_is_of_no_use_the_whole_rate_is_used_again() -> None:
    played = Played(lambda now, draw, accepted: draw.random() >= 0.3, seconds=10 + DEAF)
    assert played.used(10, DEAF) >= 0.97


@pytest.mark.parametrize("after", [None, 1.0])
def test_a_refusal_in_every_second_leaves_nine_tenths_of_the_rate(after: float | None) -> None:
    refused_in = set[int]()

    def accepts(now: float, draw: random.Random, accepted: list[float]) -> bool:
        first = int(now) not in refused_in
        refused_in.add(int(now))
        return not first

    played = Played(accepts, seconds=30, after=after)
    assert len(played.refused) == 30
    assert played.used(0, 30) >= 0.97


def test_one_refusal_is_no_pause_and_the_refusals_of_all_first_calls_are() -> None:
    assert pause(take_up(Use(), ended=1, refused=[7.0], now=0.0), now=0.0) == 0.0
    assert pause(take_up(Use(), ended=16, refused=[7.0] * 16, now=0.0), now=0.0) == 7.0
    later = take_up(take_up(Use(), ended=99, refused=[], now=0.0), ended=1, refused=[7.0], now=1.0)
    assert pause(later, now=1.0) == 0.0
    assert share_of(later, now=1.0) == 1.0


def test_a_shorter_wait_does_not_end_a_longer_one_and_none_is_longer_than_five_minutes() -> None:
    use = take_up(Use(), ended=20, refused=[60.0] * 20, now=0.0)
    others = [1.0, None, -4.0, math.nan] * 5
    assert pause(take_up(use, ended=20, refused=others, now=0.5), now=0.5) == 59.5
    assert pause(take_up(Use(), ended=20, refused=[math.inf] * 20, now=0.0), now=0.0) == 300.0


@given(
    reports=st.lists(st.tuples(st.floats(0, 5), st.integers(0, 200), st.floats(0, 1)), max_size=60),
    look=st.floats(0, 1000),
)
def test_the_share_stays_above_0_and_never_exceeds_what_is_declared(
    reports: list[tuple[float, int, float]], look: float
) -> None:
    use, now = Use(), 0.0
    for passed, ended, share in reports:
        now += passed
        use = take_up(use, ended=ended, refused=[None] * int(share * ended), now=now)
        assert LEAST <= share_of(use, now=now) <= 1
        assert 0 <= use.refused <= use.ended * (1 + 1e-9)
    assert LEAST <= share_of(use, now=now + look) <= 1


def test_what_is_tolerated_is_less_than_what_is_cut() -> None:
    use = take_up(Use(), ended=100, refused=[None] * int(100 * TOLERATED), now=1.0)
    assert use.share == 1
    assert take_up(Use(), ended=100, refused=[None] * 30, now=1.0).share == pytest.approx(0.7)
