"""What a gate knows of the health of its API: which answers say that it is there, and how many calls may be made."""

from __future__ import annotations

import pytest

from dataflow.engine.control.health import Health
from dataflow.policies.breaker import Breaker


def failing(*, times: int, since: float) -> Health:
    health = Health(Breaker(threshold=5))
    for at in range(times):
        health.failed(in_flight=20, now=since + at)
    return health


@pytest.mark.parametrize(("began", "is_news"), [(9.9, False), (10.5, True), (None, True)])
def test_an_answer_ends_failures_in_a_row_only_to_a_call_that_began_after_them(
    began: float | None, is_news: bool
) -> None:
    health = failing(times=6, since=10.0)
    assert (health.restraint.streak, health.restraint.most) == (6, 10)
    assert health.answered(share=20, began=began) is is_news
    assert health.restraint.streak == (0 if is_news else 6)


def test_every_answer_counts_where_nothing_fails() -> None:
    health = failing(times=1, since=10.0)
    health.answered(share=20, began=11.0)
    assert health.answered(share=20, began=5.0)


def test_the_last_probe_that_ends_is_told() -> None:
    health = failing(times=0, since=0.0)
    health.probes = 2
    assert [health.begin(), health.begin()] == [True, True]
    assert [health.end_probe(), health.end_probe()] == [False, True]
