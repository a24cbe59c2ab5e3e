"""Calls that go too badly to go on end a run in the middle of a partition."""

from __future__ import annotations

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.engine.http.attempts import CallError
from dataflow.engine.http.quality import Limits, QualityCheck
from dataflow.errors import GuardrailReached, NotFound, Skip
from dataflow.policies.guardrail import ENOUGH
from dataflow.wiring.binding import bind_pipeline


def check_of(*, min_found: float | None = None, max_failures: int | None = None) -> QualityCheck:
    acme = flow.API("acme", "https://api.acme.example")
    company = acme.get("company", "/{domain}", returns=str)
    pipeline = flow.Pipeline("one", [company])
    step = bind_pipeline(pipeline, pa.schema([("domain", pa.string())]), {}).steps[0]
    return QualityCheck(step, limits=Limits(min_found=min_found, max_failures=max_failures))


def test_too_little_found_is_told_as_soon_as_enough_was_asked() -> None:
    check = check_of(min_found=0.2)
    for at in range(ENOUGH - 1):
        check(None if at < 19 else NotFound())
    with pytest.raises(GuardrailReached, match=r"19 of 100 asked \(19.0%\).*`domain`.*the API acme expects"):
        check(NotFound())


def test_just_enough_found_goes_on_and_failures_say_nothing_of_it() -> None:
    check = check_of(min_found=0.2)
    for at in range(5 * ENOUGH):
        check(None if at % 5 == 0 else NotFound())
        check(CallError("HTTP 500", "answered 500"))


def test_one_failure_too_many_ends_the_run_with_the_last_reason_and_no_value_of_the_users() -> None:
    check = check_of(max_failures=1)
    check(Skip())
    check(CallError("HTTP 422", "answered 422"))
    with pytest.raises(GuardrailReached, match=r"failed for 2 calls, more than the 1 .*with: KeyError; mend"):
        check(KeyError("a@secret.example"))


def test_without_limits_nothing_is_ever_too_bad() -> None:
    check = check_of()
    for _ in range(1_000):
        check(NotFound())
        check(CallError("HTTP 500", "answered 500"))
