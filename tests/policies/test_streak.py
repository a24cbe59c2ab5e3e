"""Failures in a row: when they say that nothing succeeds any more."""

from __future__ import annotations

from dataflow.policies.streak import NONE, Streak


def many(streak: Streak, times: int, *, earlier: bool = False, in_flight: int = 10) -> Streak:
    for _ in range(times):
        streak = streak.failed(threshold=5, in_flight=in_flight, earlier=earlier)
    return streak


def test_failures_that_outlast_what_was_in_flight_say_that_nothing_succeeds() -> None:
    begun = many(NONE, 14)
    assert not begun.is_outlasted
    assert many(begun, 1, in_flight=99).is_outlasted
    assert begun.answered() is NONE


def test_failures_of_calls_from_before_count_while_nothing_is_answered() -> None:
    assert many(many(NONE, 1), 14, earlier=True).is_outlasted


def test_answers_to_calls_from_before_do_not_end_the_failures_of_later_ones() -> None:
    streak = NONE
    for _ in range(14):
        streak = many(streak, 1).answered(earlier=True)
    assert (streak.failures, streak.newer, streak.is_outlasted) == (0, 14, False)
    assert many(streak, 1).is_outlasted
    assert many(streak, 3).answered() is NONE


def test_records_that_fail_among_others_never_say_so() -> None:
    streak = many(NONE, 1)
    for _ in range(200):
        streak = many(streak, 3, earlier=True).answered(earlier=True)
        assert not streak.is_outlasted


def test_the_longer_count_is_its_length() -> None:
    assert many(many(NONE, 2), 2, earlier=True).length == 4
    assert many(many(NONE, 2).answered(earlier=True), 1).length == 3
