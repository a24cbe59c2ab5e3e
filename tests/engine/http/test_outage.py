"""An API that is down for a while: the breaker waits for it, nothing is lost, and nobody storms it."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from typing import Any

import httpx
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


def bench_live(bench: Any, api: flow.API, *, keys: int = 80) -> Any:
    import pyarrow as pa

    table = pa.table({"key": [f"k{at}.example" for at in range(keys)]})
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
    run = bench.run(
        bench.company(bench.api(breaker=BREAKER)), [f"k{at}.example" for at in range(40)], max_failures="100%"
    )
    said = run.statistics["services"]["company"]
    assert (said["calls"], said["failed"], said["waited"].get("breaker", 0)) == (40, 40, 0)


def test_an_api_that_refuses_most_records_and_fails_for_some_is_not_taken_for_down(bench: Any) -> None:
    keys = [f"k{at}.example" for at in range(240)]
    bench.server.control(latency=0.01, keys={key: f"status:{422 if at % 6 else 500}" for at, key in enumerate(keys)})
    run = bench.run(bench.company(bench.api(concurrency=8)), keys, max_failures="100%")
    said = run.statistics["services"]["company"]
    assert (said["failed"], said["errors"]) == (240, {"HTTP 422": 200, "HTTP 500": 40})
    # While all that is left fails, it may be down: the last attempts of a few are made once more.
    assert 200 + 40 * 3 <= said["calls"] <= 200 + 40 * 4
    assert collections.Counter(entry[3] for entry in bench.log())[422] == 200


@pytest.mark.parametrize("down_as", ["status:503", "reset_before_headers"])
def test_answers_to_calls_from_before_an_outage_do_not_hide_it(bench: Any, down_as: str) -> None:
    api = bench.api(concurrency=30)
    bench.server.control(latency=0.1, outage_as=down_as)
    live = bench_live(bench, api, keys=600)
    while bench.server.counts()["calls"] < 200:
        time.sleep(0.01)
    bench.server.control(outage=2.0)
    assert live.wait().statistics["services"]["company"]["succeeded"] == 600
    down = [entry for entry in bench.log() if entry[3] != 200]
    assert len(down) <= 30 + 10


def poison(bench: Any, places: set[int], *, keys: int) -> list[str]:
    """Keys among which some are always answered with 500."""
    named = [f"{'bad' if at in places else 'good'}{at}.example" for at in range(keys)]
    bench.server.control(latency=0.01, keys={named[at]: "status:500" for at in places})
    return named


@pytest.mark.parametrize("function", [False, True], ids=["declared", "injected"])
def test_records_that_fail_again_while_others_are_answered_do_not_close_the_api_for_all(
    bench: Any, checked: Checked, function: bool
) -> None:
    keys = poison(bench, {*range(180, 195, 3)}, keys=200)
    api = bench.api(concurrency=8, retry=flow.Retry(attempts=3, initial=0.3, maximum=0.3))
    began = time.monotonic()
    run = bench.run(by_function(api) if function else bench.company(api), keys)
    said = run.statistics["services"]["company"]
    assert (said["succeeded"], said["failed"], said["calls"]) == (195, 5, 210)
    assert said["errors"] == {"HTTP 500": 5}
    assert said["waited"]["breaker"] == 0
    assert time.monotonic() - began < 20


def by_function(api: flow.API) -> flow.Service:
    @flow.enrichment(api=api, into="title", returns=str)
    async def company(key: str, http: httpx.AsyncClient) -> str:
        answer = await http.get(f"/v2/companies/{key}")
        answer.raise_for_status()
        return str(answer.json()["name"])

    return company


def test_a_source_that_ends_in_records_that_always_fail_ends(bench: Any, checked: Checked) -> None:
    keys = poison(bench, {*range(190, 200)}, keys=200)
    api = bench.api(concurrency=8, retry=flow.Retry(attempts=3, initial=0.3, maximum=0.3))
    began = time.monotonic()
    run = bench.run(bench.company(api), keys)
    said = run.statistics["services"]["company"]
    assert (said["succeeded"], said["failed"], said["errors"]) == (190, 10, {"HTTP 500": 10})
    assert 190 + 10 * 3 <= said["calls"] <= 190 + 10 * 6
    assert time.monotonic() - began < 60


def test_a_provider_that_fails_each_record_a_few_times_loses_none(bench: Any, checked: Checked) -> None:
    named = [f"{'bad' if at % 4 else 'good'}{at}.example" for at in range(200)]
    bench.server.control(latency=0.01, keys={key: f"503_then_ok:{at % 4}" for at, key in enumerate(named) if at % 4})
    api = bench.api(concurrency=8, retry=flow.Retry(attempts=4, initial=0.1, maximum=0.4))
    run = bench.run(bench.company(api), named)
    said = run.statistics["services"]["company"]
    assert (said["succeeded"], said["failed"], said["calls"]) == (200, 0, 200 + said["retries"])
    assert 300 <= said["retries"] <= 310


def test_many_records_wait_for_an_api_that_is_down_however_long(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflow.wiring.worker.PATIENCE", 0.2)
    bench.server.control(latency=0.005)
    bench.server.control(outage=2.0)
    api = bench.api(breaker=flow.Breaker(threshold=5, reset=0.5, maximum=1), concurrency=8)
    run = bench.run(bench.company(api), [f"k{at}.example" for at in range(100)])
    said = run.statistics["services"]["company"]
    assert said["succeeded"] + said["cached"] == 100
    assert said["calls"] == bench.seen()["calls"] == 100 + said["retries"]
    assert run.dataset.statistics["services"]["company"] == said
    assert said["waited"]["breaker"] > 0


def test_a_function_that_catches_everything_does_not_turn_an_outage_into_answers(bench: Any) -> None:
    api = bench.api(breaker=BREAKER, concurrency=8)

    @flow.enrichment(api=api, into="title", returns=str)
    async def company(key: str, http: httpx.AsyncClient) -> Any:
        try:
            return (await http.get(f"/v2/companies/{key}")).raise_for_status().json()["name"]
        except Exception:
            return None

    bench.server.control(latency=0.005)
    bench.server.control(outage=1.5)
    run = bench.run(company, [f"k{at}.example" for at in range(60)])
    said = run.statistics["services"]["company"]
    # Whoever asked while the API was down but its breaker closed has been told so, and made nothing of it.
    assert said["not_found"] <= 8 + BREAKER.threshold
    assert said["succeeded"] + said["not_found"] == 60
