"""What becomes of records before any call, and that looking first changes nothing of what comes out."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow as flow
from dataflow.engine.environment import Environment
from dataflow.engine.fate import count, output_columns
from dataflow.engine.foreseeing import Foreseen, foresee
from dataflow.engine.partition import Prelude, run_graph
from dataflow.engine.resources import make_resources
from dataflow.engine.verdicts import everything
from dataflow.errors import GuardrailReached
from dataflow.plan.binding import bind
from dataflow.plan.foresight import call_free
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import Batch, Unreadable

CALLED: list[int] = []


@flow.transformation
def half(n: int) -> int:
    if n % 5 == 0:
        raise ValueError(n)
    return n // 2


@flow.validation
def small(n: int) -> bool:
    return n < 40


@flow.enrichment
async def asked(n: int) -> int:
    CALLED.append(n)
    if n % 7 == 3:
        raise flow.NotFound
    return n + 1


@flow.transformation(into="late")
def late(asked: int) -> int:
    return 10 // (asked % 3)


@flow.enrichment(into="word")
def word(text: str) -> str:
    if text == "bad":
        raise LookupError(text)
    return text.upper()


GRAPH = bind(
    [half, small, asked, late, word],
    pa.schema({"n": pa.int64(), "text": pa.string()}),
    name="numbers",
    invalid="reject",
)
FREE = call_free(GRAPH)


def table(numbers: list[int], *, bad: int = 0) -> pa.Table:
    texts = ["bad" if at < bad else "good" for at in range(len(numbers))]
    return pa.table({"n": pa.array(numbers, pa.int64()), "text": pa.array(texts, pa.string())})


def run(graph: Graph, records: pa.Table, *, prelude: Prelude | None = None) -> Environment:
    resources = make_resources(graph, tables={})
    try:
        return run_graph(graph, records, resources, prelude=prelude)
    finally:
        resources.close()


def test_services_that_need_no_answer_are_those_before_and_beside_the_calls() -> None:
    assert {GRAPH.steps[at].service.name for at in FREE} == {"half", "small", "word"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=30), st.integers(0, 5))
def test_to_look_first_changes_nothing_of_what_comes_out(numbers: list[int], bad: int) -> None:
    records = table(numbers, bad=bad)
    plain = run(GRAPH, records)
    seen: list[Foreseen] = []
    first = Prelude(steps=FREE, judge=lambda one: seen.append(foresee(one, FREE)))
    looked = run(GRAPH, records, prelude=first)
    assert [one.to_pylist() for one in output_columns(looked)] == [one.to_pylist() for one in output_columns(plain)]
    whole = [count(one, everything(one.size)) for one in (plain, looked)]
    assert [one.failed_records for one in whole] == [whole[0].failed_records] * 2
    (foreseen,) = seen
    for name in ("half", "small", "word"):
        known, later = foreseen.counts.services[name], whole[0].services[name]
        assert (known.succeeded, known.failed, known.records) == (later.succeeded, later.failed, later.records)
    rejected = [n for n in numbers if n % 5 == 0]
    assert foreseen.counts.failed_records == len(rejected) == foreseen.rejected.get("half", 0)


def test_what_is_judged_too_bad_is_not_called_for() -> None:
    def refuse(environment: Environment) -> None:
        raise GuardrailReached("too bad")

    CALLED.clear()
    with pytest.raises(GuardrailReached):
        run(GRAPH, table([1, 2, 3]), prelude=Prelude(steps=FREE, judge=refuse))
    assert CALLED == []


def test_records_that_cannot_be_read_count_and_all_of_it_travels_as_json() -> None:
    environment = run(GRAPH, table([1, 5, 10, 50], bad=1))
    batch = Batch(
        table=table([1, 5, 10, 50]),
        rows=pa.array([1, 2, 4, 5], pa.int64()),
        unreadable=(Unreadable(row=3, column="n", error="not a number", raw="x"),),
    )
    foreseen = foresee(environment, FREE, batch=batch, path="numbers.csv")
    # 50 is no small number either, but what fails first is what rejects it.
    assert (foreseen.rejected, foreseen.unreadable, foreseen.counts.failed_records) == ({"half": 3}, 1, 4)
    assert foreseen.counts.services["word"].failed == 1
    assert Foreseen.from_dict(json.loads(json.dumps(foreseen.to_dict()))) == foreseen
    twice = Foreseen.merged([foreseen, Foreseen(), foreseen])
    assert (twice.rejected, twice.unreadable, twice.counts.total_records) == ({"half": 6}, 2, 10)
