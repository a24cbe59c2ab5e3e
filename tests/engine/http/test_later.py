"""A provider that asks to be called later is, however it says it, and no record is lost to it."""

from __future__ import annotations

from typing import Any

import httpx
import pyarrow as pa
import pytest
from conftest import Bench

import dataflow as flow
from dataflow.errors import DeclarationError, GuardrailReached

FORMS = ("seconds", "date", "ms", "reset", "reset_at", "resets", "ratelimit", "ratelimit_list", "ratelimit_reset")


def function(api: flow.API) -> flow.Service:
    """What a declared endpoint does, as a function with the client of its API."""

    @flow.enrichment(api=api)
    async def company(key: str, http: httpx.AsyncClient) -> str:
        answer = await http.get(f"/v2/companies/{key}")
        answer.raise_for_status()
        return str(answer.json()["name"])

    return company


def batch(api: flow.API) -> flow.Service:
    """Three records in one request."""
    options: dict[str, Any] = {"select": {"title": "name"}, "returns": {"title": str}, "match": "domain"}
    return api.post("company", "/v2/companies/batch", json={"domains": ["{key}"]}, batch=3, **options)


def gaps(bench: Bench) -> dict[str, float]:
    """Seconds between the first two calls of each key."""
    times: dict[str, list[float]] = {}
    for entry in bench.log():
        times.setdefault(entry[2], []).append(entry[0])
    return {key: two[1] - two[0] for key, two in times.items() if len(two) > 1}


@pytest.mark.parametrize("status", [429, 420])
@pytest.mark.parametrize("how", ["endpoint", "function"])
def test_each_form_in_which_a_provider_says_when_to_come_again_is_obeyed(bench: Bench, how: str, status: int) -> None:
    fault = {"fault": f"status:{status}", "times": 1}
    bench.server.control(keys={f"{form}.example": {**fault, "retry_after": form} for form in FORMS})
    services: list[flow.Service] = []
    for form in FORMS:
        # An API of its own, so that no form is obeyed because of another one.
        api = bench.api()
        one = function(api) if how == "function" else bench.company(api, returns=str, select="name")
        services.append(one.with_(name=form, columns={"key": f"{form}_key"}))
    table = pa.table({"id": [1], **{f"{form}_key": [f"{form}.example"] for form in FORMS}})
    run = flow.Pipeline("forms", services).run(table, output="out", key="id", catalog=bench.catalog)
    assert run.failures().num_rows == 0
    assert bench.seen()["by_status"] == {"200": len(FORMS), str(status): len(FORMS)}
    assert {form for form, gap in gaps(bench).items() if gap < 0.95} == set()


@pytest.mark.parametrize("how", ["endpoint", "function"])
@pytest.mark.parametrize("status", [403, 420])
def test_a_status_that_says_when_to_come_again_is_no_refused_access_and_uses_up_no_attempt(
    bench: Bench, how: str, status: int
) -> None:
    bench.server.control(fault=f"status:{status}", times=2, retry_after="ms")
    api = bench.api(retry=flow.Retry(attempts=2, initial=0.02))
    service = function(api) if how == "function" else bench.company(api)
    run = bench.run(service, ["a.example", "b.example"])
    assert run.statistics["services"]["company"]["succeeded"] == 2
    assert bench.seen()["by_status"] == {str(status): 4, "200": 2}


@pytest.mark.parametrize("how", ["endpoint", "function", "batch"])
def test_a_status_of_the_api_means_later_without_saying_when(bench: Bench, how: str) -> None:
    bench.server.control(fault="status:403", times=1)
    api = bench.api(later=[403, 420])
    makes = {"function": function, "endpoint": bench.company, "batch": batch}
    run = bench.run(makes[how](api), ["a.example", "b.example", "c.example"])
    assert run.statistics["services"]["company"]["succeeded"] == 3


def test_without_that_it_is_a_refused_access_or_a_failure(bench: Bench) -> None:
    bench.server.control(fault="status:403", times=1)
    with pytest.raises(GuardrailReached, match="refuses access"):
        bench.run(bench.company(), ["a.example"])
    bench.server.control(fault="status:420", times=1)
    bench.server.reset()
    run = bench.run(bench.company(), ["a.example"], max_failures="100%", resume=False)
    assert run.failures()["reason"].to_pylist() == ["HTTP 420"]
    assert bench.seen()["calls"] == 1


def test_a_provider_that_asks_to_be_called_later_is_never_taken_for_down(bench: Bench) -> None:
    bench.server.control(fault="status:420", times=2)
    api = bench.api(later=420, breaker=flow.Breaker(threshold=1, reset=60), retry=flow.Retry(attempts=3, initial=0.02))
    run = bench.run(bench.company(api), [f"{at}.example" for at in range(8)])
    assert run.statistics["services"]["company"]["succeeded"] == 8
    assert run.statistics["services"]["company"]["waited"]["breaker"] == 0


@pytest.mark.parametrize("later", [200, [True], "403", [403, 700], 403.0, None])
def test_what_is_no_status_of_an_error_is_refused(later: Any) -> None:
    with pytest.raises(DeclarationError, match=r"API `acme`: later takes statuses from 400 to 599, such as later="):
        flow.API("acme", "https://acme.example", later=later)


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults",
    [
        pytest.param({"keys": {"150.example": {"fault": "status:429", "times": 1}}}, id="one"),
        pytest.param(
            {"keys": {"150.example": {"fault": "status:429", "times": 1, "retry_after": "seconds"}}},
            id="one that waits",
        ),
        pytest.param({"fault": "status:429", "share": 0.05, "times": 1}, id="one in twenty"),
        pytest.param({"fault": "status:429", "every": 1, "times": 1, "retry_after": "seconds"}, id="one a second"),
    ],
)
def test_nine_tenths_of_a_declared_rate_are_used_on_two_workers_whatever_is_refused(
    bench: Bench, faults: dict[str, Any]
) -> None:
    bench.server.control(**faults)
    run = bench.run(
        bench.company(bench.api(rate="50/s")), [f"{at}.example" for at in range(500)], workers=2, partition_size=50
    )
    assert run.statistics["services"]["company"]["succeeded"] == 500
    times = [entry[0] for entry in bench.log()]
    assert len(times) > 500
    # From when both workers call until few calls are left.
    used = [at for at in times if times[0] + 1 <= at < times[0] + 9]
    assert 0.9 * 50 <= len(used) / 8 <= 1.02 * 50
