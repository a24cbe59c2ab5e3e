"""What faults of connections mean."""

from __future__ import annotations

import aiohttp
import pytest

from dataflow.engine.http.transport import translate
from dataflow.policies.retry import Attempt


@pytest.mark.parametrize(
    ("idle", "attempt", "stale"),
    [
        (None, Attempt.FAILED, False),
        (0.0, Attempt.FAILED, True),
        (0.4, Attempt.FAILED, True),
        (2.0, Attempt.ABANDONED, True),
    ],
)
def test_a_connection_that_breaks_says_nothing_of_the_provider_only_where_it_had_been_idle(
    idle: float | None, attempt: Attempt, stale: bool
) -> None:
    error = translate(aiohttp.ServerDisconnectedError(), idle=idle)
    assert (error.reason, error.attempt, error.stale, error.again) == ("connection lost", attempt, stale, "repeatable")
