"""Records are grouped by what a service would be given, never more coarsely than their keys."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflow as flow
from dataflow.engine.distinct import Groups, distinct_calls, group_columns
from dataflow.engine.environment import Environment
from dataflow.engine.partition import run_graph
from dataflow.engine.resources import make_resources
from dataflow.plan.binding import bind

acme = flow.API("acme", "https://api.acme.example")
company = acme.get("company", "/companies/{domain}", returns={"size": int | None}, when="valid")


@flow.validation
def known(domain: str) -> bool:
    return domain != "bad"


def prepared(table: pa.Table, *services: Any) -> tuple[Any, Environment]:
    """The last service as a step, and the partition after all before it."""
    graph = bind(services, table.schema, name="test")
    resources = make_resources(graph, tables={})
    local = bind(services[:-1], table.schema, name="test") if len(services) > 1 else None
    environment = Environment(graph, table)
    if local is not None:
        for step, effect in run_graph(local, table, resources).effects.items():
            environment.add(graph.steps[step], effect)
    return graph.steps[-1], environment


def texts(*values: str | None) -> pa.Array:
    return pa.array(values, pa.string())


@pytest.mark.parametrize(
    ("columns", "first", "of"),
    [
        ([texts("a", "b", "a", None, None)], [0, 1, 3], [0, 1, 0, 2, 2]),
        ([texts("a", "a", "b"), pa.array([1, 2, 1])], [0, 1, 2], [0, 1, 2]),
        ([texts("a", "a", "a"), pa.array([1, 2, 1])], [0, 1], [0, 1, 0]),
        ([texts("é", "e\u0301")], [0, 1], [0, 1]),
        ([pa.array([0.0, -0.0, 0.0])], [0, 1], [0, 1, 0]),
        ([pa.array([True, None, True])], [0, 1], [0, 1, 0]),
        ([pa.array([date(2026, 1, 1)] * 2)], [0], [0, 0]),
        ([pa.nulls(3)], [0], [0, 0, 0]),
        ([pa.array([[1], [1]])], [0, 1], [0, 1]),
        ([pa.chunked_array([texts("a"), texts("b", "a")])], [0, 1], [0, 1, 0]),
        ([texts("a", "b", "a").dictionary_encode()], [0, 1], [0, 1, 0]),
        ([texts()], [], []),
        ([], [0], [0, 0]),
    ],
)
def test_records_are_grouped_in_order_of_appearance(columns: list[Any], first: list[int], of: list[int]) -> None:
    groups = group_columns(columns, len(of))
    assert (groups.first.tolist(), groups.of.tolist()) == (first, of)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([0.0, -0.0, 1.5, math.nan, None]))))
def test_a_group_holds_records_that_are_alike_and_only_those(rows: list[tuple[str | None, float | None]]) -> None:
    columns = [pa.array([text for text, _ in rows], pa.string()), pa.array([x for _, x in rows], pa.float64())]
    groups = group_columns(columns, len(rows))
    seen: dict[int, Any] = {}
    for row, at in zip(rows, groups.of.tolist(), strict=True):
        assert repr(seen.setdefault(at, row)) == repr(row)
    assert [repr(rows[at]) for at in groups.first.tolist()] == list(dict.fromkeys(map(repr, rows)))


def test_only_records_to_which_a_service_applies_need_calls() -> None:
    table = pa.table({"domain": ["a.example", "bad", None, "b.example", "a.example"]})
    calls = distinct_calls(*prepared(table, known, company))
    assert calls.asking.tolist() == [0, 3, 4]
    assert calls.first.tolist() == [0, 3]
    assert calls.call_of.tolist() == [0, 1, 0]
    assert len(set(calls.keys)) == 2


def test_values_that_no_function_could_tell_apart_share_a_key() -> None:
    @flow.enrichment(api=acme)
    def score(x: float) -> int:
        return 1

    other = np.array([math.nan, np.float64.fromhex("nan")], np.float64)
    other.view(np.int64)[1] ^= 1
    calls = distinct_calls(*prepared(pa.table({"x": pa.array(other)}), score))
    assert calls.first.tolist() == [0]
    assert calls.call_of.tolist() == [0, 0]


def test_a_service_that_sees_outcomes_is_called_for_each_record() -> None:
    @flow.enrichment(api=acme)
    def seen(domain: str, before: flow.Outcomes) -> int:
        return 1

    step, environment = prepared(pa.table({"domain": ["a", "a"]}), seen)
    assert distinct_calls(step, environment).call_of.tolist() == [0, 1]


def test_what_is_injected_is_no_part_of_a_key() -> None:
    @flow.enrichment(api=acme)
    async def news(domain: str, http: httpx.AsyncClient, context: flow.Context) -> list[str]:
        return []

    step, environment = prepared(pa.table({"domain": ["a", "b", "a"]}), news)
    assert distinct_calls(step, environment).first.tolist() == [0, 1]


def test_no_records_need_no_calls() -> None:
    calls = distinct_calls(*prepared(pa.table({"domain": texts()}), known, company))
    assert (calls.keys, len(calls.asking), len(calls.call_of)) == ([], 0, 0)


def test_every_record_may_stand_alone() -> None:
    assert Groups.alone(2).of.tolist() == [0, 1]
    assert group_columns([pa.array([datetime(2026, 1, 1)] * 2)], 2).first.tolist() == [0]
