"""What arrives at the server when nothing goes wrong: the very keys, each once, and no more at a time than allowed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pandas as pd
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError

Checked = Callable[..., dict[str, Any]]

KEYS = [
    "a/b", "a?b=c", "a#b", "100%", "%2F", "%252e", "a..b", "...", "a b", "a+b", "a&b=c", "ä", "日本", "🦜", "e\u0301",
    "line\nbreak", "a\r\nX-Injected: 1", "tab\t", "q\"uote'", "{key}", "a;b", "a\\b", "@:!$()*,", "\u202e",
    "~-_.x", "\x7f",
]  # fmt: skip


def test_a_key_in_the_path_arrives_as_it_is(bench: Any, checked: Checked) -> None:
    run = bench.run(bench.company(bench.api(concurrency=1)), KEYS)
    assert checked(bench, run) == {}
    assert [entry[2] for entry in bench.log()] == KEYS


def test_a_key_in_the_query_arrives_as_it_is(bench: Any) -> None:
    service = bench.api(concurrency=1).get(
        "social", "/v2/social", params={"domain": "{key}"}, returns={"linkedin": str | None}, select="profiles"
    )
    run = bench.run(service, KEYS)
    assert run.statistics["services"]["social"]["calls"] == len(KEYS)
    assert [entry[2] for entry in bench.log("/v2/social")] == KEYS


def test_a_key_in_the_body_arrives_as_it_is(bench: Any) -> None:
    service = bench.api(concurrency=1).post(
        "phone", "/v2/phones/check", json={"phone": "{key}"}, returns={"valid": bool}
    )
    bench.run(service, KEYS)
    assert [entry[2] for entry in bench.log("/v2/phones/check")] == KEYS


@pytest.mark.parametrize("key", [".", "..", ""])
def test_a_key_that_would_name_another_path_is_never_sent(bench: Any, key: str) -> None:
    run = bench.run(bench.company(), [key, "a.example"])
    (failure,) = run.failures().to_pylist()
    assert (failure["key"], failure["reason"], failure["attempts"]) == (key, "bad input", 0)
    assert bench.server.counts()["calls"] == 1


def test_equal_inputs_are_called_once(bench: Any, checked: Checked) -> None:
    keys = [f"k{at % 7}.example" for at in range(70)]
    run = bench.run(bench.company(), keys)
    assert checked(bench, run) == {}
    said = run.statistics["services"]["company"]
    assert (said["calls"], said["succeeded"], said["deduplicated"]) == (7, 70, 63)
    assert set(bench.seen()["by_key"].values()) == {1}


def test_a_failed_call_fails_for_all_who_shared_it(bench: Any) -> None:
    bench.server.control(keys={"bad.example": "always_500"})
    run = bench.run(bench.company(), ["bad.example", "good.example", "bad.example"])
    said = run.statistics["services"]["company"]
    assert (said["calls"], said["retries"], said["failed"], said["succeeded"]) == (4, 2, 2, 1)
    assert run.failures().num_rows == 2


def test_concurrency_is_never_exceeded_by_eight_partitions_on_eight_threads(bench: Any, tmp_path: Any) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for at in range(8):
        pd.DataFrame({"key": [f"k{at}-{one}.example" for one in range(12)]}).to_csv(folder / f"{at}.csv", index=False)
    bench.server.control(paths={"/v2/companies": {"latency": 0.01}})
    service = bench.company(bench.api(concurrency=3))
    job = flow.Job(flow.Pipeline("wide", [service]), source=str(folder), output="out", key="key")
    run = job.run(catalog=bench.catalog, threads=8)
    assert run.partitions == 8
    assert run.statistics["services"]["company"]["succeeded"] == 96
    seen = bench.seen()
    assert seen["calls"] == 96
    assert 2 <= seen["max_in_flight"] <= 3


def test_four_independent_services_are_asked_at_the_same_time(bench: Any) -> None:
    api = bench.api(concurrency=64)
    services = [
        bench.company(api),
        api.get("technologies", "/v2/tech/{key}", returns=list[str], select="technologies"),
        api.get(
            "social", "/v2/social", params={"domain": "{key}"}, returns={"linkedin": str | None}, select="profiles"
        ),
        api.get("reputation", "/v2/emails/{key}/reputation", returns={"score": float}),
    ]
    bench.run(services, ["warm.example"])
    bench.server.reset()
    bench.server.control(latency=1)
    bench.run(services, [f"k{at}.example" for at in range(8)], output="again")
    # Three of them at the same time would be 24.
    assert bench.server.counts()["max_in_flight"] > 24


def test_the_services_of_one_record_are_asked_at_the_same_time(bench: Any) -> None:
    api = bench.api()
    pipeline = flow.Pipeline(
        "one",
        [bench.company(api), api.get("technologies", "/v2/tech/{key}", returns=list[str], select="technologies")],
    )
    pipeline.call({"key": "warm.example"})
    bench.server.reset()
    bench.server.control(latency=1)
    result = pipeline.call({"key": "a.example"})
    assert bench.server.counts()["max_in_flight"] == 2
    assert result.data["title"]
    assert result.data["technologies"] is not None


def test_apply_keeps_every_row_when_the_api_fails_for_one(bench: Any) -> None:
    bench.server.control(keys={"bad.example": "always_500"})
    frame = pd.DataFrame({"key": ["good.example", "bad.example"]}, index=["x", "y"])
    applied = flow.Pipeline("apply", [bench.company(priority="critical")]).apply(frame)
    assert list(applied.index) == ["x", "y"]
    assert list(applied["rejected"].isna()) == [True, False]
    assert bench.seen()["calls"] == 4


@pytest.mark.parametrize(
    ("fault", "status", "calls"),
    [("always_500", "failed", 3), ("no_answer", "timed_out", 3), ("status:422", "failed", 1), ("503_then_ok", "", 2)],
)
def test_a_function_with_the_client_is_counted_as_a_declared_service_is(
    bench: Any, checked: Checked, fault: str, status: str, calls: int
) -> None:
    bench.server.control(keys={"bad.example": fault})

    @flow.enrichment(api=bench.api(timeout=0.2))
    async def company(key: str, http: httpx.AsyncClient) -> str:
        answer = await http.get("/v2/companies/" + key)
        answer.raise_for_status()
        return str(answer.json()["name"])

    run = bench.run(company, ["good.example", "bad.example"])
    failure = checked(bench, run)
    assert failure.get("status", "") == status
    assert failure.get("attempts", calls) == calls
    assert run.statistics["services"]["company"]["retries"] == calls - 1


def test_a_plain_function_of_an_api_runs_on_threads_under_its_limits(bench: Any) -> None:
    api = bench.api(concurrency=3)
    running: list[int] = []
    most: list[int] = []

    @flow.enrichment(api=api, threads=8)
    def slow(key: str) -> int:
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()
        return len(key)

    found = flow.Pipeline("plain", [slow]).apply(pa.table({"key": [f"k{at:03d}" for at in range(30)]}))
    assert found["slow"].to_pylist() == [4] * 30
    assert 1 < max(most) <= 3


def test_a_column_service_has_no_api(bench: Any) -> None:
    with pytest.raises(DeclarationError, match="a service of an API reads one record"):

        @flow.enrichment(api=bench.api(), returns=int)
        def whole(key: pa.Array) -> pa.Array:
            return key


def test_an_acall_that_is_cancelled_ends_its_call_to_the_api(bench: Any) -> None:
    bench.server.control(latency=20)
    pipeline = flow.Pipeline("p", [bench.company(bench.api(timeout=30))])

    async def main() -> None:
        asked = asyncio.create_task(pipeline.acall({"key": "a.example"}))
        while bench.server.counts()["in_flight"] == 0:
            await asyncio.sleep(0.02)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        async with asyncio.timeout(5):
            while bench.server.counts()["in_flight"]:
                await asyncio.sleep(0.02)

    asyncio.run(main())
    assert bench.server.counts()["calls"] == 1
