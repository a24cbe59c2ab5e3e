"""One partition through the graph: order, versions of columns, and columns that nobody touches."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.engine.partition import check_rowwise, run_graph, run_step
from dataflow.engine.resources import make_resources
from dataflow.engine.result import PartitionResult
from dataflow.engine.waiting import IN_FLIGHT
from dataflow.plan.binding import bind

Run = Callable[..., PartitionResult]


def untouched() -> pa.Table:
    """Four records in two chunks with a column of every kind that is easily bent."""
    nested = pa.list_(pa.struct([pa.field("a", pa.int16()), pa.field("b", pa.list_(pa.string()))]))
    columns = {
        "n": pa.array([1, 2, 3, 4], pa.uint64()),
        "nested": pa.array([[{"a": 1, "b": ["x", None]}], [], None, [None]], nested),
        "decimal": pa.array([Decimal("1.10"), None, Decimal("-0.00"), Decimal("9" * 20)], pa.decimal256(60, 2)),
        "dictionary": pa.array(["a", "b", None, "a"]).dictionary_encode(),
        "nanoseconds": pa.array([1, None, -1, 2**62], pa.timestamp("ns", "Europe/Berlin")),
        "large_string": pa.array(["", None, "ä", "\x00"], pa.large_string()),
        "binary": pa.array([b"\xff", b"", None, b"\x00"], pa.binary()),
        "float": pa.array([float("nan"), -0.0, None, float("inf")], pa.float32()),
        "map": pa.array([[("k", 1)], [], None, [("k", None), ("k", 2)]], pa.map_(pa.string(), pa.int8())),
        "duration": pa.array([1, None, -1, 5], pa.duration("ns")),
        "time": pa.array([1, None, 0, 5], pa.time64("ns")),
        "null": pa.nulls(4),
        "fixed": pa.array([[1, 2], None, [3, None], [0, 0]], pa.list_(pa.int8(), 2)),
        "date64": pa.array([0, None, 86_400_000, -86_400_000], pa.date64()),
    }
    table = pa.table(columns)
    return pa.concat_tables([table.slice(0, 1), table.slice(1)])


@flow.transformation
def twice(n: int) -> int:
    return 2 * n


@pytest.mark.parametrize("slice_", [(0, 4), (1, 2), (2, 0)])
def test_columns_that_no_service_touches_come_out_bit_for_bit(run: Run, slice_: tuple[int, int]) -> None:
    table = untouched().slice(*slice_)
    result = run([twice], table)
    kept = result.output.select(table.column_names)
    assert kept.schema.equals(table.schema)
    for name in table.column_names:
        same = [chunk.to_pylist() for chunk in (kept[name].combine_chunks(), table[name].combine_chunks())]
        assert str(same[0]) == str(same[1])
        if name != "float":
            assert kept[name].combine_chunks().equals(table[name].combine_chunks())


def test_they_stay_so_when_records_around_them_are_rejected(run: Run) -> None:
    @flow.transformation
    def picky(n: int) -> int:
        if n == 2:
            raise ValueError
        return n

    table = untouched()
    result = run([picky], table)
    kept = result.output.select(table.column_names)
    expected = table.filter(pa.array([True, False, True, True]))
    assert [str(row) for row in kept.to_pylist()] == [str(row) for row in expected.to_pylist()]
    assert kept.schema.equals(table.schema)


def test_field_metadata_stays_and_schema_metadata_of_the_source_does_not(run: Run) -> None:
    field = pa.field("n", pa.int64(), nullable=False, metadata={"unit": "none"})
    schema = pa.schema([field], metadata={"pandas": "{}"})
    output = run([twice], pa.Table.from_arrays([pa.array([1])], schema=schema)).output
    assert output.schema.field("n").metadata == {b"unit": b"none"}
    assert output.schema.metadata == {b"dataflow": b"1"}


def adds(name: str, reads: str, writes: str, by: int) -> flow.Service:
    def add(x: int) -> int:
        return x + by

    return flow.transformation(name=name, columns={"x": reads}, into=writes)(add)


def test_each_service_sees_a_column_as_the_services_listed_before_it_left_it(run: Run) -> None:
    services = [
        adds("before", "a", "first", 0),
        adds("one", "a", "a", 1),
        adds("between", "a", "second", 0),
        adds("two", "a", "a", 10),
        adds("after", "a", "third", 0),
    ]
    (row,) = run(services, {"a": [0]}).output.to_pylist()
    assert row == {"a": 11, "first": 0, "second": 1, "third": 11, "is_valid": True}


def test_a_slow_reader_of_an_old_version_is_not_disturbed_by_a_later_writer(run: Run) -> None:
    async def slow(a: int) -> int:
        await asyncio.sleep(0.05)
        return a

    services = [flow.enrichment(slow), adds("one", "a", "a", 1), adds("after", "a", "b", 0)]
    (row,) = run(services, {"a": [0]}).output.to_pylist()
    assert (row["slow"], row["a"], row["b"]) == (0, 1, 1)


def test_services_that_wait_run_beside_each_other_and_beside_what_computes(run: Run) -> None:
    together = threading.Barrier(3, timeout=5)

    def meet(a: int) -> int:
        together.wait()
        return a

    def local(a: int) -> int:
        together.wait()
        return a

    services = [
        flow.enrichment(name="one", threads=2)(meet),
        flow.enrichment(name="two", threads=2)(meet),
        flow.transformation(name="three")(local),
    ]
    result = run(services, {"a": [1]})
    assert result.failures.num_rows == 0


def test_the_order_in_which_services_end_does_not_show_in_the_result(run: Run) -> None:
    def waiting(name: str, seconds: float) -> flow.Service:
        async def ask(a: int) -> int:
            await asyncio.sleep(seconds)
            if a == 2:
                raise ValueError(name)
            return a

        return flow.enrichment(name=name, priority="critical")(ask)

    def run_with(first: float, second: float) -> Any:
        result = run([waiting("first", first), waiting("second", second)], {"a": [1, 2]})
        return result.output.to_pylist(), result.rejects.to_pylist(), result.failures["service"].to_pylist()

    assert run_with(0.03, 0) == run_with(0, 0.03)
    assert run_with(0, 0)[1][0]["service"] == "first"


def test_an_empty_table_goes_through_every_form(run: Run) -> None:
    async def waiting(n: int) -> str:
        return "x"

    def column(n: pa.Array) -> pa.Array:
        return n

    services = [
        twice,
        flow.enrichment(waiting),
        flow.enrichment(name="threaded", threads=3, returns=int)(lambda n: n),
        flow.transformation(returns=pa.uint64())(column),
        flow.validation(name="fine", returns=bool)(lambda n: True),
        flow.lookup("ref", table="t", on="n"),
    ]
    table = untouched().slice(0, 0)
    result = run(services, table, tables={"ref": pa.table({"n": [1], "label": ["one"]})})
    assert result.output.num_rows == 0
    assert result.output.schema.field("label").type == pa.string()
    full = run(services, untouched(), tables={"ref": pa.table({"n": [1], "label": ["one"]})})
    assert full.output.schema.equals(result.output.schema)


def test_the_schema_of_the_output_is_the_planned_one_whatever_the_records(run: Run) -> None:
    @flow.enrichment
    def tags(n: int) -> list[str]:
        raise flow.NotFound

    graph = bind([twice, tags], untouched().schema, name="p")
    assert run([twice, tags], untouched()).output.schema.equals(graph.output, check_metadata=True)


def test_columns_beyond_the_planned_ones_are_ignored() -> None:
    graph = bind([twice], pa.schema({"n": pa.int64()}), name="p")
    resources = make_resources(graph, tables={})
    environment = run_graph(graph, pa.table({"more": ["x"], "n": [1]}), resources)
    resources.close()
    assert environment.column(graph.final[0]).to_pylist() == [1]


def test_a_service_that_looks_across_records_is_told_apart_from_a_rowwise_one() -> None:
    def running(x: pa.Array) -> pa.Array:
        return pa.array(np.cumsum(x.to_numpy()))

    def halved(x: pa.Array) -> pa.Array:
        return pa.array([None if one == 3 else float("nan") if one == 2 else one / 2 for one in x.to_pylist()])

    def summed(x: pa.Array) -> pa.Array:
        return pa.array([float("nan") if one == 2 else float(sum(x.to_pylist())) for one in x.to_pylist()])

    def swapped(x: pa.Array) -> pa.Array:
        return pa.array([None if one == len(x) else float("nan") for one in x.to_pylist()])

    for function, returns, expected in (
        (running, int, False),
        (halved, float, True),
        (summed, float, False),
        (swapped, float, False),
    ):
        graph = bind(
            [flow.transformation(name="out", returns=returns)(function)], pa.schema({"x": pa.int64()}), name="p"
        )
        resources = make_resources(graph, tables={})
        effects = []
        for rows in ([1, 2, 3, 4], [1, 2], [3, 4]):
            environment = run_graph(graph, pa.table({"x": rows}), resources)
            effects.append(environment.effects[0])
        resources.close()
        assert check_rowwise(effects[0], effects[1:]) is expected


def test_the_seconds_of_a_service_are_taken_from_the_given_clock() -> None:
    graph = bind([twice], pa.schema({"n": pa.int64()}), name="p")
    resources = make_resources(graph, tables={})
    ticks = iter(range(100))
    environment = run_graph(graph, pa.table({"n": [1]}), resources, clock=lambda: next(ticks))
    effect = run_step(graph.steps[0], environment, resources, clock=lambda: next(ticks))
    resources.close()
    assert (environment.effects[0].seconds, effect.seconds) == (1, 1)


def test_the_calls_of_a_partition_wait_together(run: Run) -> None:
    together = asyncio.Barrier(4 * IN_FLIGHT)

    async def ask(a: int) -> int:
        await together.wait()
        return a

    result = run([flow.enrichment(name=f"ask{at}")(ask) for at in range(4)], {"a": list(range(IN_FLIGHT))})
    assert result.failures.num_rows == 0


@pytest.mark.parametrize("form", ["async", "threads"])
def test_ctrl_c_ends_the_calls_of_a_partition_at_once(form: str) -> None:
    begun: list[int] = []

    @flow.enrichment(name="asked")
    async def awaited(n: int) -> int:
        begun.append(n)
        await asyncio.sleep(20)
        return n

    @flow.enrichment(name="asked", threads=2)
    def blocking(n: int) -> int:
        begun.append(n)
        time.sleep(0.5)
        return n

    table = pa.table({"n": range(100)})
    graph = bind([awaited if form == "async" else blocking], table.schema, name="p")
    resources = make_resources(graph, tables={})

    def press() -> None:
        while not begun:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_graph(graph, table, resources)
    assert time.monotonic() - began < 10
    assert 0 < len(begun) < 50
    pressing.join()
    resources.close()
