"""What a process sets up once: decorated classes, indexes, the loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.engine.partition import run_graph
from dataflow.engine.resources import make_resources
from dataflow.engine.result import PartitionResult
from dataflow.errors import DeclarationError
from dataflow.plan.binding import bind

Run = Callable[..., PartitionResult]
MADE: list[Any] = []


class Suffix:
    """Appends a text."""

    def __init__(self, suffix: str = "!") -> None:
        MADE.append(self)
        self.suffix, self.closed, self.inside, self.most = suffix, 0, 0, 0

    def __call__(self, word: str) -> str:
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.002)
        self.inside -= 1
        return word + self.suffix

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def _forget() -> None:
    MADE.clear()


def test_a_class_is_set_up_once_for_all_partitions_and_closed_once() -> None:
    service = flow.transformation(into="out")(Suffix).with_(setup={"suffix": "?"})
    assert MADE == []
    graph = bind([service], pa.schema({"word": pa.string()}), name="p")
    resources = make_resources(graph, tables={})
    for _ in range(3):
        environment = run_graph(graph, pa.table({"word": ["a"]}), resources)
    assert environment.column(graph.final[1]).to_pylist() == ["a?"]
    resources.close()
    assert [(made.suffix, made.closed) for made in MADE] == [("?", 1)]


@pytest.mark.parametrize(("threads", "most"), [(1, 1), (4, 2)])
def test_calls_of_one_instance_are_serialised_unless_threads_says_otherwise(threads: int, most: int) -> None:
    service = flow.transformation(into="out", threads=threads)(Suffix)
    graph = bind([service], pa.schema({"word": pa.string()}), name="p")
    resources = make_resources(graph, tables={})
    table = pa.table({"word": ["a"] * 20})
    partitions = [threading.Thread(target=run_graph, args=(graph, table, resources)) for _ in range(3)]
    for one in partitions:
        one.start()
    for one in partitions:
        one.join()
    resources.close()
    (made,) = MADE
    assert made.most == 1 if most == 1 else made.most >= most


def test_a_column_class_is_set_up_too(run: Run) -> None:
    @flow.transformation(returns=int, setup={"by": 3})
    class Add:
        def __init__(self, by: int) -> None:
            self.by = by

        def __call__(self, x: pa.Array) -> pa.Array:
            return pa.array([one + self.by for one in x.to_pylist()])

    assert run([Add.with_(name="out")], {"x": [1]}).output["out"].to_pylist() == [4]


def test_two_services_of_one_class_have_an_instance_each(run: Run) -> None:
    one = flow.transformation(into="one")(Suffix)
    two = one.with_(name="two", into="two", setup={"suffix": "?"})
    result = run([one, two], {"word": ["a"]})
    assert result.output.select(["one", "two"]).to_pylist() == [{"one": "a!", "two": "a?"}]
    assert len(MADE) == 2


def test_a_class_that_cannot_be_set_up_is_named(run: Run) -> None:
    service = flow.transformation(name="suffix", setup={"prefix": "s3cret"})(Suffix)
    with pytest.raises(DeclarationError, match=r"`suffix` could not be set up: its class raised TypeError") as caught:
        run([service], {"word": ["a"]})
    assert "s3cret" not in str(caught.value)
