"""The board of a run: all that a live page shows of it, as plain JSON values. Pure; time is an argument.

What is counted is given as values; how a board looks is the business of the faces, how it gets there of the engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataflow.policies.breaker import shown_state
from dataflow.policies.money import cleaned
from dataflow.telemetry.services import STATUSES, ServiceStatistics
from dataflow.telemetry.statistics import Statistics

FORM = 1
"""The form of a board; a page that does not know it says so."""
_WORKERS = 200
_TEXTS = 20
_REASONS = 12
_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What of a run does not change.

    Attributes:
        run: Its id.
        dataset: What it publishes.
        catalog: Where.
        pipeline: The name of its pipeline.
        started: When, in seconds since 1970.
        services: In listed order: `name`, `kind`, `priority`, `api`, `level`, `member_of` of each.
        apis: The declared limits of each API, as texts.
        graph: The picture of the graph, with the places where numbers go.
        page: Where the page is, or None.
    """

    run: str
    dataset: str
    catalog: str
    pipeline: str
    started: float
    services: Sequence[Mapping[str, Any]] = ()
    apis: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    graph: str = ""
    page: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Where a run is at some moment.

    Attributes:
        status: `running`, `stopping`, `published`, `unchanged`, `stopped` or `failed`.
        reason: Why it ended before its time.
        error: The class of the error that has ended it.
        counts: What is committed.
        planned: Partitions planned.
        done: Partitions committed.
        records: Records planned, None where only reading tells.
        seconds: Since it began.
        speed: Records a second, lately.
        left: Seconds until the end at this speed.
        stage: What is done before the partitions, such as calling distinct keys: a title, done and planned.
        budgets: By purse: `title`, `spent` and `limit`.
        version: What was published.
        warnings: What deserves a look.
        notes: What was decided.
    """

    status: str
    counts: Statistics
    reason: str | None = None
    error: str | None = None
    planned: int = 0
    done: int = 0
    records: int | None = None
    seconds: float = 0.0
    speed: float | None = None
    left: float | None = None
    stage: tuple[str, int, int] | None = None
    budgets: Sequence[Mapping[str, Any]] = ()
    version: int | None = None
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(slots=True)
class Rejects:
    """The rejected records by service and reason, with the newest examples."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    examples: dict[tuple[str, str], deque[tuple[str, str]]] = field(default_factory=dict)

    def add(self, service: str, reason: str, records: int, examples: Sequence[tuple[str, str]]) -> None:
        """Count some more; the first examples given are the newest."""
        name = service, reason
        self.counts[name] = self.counts.get(name, 0) + records
        self.examples.setdefault(name, deque(maxlen=_EXAMPLES)).extendleft(reversed(examples[:_EXAMPLES]))

    def report(self) -> list[dict[str, Any]]:
        """The most frequent reasons first."""
        listed = sorted(self.counts.items(), key=lambda one: (-one[1], one[0]))[:_REASONS]
        return [
            {
                "service": service,
                "reason": reason,
                "records": count,
                "examples": [{"record": record, "error": error} for record, error in self.examples[service, reason]],
            }
            for (service, reason), count in listed
        ]


def make_board(
    head: Head,
    snapshot: Snapshot,
    *,
    rejects: Rejects,
    apis: Mapping[str, Mapping[str, Any]],
    under_way: Sequence[Mapping[str, Any]] = (),
    workers: Sequence[Mapping[str, Any]] = (),
    now: float,
) -> dict[str, Any]:
    """All that is shown of a run.

    Args:
        head: What of it does not change.
        snapshot: Where it is.
        rejects: The rejected records so far.
        apis: The status of each API, as the control plane gives it.
        under_way: What each process has under way; see `engine.tally`.
        workers: Of the cluster, empty where there is none.
        now: Seconds since 1970.
    """
    counts = snapshot.counts
    running = sum(one["partitions"] for one in under_way)
    return {
        "form": FORM,
        "run": head.run,
        "dataset": head.dataset,
        "version": snapshot.version,
        "catalog": head.catalog,
        "pipeline": head.pipeline,
        "status": snapshot.status,
        "reason": snapshot.reason,
        "error": snapshot.error,
        "started": head.started,
        "at": now,
        "seconds": round(snapshot.seconds, 3),
        "left": snapshot.left,
        "page": head.page,
        "stage": _stage(snapshot.stage),
        "partitions": {"planned": snapshot.planned, "done": snapshot.done, "running": running},
        "records": {
            "planned": snapshot.records,
            "done": counts.total_records,
            "valid": counts.valid_records,
            "invalid": counts.invalid_records,
            "rejected": counts.rejected_records,
            "degraded": counts.degraded_records,
            "not_attempted": counts.not_attempted_records,
            "per_second": snapshot.speed,
        },
        "cost": cleaned(counts.cost + sum(_costs(under_way))),
        "currency": counts.currency,
        "budgets": list(snapshot.budgets),
        "services": [_service(one, counts, under_way) for one in head.services],
        "apis": [_api(name, declared, apis.get(name)) for name, declared in head.apis.items()],
        "rejects": rejects.report(),
        "workers": [_worker(one, head.apis) for one in workers[:_WORKERS]],
        "warnings": list(snapshot.warnings[-_TEXTS:]),
        "notes": list(snapshot.notes[-_TEXTS:]),
        "graph": head.graph,
    }


def _stage(stage: tuple[str, int, int] | None) -> dict[str, Any] | None:
    return None if stage is None else {"title": stage[0], "done": stage[1], "planned": stage[2]}


def _costs(under_way: Sequence[Mapping[str, Any]]) -> list[float]:
    return [service.get("cost", 0.0) for one in under_way for service in one["services"].values()]


def _service(line: Mapping[str, Any], counts: Statistics, under_way: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    name = line["name"]
    kind = {"kind": line["kind"], "priority": line["priority"]}
    parts = [
        ServiceStatistics.from_dict({**one["services"][name], **kind}) for one in under_way if name in one["services"]
    ]
    committed = counts.services.get(name)
    whole = (
        ServiceStatistics.merged(name, [*([] if committed is None else [committed]), *parts])
        if parts or committed
        else None
    )
    return {**line, **_counts(whole or ServiceStatistics.from_dict(kind))}


def _counts(part: ServiceStatistics) -> dict[str, Any]:
    found, missed = part.succeeded + part.cached, part.not_found
    return {
        "records": part.records,
        "calls": part.calls,
        **{status: getattr(part, status) for status in STATUSES},
        "deduplicated": part.deduplicated,
        "retries": part.retries,
        "cost": cleaned(part.cost),
        "p50": part.duration.percentile(0.5),
        "p95": part.duration.percentile(0.95),
        "waited": part.waited.to_dict(),
        "errors": dict(sorted(part.errors.items(), key=lambda one: (-one[1], one[0]))[:3]),
        "found": found / (found + missed) if missed and found + missed else None,
    }


def _api(name: str, declared: Mapping[str, Any], status: Mapping[str, Any] | None) -> dict[str, Any]:
    known = status or {}
    breaker = known.get("breaker", {})
    return {
        "name": name,
        **declared,
        "rate": known.get("rate", 0.0),
        "allowed": known.get("allowed"),
        "in_flight": known.get("in_flight", 0),
        "concurrency": known.get("concurrency", declared.get("concurrency")),
        "waiting": dict(known.get("waiting_for", {})),
        "breaker": shown_state(breaker.get("state", "closed"), breaker.get("held")),
        "rest": breaker.get("rest", 0.0),
        "pause": known.get("pause", 0.0),
    }


def _worker(worker: Mapping[str, Any], apis: Collection[str]) -> dict[str, Any]:
    leases = {api: lease for api, lease in worker["leases"].items() if api in apis}
    return {**worker, "leases": leases}
