"""Keys out of partitions, answers out of buckets, outcomes out of answers: nothing is lost and nothing is made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflow as flow
from dataflow.engine.buckets import call_bucket
from dataflow.engine.fate import count, output_table
from dataflow.engine.marks import Rows
from dataflow.engine.partition import run_graph
from dataflow.engine.resolving import (
    answer_table,
    arguments_of,
    bucket_of,
    collect_keys,
    cut,
    failed_keys,
    owed,
    sorted_by_key,
    united,
)
from dataflow.engine.resources import Resources, make_resources
from dataflow.engine.verdicts import everything
from dataflow.outcomes import Status
from dataflow.plan.binding import bind
from dataflow.plan.graph import Graph

acme = flow.API("acme", "https://api.acme.example")
DOMAINS = ["a", "b", "a", None, "absent", "broken", "rejected", "skipped", "b", "absent", "broken"]


@flow.enrichment(api=acme, returns={"size": int, "tags": list[str]})
def company(domain: str) -> dict[str, Any]:
    if domain == "absent":
        raise flow.NotFound
    if domain == "broken":
        raise ValueError("it broke")
    if domain == "rejected":
        raise flow.Reject("not wanted")
    if domain == "skipped":
        raise flow.Skip
    return {"size": len(domain), "tags": [domain]}


@flow.validation(api=acme)
def judged(domain: str) -> list[str]:
    if domain == "broken":
        raise ValueError("it broke")
    return ["first", "second"] if domain == "b" else []


class Tables:
    """The answers of a bucket, in memory."""

    def __init__(self, tables: dict[str, pa.Table]) -> None:
        self.services = frozenset(tables)
        self._tables = tables

    def find(self, service: str, keys: Sequence[bytes]) -> tuple[pa.Table, Rows]:
        table = self._tables[service]
        places = {key: at for at, key in enumerate(table["key"].to_pylist())}
        return table, np.array([places.get(key, -1) for key in keys], np.int64)


def prepared(*services: Any, domains: Sequence[str | None] = DOMAINS) -> tuple[Graph, pa.Table, Resources]:
    table = pa.table({"domain": pa.array(domains, pa.string())})
    graph = bind(services, table.schema, name="test")
    return graph, table, make_resources(graph, tables={})


def resolved(graph: Graph, table: pa.Table, resources: Resources) -> tuple[dict[str, pa.Table], dict[int, Any]]:
    environment = run_graph(graph, table, resources, only=())
    keys = {step.index: collect_keys(step, environment).table for step in graph.steps}
    effects = call_bucket(graph, keys, resources)
    tables = {graph.steps[at].service.name: answer_table(graph.steps[at], keys[at], one) for at, one in effects.items()}
    return tables, effects


@pytest.mark.parametrize("service", [company, judged], ids=lambda one: one.name)
def test_a_partition_with_answers_ends_as_if_it_had_called(service: Any) -> None:
    graph, table, resources = prepared(service)
    called = run_graph(graph, table, resources)
    tables, _ = resolved(graph, table, resources)
    looked_up = run_graph(graph, table, replace(resources, answers=Tables(tables)))
    kept = everything(table.num_rows)
    assert output_table(looked_up, kept=kept).equals(output_table(called, kept=kept))
    one, other = (count(environment, kept).services[service.name] for environment in (looked_up, called))
    assert [getattr(one, status) for status in Status] == [getattr(other, status) for status in Status]
    assert one.errors == other.errors
    assert (one.calls, one.deduplicated) == (0, 10)
    resources.close()


def test_what_is_not_known_is_called() -> None:
    graph, table, resources = prepared(company)
    tables, _ = resolved(graph, table, resources)
    known = tables["company"].slice(0, 2)
    environment = run_graph(graph, table, replace(resources, answers=Tables({"company": known})))
    called = run_graph(graph, table, resources)
    kept = everything(table.num_rows)
    assert output_table(environment, kept=kept).equals(output_table(called, kept=kept))
    assert environment.effects[0].calls == 6 - 2
    resources.close()


def test_calls_of_keys_and_records_that_share_them_add_up_to_calls_and_records() -> None:
    graph, table, resources = prepared(company)
    tables, effects = resolved(graph, table, resources)
    cost = owed(graph.steps[0], effects[0], tables["company"].num_rows)
    environment = run_graph(graph, table, replace(resources, answers=Tables(tables)))
    records = count(environment, everything(table.num_rows)).services["company"]
    whole = type(cost).merged("company", [cost, records])
    assert (whole.records, whole.calls, whole.deduplicated) == (11, 6, 10 - 6)
    assert whole.calls_ending(Status.FAILED) == 1
    assert whole.calls_ending(Status.NOT_FOUND) == 1
    assert cost.calls_ending(Status.FAILED) == 1, "a guardrail sees it before any partition is run"
    resources.close()


def test_failed_keys_are_those_that_may_be_tried_again() -> None:
    graph, table, resources = prepared(company)
    tables, _ = resolved(graph, table, resources)
    failed = failed_keys(tables["company"]).to_pylist()
    statuses = tables["company"]["status"].to_pylist()
    assert [status for status, one in zip(statuses, failed, strict=True) if one] == ["failed"]
    resources.close()


def test_keys_keep_their_inputs() -> None:
    graph, table, resources = prepared(company)
    keys = collect_keys(graph.steps[0], run_graph(graph, table, resources, only=()))
    assert keys.records == 10
    assert keys.sketch.estimate() == 6
    (values,) = arguments_of(graph.steps[0], keys.table, injected={})
    assert sorted(values) == ["a", "absent", "b", "broken", "rejected", "skipped"]
    resources.close()


@given(st.lists(st.binary(min_size=20, max_size=20)), st.integers(1, 40))
def test_every_key_is_in_the_one_bucket_that_is_cut_for_it(keys: list[bytes], buckets: int) -> None:
    prefixes = pa.array([int.from_bytes(key[:8], "big") for key in keys], pa.uint64())
    table = sorted_by_key(pa.table({"prefix": prefixes, "key": pa.array(keys, pa.binary(20))}))
    parts = [cut(table, bucket=at, buckets=buckets) for at in range(buckets)]
    assert sum(part.num_rows for part in parts) == len(keys)
    for at, part in enumerate(parts):
        assert {bucket_of(key, buckets=buckets) for key in part["key"].to_pylist()} <= {at}


def test_keys_of_several_partitions_are_united() -> None:
    one, other = (pa.table({"key": pa.array(keys, pa.binary(1))}) for keys in ([b"a", b"b"], [b"b", b"c"]))
    assert united([one, other])["key"].to_pylist() == [b"a", b"b", b"c"]
