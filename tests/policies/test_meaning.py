"""What answers mean that are errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataflow.policies.meaning import Meaning, meaning_of
from dataflow.policies.retry import Attempt

NOW = 1_700_000_000.0
FULL = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000009"}
PART = {"X-RateLimit-Remaining": "9", "X-RateLimit-Reset": "1700000009"}
NO_MONEY = json.dumps({"error": {"code": "insufficient_quota"}}).encode()


def meaning(status: int, headers: dict[str, str] | None = None, body: bytes = b"", **options: Any) -> Meaning:
    return meaning_of(status, headers or {}, body, now_wall=NOW, **options)


@pytest.mark.parametrize(
    ("status", "headers", "later", "after"),
    [
        (429, {}, (), None),
        (429, {"Retry-After": "2"}, (), 2),
        (429, PART, (), 9),
        (403, {"Retry-After": "2"}, (), 2),
        (420, {"Retry-After": "2"}, (), 2),
        (409, {"Retry-After": "2"}, (), 2),
        (403, FULL, (), 9),
        (420, FULL, (), 9),
        (403, {}, (403,), None),
        (403, PART, (403,), 9),
        (420, {}, (403, 420), None),
        (503, {}, (503,), None),
        (404, {}, (404,), None),
    ],
)
def test_what_means_later(status: int, headers: dict[str, str], later: tuple[int, ...], after: float | None) -> None:
    found = meaning(status, headers, later=later)
    assert (found.is_later, found.repeatable, found.after) == (True, True, after)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (403, {}),
        (403, PART),
        (420, {}),
        (401, {"Retry-After": "2"}),
        (401, FULL),
        (404, FULL),
        (400, FULL),
        (422, PART),
    ],
)
def test_a_refusal_stays_one_where_the_answer_only_tells_of_limits_by_the_way(
    status: int, headers: dict[str, str]
) -> None:
    found = meaning(status, headers)
    assert (found.attempt, found.repeatable) == (Attempt.REFUSED, False)


@pytest.mark.parametrize(("status", "repeatable"), [(500, True), (503, True), (501, False)])
def test_a_provider_that_is_ill_is_so_whatever_it_says(status: int, repeatable: bool) -> None:
    found = meaning(status, PART)
    assert found == Meaning(attempt=Attempt.FAILED, repeatable=repeatable)
    assert meaning(status, {"Retry-After": "2"}).after == 2


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "1"}, FULL])
def test_a_used_up_quota_is_no_reason_to_wait(headers: dict[str, str]) -> None:
    found = meaning(429, headers, NO_MONEY, later=(429,))
    assert found == Meaning(attempt=Attempt.REFUSED, repeatable=False, out_of_quota=True)


def test_a_body_that_says_when_to_come_again_is_heard_and_a_strange_one_does_no_harm() -> None:
    assert meaning(429, body=b'{"retry_after": 1.5}').after == 1.5
    for body in (b"\xff\xfe", b"[" * 60_000, b"{" * 100_000, b"null"):
        assert meaning(429, body=body) == Meaning(attempt=Attempt.THROTTLED, repeatable=True)


def _google(reason: str) -> bytes:
    return json.dumps({"error": {"code": 403, "errors": [{"reason": reason}], "message": "no"}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "is_later"),
    [
        (403, _google("rateLimitExceeded"), True),
        (403, _google("userRateLimitExceeded"), True),
        (400, b'{"__type": "com.acme#ThrottlingException"}', True),
        (400, b'{"code": "ThrottlingException"}', True),
        (403, b'{"error": "too_many_requests"}', True),
        (403, _google("accessNotConfigured"), False),
        (403, b'{"message": "you may not change the rate limit"}', False),
        (400, b'{"errors": [{"name": "rate_limit", "code": "invalid_rate_limit"}]}', False),
        (404, b'{"code": "rate_limited"}', False),
        (401, b'{"code": "rate_limited"}', False),
    ],
)
def test_a_code_that_says_that_calls_come_too_fast_means_later(status: int, body: bytes, is_later: bool) -> None:
    assert meaning_of(status, {}, body, now_wall=NOW).is_later is is_later
