"""Where a record ends: output or rejects, with the service, the reason and sums that add up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.engine.fate import failures_schema, rejects_schema, settle
from dataflow.engine.marks import Mark, rows_of
from dataflow.engine.partition import run_graph
from dataflow.engine.resources import make_resources
from dataflow.engine.result import PartitionResult
from dataflow.errors import StoreError
from dataflow.outcomes import Status
from dataflow.plan.binding import bind
from dataflow.plan.partitions import Batch, Unreadable
from dataflow.telemetry.statistics import unbalanced

Run = Callable[..., PartitionResult]


def failing(name: str, *bad: int, priority: str = "critical", **options: Any) -> flow.Service:
    def check(x: int) -> int:
        if x in bad:
            raise KeyError(f"{name} {x}")
        return x

    return flow.transformation(name=name, priority=priority, **options)(check)


def judging(name: str, *bad: int, **options: Any) -> flow.Service:
    def check(x: int) -> str | None:
        return f"{name} {x}" if x in bad else None

    return flow.validation(name=name, **options)(check)


def rejects(result: PartitionResult) -> list[tuple[Any, ...]]:
    """Without the place of an exception."""
    rows = [{**one, "error": one["error"].partition(" (test_fate.py")[0]} for one in result.rejects.to_pylist()]
    return [(one["source_row"], one["service"], one["reason"], one["error"]) for one in rows]


def test_the_first_failing_service_in_listed_order_is_named(run: Run) -> None:
    services = [failing("one", 3), failing("two", 2, 3), failing("three", 1, 2, 3)]
    result = run(services, {"x": [0, 1, 2, 3]})
    assert rejects(result) == [
        (2, "three", "KeyError", "KeyError: 'three 1'"),
        (3, "two", "KeyError", "KeyError: 'two 2'"),
        (4, "one", "KeyError", "KeyError: 'one 3'"),
    ]
    assert result.output["x"].to_pylist() == [0]
    assert result.failures["service"].to_pylist() == ["one", "two", "two", "three", "three", "three"]


def test_listed_order_counts_also_where_a_service_waits_and_ends_later(run: Run) -> None:
    async def ask(x: int) -> int:
        raise ConnectionError("late")

    slow = flow.enrichment(priority="critical")(ask)
    assert rejects(run([slow, failing("local", 1)], {"x": [1]})) == [
        (1, "ask", "ConnectionError", "ConnectionError: late")
    ]
    assert rejects(run([failing("local", 1), slow], {"x": [1]})) == [(1, "local", "KeyError", "KeyError: 'local 1'")]


def test_what_a_failure_means_by_priority(run: Run) -> None:
    services = [
        failing("important", 1, 4, priority="important"),
        failing("optional", 2, 4, priority="optional"),
        failing("critical", 3),
        flow.enrichment(name="found", returns=int)(lambda x: x),
    ]
    result = run(services, {"x": [0, 1, 2, 3, 4]})
    assert result.output.select(["x", "important", "optional", "critical", "degraded"]).to_pydict() == {
        "x": [0, 1, 2, 4],
        "important": [0, None, 2, None],
        "optional": [0, 1, None, None],
        "critical": [0, 1, 2, 4],
        "degraded": [False, True, False, True],
    }
    assert result.statistics.degraded_records == 2


def test_a_default_fills_the_outputs_of_a_failure_which_still_degrades(run: Run) -> None:
    def about(x: int) -> Any:
        if x == 1:
            raise ValueError
        if x == 2:
            raise flow.NotFound
        return {"name": "n", "size": x}

    several = flow.enrichment(returns={"name": str, "size": int}, default={"size": -1})(about)
    one = failing("one", 1, priority="important", default=-5)
    result = run([several, one], {"x": [0, 1, 2]})
    assert result.output.select(["name", "size", "one", "degraded"]).to_pylist() == [
        {"name": "n", "size": 0, "one": 0, "degraded": False},
        {"name": None, "size": -1, "one": -5, "degraded": True},
        {"name": None, "size": None, "one": 2, "degraded": False},
    ]


@dataclass
class Size:
    width: int
    height: int = 0


@pytest.mark.parametrize("options", [{}, {"into": "size"}])
def test_a_default_may_be_a_record_of_the_returned_type(run: Run, options: dict[str, Any]) -> None:
    def measured(x: int) -> Size:
        raise ValueError

    service = flow.enrichment(default=Size(1, 2), **options)(measured)
    (row,) = run([service], {"x": [0]}).output.to_pylist()
    assert (row["size"] if options else {"width": row["width"], "height": row["height"]}) == {"width": 1, "height": 2}


def test_a_default_does_not_save_a_record_from_a_critical_failure(run: Run) -> None:
    result = run([failing("one", 1, default=0)], {"x": [0, 1]})
    assert (result.output["one"].to_pylist(), len(result.rejects)) == ([0], 1)


def test_invalid_records_are_kept_or_rejected_with_the_first_error(run: Run) -> None:
    services = [
        judging("one", 1),
        flow.validation(name="two", returns=bool)(lambda x: x != 2),
        flow.validation(name="three", returns=list[str])(lambda x: ["a", "b"] if x in (1, 3) else []),
    ]
    kept = run(services, {"x": [0, 1, 2, 3]})
    assert kept.output["is_valid"].to_pylist() == [True, False, False, False]
    assert (kept.statistics.valid_records, kept.statistics.invalid_records) == (1, 3)
    dropped = run(services, {"x": [0, 1, 2, 3]}, invalid="reject")
    assert rejects(dropped) == [
        (2, "one", "invalid", "one 1"),
        (3, "two", "invalid", "two is false"),
        (4, "three", "invalid", "a"),
    ]
    assert (dropped.statistics.valid_records, dropped.statistics.invalid_records) == (1, 0)
    assert dropped.failures.num_rows == 0
    assert dropped.statistics.services["one"].succeeded == 4


def test_a_verdict_without_a_text_of_its_own_never_borrows_that_of_another_record(run: Run) -> None:
    def check(x: int) -> list[str]:
        if x == 1:
            raise flow.Invalid
        return ["two"] if x == 2 else []

    result = run([flow.validation(check)], {"x": [0, 1, 2]}, invalid="reject")
    assert rejects(result) == [(2, "check", "invalid", "check is false"), (3, "check", "invalid", "two")]


def test_a_failed_validation_rejects_by_its_priority(run: Run) -> None:
    def check(x: int) -> bool:
        if x == 1:
            raise ValueError("broken")
        return True

    critical = run([flow.validation(check)], {"x": [0, 1]})
    assert rejects(critical) == [(2, "check", "ValueError", "ValueError: broken")]
    kept = run([flow.validation(priority="important")(check)], {"x": [0, 1]}, invalid="reject")
    assert kept.output["is_valid"].to_pylist() == [True, True]


def test_a_rejection_by_word_is_no_failure_and_counts_as_succeeded(run: Run) -> None:
    def check(x: int) -> int:
        if x == 1:
            raise flow.Reject("blocked", "twice")
        if x == 2:
            raise flow.Reject
        return x

    result = run([flow.transformation(priority="optional")(check)], {"x": [0, 1, 2]})
    assert [row[:3] for row in rejects(result)] == [(2, "check", "rejected"), (3, "check", "rejected")]
    assert rejects(result)[1][3] == "Reject"
    assert result.failures.num_rows == 0
    assert result.statistics.services["check"].succeeded == 3


def _upper(id: str) -> str:  # noqa: A002
    return id.upper()


def test_rejects_and_failures_name_the_record_by_its_key(run: Run) -> None:
    upper = flow.transformation(name="upper", into="id")(_upper)
    bad = failing("bad", 1, priority="important", columns={"x": "n"})
    worse = failing("worse", 1, 2, columns={"x": "n"})
    table = {"id": pa.array(["a", None, "c"]).dictionary_encode(), "n": [0, 1, 2]}
    result = run([upper, bad, worse], table, key=["id", "n"], first_row=11)
    assert result.rejects.select(["id", "n", "source_file", "source_row", "raw"]).to_pylist() == [
        {"id": None, "n": 1, "source_file": "leads.csv", "source_row": 12, "raw": None},
        {"id": "c", "n": 2, "source_file": "leads.csv", "source_row": 13, "raw": None},
    ]
    assert result.failures.column_names[:2] == ["id", "n"]
    assert result.failures["id"].to_pylist() == [None, None, "c"]


def test_a_key_may_be_a_column_that_a_service_makes(run: Run) -> None:
    made = flow.transformation(name="made", returns=str)(lambda x: f"k{x}")
    result = run([made, failing("bad", 1)], {"x": [0, 1]}, key=["made"])
    assert result.rejects["made"].to_pylist() == ["k1"]
    graph = bind([made], pa.schema({"x": pa.int64()}), name="p")
    assert rejects_schema(graph, ["made"]).field("made").type == pa.string()


def test_the_tables_have_the_same_schemas_with_and_without_rows(run: Run) -> None:
    services = [failing("bad", 1)]
    graph = bind(services, pa.schema({"x": pa.int64()}), name="p")
    for rows in ([], [0], [0, 1]):
        result = run(services, {"x": pa.array(rows, pa.int64())}, key=["x"])
        assert result.rejects.schema.equals(rejects_schema(graph, ["x"]))
        assert result.failures.schema.equals(failures_schema(graph, ["x"]))


def test_unreadable_records_join_the_rejects_in_the_order_of_the_source(run: Run) -> None:
    unreadable = [
        Unreadable(row=1, column=None, error="2 fields instead of 1", raw="a,b"),
        Unreadable(row=9, column="x", error="no integer", raw="seven"),
    ]
    result = run([failing("bad", 1)], {"x": [0, 1]}, unreadable=unreadable, key=["x"], first_row=4)
    assert rejects(result) == [
        (1, "source", "unreadable", "2 fields instead of 1"),
        (5, "bad", "KeyError", "KeyError: 'bad 1'"),
        (9, "source", "unreadable", "column `x`: no integer"),
    ]
    assert result.rejects.select(["x", "raw"]).to_pydict() == {"x": [None, 1, None], "raw": ["a,b", None, "seven"]}
    assert (result.statistics.total_records, result.statistics.rejected_records) == (4, 3)


def test_every_sum_adds_up_over_all_kinds_of_outcomes(run: Run) -> None:
    async def ask(x: int) -> int | None:
        if x % 3 == 0:
            raise flow.NotFound
        if x % 3 == 1:
            raise ValueError
        return None

    services = [
        failing("bad", 1, 7),
        judging("check", 2, 5, required=True),
        flow.enrichment(when="valid")(ask),
        flow.lookup("ref", table="t", on="x"),
    ]
    rows = [*range(9), None]
    result = run(services, {"x": rows}, tables={"ref": pa.table({"x": [2], "label": ["two"]})})
    statistics = result.statistics
    assert statistics.total_records == len(rows) == result.output.num_rows + result.rejects.num_rows
    assert unbalanced(statistics, output=result.output.num_rows, rejects=result.rejects.num_rows) == []
    for part in statistics.services.values():
        assert sum(getattr(part, status.value) for status in Status) == part.records == len(rows)
    assert statistics.services["ask"].calls == len(rows) - statistics.services["ask"].skipped
    assert statistics.services["bad"].errors == {"KeyError": 2}


def test_a_record_with_two_outcomes_is_refused_before_it_is_committed() -> None:
    graph = bind([failing("one")], pa.schema({"x": pa.int64()}), name="p")
    resources = make_resources(graph, tables={})
    table = pa.table({"x": [1, 2]})
    environment = run_graph(graph, table, resources)
    resources.close()
    batch = Batch(table=table, rows=pa.array([1, 2]))
    settle(environment, batch, key=(), path="leads.csv")
    skips = tuple(Mark(status=status, reason="twice", rows=rows_of([1])) for status in (Status.SKIPPED, Status.CACHED))
    environment.effects[0] = replace(environment.effects[0], marks=skips)
    with pytest.raises(StoreError, match=r"sums of a partition of leads.csv .* service one: its statuses = 3"):
        settle(environment, batch, key=(), path="leads.csv")


def test_the_error_text_stands_in_the_rejects_and_the_failures_only(run: Run) -> None:
    result = run([failing("bad", 1), judging("check", 1)], {"x": [0, 1]})
    assert "bad 1" in str(result.rejects.to_pylist())
    assert "bad 1" in str(result.failures.to_pylist())
    assert "bad 1" not in str(result.statistics.to_dict())
    assert result.rejected[0].examples[0][1].startswith("KeyError (test_fate.py, line ")


def test_durations_and_calls_are_counted_where_a_service_was_called(run: Run) -> None:
    result = run([failing("bad", 1, when="on")], {"x": [0, 1, 2], "on": [True, True, False]})
    report = result.statistics.report(1.0)["services"]["bad"]
    assert (report["records"], report["calls"], report["skipped"]) == (3, 2, 1)
    none = run([failing("bad", when="on")], {"x": [0], "on": [False]})
    assert none.statistics.services["bad"].calls == 0


def test_records_rejected_by_a_failure_are_told_from_those_that_were_judged(run: Run) -> None:
    @flow.enrichment(priority="optional")
    def refusing(x: int) -> int:
        if x in (4, 5):
            raise flow.Reject("no")
        if x == 6:
            raise OSError
        return x

    services = [failing("one", 1), judging("judge", 1, 2, 3), failing("two", 2, 7), refusing]
    bad = Unreadable(row=9, raw="?", error="no number", column="x")
    result = run(services, {"x": list(range(9))}, invalid="reject", unreadable=[bad])
    found = [(row["service"], row["reason"]) for row in result.rejects.to_pylist()]
    by_failure = [one for one in found if one[1] not in ("invalid", "rejected") and one[0] != "judge"]
    assert by_failure == [("one", "KeyError"), ("two", "KeyError"), ("source", "unreadable")]
    assert result.statistics.failed_records == 3
    assert result.statistics.rejected_records == 7


def streak(result: PartitionResult, name: str) -> tuple[Any, ...] | None:
    found = result.statistics.services[name].streak
    return found and (found.calls, found.error, found.file, found.row)


def test_a_streak_is_of_exceptions_and_says_where_it_began(run: Run) -> None:
    @flow.transformation
    def odd(x: int | None, y: str) -> int:
        if x in (1, 2, 3):
            raise ValueError
        if x in (6, 7):
            raise LookupError
        if x == 8:
            raise flow.Skip
        if x == 9:
            raise flow.RetryLater(after=1)
        return "wrong" if x == 10 else 0  # type: ignore[return-value]

    result = run([odd], {"x": list(range(12)), "y": ["a"] * 12}, first_row=100)
    assert result.statistics.services["odd"].failed == 7
    assert streak(result, "odd") == (3, "ValueError", "leads.csv", 101)
    assert streak(run([odd], {"x": [0, 4], "y": ["a", "b"]}), "odd") is None


def test_records_that_a_service_is_not_called_for_do_not_end_its_streak(run: Run) -> None:
    result = run([failing("one", 1, 2, 3)], {"x": [None, 0, 1, None, 2, None, 3, 0]})
    assert streak(result, "one") == (3, "KeyError", "leads.csv", 3)


def test_verdicts_and_timeouts_are_no_streak(run: Run) -> None:
    @flow.enrichment
    def unknown(x: int) -> int:
        raise flow.NotFound

    @flow.validation
    def never(x: int) -> None:
        raise flow.Invalid("no")

    @flow.enrichment(timeout=0.01)
    async def slow(x: int) -> int:
        await asyncio.sleep(5)
        return x

    result = run([unknown, never, slow], {"x": [1, 2, 3]})
    assert [streak(result, name) for name in ("unknown", "never", "slow")] == [None] * 3
    assert result.statistics.services["slow"].timed_out == 3


@pytest.mark.parametrize(("options", "calls"), [({}, 4), ({"rowwise": False}, None)])
def test_a_column_service_has_a_streak_of_the_records_that_it_raised_for_alone(
    run: Run, options: dict[str, Any], calls: int | None
) -> None:
    @flow.transformation(returns=int, **options)
    def parse(x: pa.Array) -> pa.Array:
        if any(one in (3, 4, 5, 6) for one in x.to_pylist()):
            raise ValueError
        return x

    found = streak(run([parse], {"x": list(range(8))}), "parse")
    assert found == (calls and (calls, "ValueError", "leads.csv", 4))
