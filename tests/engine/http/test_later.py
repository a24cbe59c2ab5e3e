"""A provider that asks to be called later is, however it says it, and no record is lost to it."""

from __future__ import annotations

import itertools
from typing import Any

import httpx
import pyarrow as pa
import pytest
from conftest import Bench

import dataflow as flow
from dataflow.errors import GuardrailReached

FORMS = ("seconds", "date", "ms", "reset", "reset_at", "resets", "ratelimit", "ratelimit_list", "ratelimit_reset")
_numbers = itertools.count()


def function(api: flow.API) -> flow.Service:
    """What a declared endpoint does, as a function with the client of its API."""

    @flow.enrichment(api=api)
    async def company(key: str, http: httpx.AsyncClient) -> str:
        answer = await http.get(f"/v2/companies/{key}")
        answer.raise_for_status()
        return str(answer.json()["name"])

    return company


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
