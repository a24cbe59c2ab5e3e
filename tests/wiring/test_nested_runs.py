"""A `for_each` in a run and in a quote: its services call, cost and are cached like any others."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.services.service import Service

API = flow.API("acme", "https://acme.example", retry=flow.Retry(attempts=2, initial=0), breaker=False)
COMPANY = API.get("company", "/companies/{domain}", returns={"name": str}, columns={"name": "company"}, price=0.01)
TECH = API.get("tech", "/tech/{company}", returns=list[str], price=0.02)


@flow.transformation
def domain(item: str) -> str:
    return f"{item.lower()}.example"


@flow.enrichment(api=API)
def owner(account: str) -> str:
    return account.upper()


def pipeline(*services: Service, **options: Any) -> flow.Pipeline:
    each = flow.for_each("names", services or (domain, COMPANY, TECH), **{"into": "companies", **options})
    return flow.Pipeline("accounts", [each])


def accounts(size: int) -> pa.Table:
    """Each with two names, one of them from seven."""
    names = [[f"D{at % 7}", f"E{at}"] for at in range(size)]
    return pa.table({"account": [f"a{at}" for at in range(size)], "names": names})


def answer(request: flow.testing.Request) -> Any:
    key = request.path.rsplit("/", 1)[-1].partition(".")[0]
    if request.path.startswith("/companies"):
        return {"name": key} if key != "e3" else 404
    return ["python", key]


def test_equal_items_are_asked_once_and_the_bill_is_that_of_the_calls() -> None:
    catalog = flow.testing.memory_catalog()
    with flow.testing.offline(acme=answer) as calls:
        run = pipeline().run(accounts(50), output="accounts", catalog=catalog)
    parts = run.statistics["services"]
    assert calls.total == 57 + 56
    assert (parts["companies.company"]["calls"], parts["companies.tech"]["calls"]) == (57, 56)
    assert parts["companies.company"]["records"] == 100
    assert parts["companies.company"]["not_found"] == 1
    assert run.statistics["cost"] == pytest.approx(57 * 0.01 + 56 * 0.02)
    assert run.to_arrow()["companies"][8].as_py()[0]["tech"] == ["python", "d1"]


def test_what_reads_the_record_alone_is_one_call_for_it() -> None:
    with flow.testing.offline(acme=answer):
        run = pipeline(domain, owner).run(accounts(9), output="accounts", catalog=flow.testing.memory_catalog())
    part = run.statistics["services"]["companies.owner"]
    assert (part["records"], part["calls"], part["deduplicated"]) == (9, 9, 0)


def test_a_quote_counts_the_keys_of_the_items_without_a_call() -> None:
    with flow.testing.offline(acme=lambda request: 500) as calls:
        quote = pipeline().quote(accounts(50), catalog=flow.testing.memory_catalog())
    company, tech = quote.services
    assert calls.total == 0
    assert (company.service, company.keys.low, company.records.high) == ("companies.company", 57, 100)
    assert company.cost.low == pytest.approx(0.57)
    assert tech.service == "companies.tech"
    assert tech.calls.low == 0


def test_a_quote_with_a_sample_holds_the_bill() -> None:
    catalog = flow.testing.memory_catalog()
    with flow.testing.offline(acme=answer):
        quote = pipeline().quote(accounts(200), sample=40, catalog=catalog)
        run = pipeline().run(accounts(200), output="accounts", catalog=catalog)
    assert quote.cost.low <= run.statistics["cost"] + 0.001
    assert run.statistics["cost"] <= quote.cost.high + 0.001


def test_an_open_list_or_input_leaves_the_keys_open() -> None:
    names = API.get("names", "/names/{account}", returns=list[str])
    each = flow.for_each("names", [domain, COMPANY], into="companies")
    table = pa.table({"account": ["a", "b"]})
    with flow.testing.offline(acme=lambda request: 500) as calls:
        quote = flow.Pipeline("p", [names, each]).quote(table, catalog=flow.testing.memory_catalog())
    assert calls.total == 0
    assert [one.service for one in quote.services] == ["names", "companies.company"]


def test_a_budget_holds_over_items_too() -> None:
    catalog = flow.testing.memory_catalog()
    with flow.testing.offline(acme=answer) as calls:
        with pytest.raises(flow.errors.LimitReached):
            pipeline(domain, COMPANY).run(accounts(50), output="accounts", catalog=catalog, budget=0.2)
        assert calls.total == 20
        whole = pipeline(domain, COMPANY).run(accounts(50), output="accounts", catalog=catalog, budget=1)
    assert whole.version == 1
    assert calls.total == 57


def test_a_lost_item_stands_in_the_failures_with_its_cause() -> None:
    down = lambda request: 500 if "e4" in request.path else answer(request)  # noqa: E731
    with flow.testing.offline(acme=down):
        run = pipeline(domain, COMPANY.with_(priority="critical")).run(
            accounts(9), output="accounts", catalog=flow.testing.memory_catalog(), key="account", max_failures="100%"
        )
    failures = run.failures().select(["account", "service", "reason", "attempts"]).to_pylist()
    assert failures == [
        {"account": "a4", "service": "companies", "reason": "item failed", "attempts": 0},
        {"account": "a4", "service": "companies.company", "reason": "HTTP 500", "attempts": 2},
    ]
    assert run.to_arrow()["companies"][4].as_py()[1] is None


def test_a_single_record_tells_the_same() -> None:
    with flow.testing.offline(acme=answer):
        result = pipeline().call({"account": "a", "names": ["D1", "E3"]})
    assert [one["company"] for one in result.data["companies"]] == ["d1", None]
    assert result.metadata.cost == pytest.approx(0.04)
