"""Fewer calls in flight while nothing succeeds, and more with each answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.restraint import FREE, Restraint
from dataflow.policies.streak import NONE


def test_each_threshold_of_failures_in_a_row_halves_what_may_be_in_flight() -> None:
    restraint, seen = FREE, []
    for in_flight in range(15, -11, -1):
        restraint = restraint.failed(threshold=5, in_flight=max(0, in_flight))
        seen.append(restraint.within(16))
    assert seen[3:6] + seen[9:10] + seen[14:15] + seen[25:] == [16, 6, 6, 3, 1, 1]


def test_each_answer_gives_a_quarter_of_the_share_back_until_all_is_allowed() -> None:
    restraint, seen = FREE.begun_anew(), []
    for _ in range(5):
        restraint = restraint.answered(share=16)
        seen.append(restraint.within(16))
    assert seen == [5, 9, 13, 16, 16]
    assert restraint == FREE


def test_few_calls_do_not_make_a_few_failures_outlast_what_is_usual() -> None:
    restraint = Restraint(most=1, usual=16)
    for _ in range(20):
        restraint = restraint.failed(threshold=5, in_flight=0)
    assert not restraint.streak.is_outlasted
    assert restraint.failed(threshold=5, in_flight=0).streak.is_outlasted
    assert restraint.begun_anew() == Restraint(most=1, usual=16)


@given(endings=st.lists(st.booleans(), max_size=200), share=st.integers(1, 1000), threshold=st.integers(1, 9))
def test_one_call_is_always_allowed_and_never_more_than_the_share(
    endings: list[bool], share: int, threshold: int
) -> None:
    restraint = FREE
    for fine in endings:
        restraint = restraint.answered(share=share) if fine else restraint.failed(threshold=threshold, in_flight=share)
        assert 1 <= restraint.within(share) <= share
        assert not fine or restraint.streak is NONE


def test_answers_alone_never_restrain() -> None:
    assert FREE.answered(share=3) is FREE
