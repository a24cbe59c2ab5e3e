"""Critical, important and optional services: what a failure means for one record, and the same in a run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import CriticalServiceFailed
from dataflow.outcomes import Status


def failing(name: str, bad: str) -> Any:
    @flow.enrichment(name=name)
    async def asked(kind: str) -> str:
        if bad in kind:
            raise LookupError("secret text")
        if "lost" in kind:
            raise flow.NotFound
        return name

    return asked


first, second, third, fourth = (failing(name, name[0]) for name in ("a_first", "b_second", "c_third", "d_fourth"))
pipeline = flow.Pipeline("p", [*flow.critical(first, second), *flow.important(third), *flow.optional(fourth)])
KINDS = ["", "c", "d", "cd", "lost", "a", "b", "ab", "abcd"]


def test_each_failed_critical_service_is_named() -> None:
    with pytest.raises(CriticalServiceFailed, match=r"`a_first`: LookupError; `b_second`: LookupError") as caught:
        pipeline.call({"kind": "abc"})
    assert caught.value.services == ("a_first", "b_second")


def test_one_record_and_a_run_agree(tmp_path: Path) -> None:
    table = pa.table({"kind": KINDS})
    run = pipeline.run(table, output="degrading", catalog=str(tmp_path), max_failures="100%")
    rows = {row["kind"]: row for row in run.to_arrow().to_pylist()}
    rejected = {row["source_row"]: row for row in run.rejects().to_pylist()}
    single: list[Any] = pipeline.call_many([{"kind": kind} for kind in KINDS], return_errors=True)
    for at, (kind, one) in enumerate(zip(KINDS, single, strict=True)):
        if isinstance(one, CriticalServiceFailed):
            assert rejected[at + 1]["service"] == one.services[0]
        else:
            assert one.data == rows[kind]
            assert (one.metadata.degraded, one.metadata.completeness) == (
                rows[kind]["degraded"],
                rows[kind]["completeness"],
            )
    assert [isinstance(one, CriticalServiceFailed) for one in single] == ["a" in kind or "b" in kind for kind in KINDS]
    assert [rows[kind]["degraded"] for kind in KINDS[:5]] == [False, True, False, True, False]
    assert [rows[kind]["completeness"] for kind in KINDS[:5]] == [1.0, 0.75, 0.75, 0.5, 0.0]
    assert "`c_third` failed for 3 records, which are marked degraded" in run.warnings


def test_a_later_important_service_wins_where_it_has_an_answer(tmp_path: Path) -> None:
    base = failing("base", "x").with_(into="company")
    better = failing("better", "fails").with_(into="company", overwrite="always")
    used = flow.Pipeline("p", [*flow.critical(base.with_(columns={"kind": "known"})), *flow.important(better)])
    records: list[dict[str, Any]] = [{"known": "", "kind": kind} for kind in ("", "fails", "lost")]
    records.append({"known": "", "kind": None})
    wanted = ["better", "base", "base", "base"]
    assert [used.call(record).data["company"] for record in records] == wanted
    run = used.run(pa.Table.from_pylist(records), output="merged", catalog=str(tmp_path), max_failures="100%")
    assert run.to_arrow()["company"].to_pylist() == wanted
    assert run.to_arrow()["degraded"].to_pylist() == [False, True, False, False]


def test_a_default_fills_in_for_a_later_service_that_fails() -> None:
    base = failing("base", "x").with_(into="company")
    better = failing("better", "fails").with_(into="company", overwrite="always", default="unknown")
    used = flow.Pipeline("p", [base, better])
    assert [used.call({"kind": kind}).data["company"] for kind in ("fails", "lost")] == ["unknown", None]
    assert used.call({"kind": ""}).data["company"] == "better"


def test_the_coordinator_maps_inputs_and_gathers_what_succeeded() -> None:
    @flow.enrichment
    async def reputation(address: str) -> int:
        await asyncio.sleep(0)
        return len(address)

    @flow.enrichment
    async def profile(handle: str) -> str:
        raise ConnectionError("down")

    @flow.enrichment(timeout="50ms")
    async def news(company: str) -> str:
        await asyncio.sleep(20)
        return company

    @flow.transformation
    def summary(reputation: int | None, profile: str | None, news: str | None, outcomes: flow.Outcomes) -> list[str]:
        values = {"reputation": reputation, "profile": profile, "news": news}
        return [f"{name}={values[name]}" for name, one in outcomes.items() if one.status is Status.SUCCEEDED]

    services = [
        reputation.with_(columns={"address": "e-mail"}),
        profile.with_(columns={"handle": "e-mail"}),
        news.with_(columns={"company": "employer"}),
        summary,
    ]
    used = flow.Pipeline("coordinator", services)
    record = {"e-mail": "a@b.example", "employer": "Acme"}
    for result in (used.call(record), asyncio.run(used.acall(record))):
        assert result.data["summary"] == ["reputation=11"]
        told = result.metadata
        assert (told.services_executed, told.success_count, told.failure_count) == (4, 2, 2)
        assert [(one.service, one.status, one.reason) for one in told.failures] == [
            ("profile", Status.FAILED, "ConnectionError"),
            ("news", Status.TIMED_OUT, "TimeoutError"),
        ]
        assert told.completeness == pytest.approx(1 / 3)
        assert told.degraded
        assert len(told.warnings) == 2
        assert told.total_duration < 5
