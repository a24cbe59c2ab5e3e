"""What a stop leaves: no call that only waited is made, and what was paid for is kept."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import GuardrailReached, Interrupted

RECORDS = 100


def stopped(bench: Any, pipeline: flow.Pipeline, *, after: int, **settings: Any) -> tuple[int, float]:
    """The calls that are made after a stop, and the seconds until the run has ended."""
    table = pa.table({"key": [f"k{at}.example" for at in range(RECORDS)]})
    run = pipeline.run(table, output="stopped", catalog=bench.catalog, wait=False, threads=1, **settings)
    while bench.server.counts()["calls"] < after:
        time.sleep(0.01)
    run.stop()
    before, began = bench.server.counts()["calls"], time.monotonic()
    with pytest.raises(Interrupted):
        run.wait()
    return bench.server.counts()["calls"] - before, time.monotonic() - began


@pytest.mark.parametrize("batch", [None, 5])
def test_calls_that_wait_for_a_slot_are_not_made_after_a_stop(bench: Any, batch: int | None) -> None:
    api = bench.api(rate="20/s" if batch is None else "4/s", concurrency=None)
    service = bench.company(api) if batch is None else bench.listed(api, batch)
    more, took = stopped(bench, flow.Pipeline("slow", [service]), after=3)
    assert more <= 4
    assert took < 5


def test_a_function_that_catches_everything_does_not_turn_a_stop_into_answers(bench: Any) -> None:
    api = bench.api(rate="20/s", concurrency=None)

    @flow.enrichment(api=api, into="title", returns=str)
    async def company(key: str, http: httpx.AsyncClient) -> Any:
        try:
            return (await http.get(f"/v2/companies/{key}")).json()["name"]
        except Exception:
            return None

    pipeline = flow.Pipeline("caught", [company])
    more, _ = stopped(bench, pipeline, after=3)
    assert more <= 4
    table = pa.table({"key": [f"k{at}.example" for at in range(RECORDS)]})
    run = pipeline.run(table, output="stopped", catalog=bench.catalog, threads=1)
    said = run.statistics["services"]["company"]
    assert (said["succeeded"] + said["cached"], said["not_found"]) == (RECORDS, 0)
    assert bench.server.counts()["calls"] == RECORDS


def test_a_stop_is_heard_offline_too(tmp_path: Any) -> None:
    api = flow.API("heard", "https://heard.example", rate="50/s", concurrency=None)
    title = api.get("title", "/{key}", returns=str)
    table = pa.table({"key": [f"k{at}" for at in range(RECORDS)]})
    with flow.testing.offline(heard=lambda request: "x") as calls:
        run = flow.Pipeline("offline", [title]).run(table, output="out", catalog=tmp_path, wait=False, threads=1)
        while calls.total < 3:
            time.sleep(0.01)
        run.stop()
        with pytest.raises(Interrupted):
            run.wait()
    assert calls.total < RECORDS / 2


def test_a_refused_access_does_not_wait_for_the_calls_of_another_service(bench: Any) -> None:
    slow = bench.company(bench.api(rate="10/s", concurrency=None))
    bench.server.control(paths={"/v2/news": "status:401"})
    refused = bench.api().get("news", "/v2/news", params={"domain": "{key}"}, returns={"headline": str})
    table = pa.table({"key": [f"k{at}.example" for at in range(RECORDS)]})
    began = time.monotonic()
    with pytest.raises(GuardrailReached, match="refuses access"):
        flow.Pipeline("two", [slow, refused]).run(table, output="two", catalog=bench.catalog, threads=1)
    assert time.monotonic() - began < 6
    assert bench.server.counts()["services"]["/v2/companies"]["calls"] < RECORDS / 2


def test_a_stopped_run_says_what_its_workers_had_to_say(bench: Any) -> None:
    api = bench.api(rate="10/s")

    @flow.enrichment(returns=int)
    async def lazy(key: str) -> int:
        time.sleep(0.6)
        return len(key)

    pipeline = flow.Pipeline("lazy", [lazy, bench.company(api)])
    table = pa.table({"key": ["a.example", "b.example", *(f"{at}.example" for at in range(30))]})
    run = pipeline.run(table, output="lazy", catalog=bench.catalog, wait=False, threads=1)
    while bench.server.counts()["calls"] < 12:
        time.sleep(0.01)
    run.stop()
    with pytest.raises(Interrupted):
        run.wait()
    assert any("`lazy` blocks the event loop" in warning for warning in run.warnings)
