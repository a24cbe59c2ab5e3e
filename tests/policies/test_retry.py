"""Retry: who is tried again, and after how long."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.errors import DeclarationError
from dataflow.policies.resets import LONGEST
from dataflow.policies.retry import (
    Attempt,
    Retry,
    attempt_of_status,
    is_retryable_status,
    read_retry,
    wait_before_next,
)

retries = st.builds(
    Retry,
    attempts=st.integers(1, 5000),
    backoff=st.sampled_from(["exponential", "linear", "constant"]),
    initial=st.floats(0, 1e6),
    maximum=st.floats(0, 1e6),
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (False, Retry(attempts=1)),
        (None, Retry()),
        (True, Retry()),
        (1, Retry(attempts=1)),
        (7, Retry(attempts=7)),
        (Retry(backoff="linear"), Retry(backoff="linear")),
        (Retry(initial=0, maximum=0), Retry(initial=0, maximum=0)),
    ],
)
def test_what_an_author_may_write(value: Any, expected: Retry) -> None:
    assert read_retry(value, where="retry") == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "attempts in all, a whole number from 1"),
        (-1, "False means one attempt"),
        (2.0, "attempts in all"),
        ("3", "attempts in all"),
        ({"attempts": 3}, "attempts in all"),
        (Retry(attempts=0), "attempts takes a whole number from 1"),
        (Retry(attempts=True), "attempts takes a whole number from 1"),
        (Retry(backoff="fibonacci"), 'backoff takes "exponential", "linear" or "constant"'),  # type: ignore[arg-type]
        (Retry(backoff=["linear"]), "backoff takes"),  # type: ignore[arg-type]
        (Retry(initial=-1), "initial takes a number of seconds from 0"),
        (Retry(initial=math.nan), "initial takes"),
        (Retry(maximum=math.inf), "maximum takes"),
        (Retry(maximum="10s"), "maximum takes"),  # type: ignore[arg-type]
        (Retry(initial=20), r"maximum \(10 s\) is less than initial \(20 s\); give both"),
    ],
)
def test_anything_else_is_refused_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=f"API `acme`: retry.*{message}"):
        read_retry(value, where="API `acme`: retry")


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        ("exponential", [0.5, 1, 2, 4, 5, 5]),
        ("linear", [0.5, 1, 1.5, 2, 2.5, 3]),
        ("constant", [0.5] * 6),
    ],
)
def test_the_longest_wait_grows_as_declared_up_to_the_maximum(backoff: Any, expected: list[float]) -> None:
    retry = Retry(attempts=7, backoff=backoff, initial=1, maximum=10)
    assert [wait_before_next(retry, attempts=made, draw=0.5) for made in range(1, 8)] == [*expected, None]


@pytest.mark.parametrize(
    ("after", "expected"),
    [(None, 0.5), (0.1, 0.5), (7, 7), (300, 300), (301, 300), (math.inf, 300), (-5, 0.5), (math.nan, 0.5), (0, 0.5)],
)
def test_the_provider_may_ask_for_a_longer_wait_of_up_to_five_minutes(after: float | None, expected: float) -> None:
    assert wait_before_next(Retry(), attempts=1, draw=0.5, after=after) == expected


@given(
    retry=retries, attempts=st.integers(0, 6000), draw=st.floats(0, 1, exclude_max=True), after=st.none() | st.floats()
)
def test_a_wait_is_finite_and_bounded_and_there_is_one_while_attempts_are_left(
    retry: Retry, attempts: int, draw: float, after: float | None
) -> None:
    wait = wait_before_next(retry, attempts=attempts, draw=draw, after=after)
    assert (wait is None) == (attempts >= retry.attempts)
    if wait is not None:
        assert 0 <= wait <= max(retry.maximum, LONGEST)
        assert after is None or math.isnan(after) or wait >= min(after, LONGEST)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 599])
def test_what_may_be_answered_otherwise_later_is_retried(status: int) -> None:
    assert is_retryable_status(status)


@pytest.mark.parametrize("status", [200, 204, 301, 304, 400, 401, 403, 404, 409, 413, 422, 501, 600, 999])
def test_what_would_be_answered_the_same_is_not_retried(status: int) -> None:
    assert not is_retryable_status(status)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((200, 201, 204, 299), Attempt.SUCCEEDED),
        ((500, 501, 503, 599), Attempt.FAILED),
        ((429,), Attempt.THROTTLED),
        ((100, 301, 304, 400, 401, 404, 408, 425, 499, 999), Attempt.REFUSED),
    ],
)
def test_a_status_says_how_an_attempt_ended(statuses: tuple[int, ...], expected: Attempt) -> None:
    assert {attempt_of_status(status) for status in statuses} == {expected}
