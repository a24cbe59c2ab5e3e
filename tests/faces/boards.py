"""Boards for tests: real ones, made of statistics as a run makes them."""

from __future__ import annotations

from typing import Any

from dataflow.outcomes import Kind, Priority
from dataflow.telemetry.board import Head, Rejects, Snapshot, make_board
from dataflow.telemetry.durations import Durations
from dataflow.telemetry.services import Waited
from dataflow.telemetry.statistics import ServiceStatistics, Statistics

STARTED = 1_790_000_000.0


def line(name: str, *, kind: str = "enrichment", api: str | None = None, level: int = 0) -> dict[str, Any]:
    return {"name": name, "kind": kind, "priority": "important", "api": api, "level": level, "member_of": ""}


def counted(records: int, *, seed: int = 0, calls: bool = True) -> ServiceStatistics:
    failed, late, missed = records * (seed % 5) // 100, records * (seed % 3) // 100, records * (seed % 7) // 50
    cached, skipped = records * (seed % 4) // 20, records // 50
    return ServiceStatistics(
        kind=Kind.ENRICHMENT,
        priority=Priority.IMPORTANT,
        records=records,
        calls=records - cached - skipped if calls else records,
        succeeded=records - failed - late - missed - cached - skipped,
        cached=cached,
        not_found=missed,
        failed=failed,
        timed_out=late,
        skipped=skipped,
        retries=failed,
        cost=records * 0.00005 if calls else 0.0,
        duration=Durations.of([0.05 + 0.001 * (at % 300) for at in range(300)]),
        waited=Waited(rate=0.12 * records, concurrency=0.03 * records) if calls else Waited(),
        errors={"HTTP 503": failed} if failed else {},
    )


def status(**given: Any) -> dict[str, Any]:
    """What the control plane says of an API."""
    plain: dict[str, Any] = {
        "rate": 148.2,
        "allowed": 150.0,
        "in_flight": 17,
        "concurrency": 20,
        "waiting_for": {"rate": 212},
        "breaker": {"state": "closed", "held": None, "rest": 0.0},
        "pause": 0.0,
    }
    return {**plain, **given}


def worker(at: int, *, api: str = "acme") -> dict[str, Any]:
    return {
        "address": f"tcp://127.0.0.1:{40000 + at}",
        "name": str(at),
        "threads": 2,
        "tasks": 3,
        "memory": 620_000_000 + 10_000_000 * at,
        "memory_limit": 4_000_000_000,
        "cpu": 84.0,
        "leases": {api: {"in_flight": 8, "waiting": 100, "share": 10}},
    }


def board(
    names: list[str],
    *,
    status_word: str = "running",
    reason: str | None = None,
    apis: dict[str, dict[str, Any]] | None = None,
    rejects: Rejects | None = None,
    graph: str = "",
    warnings: tuple[str, ...] = (),
    done: int = 12,
    **texts: str,
) -> dict[str, Any]:
    """A board of a run with these services, each of the API `acme` but the first two."""
    found = apis if apis is not None else {"acme": status()}
    lines = [
        line(name, api=next(iter(found), None) if at > 1 else None, level=at // 3) for at, name in enumerate(names)
    ]
    services = {name: counted(12_000 - 100 * at, seed=at, calls=at > 1) for at, name in enumerate(names)}
    records = 12_000 if done else 0
    counts = Statistics(
        total_records=records,
        valid_records=records * 95 // 100,
        invalid_records=records * 3 // 100,
        rejected_records=records * 2 // 100,
        degraded_records=records // 100,
        cost=8.25,
        currency="USD",
        services=services if done else {},
    )
    head = Head(
        run="20261128T111723-7bde55",
        dataset=texts.get("dataset", "leads"),
        catalog="datasets",
        pipeline=texts.get("pipeline", "lead quality"),
        started=STARTED,
        services=lines,
        apis={name: {"rates": ["150/s", "50000/day"], "concurrency": 20} for name in found},
        graph=graph,
    )
    snapshot = Snapshot(
        status=status_word,
        reason=reason,
        counts=counts,
        planned=40,
        done=done,
        records=40_000,
        seconds=84.0,
        speed=142.9 if done else None,
        left=196.0 if done and done < 40 else None,
        budgets=[
            {"title": "budget", "spent": 8.25, "limit": 10.0},
            {"title": f"budget of `{names[-1]}`", "spent": 2.0, "limit": 2.0},
        ],
        version=3 if status_word == "published" else None,
        warnings=warnings,
        notes=["distinct inputs, each called once before the partitions are run: `company`"],
    )
    under_way = [{"partitions": 3, "services": {names[-1]: {"succeeded": 40, "records": 40, "calls": 40}}}]
    return make_board(
        head,
        snapshot,
        rejects=rejects or some_rejects(),
        apis=found,
        under_way=under_way if status_word == "running" else [],
        workers=[worker(at, api=next(iter(found), "acme")) for at in range(3)],
        now=STARTED + 84,
    )


def some_rejects() -> Rejects:
    rejects = Rejects()
    rejects.add("email_syntax", "invalid", 214, [("L-00017", "no address"), ("L-00102", "no address")])
    rejects.add("source", "unreadable", 26, [("leads.csv, row 812", "column `amount`: not a number")])
    return rejects
