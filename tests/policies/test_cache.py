"""How long an answer serves."""

from __future__ import annotations

import math

import pytest

from dataflow.policies.cache import DEFAULT, FOREVER, MISSES, CachePolicy

DAY = 86_400.0


@pytest.mark.parametrize(
    ("policy", "found", "age", "serves"),
    [
        (CachePolicy(), True, 30 * DAY, True),
        (CachePolicy(), True, 30 * DAY + 1, False),
        (CachePolicy(), False, 7 * DAY, True),
        (CachePolicy(), False, 7 * DAY + 1, False),
        (CachePolicy(lifetime=DAY), False, DAY, True),
        (CachePolicy(lifetime=DAY), False, DAY + 1, False),
        (CachePolicy(lifetime=DAY), True, DAY + 1, False),
        (FOREVER, True, 1e12, True),
        (FOREVER, False, 7 * DAY + 1, False),
        (CachePolicy(lifetime=DAY), True, -3600.0, True),
    ],
)
def test_an_answer_serves_for_its_time_and_a_miss_for_7_days_at_most(
    policy: CachePolicy, found: bool, age: float, serves: bool
) -> None:
    now = 2e9
    assert (now - age >= policy.serves_since(now, found=found)) is serves


def test_the_defaults_are_30_and_7_days() -> None:
    assert (DEFAULT, MISSES, FOREVER.lifetime) == (30 * DAY, 7 * DAY, math.inf)
