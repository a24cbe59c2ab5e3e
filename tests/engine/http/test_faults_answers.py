"""Answers that are wrong in every way a provider can be wrong, over a real connection, counted at both ends."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any

import pytest

import dataflow as flow

Checked = Callable[..., dict[str, Any]]

FAULTS = [
    ("always_500", "HTTP 500", 500, 3),
    ("status:502", "HTTP 502", 502, 3),
    ("status:501", "HTTP 501", 501, 1),
    ("status:408", "HTTP 408", 408, 3),
    ("status:425", "HTTP 425", 425, 3),
    ("status:400", "HTTP 400", 400, 1),
    ("status:410", "HTTP 410", 410, 1),
    ("status:422", "HTTP 422", 422, 1),
    ("status:304", "HTTP 304", 304, 1),
    ("503_then_ok:9", "HTTP 503", 503, 3),
    ("truncated_json", "malformed answer", 200, 2),
    ("invalid_json", "malformed answer", 200, 2),
    ("html_200", "malformed answer", 200, 2),
    ("error_200", "unexpected answer", 200, 1),
    ("wrong_types", "unexpected answer", 200, 1),
    ("wrong_types:name", "unexpected answer", 200, 1),
    ("missing_fields", "unexpected answer", 200, 1),
    ("null_fields:name", "unexpected answer", 200, 1),
    ("nan", "unexpected answer", 200, 1),
    ("deep_nesting", "unexpected answer", 200, 1),
    ("deep_nesting:100000", "unexpected answer", 200, 1),
    ("gzip_bomb", "answer too long", 200, 1),
    ("redirect:http://127.0.0.1:9/", "HTTP 302", 302, 1),
]


@pytest.mark.parametrize(("fault", "reason", "http_status", "attempts"), FAULTS, ids=[one[0] for one in FAULTS])
def test_a_bad_answer_costs_its_own_record_only(
    bench: Any, checked: Checked, fault: str, reason: str, http_status: int, attempts: int
) -> None:
    bench.server.control(keys={"bad.example": fault})
    run = bench.run(bench.company(), ["good.example", "bad.example", "fine.example"])
    failure = checked(bench, run)
    found = (failure["key"], failure["status"], failure["reason"], failure["http_status"], failure["attempts"])
    assert found == ("bad.example", "failed", reason, http_status, attempts)
    said = run.statistics["services"]["company"]
    assert (said["succeeded"], said["failed"], said["timed_out"], said["not_found"]) == (2, 1, 0, 0)
    assert (said["calls"], said["retries"]) == (2 + attempts, attempts - 1)
    assert bench.seen()["by_key"]["bad.example"] == attempts
    rows = {row["key"]: row for row in run.to_arrow().to_pylist()}
    assert rows["bad.example"]["title"] is None
    assert rows["bad.example"]["degraded"]
    assert rows["good.example"]["title"]
    assert not rows["good.example"]["degraded"]


def test_a_critical_service_rejects_the_record_instead(bench: Any, checked: Checked) -> None:
    bench.server.control(keys={"bad.example": "always_500"})
    run = bench.run(bench.company(priority="critical"), ["good.example", "bad.example"])
    checked(bench, run)
    (reject,) = run.rejects().to_pylist()
    assert (reject["key"], reject["service"], reject["reason"]) == ("bad.example", "company", "HTTP 500")
    assert run.to_arrow().column("key").to_pylist() == ["good.example"]


def test_a_503_is_asked_again_and_succeeds(bench: Any, checked: Checked) -> None:
    bench.server.control(keys={"bad.example": "503_then_ok:2"})
    run = bench.run(bench.company(), ["good.example", "bad.example"])
    assert checked(bench, run) == {}
    said = run.statistics["services"]["company"]
    assert (said["calls"], said["retries"], said["succeeded"]) == (4, 2, 2)


def test_a_malformed_answer_may_be_right_the_second_time(bench: Any, checked: Checked) -> None:
    bench.server.control(keys={"bad.example": {"fault": "truncated_json", "times": 1}})
    run = bench.run(bench.company(), ["bad.example"])
    assert checked(bench, run) == {}
    assert run.statistics["services"]["company"]["retries"] == 1


def test_an_unknown_key_is_an_answer_and_no_failure(bench: Any, checked: Checked) -> None:
    bench.server.control(keys={"bad.example": "status:404"})
    run = bench.run(bench.company(), ["good.example", "bad.example"])
    assert checked(bench, run) == {}
    said = run.statistics["services"]["company"]
    assert (said["calls"], said["not_found"], said["failed"], said["succeeded"]) == (2, 1, 0, 1)
    assert not any(row["degraded"] for row in run.to_arrow().to_pylist())


def test_fields_that_nobody_asked_for_change_nothing(bench: Any, checked: Checked) -> None:
    bench.server.control(keys={"bad.example": "extra_fields"})
    run = bench.run(bench.company(), ["bad.example"])
    assert checked(bench, run) == {}


def test_a_null_that_was_declared_is_a_value(bench: Any, checked: Checked) -> None:
    bench.server.control(keys={"bad.example": "null_fields"})
    run = bench.run(bench.company(returns={"title": str | None}), ["bad.example"])
    assert checked(bench, run) == {}
    assert run.to_arrow().column("title").to_pylist() == [None]


def test_an_error_with_a_200_is_told_by_accept(bench: Any, checked: Checked) -> None:
    bench.server.control(keys={"bad.example": "error_200"})
    service = bench.company(accept=lambda answer: "the provider says error" if "error" in answer else True)
    failure = checked(bench, bench.run(service, ["good.example", "bad.example"]))
    assert (failure["reason"], failure["http_status"], failure["attempts"]) == ("refused answer", 200, 1)


def test_an_accept_that_raises_costs_its_record_and_no_retry(bench: Any, checked: Checked) -> None:
    service = bench.company(accept=lambda answer: answer["no such field"])
    failure = checked(bench, bench.run(service, ["bad.example"]))
    assert (failure["reason"], failure["attempts"]) == ("KeyError", 1)


@pytest.mark.parametrize("fault", ["huge_body", "gzip_bomb:200000000"])
def test_the_memory_does_not_grow_with_an_answer_over_the_limit(bench: Any, checked: Checked, fault: str) -> None:
    api = bench.api(max_answer="1MB")
    assert bench.run(bench.company(api), ["warm.example"], output="warm").statistics["services"]
    bench.server.reset()
    bench.server.control(keys={"bad.example": fault})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    failure = checked(bench, bench.run(bench.company(api), ["bad.example"]))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (failure["reason"], failure["attempts"]) == ("answer too long", 1)
    assert grown < 30 * 1024, f"{grown} KiB"


def test_an_answer_up_to_the_limit_is_taken(bench: Any, checked: Checked) -> None:
    bench.server.control(keys={"long.example": "huge_body:3000000"})
    run = bench.run(bench.company(bench.api(max_answer="4MB")), ["long.example"])
    assert checked(bench, run) == {}
    assert len(run.to_arrow().column("title")[0].as_py()) == 3_000_000


@pytest.mark.parametrize(
    ("form", "least", "retries"),
    [("none", 0.0, 1), ("seconds", 1.0, 1), ("date", 0.2, 1), ("negative", 0.0, 1), ("text", 0.0, 1)],
)
def test_a_429_is_asked_again_no_sooner_than_it_says(
    bench: Any, checked: Checked, form: str, least: float, retries: int
) -> None:
    bench.server.control(keys={"bad.example": {"fault": "status:429", "times": 1, "retry_after": form}})
    run = bench.run(bench.company(), ["bad.example"])
    assert checked(bench, run) == {}
    said = run.statistics["services"]["company"]
    assert (said["retries"], said["succeeded"]) == (retries, 1)
    first, second = (entry[0] for entry in bench.log())
    assert second - first >= least


def test_a_429_that_asks_for_thirty_years_is_a_failure_at_once(bench: Any) -> None:
    bench.server.control(keys={"bad.example": {"fault": "status:429", "retry_after": "1000000000"}})
    result = flow.Pipeline("one", [bench.company()]).call({"key": "bad.example"})
    assert result.data["title"] is None
    assert bench.seen()["calls"] == 1


def test_many_429_end_well_and_lose_nothing(bench: Any, checked: Checked) -> None:
    bench.server.control(paths={"/v2/companies": {"concurrency": 4, "retry_after": "none", "latency": 0.01}})
    api = bench.api(retry=flow.Retry(attempts=10, initial=0.02, maximum=0.2), concurrency=5)
    run = bench.run(bench.company(api), [f"k{at}.example" for at in range(8)])
    assert checked(bench, run) == {}
