"""Tranches: little of a budget at a time, more of it where it is spent fast, never more than the limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.tranche import Tranche


def begin(**given: int) -> Tranche:
    return Tranche.begin(**{"budget": 10_000, "limit": 10_000, "least": 10, **given}, now=0.0)


def test_the_first_one_is_an_eighth_of_a_fiftieth_and_pays_at_least_one_call() -> None:
    assert begin().advance(committed=0, wants=True, now=0.0).authorised == 50
    assert begin(least=500).advance(committed=0, wants=True, now=0.0).authorised == 500


def test_while_half_of_it_is_left_and_nobody_waits_it_stays() -> None:
    first = begin().advance(committed=0, wants=True, now=10.0)
    assert first.advance(committed=first.size // 2, wants=False, now=10.1) is first
    assert first.advance(committed=first.size, wants=False, now=10.1).authorised > first.authorised


def test_one_that_is_used_up_soon_makes_the_next_one_larger_up_to_a_fiftieth() -> None:
    state = begin()
    for at in range(8):
        state = state.advance(committed=state.authorised, wants=True, now=at / 10)
    assert state.size == 200


def test_one_that_lasts_long_makes_the_next_one_smaller_down_to_a_call() -> None:
    state = begin()
    for at in range(12):
        state = state.advance(committed=state.authorised, wants=False, now=10.0 * (at + 1))
    assert state.size == 10


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.floats(0, 3)), max_size=60), st.integers(1, 3000))
def test_it_is_never_more_than_the_limit_nor_far_ahead_of_what_is_spent(
    steps: list[tuple[int, bool, float]], limit: int
) -> None:
    state, committed, now = begin(limit=limit), 0, 0.0
    for spent, wants, past in steps:
        committed = min(committed + spent, state.authorised)
        now += past
        before = state.authorised
        state = state.advance(committed=committed, wants=wants, now=now)
        assert before <= state.authorised <= limit
        assert state.authorised <= max(before, committed + state.most)
