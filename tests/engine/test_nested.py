"""`for_each` in a partition: each item is a record of its own, and its fate follows the priorities."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

import dataflow as flow
from dataflow.engine.result import PartitionResult
from dataflow.services.service import Service

Run = Callable[..., PartitionResult]


@flow.enrichment(priority="critical")
async def text(topic: str, item: str) -> str:
    await asyncio.sleep(0)
    if item == "down":
        raise ValueError("it is down")
    return f"{topic} for {item}"


@flow.enrichment
def tags(text: str) -> list[str]:
    if "bare" in text:
        raise KeyError("tags")
    return text.split()


def each(*services: Service, **options: Any) -> Service:
    return flow.for_each("channels", services, **{"into": "content", **options})


def records(*channels: list[str] | None) -> pa.Table:
    topics = pa.array([f"t{at}" for at in range(len(channels))], pa.string())
    return pa.table({"topic": topics, "channels": pa.array(channels, pa.list_(pa.string()))})


def content(result: PartitionResult, *names: str) -> list[Any]:
    """The wanted fields of each result, None for a lost item."""
    lists = result.output["content"].to_pylist()
    wanted = lambda one: None if one is None else tuple(one[name] for name in names)  # noqa: E731
    return [None if items is None else [wanted(one) for one in items] for items in lists]


def test_results_come_in_the_order_of_the_items(run: Run) -> None:
    result = run([each(text)], records(["x", "y"], ["z"]))
    assert content(result, "item", "text") == [[("x", "t0 for x"), ("y", "t0 for y")], [("z", "t1 for z")]]


def test_a_null_list_is_skipped_and_an_empty_one_has_no_results(run: Run) -> None:
    result = run([each(text)], records(None, [], ["x"]))
    assert content(result, "text") == [None, [], [("t2 for x",)]]
    part = result.statistics.services["content"]
    assert (part.skipped, part.succeeded) == (1, 2)
    assert result.statistics.services["content.text"].records == 1


def test_a_critical_failure_loses_the_item_and_fails_the_whole_for_its_record(run: Run) -> None:
    result = run([each(text)], records(["x", "down", "down"], ["y"]))
    assert content(result, "text") == [[("t0 for x",), None, None], [("t1 for y",)]]
    failures = result.failures.select(["service", "reason", "source_row"]).to_pylist()
    assert failures == [
        {"service": "content", "reason": "item failed", "source_row": 1},
        {"service": "content.text", "reason": "ValueError", "source_row": 1},
        {"service": "content.text", "reason": "ValueError", "source_row": 1},
    ]
    assert result.output["degraded"].to_pylist() == [True, False]


def test_a_lost_item_of_what_is_critical_rejects_the_record(run: Run) -> None:
    result = run([each(text, priority="critical")], records(["x", "down"], ["y"]))
    assert result.output["topic"].to_pylist() == ["t1"]
    error = "item 2: `content.text`: ValueError: it is down (test_nested.py, line 24)"
    assert result.rejects["error"].to_pylist() == [error]


def test_an_important_failure_degrades_the_item_and_the_record(run: Run) -> None:
    result = run([each(text, tags)], records(["x", "bare"], ["y"]))
    assert content(result, "tags", "degraded", "completeness")[0] == [
        (["t0", "for", "x"], False, 1.0),
        (None, True, 0.5),
    ]
    assert result.output["degraded"].to_pylist() == [True, False]
    assert result.output["completeness"].to_pylist() == [1.0, 1.0]


def test_an_optional_failure_is_counted_only(run: Run) -> None:
    result = run([each(text, tags.with_(priority="optional", default=[]))], records(["bare"]))
    assert content(result, "tags", "degraded") == [[([], False)]]
    assert result.output["degraded"].to_pylist() == [False]
    assert result.statistics.services["content.tags"].failed == 1


def test_an_item_that_is_rejected_by_an_authors_word_is_null_and_no_failure(run: Run) -> None:
    @flow.transformation
    def checked(item: str) -> str:
        if item == "no":
            raise flow.Reject("not this one")
        return item

    result = run([each(checked)], records(["yes", "no"]))
    assert content(result, "checked") == [[("yes",), None]]
    assert result.statistics.services["content"].succeeded == 1


def test_verdicts_are_kept_for_each_item(run: Run) -> None:
    @flow.validation
    def wide(item: str) -> str | None:
        return None if len(item) > 1 else "narrow"

    table = records(["aa", "b"])
    result = run([each(wide)], table)
    assert content(result, "is_valid") == [[(True,), (False,)]]
    errors = [one["validations"][0]["errors"] for one in result.output["content"].to_pylist()[0]]
    assert errors == [[], ["narrow"]]
    assert result.output["is_valid"].to_pylist() == [True]
    assert content(run([each(wide)], table, invalid="reject"), "item") == [[("aa",), None]]


def test_what_is_keyed_on_the_record_is_called_once_for_it(run: Run) -> None:
    called: list[str] = []

    @flow.enrichment
    async def research(topic: str) -> str:
        called.append(topic)
        return topic.upper()

    @flow.transformation
    def title(research: str, item: str) -> str:
        return f"{research} {item}"

    result = run([each(research, title)], records(["x", "y", "z"], ["x"], []))
    assert called == ["t0", "t1", "t2"]
    assert content(result, "research", "title")[0][1] == ("T0", "T0 y")
    assert result.statistics.services["content.research"].records == 3
    assert result.statistics.services["content.title"].records == 4


def test_a_record_that_fails_before_its_items_loses_all_of_them(run: Run) -> None:
    @flow.enrichment(priority="critical")
    def research(topic: str) -> str:
        raise ValueError("no library")

    result = run([each(research, text)], records(["x", "y"], []))
    assert content(result, "text") == [[None, None], []]
    assert result.statistics.services["content.text"].records == 0
    assert result.statistics.services["content"].failed == 2


def test_nulls_that_a_failure_left_are_told_inside_too(run: Run) -> None:
    @flow.enrichment
    def company(topic: str) -> str:
        raise ValueError("unknown")

    @flow.transformation
    def line(company: str, item: str) -> str:
        return company + item

    result = run([company, each(line)], records(["x"]))
    assert content(result, "line") == [[(None,)]]
    assert result.statistics.services["content.line"].skipped == 1


def test_one_may_be_inside_another(run: Run) -> None:
    @flow.transformation
    def letter(item: str, word: str) -> str:
        return f"{word}:{item}"

    @flow.transformation
    def letters(word: str) -> list[str]:
        return list(word)

    inner = flow.for_each("letters", [letter], into="spelled")
    result = run([each(letters, inner, item="word")], records(["ab", "c"]))
    found = [[one["letter"] for one in word["spelled"]] for word in result.output["content"].to_pylist()[0]]
    assert found == [["ab:a", "ab:b"], ["c:c"]]
    assert result.statistics.services["content.spelled.letter"].records == 3


def fates(n: int) -> Any:
    """Fails for ...4, finds nothing for ...3, rejects 7."""
    if n % 5 == 4:
        raise ValueError("four")
    if n == 7:
        raise flow.Reject("seven")
    if n % 5 == 3:
        raise flow.NotFound
    return n + 1


@flow.enrichment(priority="critical")
def first(base: int, item: int) -> int:
    found: int = fates(base + item)
    return found


@flow.enrichment
async def second(first: int) -> int:
    found: int = fates(first)
    return found


LISTS = st.lists(st.none() | st.lists(st.none() | st.integers(0, 9), max_size=4), max_size=6)


@given(lists=LISTS, skipped=st.integers(0, 2))
def test_it_gives_what_the_same_services_give_for_the_items_as_records(
    run_once: Run, lists: list[list[int | None] | None], skipped: int
) -> None:
    whole = pa.table(
        {
            "base": pa.array(range(len(lists)), pa.int64()),
            "channels": pa.array(lists, pa.list_(pa.int64())),
        }
    )
    table = whole.slice(min(skipped, len(lists)))  # offsets that do not begin at 0
    pairs = [(at, item) for at, items in zip(*table.to_pydict().values(), strict=True) for item in items or []]
    flat = pa.table(
        {
            "place": pa.array(range(len(pairs)), pa.int64()),
            "base": pa.array([base for base, _ in pairs], pa.int64()),
            "item": pa.array([item for _, item in pairs], pa.int64()),
        }
    )
    alone = run_once([first, second], flat)
    nested = run_once([each(first, second, priority="optional")], table)
    wanted = {row.pop("place"): row for row in alone.output.drop(["is_valid", "base"]).to_pylist()}
    found = [one for items in nested.output["content"].to_pylist() for one in items or []]
    assert found == [wanted.get(at) for at in range(len(pairs))]
    for name in ("first", "second"):
        inside, outside = nested.statistics.services[f"content.{name}"], alone.statistics.services[name]
        assert (inside.records, inside.succeeded, inside.failed) == (
            outside.records,
            outside.succeeded,
            outside.failed,
        )
