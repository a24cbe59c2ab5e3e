"""What calls cost: every attempt that reached a real server, once, in every place that says so."""

from __future__ import annotations

import socket
import warnings
from decimal import Decimal
from typing import Any

import httpx
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.faces.render import run_text
from dataflow.faces.view import view_run

KEYS = [f"k{at}.example" for at in range(8)]


def costs(run: Any, name: str = "company") -> tuple[float, float]:
    """What a service cost, and the run."""
    return run.statistics["services"][name]["cost"], run.statistics["cost"]


def test_every_call_costs_its_price_and_records_that_share_it_nothing_more(bench: Any) -> None:
    run = bench.run(bench.company(price=0.01), KEYS + KEYS)
    assert costs(run) == (0.08, 0.08)
    assert run.statistics["currency"] == "USD"
    assert "cost USD 0.08" in run_text(view_run(run))


@pytest.mark.parametrize(
    ("price", "cost"),
    [(0.0000001, 0.00001), (0.000000000001, 0.0000000001), (Decimal("0.00000123456"), 0.000123456), (0.1, 10.0)],
)
def test_a_hundred_calls_cost_a_hundred_times_the_price(bench: Any, price: Any, cost: float) -> None:
    run = bench.run(bench.company(price=price), [f"k{at}.example" for at in range(100)])
    assert costs(run) == (cost, cost)


def test_attempts_that_reached_the_provider_cost_too(bench: Any) -> None:
    bench.server.control(keys={KEYS[0]: "always_500", KEYS[1]: "status:404"})
    run = bench.run(bench.company(price=0.01), KEYS)
    assert costs(run) == (0.1, 0.1)
    (failure,) = run.failures().to_pylist()
    assert (failure["attempts"], failure["cost"]) == (3, 0.03)


def test_where_only_answers_are_billed_failures_cost_nothing(bench: Any) -> None:
    bench.server.control(keys={KEYS[0]: "always_500", KEYS[1]: "status:404"})
    run = bench.run(bench.company(price=0.01, billed="answers"), KEYS)
    assert costs(run) == (0.07, 0.07)


def test_an_attempt_without_an_answer_may_have_been_received(bench: Any) -> None:
    bench.server.control(keys={KEYS[0]: "reset_before_headers"})
    assert costs(bench.run(bench.company(price=0.01), KEYS[:1])) == (0.03, 0.03)


def test_what_found_no_provider_costs_nothing(bench: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        run = bench.run(bench.company(bench.api(url), price=0.01), KEYS[:1])
    assert run.statistics["services"]["company"]["calls"] == 3
    assert costs(run) == (0.0, 0.0)


def test_a_function_that_is_billed_by_what_it_returns_costs_nothing_where_it_found_no_provider(bench: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        api = bench.api(f"http://127.0.0.1:{taken.getsockname()[1]}")

        @flow.enrichment(api=api, price=lambda title: 0.5, max_price=1)
        async def title(key: str, http: httpx.AsyncClient) -> str:
            return str((await http.get(f"/v2/companies/{key}")).json()["name"])

        run = bench.run(title, KEYS[:1])
    assert run.statistics["services"]["title"]["calls"] == 3
    assert costs(run, "title") == (0.0, 0.0)


@pytest.mark.parametrize(("price", "cost"), [(0.01, 0.02), (flow.PerRecord(0.01), 0.08)])
def test_a_batch_costs_by_request_or_by_record(bench: Any, price: Any, cost: float) -> None:
    service = bench.listed(bench.api(), 4).with_(price=price)
    assert costs(bench.run(service, KEYS, max_failures="100%")) == (cost, cost)


def test_a_price_is_read_from_the_answer(bench: Any) -> None:
    service = bench.company(price=lambda answer: len(answer["domain"]) * 0.001)
    assert costs(bench.run(service, KEYS)) == (0.08, 0.08)


@pytest.mark.parametrize(("options", "cost"), [({}, 0.0), ({"max_price": 0.5}, 4.0)])
def test_a_price_that_cannot_be_read_counts_the_most_and_is_said(
    bench: Any, options: dict[str, Any], cost: float
) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = bench.run(bench.company(price=lambda answer: answer["credits"], **options), KEYS)
    assert costs(run) == (cost, cost)
    said = [str(one.message) for one in told] + list(run.warnings)
    assert any("`company`: the price of an answer cannot be read (KeyError)" in one for one in said)


def test_tokens_that_an_answer_does_not_count_are_said(bench: Any) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = bench.run(bench.company(price=flow.PerMillionTokens(input=0.02, output=1)), KEYS)
    assert costs(run) == (0.0, 0.0)
    said = [str(one.message) for one in told] + list(run.warnings)
    assert any("`company`: the price of an answer cannot be read" in one for one in said)


def test_each_request_of_a_function_costs(bench: Any) -> None:
    @flow.enrichment(api=bench.api(), price=0.01)
    async def both(key: str, http: httpx.AsyncClient) -> str:
        await http.get(f"/v2/tech/{key}")
        return str((await http.get(f"/v2/companies/{key}")).json()["name"])

    assert costs(bench.run(both, KEYS[:3]), "both") == (0.06, 0.06)


def test_a_function_may_be_billed_by_what_it_returns(bench: Any) -> None:
    @flow.enrichment(api=bench.api(), price=lambda title: 0.5 if title else 0)
    async def title(key: str, http: httpx.AsyncClient) -> str:
        await http.get(f"/v2/tech/{key}")
        return str((await http.get(f"/v2/companies/{key}")).json()["name"])

    @flow.enrichment(api=bench.api(), price=lambda title: 0.25)
    def local(key: str) -> str:
        return key

    run = bench.run([title, local], KEYS[:3])
    assert (costs(run, "title"), costs(run, "local")) == ((1.5, 2.25), (0.75, 2.25))


def test_one_record_says_what_it_cost_and_a_sample_too(bench: Any) -> None:
    pipeline = flow.Pipeline("test", [bench.company(price=0.01)])
    assert pipeline.call({"key": KEYS[0]}, catalog=bench.catalog).metadata.cost == 0.01
    sample = pipeline.sample(pa.table({"key": KEYS}), 5, catalog=bench.catalog)
    # The first of the five was paid for by the call.
    assert sample.cost == 0.04
    assert "USD 0.04" in str(sample)
