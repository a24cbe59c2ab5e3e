"""What a gate knows of the health of its API: which calls say that it is down, and how many may be made."""

from __future__ import annotations

import pytest

from dataflow.engine.control.health import Health
from dataflow.policies.breaker import Breaker


def failing(*, times: int, since: float) -> Health:
    health = Health(Breaker(threshold=5))
    for at in range(times):
        health.failed(in_flight=20, earlier=False, now=since + at)
    return health


@pytest.mark.parametrize(("began", "earlier"), [(9.9, True), (10.5, False), (None, False)])
def test_a_call_is_earlier_that_began_before_the_first_failure(began: float | None, earlier: bool) -> None:
    health = failing(times=6, since=10.0)
    assert health.restraint.most == 10
    assert health.is_earlier(began) is earlier
    health.answered(share=20, earlier=earlier)
    assert health.is_in_doubt is earlier
    assert health.restraint.most == (10 if earlier else 15)


def test_no_call_is_earlier_where_nothing_fails() -> None:
    health = failing(times=1, since=10.0)
    health.answered(share=20, earlier=False)
    assert not health.is_earlier(5.0)


def test_the_plane_hears_at_once_of_each_threshold_of_failures() -> None:
    health = Health(Breaker(threshold=5))
    told = [health.failed(in_flight=20, earlier=False, now=at) for at in range(12)]
    assert [at for at, now in enumerate(told, 1) if now] == [5, 10]


def test_the_last_probe_that_ends_is_told() -> None:
    health = failing(times=0, since=0.0)
    health.probes = 2
    assert [health.begin(), health.begin()] == [True, True]
    assert [health.end_probe(), health.end_probe()] == [False, True]
