"""A `timeout=` that is longer than the usual time of a record, and plain functions of an API that exceed theirs."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import httpx
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.policies import deadline

KEYS = ["a.example", "b.example"]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is usually five minutes takes a moment."""
    monkeypatch.setattr(deadline, "LIMIT", 0.4)


def endpoint(bench: Any, **options: Any) -> flow.Service:
    service: flow.Service = bench.company(bench.api(timeout=0.2), **options)
    return service


def with_a_client(bench: Any, **options: Any) -> flow.Service:
    @flow.enrichment(api=bench.api(timeout=0.2), **options)
    async def company(key: str, http: httpx.AsyncClient) -> str:
        return str((await http.get("/v2/companies/" + key)).json()["name"])

    return company


def without_a_client(bench: Any, **options: Any) -> flow.Service:
    @flow.enrichment(api=bench.api(timeout=0.2), **options)
    def company(key: str) -> str:
        return str(httpx.get(f"{bench.server.url}/v2/companies/{key}", timeout=30).json()["name"])

    return company


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("make", [endpoint, with_a_client, without_a_client])
@pytest.mark.parametrize("options", [{"timeout": "20s"}, {"timeout": 10, "retry": 1}])
def test_a_call_has_all_the_time_of_its_timeout(bench: Any, make: Any, options: Any) -> None:
    bench.server.control(latency=0.9)
    run = bench.run(make(bench, **options), KEYS)
    counts = run.statistics["services"]["company"]
    assert (counts["succeeded"], counts["timed_out"]) == (2, 0)
    assert bench.seen()["calls"] == 2


def test_the_time_of_an_api_counts_too(bench: Any, short: None) -> None:
    bench.server.control(latency=0.9)
    run = bench.run(bench.company(bench.api(timeout=20)), KEYS)
    assert run.statistics["services"]["company"]["succeeded"] == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_plain_functions_of_an_api_wait_for_a_thread_outside_of_their_timeout(bench: Any, threads: int) -> None:
    api = bench.api(timeout=0.5)

    @flow.enrichment(api=api, threads=threads)
    def slow(key: str) -> int:
        time.sleep(0.15)
        return len(key)

    found = flow.Pipeline("plain", [slow]).apply(pa.table({"key": [f"k{at:03d}" for at in range(12)]}))
    assert found["slow"].to_pylist() == [4] * 12


def test_a_plain_function_of_an_api_that_never_returns_keeps_nobody_waiting(bench: Any) -> None:
    gate, calls, said = threading.Event(), Counter[str](), "takes longer than its timeout of 0.3 s"

    @flow.enrichment(api=bench.api(timeout=0.3, retry=1))
    def stuck(key: str) -> int:
        calls[key] += 1
        if key == "bad":
            gate.wait(60)
        return len(key)

    pipeline, began = flow.Pipeline("plain", [stuck]), time.monotonic()
    with pytest.warns(UserWarning, match=said):
        found = pipeline.apply(pa.table({"key": ["one", "bad", "three", "four"]}))
    gate.set()
    assert found["stuck"].to_pylist() == [3, None, 5, 4]
    assert time.monotonic() - began < 20
    assert set(calls.values()) == {1}
