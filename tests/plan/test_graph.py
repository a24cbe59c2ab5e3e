"""Written as a sequence, run as a graph: who waits for whom, and what goes out."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.outcomes import Kind
from dataflow.plan.binding import bind
from dataflow.plan.graph import VALIDATIONS, Column, Graph

SOURCE = pa.schema(
    [pa.field("a", pa.string(), nullable=False, metadata={"unit": "m"}), pa.field("b", pa.string())],
    metadata={"pandas": "{}"},
)


def step(name: str, reads: str, **options: Any) -> flow.Service:
    declare = options.pop("declare", flow.transformation)

    def local(x: str) -> str: ...

    async def waiting(x: str) -> str: ...

    function = waiting if options.pop("waits", False) else local
    options |= {"returns": bool} if declare is flow.validation else {}
    return declare(name=name, columns={"x": reads}, **options)(function)


def graph(*services: flow.Service, **options: Any) -> Graph:
    return bind(services, SOURCE, name="p", **options)


def levels(*services: flow.Service, **options: Any) -> list[list[str]]:
    return [[one.service.name for one in level] for level in graph(*services, **options).levels()]


def after(found: Graph, name: str) -> list[str]:
    return [found.steps[at].service.name for one in found.steps if one.service.name == name for at in one.after]


def test_services_that_read_the_source_only_run_side_by_side() -> None:
    assert levels(step("one", "a"), step("two", "b"), step("three", "a")) == [["one", "two", "three"]]


def test_a_service_waits_for_the_writer_of_what_it_reads_and_for_nobody_else() -> None:
    assert levels(step("c", "a"), step("d", "c"), step("e", "b"), step("f", "d")) == [["c", "e"], ["d"], ["f"]]


def test_nobody_waits_for_a_reader_of_an_older_version() -> None:
    found = graph(step("early", "a"), step("a", "a"), step("late", "a"))
    assert [str(one) for one in found.steps[0].inputs] == ["a@0"]
    assert [str(one) for one in found.steps[2].inputs] == ["a@1"]
    assert (after(found, "a"), after(found, "late")) == ([], ["a"])
    assert found.final == (Column("a", 1), Column("b", 0), Column("early", 1), Column("late", 1))


def test_two_writers_of_one_column_keep_their_order() -> None:
    found = graph(step("one", "b", into="a"), step("two", "b", into="a"))
    assert after(found, "two") == ["one"]
    assert found.final[0] == Column("a", 2)


def test_when_waits_for_its_column_and_valid_for_the_validations_before_it() -> None:
    judge = {"declare": flow.validation}
    found = graph(
        step("c", "a"),
        step("one", "a", **judge),
        step("two", "c", **judge),
        step("asked", "b", when="valid"),
        step("noted", "b", when="c is null"),
        step("three", "a", **judge),
    )
    assert after(found, "asked") == ["one", "two"]
    assert after(found, "noted") == ["c"]


def test_what_calls_out_waits_for_the_critical_local_services_before_it() -> None:
    services = [
        step("critical", "a"),
        step("optional", "a", priority="optional"),
        step("judge", "a", declare=flow.validation, priority="important"),
        step("first", "b", waits=True, priority="critical"),
        step("second", "b", waits=True),
        step("late", "b"),
    ]
    assert after(graph(*services), "second") == ["critical"]
    assert after(graph(*services, invalid="reject"), "second") == ["critical", "judge"]
    assert after(graph(*services), "first") == ["critical"]


def test_outcomes_wait_for_every_service_before() -> None:
    def told(outcomes: flow.Outcomes) -> str: ...

    found = graph(step("c", "a"), step("d", "b", waits=True), flow.transformation(told), step("e", "a"))
    assert after(found, "told") == ["c", "d"]


def test_listed_order_is_a_valid_order_of_work() -> None:
    found = graph(step("c", "a"), step("d", "c", waits=True), step("judge", "d", declare=flow.validation))
    assert all(one < step_.index for step_ in found.steps for one in step_.after)


def test_the_output_is_the_source_then_the_outputs_then_the_columns_of_the_run() -> None:
    found = graph(
        step("c", "a"),
        step("judge", "a", declare=flow.validation),
        step("d", "a", declare=flow.enrichment),
        step("b", "a"),
    )
    assert found.output.names == ["a", "b", "c", "d", "is_valid", "validations", "completeness", "degraded"]
    assert found.output.field("validations").type == VALIDATIONS
    assert found.output.field("completeness").type == pa.float64()
    assert found.output.metadata == {b"dataflow": b"1"}
    assert found.output.field("a").metadata == {b"unit": b"m"}
    assert all(field.nullable for field in found.output)


@pytest.mark.parametrize(("isolate", "expected"), [(False, False), (True, True)])
def test_a_graph_knows_whether_a_service_wants_a_process_of_its_own(isolate: bool, expected: bool) -> None:
    found = graph(step("c", "a"), step("d", "a", isolate=isolate))
    assert found.isolated is expected
    assert [one.service.name for one in found.of_kind(Kind.TRANSFORMATION)] == ["c", "d"]
