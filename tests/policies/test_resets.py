"""Resets: when a provider says that it may be called again, in the forms that providers use."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.resets import LONGEST, Resets, retry_after

DATE = 1_445_412_480.0
"""Wed, 21 Oct 2015 07:28:00 GMT"""
NOW = 1_700_000_000.0
"""Tue, 14 Nov 2023 22:13:20 GMT"""


def told(headers: dict[str, str], *, now: float = NOW, body: Any = None) -> float | None:
    return Resets(headers, now_wall=now, body=body).told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        (" 120 ", 120),
        ("1.5", 1.5),
        ("301", 300),
        ("99999999999", 300),
        ("9" * 100, 300),
        ("9" * 101, None),
        ("-1", None),
        ("1e3", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("\u0663", None),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2015 07:28:30 -0000", 30),
        ("Wednesday, 21-Oct-15 07:28:30 GMT", 30),
        ("Wed Oct 21 07:28:30 2015", 30),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:27:59 GMT", None),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 300),
        ("Wed, 41 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_a_retry_after_header(text: str | None, expected: float | None) -> None:
    assert retry_after(text, now_wall=DATE) == expected


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of a process cannot be set here")
@pytest.mark.parametrize("text", ["Wed Oct 21 07:28:30 2015", "Wed, 21 Oct 2015 07:28:30 -0000"])
def test_a_date_without_a_zone_is_in_utc_wherever_we_are(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        left = retry_after(text, now_wall=DATE)
    time.tzset()
    assert left == 30


@given(
    text=st.text(max_size=60)
    | st.from_regex(r"[A-Z][a-z]{2},? [0-9]{1,5}[ -](Jan|Feb|Dec)[ -][0-9]{1,6} [0-9:.]{0,10} [+-]?[0-9A-Z]{0,6}")
)
def test_any_header_gives_a_wait_of_up_to_five_minutes_or_none(text: str) -> None:
    wait = retry_after(text, now_wall=DATE)
    assert wait is None or 0 <= wait <= LONGEST


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "2"}, 2),
        ({"Retry-After": "2s"}, 2),
        ({"Retry-After": "2023-11-14T22:13:29Z"}, 9),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2),
        ({"x-ms-retry-after-ms": "250"}, 0.25),
        ({"X-RateLimit-Retry-After": "1700000009"}, 9),
        ({"X-Rate-Limit-Retry-After-Seconds": "3"}, 3),
        ({"X-Rate-Limit-Retry-After-Milliseconds": "300"}, 0.3),
        ({"X-Retry-After": "4"}, 4),
        ({"Retry-After": "1", "X-RateLimit-Reset": "99", "X-RateLimit-Remaining": "0"}, 1),
    ],
)
def test_what_asks_to_be_called_later_goes_before_resets(headers: dict[str, str], expected: float) -> None:
    assert told(headers) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"RateLimit": "limit=100, remaining=0, reset=5"}, 5),
        ({"RateLimit": '"default";r=0;t=5'}, 5),
        ({"RateLimit": '"burst";r=0;t=5, "day";r=9;t=600'}, 5),
        ({"RateLimit": '"burst";r=0;t=5, "day";r=0;t=60'}, 60),
        ({"RateLimit": 'burst;r=0;t=5;pk=:Y2E=:, "day";r=9;t=60'}, 5),
        ({"RateLimit": '"default";r=0', "RateLimit-Policy": '"other";q=1;w=9, "default";q=100;w=60'}, 60),
        ({"X-RateLimit": "limit=1; remaining=0; reset=7"}, 7),
        ({"RateLimit-Reset": "7", "RateLimit-Remaining": "0", "RateLimit-Limit": "9"}, 7),
        ({"X-RateLimit-Reset": "1700000009"}, 9),
        ({"X-RateLimit-Reset": "1700000009.25"}, 9.25),
        ({"X-RateLimit-Reset": "1700000009000"}, 9),
        ({"X-RateLimit-Reset": "1700000009000000"}, 9),
        ({"X-RateLimit-Reset": "1700000009000000000"}, 9),
        ({"X-RateLimit-Reset": "9"}, 9),
        ({"X-Rate-Limit-Reset": "9"}, 9),
        ({"X-RateLimit-Reset": "353.0"}, LONGEST),
        ({"X-RateLimit-Reset": "2023-11-14T22:13:29Z"}, 9),
        ({"X-RateLimit-Reset": "2023-11-14T23:13:29.5+01:00"}, 9.5),
        ({"X-RateLimit-Reset": "2023-11-14 22:13:29"}, 9),
        ({"X-RateLimit-Reset": "Tue, 14 Nov 2023 22:13:29 GMT"}, 9),
        ({"X-RateLimit-Reset": "Tue Nov 14 2023 23:13:29 GMT+0100 (Central European Standard Time)"}, 9),
        ({"X-RateLimit-Reset-After": "1.25"}, 1.25),
        ({"X-RateLimit-Reset-Ms": "1500"}, 1.5),
        ({"x-ratelimit-reset-requests": "2s"}, 2),
        ({"x-ratelimit-reset-requests": "250ms"}, 0.25),
        ({"x-ratelimit-reset-requests": "1m30s"}, 90),
        ({"x-ratelimit-reset-tokens": "6m0s"}, LONGEST),
        ({"x-ratelimit-reset-tokens": "1.5m"}, 90),
        ({"x-ratelimit-reset-requests": "2s", "x-ratelimit-reset-tokens": "1m30s"}, 90),
        ({"x-rate-limit-reset-tokens": "55"}, 55),
        ({"X-RateLimit-Requests-Reset": "1700000009000"}, 9),
        ({"X-RateLimit-UserReset": "1700000009"}, 9),
        ({"Fitbit-Rate-Limit-Reset": "12"}, 12),
        ({"Zendesk-RateLimit-Tickets-Index": "total=100; remaining=0; resets=41"}, 41),
        ({"anthropic-ratelimit-requests-reset": "2023-11-14T22:13:29Z"}, 9),
        ({"anthropic-ratelimit-unified-reset": "1700000009"}, 9),
    ],
)
def test_the_forms_in_which_a_reset_is_told(headers: dict[str, str], expected: float) -> None:
    assert told(headers) == pytest.approx(expected)
    assert told({name.swapcase(): text for name, text in headers.items()}) == pytest.approx(expected)


def test_of_several_limits_those_count_that_are_used_up() -> None:
    resets = {"x-ratelimit-reset-requests": "2s", "x-ratelimit-reset-tokens": "1m30s"}
    left = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-remaining-tokens": "500"}
    assert told({**resets, **left}) == 2
    assert told({**resets, "x-ratelimit-remaining-tokens": "0", "x-ratelimit-remaining-requests": "9"}) == 90
    anthropic = {
        "anthropic-ratelimit-requests-reset": "2023-11-14T22:13:29Z",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": "2023-11-14T22:13:21Z",
        "anthropic-ratelimit-input-tokens-remaining": "100",
    }
    assert told(anthropic) == 9


def test_where_all_limits_have_something_left_the_first_one_that_is_whole_again_may_do() -> None:
    resets = {"x-ratelimit-reset-requests": "20s", "x-ratelimit-reset-tokens": "4s"}
    assert told({**resets, "x-ratelimit-remaining-requests": "5", "x-ratelimit-remaining-tokens": "7"}) == 4


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-RateLimit-Reset": "1700000009", "X-RateLimit-Remaining": "0"}, 9),
        ({"X-RateLimit-Reset": "1700000009", "X-RateLimit-Remaining": "3"}, None),
        ({"X-RateLimit-Reset": "1700000009"}, None),
        ({"X-RateLimit-Reset": "1700000009", "X-RateLimit-Remaining": "-1"}, None),
        ({"RateLimit": '"default";r=0;t=5'}, 5),
    ],
)
def test_a_limit_is_used_up_where_nothing_is_left_of_it(headers: dict[str, str], expected: float | None) -> None:
    assert Resets(headers, now_wall=NOW).used_up == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"details": [{"@type": "Help"}, {"@type": "RetryInfo", "retryDelay": "38s"}]}}, 38),
        ({"message": "slow down", "retry_after": 0.5}, 0.5),
        ({"error": {"message": "slow down", "retryAfter": 3}}, 3),
        ({"retry_after": "38"}, None),
        ({"retry_after": True}, None),
        ({"retry_after": -1}, None),
        ({"error": "slow down"}, None),
        ([1], None),
        ("slow down", None),
    ],
)
def test_what_the_body_says(body: Any, expected: float | None) -> None:
    assert told({}, body=body) == expected
    assert told({"Retry-After": "1"}, body=body) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "0"},
        {"RateLimit-Policy": '"default";q=100;w=60'},
        {"RateLimit": "100;w=60"},
        {"RateLimit": '"default";r=5'},
        {"X-RateLimit-Reset": "1699999990"},
        {"X-RateLimit-Reset": "-5"},
        {"X-RateLimit-Reset": "soon"},
        {"X-RateLimit-Reset": ""},
        {"X-RateLimit-Reset": "1m2"},
        {"X-RateLimit-Reset": "s"},
        {"X-RateLimit-Reset": "9" * 5000},
        {"RateLimit": "x" * 5000 + "=1"},
        {"Retry-After": "soon"},
        {"X-Reset-Password": "9"},
    ],
)
def test_what_cannot_be_read_says_nothing(headers: dict[str, str]) -> None:
    assert told(headers) is None


@given(skew=st.integers(-400 * 86400, 400 * 86400), wait=st.integers(0, 299))
def test_a_moment_is_compared_with_the_clock_of_the_provider(skew: int, wait: int) -> None:
    theirs = NOW + skew
    date = formatdate(theirs, usegmt=True)
    for text in (str(int(theirs) + wait), str((int(theirs) + wait) * 1000), formatdate(theirs + wait, usegmt=True)):
        assert told({"Date": date, "X-RateLimit-Reset": text, "X-RateLimit-Remaining": "0"}) == wait
        assert told({"Date": date, "Retry-After": text}) == wait


def test_a_date_that_is_none_leaves_our_clock() -> None:
    assert told({"Date": "yesterday", "X-RateLimit-Reset": "1700000009"}) == 9


_NAMES = st.sampled_from(
    [
        "retry-after",
        "retry-after-ms",
        "ratelimit",
        "ratelimit-policy",
        "x-ratelimit-reset",
        "x-ratelimit-remaining",
        "date",
    ]
) | st.from_regex(r"x-rate-?limit-[a-z-]{0,12}", fullmatch=True)
_VALUES = (
    st.text(max_size=40)
    | st.from_regex(r'"?[a-z]{0,4}"?(;[rtqw]=[0-9.]{0,20}){0,3}', fullmatch=True)
    | st.from_regex(r"([0-9.]{1,30}(h|m|s|ms|ns|us)){1,4}", fullmatch=True)
    | st.floats().map(str)
    | st.integers().map(str)
)


@given(
    headers=st.dictionaries(_NAMES, _VALUES, max_size=6),
    now=st.floats(0, 1e10),
    body=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["error", "details", "retryDelay", "retry_after"]), inner, max_size=3)
        ),
        max_leaves=8,
    ),
)
def test_whatever_it_says_is_a_wait_of_up_to_five_minutes_or_nothing(
    headers: dict[str, str], now: float, body: Any
) -> None:
    resets = Resets(headers, now_wall=now, body=body)
    for wait in (resets.asked, resets.used_up, resets.whole_again, resets.told):
        assert wait is None or 0 <= wait <= LONGEST
