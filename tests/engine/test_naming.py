"""Who a record is for what is sent only once: its key as people write it, else what the service is given."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.engine.environment import Environment
from dataflow.engine.naming import call_names, naming_columns, record_names
from dataflow.plan.binding import bind
from dataflow.plan.graph import Column, Graph

api = flow.API("desk", "http://desk.example")


@flow.transformation
def upper(to: str) -> str:
    return to.upper()


@flow.enrichment(api=api, idempotent=False, returns={"sent": bool})
async def mail(to: str, http: httpx.AsyncClient, upper: str = "") -> dict[str, bool]:
    return {"sent": True}


def graph_of(*services: Any) -> Graph:
    return bind(services, pa.schema([("id", pa.int64()), ("to", pa.string())]), name="desk")


def names(values: list[Any]) -> list[str]:
    table = pa.table({"id": pa.array(values), "to": ["a"] * len(values)})
    graph = bind([mail], table.schema, name="desk")
    return record_names([Column("id", 0)], Environment(graph, table), list(range(len(values))))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 20], ["1", "20"]),
        ([1.0, 2.5], ["1", "2.5"]),
        ([Decimal("1.50")], ["1.5"]),
        ([date(2026, 1, 2)], ["2026-01-02"]),
    ],
)
def test_a_key_is_the_same_whatever_type_its_source_gives_it(one: list[Any], other: list[Any]) -> None:
    assert names(one) == names(other)
    assert len(set(names(one))) == len(one)


def test_a_record_without_a_key_has_no_name_by_it() -> None:
    first, second = names([None, 1])
    assert (first, len(second)) == ("", 32)


def test_the_key_counts_where_it_is_in_the_source_or_read() -> None:
    graph = graph_of(upper, mail)
    step = graph.steps[1]
    assert naming_columns(step, graph, ["id"]) == (Column("id", 0),)
    assert naming_columns(step, graph, ["id", "upper"]) == (Column("id", 0), Column("upper", 1))
    assert naming_columns(graph.steps[0], graph, ["upper"]) == ()
    assert naming_columns(step, graph, []) == ()


def test_inputs_name_a_record_that_nothing_else_does_and_what_is_injected_is_none_of_them() -> None:
    (step,) = [step for step in graph_of(upper, mail).steps if step.service.name == "mail"]
    calls = call_names(step, [("a", object(), "A"), ("a", object(), "A"), ("b", object(), "A")], records=())
    assert calls[0] == calls[1] != calls[2]
    assert {inputs for _, inputs in calls} == {""}
    named = call_names(step, [("a", None, "A"), ("b", None, "A")], records=["n", ""])
    assert named[0][0] == "n"
    assert named[1] == calls[2]
