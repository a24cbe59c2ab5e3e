"""An API that is down for a while: the breaker waits for it, nothing is lost, and nobody storms it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

import dataflow as flow

Checked = Callable[..., dict[str, Any]]

BREAKER = flow.Breaker(threshold=5, reset=0.3, maximum=0.6, probes=3)


@pytest.mark.parametrize("outage_as", ["status:503", "reset_before_headers"])
def test_an_outage_rejects_nothing_loses_nothing_and_ends_without_a_stampede(
    bench: Any, checked: Checked, outage_as: str
) -> None:
    concurrency = 8
    api = bench.api(breaker=BREAKER, concurrency=concurrency, retry=flow.Retry(attempts=2, initial=0.02, maximum=0.05))
    bench.server.control(latency=0.005, outage_as=outage_as)
    bench.server.control(outage=2.0)
    began = time.monotonic()
    run = bench.run(bench.company(api, priority="critical"), [f"k{at}.example" for at in range(100)])
    assert checked(bench, run) == {}
    said = run.statistics["services"]["company"]
    assert (said["succeeded"], said["failed"], run.rejects().num_rows) == (100, 0, 0)
    down = [entry for entry in bench.log() if entry[3] != 200]
    rounds = 2 + int(2.0 / BREAKER.reset)
    assert len(down) <= concurrency + BREAKER.threshold + BREAKER.probes * rounds
    assert said["retries"] == len(down)
    assert time.monotonic() - began < 10


def test_an_outage_in_the_middle_is_not_paid_for_twice(bench: Any, checked: Checked) -> None:
    api = bench.api(breaker=BREAKER, concurrency=4, rate="100/s")
    bench.server.control(latency=0.005)
    live = bench_live(bench, api)
    while bench.server.counts()["calls"] < 20:
        time.sleep(0.01)
    bench.server.control(outage=0.5)
    run = live.wait()
    assert checked(bench, run) == {}
    answered = [entry[2] for entry in bench.log() if entry[3] == 200]
    assert len(answered) == len(set(answered)) == 80


def bench_live(bench: Any, api: flow.API) -> Any:
    import pyarrow as pa

    table = pa.table({"key": [f"k{at}.example" for at in range(80)]})
    pipeline = flow.Pipeline("live", [bench.company(api)])
    return pipeline.run(table, output="live", key="key", catalog=bench.catalog, wait=False)


def test_a_single_call_does_not_wait_for_an_open_breaker(bench: Any) -> None:
    api = bench.api(breaker=flow.Breaker(threshold=2, reset=30, maximum=30))
    bench.server.control(paths={"/v2/companies": "always_500"})
    pipeline = flow.Pipeline("one", [bench.company(api)])
    pipeline.call({"key": "a.example"})
    began = time.monotonic()
    result = pipeline.call({"key": "b.example"})
    assert time.monotonic() - began < 3
    assert result.data["title"] is None
    assert bench.seen()["calls"] <= 3


def test_client_errors_do_not_open_the_breaker(bench: Any) -> None:
    bench.server.control(paths={"/v2/companies": "status:400"})
    run = bench.run(bench.company(bench.api(breaker=BREAKER)), [f"k{at}.example" for at in range(40)])
    said = run.statistics["services"]["company"]
    assert (said["calls"], said["failed"], said["waited"].get("breaker", 0)) == (40, 40, 0)
