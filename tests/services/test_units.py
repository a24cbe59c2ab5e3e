"""The strings people write for quantities."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.errors import DeclarationError
from dataflow.services.units import about, seconds, share_or_count, size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30),
        ("5 min", 300),
        ("5m", 300),
        ("2h", 7200),
        ("1.5h", 5400),
        ("90d", 7_776_000),
        ("250ms", 0.25),
        (3, 3),
    ],
)
def test_durations(text: Any, expected: float) -> None:
    assert seconds(text, where="timeout") == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("64MiB", 2**26), ("1 kB", 1000), ("1.5GiB", 3 * 2**29), ("7B", 7), (9, 9)]
)
def test_sizes(text: Any, expected: int) -> None:
    assert size(text, where="limit") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1%", (0.01, None)),
        ("2.5 %", (0.025, None)),
        (0.01, (0.01, None)),
        (500, (0.0, 500)),
        (0, (0.0, 0)),
        (1.0, (1, None)),
    ],
)
def test_shares_and_counts(value: Any, expected: Any) -> None:
    assert share_or_count(value, where="max_failures") == expected


@pytest.mark.parametrize("value", ["", "s", "30", "30 parsecs", "-1s", "0s", 0, -1, True, None, [], "1e3s", "1 s 2"])
def test_what_is_no_duration_is_refused_with_the_place_and_an_example(value: Any) -> None:
    with pytest.raises(DeclarationError, match=r'timeout takes seconds or a duration such as "30s"'):
        seconds(value, where="timeout")


@pytest.mark.parametrize("value", ["64", "64 MiBs", 0, -5, True, None])
def test_what_is_no_size_is_refused(value: Any) -> None:
    with pytest.raises(DeclarationError, match=r'limit takes bytes or a size such as "64MiB"'):
        size(value, where="limit")


@pytest.mark.parametrize("value", ["1", "101%", "-1%", 1.5, -0.1, -1, True, None, "1 percent", float("nan")])
def test_what_is_no_share_is_refused(value: Any) -> None:
    with pytest.raises(DeclarationError, match='max_failures takes a share such as "1%"'):
        share_or_count(value, where="max_failures")


@pytest.mark.parametrize(
    ("duration", "text"),
    [(0.2, "1 s"), (90, "90 s"), (91, "2 min"), (5400, "90 min"), (5401, "2 h"), (25_200, "7 h"), (172_801, "3 days")],
)
def test_a_duration_is_told_in_round_numbers_and_never_too_short(duration: float, text: str) -> None:
    assert about(duration) == text
