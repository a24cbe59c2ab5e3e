"""What a person reads about the calls of a run while it goes on."""

from __future__ import annotations

import pytest

from dataflow.faces.traffic import EVERY, FIRST, Diary, lines
from dataflow.outcomes import Traffic

BUSY = Traffic(api="acme", rate=97.6, allowed=97.8, in_flight=12, concurrency=64, waiting={"rate": 1240})
OPEN = Traffic(api="beta", breaker="open", rest=41.6)


@pytest.mark.parametrize(
    ("traffic", "line"),
    [
        (BUSY, "acme: 1,240 wait for the rate, 98 of 98 calls/s, 12 of 64 in flight"),
        (OPEN, "beta: breaker open, next try in 42 s"),
        (Traffic(api="a", breaker="open"), "a: breaker open, next try now"),
        (Traffic(api="a", breaker="open", rest=125), "a: breaker open, next try in 2 min 05 s"),
        (
            Traffic(api="a", breaker="open", rest=9, waiting={"breaker": 1}),
            "a: breaker open, next try in 9 s, 1 waits for the breaker",
        ),
        (
            Traffic(api="a", breaker="half_open", in_flight=3),
            "a: breaker half open, a few calls try, 3 in flight",
        ),
        (Traffic(api="a", breaker="held"), "a: breaker held open by hand"),
        (
            Traffic(api="a", rate=50, allowed=68.5, pause=29.7, waiting={"rate": 8}),
            "a: paused for 30 s after a 429, 8 wait for the rate, 50 of 68 calls/s",
        ),
        (
            Traffic(api="a", rate=3.25, in_flight=4, concurrency=4, waiting={"rate": 1, "concurrency": 30}),
            "a: 30 wait for the concurrency, 1 waits for the rate, 3.2 calls/s, 4 of 4 in flight",
        ),
        (Traffic(api="a", rate=1, allowed=0.1, in_flight=1), "a: at most 6 calls/min, 1 in flight"),
        (Traffic(api="a", rate=41, allowed=39, in_flight=1), "a: 39 of 39 calls/s, 1 in flight"),
        (Traffic(api="a", rate=99, allowed=39, in_flight=1), "a: 99 of 39 calls/s, 1 in flight"),
        (Traffic(api="a\x1b[2J", in_flight=1), "a\\x1b[2J: 1 in flight"),
    ],
)
def test_an_api_is_one_line_that_begins_with_why_calls_wait(traffic: Traffic, line: str) -> None:
    assert lines([traffic]) == (line,)


def test_of_many_apis_those_that_stand_still_come_first_and_the_others_are_counted() -> None:
    calm = [Traffic(api=f"calm{at}", in_flight=1) for at in range(6)]
    paused = Traffic(api="paused", pause=3)
    told = lines([*calm, Traffic(api="waits", waiting={"rate": 9}), paused, BUSY, OPEN])
    assert [one.partition(":")[0] for one in told] == ["beta", "paused", "acme", "+7 more"]


def test_nothing_is_said_of_no_api() -> None:
    assert lines([]) == ()


def test_a_log_hears_of_the_calls_now_and_then() -> None:
    diary, said = Diary(), []
    for now in range(100):
        diary, told = diary.after([BUSY], now)
        said += [(now, text) for text in told]
    assert [now for now, _ in said] == [FIRST, FIRST + EVERY, FIRST + 2 * EVERY]
    assert said[0][1] == lines([BUSY])[0]


def test_a_log_hears_at_once_that_a_breaker_opens_or_closes_and_only_then() -> None:
    half = Traffic(api="beta", breaker="half_open", in_flight=1)
    diary, said = Diary(), []
    for now, traffic in enumerate([[BUSY], [BUSY, OPEN], [OPEN], [half], [OPEN], [BUSY], []]):
        diary, told = diary.after(traffic, now)
        said += told
    assert said == ["the breaker of beta is open, next try in 42 s", "the breaker of beta is closed again"]


def test_a_log_hears_nothing_of_calls_that_rest() -> None:
    diary, _ = Diary().after([BUSY], 0)
    assert diary.after([], 1000)[1] == ()
