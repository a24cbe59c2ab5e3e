"""What is told of one execution: ids and parents, counts, warnings, members, and logs."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import CriticalServiceFailed
from dataflow.outcomes import Status
from dataflow.services.context import current_execution


@flow.enrichment
async def size(domain: str) -> int:
    if domain == "bad":
        raise LookupError("secret text")
    if domain == "slow":
        await asyncio.sleep(20)
    return len(domain)


@flow.enrichment(threads=2)
def threaded(domain: str) -> str:
    return str(inner.call({"domain": domain}).metadata.parent_id)


@flow.enrichment
async def awaited(domain: str) -> str:
    return str((await inner.acall({"domain": domain})).metadata.parent_id)


@flow.transformation
def plain(domain: str) -> str:
    return str(inner.call({"domain": domain}).metadata.parent_id)


@flow.enrichment
async def several(domain: str) -> str:
    return str((await inner.acall_many([{"domain": domain}]))[0].metadata.parent_id)


inner = flow.Pipeline("inner", [size])
outer = flow.Pipeline("outer", [threaded, awaited, plain, several])
NESTED = ("threaded", "awaited", "plain", "several")


def test_an_execution_that_nobody_has_asked_for_has_no_parent() -> None:
    assert inner.call({"domain": "a"}).metadata.parent_id is None
    assert current_execution() == ""


def test_nested_executions_know_their_parent_on_threads_and_tasks() -> None:
    for result in (
        outer.call({"domain": "a"}),
        asyncio.run(outer.acall({"domain": "a"})),
        outer.call_many([{"domain": "a"}])[0],
    ):
        parents = {result.data[name] for name in NESTED}
        assert parents == {result.metadata.execution_id}


def test_an_execution_within_a_run_has_the_run_for_its_parent(tmp_path: Any) -> None:
    table = pa.table({"domain": ["a", "b"]})
    run = outer.run(table, output="nested", catalog=str(tmp_path))
    rows = flow.open("nested", catalog=str(tmp_path)).to_arrow().to_pylist()
    assert {row[name] for row in rows for name in NESTED} == {run.id}


def test_a_service_that_would_wait_for_its_own_loop_is_told_to_await() -> None:
    pipelines: list[flow.Pipeline] = []

    @flow.enrichment
    async def again(depth: int) -> int:
        return int(pipelines[0].call({"depth": depth - 1}).data["again"]) if depth else 0

    @flow.enrichment
    async def many(depth: int) -> int:
        return len(pipelines[1].call_many([{"depth": depth - 1}])) if depth else 0

    pipelines += [flow.Pipeline("p", [again]), flow.Pipeline("q", [many])]
    for result, name in (
        (pipelines[0].call({"depth": 1}), "acall"),
        (pipelines[1].call_many([{"depth": 1}])[0], "acall_many"),
    ):
        (failure,) = result.metadata.failures
        assert failure.reason == "DeclarationError"
        assert f"await pipeline.{name}(" in (failure.error or "")


def test_an_execution_that_is_stopped_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dataflow.execution")

    async def main() -> None:
        asked = asyncio.create_task(inner.acall({"domain": "slow"}))
        while not any(getattr(one, "execution_event", None) == "started" for one in caplog.records):
            await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    asyncio.run(main())
    assert caplog.records[-1].execution_event == "stopped"  # type: ignore[attr-defined]
    assert caplog.records[-1].execution_error == "CancelledError"  # type: ignore[attr-defined]


def test_failures_tell_how_long_they_took() -> None:
    @flow.transformation(priority="optional")
    def slow(domain: str) -> str:
        time.sleep(0.05)
        raise LookupError

    used = flow.Pipeline("p", [slow, size.with_(timeout="100ms")])
    for result in (used.call({"domain": "slow"}), asyncio.run(used.acall({"domain": "slow"}))):
        failed, late = result.metadata.failures
        assert (failed.service, failed.status, late.service, late.status) == (
            "slow",
            Status.FAILED,
            "size",
            Status.TIMED_OUT,
        )
        assert 0.05 <= failed.duration < 5
        assert 0.1 <= late.duration < 5


def test_important_failures_are_warnings_without_values() -> None:
    told = inner.call({"domain": "bad"}).metadata
    assert told.degraded
    assert told.warnings == ("`size` is important and failed (LookupError), so the record is degraded",)
    calm = flow.Pipeline("p", flow.optional(size)).call({"domain": "bad"}).metadata
    assert (calm.degraded, calm.warnings, calm.failure_count) == (False, (), 1)


@flow.enrichment
async def first(domain: str) -> str:
    if domain != "first":
        raise LookupError
    return "first"


@flow.enrichment
async def second(domain: str) -> str:
    return "second"


def test_members_of_a_composite_are_told_apart_and_do_not_count() -> None:
    used = flow.Pipeline("p", [flow.waterfall("phone", [first, second])])
    told = used.call({"domain": "a"}).metadata
    assert (told.services_executed, told.success_count, told.failure_count, told.failures) == (1, 1, 0, ())
    assert [(one.service, one.status) for one in told.members] == [
        ("phone.first", Status.FAILED),
        ("phone.second", Status.SUCCEEDED),
    ]
    (only,) = used.call({"domain": "first"}).metadata.members
    assert (only.service, only.status) == ("phone.first", Status.SUCCEEDED)


def test_the_services_inside_a_for_each_are_members() -> None:
    @flow.enrichment(priority="optional")
    async def length(word: str) -> int:
        if word == "bad":
            raise LookupError
        return len(word)

    used = flow.Pipeline("p", [flow.for_each("words", [length], item="word", into="lengths")])
    told = used.call({"words": ["a", "bb"]}).metadata
    assert (told.services_executed, told.success_count) == (1, 1)
    assert [one.status for one in told.members] == [Status.SUCCEEDED]
    told = used.call({"words": ["a", "bad"]}).metadata
    assert [(one.status, one.reason) for one in told.members] == [(Status.FAILED, "LookupError")]


def test_start_and_end_are_logged_with_counts_and_without_values(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dataflow.execution")
    result = inner.call({"domain": "bad"})
    started, ended = caplog.records
    assert started.execution_event == "started"  # type: ignore[attr-defined]
    assert started.execution_services == 1  # type: ignore[attr-defined]
    told = {name.removeprefix("execution_"): value for name, value in vars(ended).items() if "execution_" in name}
    assert told.pop("duration") > 0
    assert told == {
        "id": result.metadata.execution_id,
        "parent": None,
        "pipeline": "inner",
        "event": "ended",
        "services": 1,
        "succeeded": 0,
        "failed": 1,
        "degraded": True,
        "cost": 0.0,
    }
    assert "bad" not in caplog.text
    assert "secret" not in caplog.text


def test_a_critical_failure_is_logged_as_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dataflow.execution")
    with pytest.raises(CriticalServiceFailed):
        flow.Pipeline("p", flow.critical(size)).call({"domain": "bad"})
    assert caplog.records[-1].execution_event == "failed"  # type: ignore[attr-defined]
    assert caplog.records[-1].execution_critical == ("size",)  # type: ignore[attr-defined]


def test_nothing_is_printed_and_logging_may_be_switched_off(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    inner.call({"domain": "a"})
    assert capsys.readouterr() == ("", "")
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.WARNING, "dataflow.execution")
    inner.call({"domain": "a"})
    assert caplog.records == []
