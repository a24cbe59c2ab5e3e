"""The columns that a run adds: is_valid, validations, completeness, degraded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow as flow
from dataflow.engine.result import PartitionResult
from dataflow.plan.graph import VALIDATIONS

Run = Callable[..., PartitionResult]


def entry(validator: str, *errors: str, valid: bool | None = None) -> dict[str, Any]:
    return {"validator": validator, "is_valid": not errors if valid is None else valid, "errors": list(errors)}


def texts(name: str, answers: dict[int, list[str]], **options: Any) -> flow.Service:
    def check(x: int) -> list[str]:
        return answers.get(x, [])

    return flow.validation(name=name, **options)(check)


def test_validations_lists_every_verdict_in_listed_order(run: Run) -> None:
    @flow.validation
    def in_range(x: pa.Array) -> pa.Array:
        return pc.less(x, 2)

    services = [texts("one", {1: ["a", "b"]}), in_range, texts("two", {2: ["c"]})]
    result = run(services, {"x": [0, 1, 2]})
    assert result.output["validations"].to_pylist() == [
        [entry("one"), entry("in_range"), entry("two")],
        [entry("one", "a", "b"), entry("in_range"), entry("two")],
        [entry("one"), entry("in_range", valid=False), entry("two", "c")],
    ]
    assert result.output["is_valid"].to_pylist() == [True, False, False]
    assert result.output.schema.field("validations").type == VALIDATIONS


def test_a_validation_that_did_not_judge_a_record_has_no_entry(run: Run) -> None:
    services = [texts("one", {}, when="on"), texts("two", {1: ["a"]}), texts("three", {1: ["b"]}, when="on")]
    result = run(services, {"x": [1, 1, None], "on": [True, False, True]})
    assert result.output["validations"].to_pylist() == [
        [entry("one"), entry("two", "a"), entry("three", "b")],
        [entry("two", "a")],
        [],
    ]


def test_every_judgement_may_be_missing(run: Run) -> None:
    result = run([texts("one", {}), texts("two", {})], {"x": pa.array([None, None], pa.int64())})
    assert result.output["validations"].to_pylist() == [[], []]
    empty = run([texts("one", {})], {"x": pa.array([], pa.int64())})
    assert empty.output["validations"].to_pylist() == []


answers = st.none() | st.lists(st.text(max_size=3).filter(lambda text: text < "\ud800"), max_size=3)


@settings(max_examples=80, deadline=None)
@given(table=st.lists(st.lists(answers, min_size=3, max_size=3), max_size=8))
def test_the_kernels_build_what_a_loop_would(run_once: Run, table: list[list[list[str] | None]]) -> None:
    def judge(at: int) -> flow.Service:
        def check(row: int) -> list[str]:
            found = table[row][at]
            if found is None:
                raise flow.Skip
            return found

        return flow.validation(name=f"v{at}")(check)

    result = run_once([judge(at) for at in range(3)], {"row": pa.array(range(len(table)), pa.int64())})
    assert result.output["validations"].to_pylist() == [
        [entry(f"v{at}", *found) for at, found in enumerate(row) if found is not None] for row in table
    ]
    assert result.output["is_valid"].to_pylist() == [not any(row) for row in table]


def enriching(name: str, statuses: dict[int, Any], **options: Any) -> flow.Service:
    def find(x: int) -> int:
        if x in statuses:
            raise statuses[x]
        return x

    return flow.enrichment(name=name, **options)(find)


def test_completeness_is_found_over_applicable_and_null_where_none_applied(run: Run) -> None:
    services = [
        enriching("one", {1: flow.NotFound, 2: ValueError, 3: flow.Skip, 5: flow.Skip}),
        enriching("two", {2: flow.NotFound, 3: flow.NotFound, 4: flow.Skip, 5: flow.Skip}),
        enriching("three", {2: flow.Skip, 5: flow.Skip}),
    ]
    result = run(services, {"x": [0, 1, 2, 3, 4, 5, None]})
    assert result.output["completeness"].to_pylist() == [1.0, 2 / 3, 0.0, 0.5, 1.0, None, None]
    assert result.statistics.completeness == pytest.approx((1 + 2 / 3 + 0 + 0.5 + 1) / 5)


def test_completeness_counts_the_records_of_the_output_only(run: Run) -> None:
    gone = flow.transformation(name="gone", returns=int)(lambda x: 1 // x)
    result = run([gone, enriching("one", {0: flow.NotFound})], {"x": [0, 1]})
    assert result.statistics.completeness == 1.0


@pytest.mark.parametrize(("priority", "degraded"), [("important", True), ("optional", False)])
def test_only_an_important_failure_degrades(run: Run, priority: str, degraded: bool) -> None:
    statuses = {1: ValueError, 2: flow.NotFound, 3: flow.Skip}
    result = run([enriching("one", statuses, priority=priority)], {"x": [0, 1, 2, 3, None]})
    assert result.output["degraded"].to_pylist() == [False, degraded, False, False, False]


def test_the_columns_of_the_run_depend_on_the_kinds_of_services(run: Run) -> None:
    copy = flow.transformation(name="copy", returns=int)(lambda x: x)
    names = [run(services, {"x": [1]}).output.column_names for services in ([copy], [copy, texts("v", {})])]
    assert names == [["x", "copy", "is_valid"], ["x", "copy", "is_valid", "validations"]]
    full = run([texts("v", {}), enriching("one", {})], {"x": [1]}).output.column_names
    assert full == ["x", "one", "is_valid", "validations", "completeness", "degraded"]


def test_a_published_source_gets_its_run_columns_anew(run: Run) -> None:
    first = run([texts("v", {1: ["old"]}), enriching("one", {1: ValueError})], {"x": [0, 1]}).output
    again = run([enriching("two", {0: ValueError})], first)
    assert again.output.column_names == ["x", "one", "two", "is_valid", "completeness", "degraded"]
    assert again.output["degraded"].to_pylist() == [True, False]
    assert again.output["is_valid"].to_pylist() == [True, True]
