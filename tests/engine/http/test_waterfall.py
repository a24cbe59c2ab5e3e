"""A waterfall of real calls: the bill of each provider is that of what the server has counted."""

from __future__ import annotations

from typing import Any

import pytest

import dataflow as flow

KEYS = [f"c{at}.example" for at in range(40)]


def test_the_bill_of_each_provider_is_that_of_its_calls(bench: Any) -> None:
    bench.server.control(unknown=0.5)
    api = bench.api()
    first = api.get("first", "/v2/companies/{key}", returns=str, select="name", price=0.01)
    last = api.get("last", "/v2/social", params={"domain": "{key}"}, returns=str, select="domain", price=0.02)
    run = bench.run(flow.waterfall("name", [first, last]), KEYS + KEYS)
    services = run.statistics["services"]
    asked = {"first": bench.seen("/v2/companies")["calls"], "last": bench.seen("/v2/social")["calls"]}
    assert {name: services[f"name.{name}"]["calls"] for name in asked} == asked
    assert asked["first"] == len(KEYS)
    assert 0 < asked["last"] < len(KEYS)
    assert run.statistics["cost"] == pytest.approx(0.01 * asked["first"] + 0.02 * asked["last"])
