"""What can be judged before the first paid call: which services, which records, and where it matters."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.plan.binding import bind
from dataflow.plan.foresight import FIRST, Outlook, call_free, first_of, is_costly, waves
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import PartitionSpec
from dataflow.policies.guardrail import MaxFailures


@flow.transformation
def clean(domain: str) -> str:
    return domain


@flow.transformation(into="size")
def size(title: str) -> int:
    return len(title)


@flow.enrichment(into="other")
async def other(domain: str) -> str:
    return domain


def bound(*services: flow.Service) -> Graph:
    return bind(services, pa.schema({"domain": pa.string()}), name="leads")


def company(price: float | None = None, **limits: Any) -> flow.Service:
    priced = {} if price is None else {"price": price}
    api = flow.API("acme", "https://acme.example", **limits)
    return api.get("company", "/{domain}", returns={"title": str}, **priced)


def names(graph: Graph) -> list[str]:
    return [graph.steps[at].service.name for at in sorted(call_free(graph))]


def test_what_needs_an_answer_and_what_asks_for_one_is_not_free_of_calls() -> None:
    assert names(bound(clean, company(), size, other)) == ["clean"]
    assert names(bound(company(), clean, size)) == ["clean"]
    assert names(bound(clean)) == ["clean"]


def test_what_runs_inside_a_for_each_that_calls_is_not_judged_before() -> None:
    graph = bind(
        [flow.for_each("domains", [company()], item="domain", into="companies")],
        pa.schema({"domains": pa.list_(pa.string())}),
        name="leads",
    )
    assert (names(graph), is_costly(graph)) == ([], True)


@pytest.mark.parametrize(
    ("service", "costly"),
    [
        (clean, False),
        (other, False),
        (company(), True),
        (company(concurrency=None), False),
        (company(concurrency=None, rate="5/s"), True),
        (company(concurrency=None, price=0.01), True),
    ],
)
def test_calls_in_vain_cost_where_they_have_a_price_or_an_api_limits_them(service: flow.Service, costly: bool) -> None:
    assert is_costly(bound(service)) == costly


def specs(*rows: int, size: int = 0) -> list[PartitionSpec]:
    return [
        PartitionSpec(index=at, path="a", fingerprint="f", start=at, stop=at + 1, rows=count, size=size)
        for at, count in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("rows", "first"),
    [
        ((), 0),
        ((10,), 1),
        ((FIRST,), 1),
        ((FIRST, 1), 1),
        ((FIRST - 1, 1, 1), 2),
        ((FIRST - 1, 2, 1), 2),
        ((40_000,) * 9, 3),
    ],
)
def test_the_first_partitions_hold_the_first_records(rows: tuple[int, ...], first: int) -> None:
    assert [spec.index for spec in first_of(specs(*rows))] == list(range(first))


def test_partitions_that_nobody_has_counted_are_taken_to_hold_few_records() -> None:
    assert len(first_of(specs(*[-1] * 50, size=10_000_000))) == 10
    assert len(first_of(specs(*[-1] * 50))) == 50


def test_they_are_looked_at_together_unless_their_records_are_to_be_counted() -> None:
    assert [len(wave) for wave in waves(specs(5, 5, 5), size=2)] == [3]
    assert [len(wave) for wave in waves(specs(5, -1, 5), size=2)] == [2, 1]
    assert list(waves([], size=2)) == []


def test_an_outlook_travels_as_json() -> None:
    from dataclasses import asdict

    outlook = Outlook(max_failures=MaxFailures(count=3, given=True), others=7, before={"total_records": 2})
    assert Outlook.from_dict(asdict(outlook)) == outlook
