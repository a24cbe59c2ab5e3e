"""The numbers behind every face, as frozen values: what is shown is decided here, how it looks in `render`.

Nothing here draws, reads a file or knows a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflow.faces.queues import Queue, queues_of
from dataflow.faces.texts import cause, count, counted, duration, money, printable, rate, share
from dataflow.outcomes import Status

if TYPE_CHECKING:
    from dataflow.store.dataset import Dataset
    from dataflow.wiring.result import Result
    from dataflow.wiring.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of texts.

    Attributes:
        headers: One for each column.
        rows: As many texts in each.
        right: The columns, by position, that stand flush right.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsView:
    """What a run's statistics come to, without what is zero.

    Attributes:
        summary: Phrases about all records, the most important first.
        services: Outcomes by service, in listed order.
        errors: For each service with failures, its name and its classes of errors, the most frequent first.
        waits: For each API whose calls waited, its name and what for: its services stand in one queue.
    """

    summary: tuple[str, ...]
    services: Table
    errors: tuple[tuple[str, str], ...]
    waits: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as a person sees it.

    Attributes:
        id: Names the run.
        dataset: The dataset it publishes.
        version: The number of the version that was published, or None.
        path: The folder of that version, or None.
        status: `running`, `published`, `unchanged`, `stopped` or `failed`.
        reason: Why it ended before its time; empty where it did not.
        done: Partitions committed.
        partitions: Partitions planned.
        statistics: The report of its statistics so far; empty where there are none.
        notes: What was decided.
        warnings: What deserves a look.
        errors: The most frequent errors, in sentences.
    """

    id: str
    dataset: str
    version: int | None = None
    path: str | None = None
    status: str = "running"
    reason: str = ""
    done: int = 0
    partitions: int = 0
    statistics: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """The dataset, with the version where there is one."""
        return target(self.dataset, self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetView:
    """A version of a dataset, or what a run has committed so far.

    Attributes:
        name: Of the dataset.
        version: Its number, or None for a run that is not published.
        path: The folder with the parts.
        rows: Records in the output.
        rejected: Records in the rejects.
        parts: Files.
        bytes: On disk, of all parts.
        run: The id of the run that wrote it.
        created: When, as ISO text.
        key: The columns that name a record; empty for file and row.
        state: Of a run that is not published: how far it has come, and why no further.
        lacks: What was left out of it, in words; empty where nothing was.
        columns: Name and type of each column.
        nulls: How many each column has, where that is known.
        first: The first records; empty where they are not at hand.
    """

    name: str
    version: int | None
    path: str
    rows: int
    rejected: int = 0
    parts: int = 0
    bytes: int = 0
    run: str = ""
    created: str = ""
    key: tuple[str, ...] = ()
    state: str = ""
    lacks: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    nulls: Mapping[str, int] = field(default_factory=dict)
    first: Sequence[Mapping[str, Any]] = ()

    @property
    def target(self) -> str:
        """The dataset, with the version where there is one."""
        return target(self.name, self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultView:
    """One record after a pipeline.

    Attributes:
        summary: Phrases about the execution.
        data: Column and value of the record, without the verdicts.
        verdicts: For each validation: its name, whether the record is valid, the errors.
        failures: Service, status, reason and error of what failed.
        rejected: Why a run would reject the record, or None.
    """

    summary: tuple[str, ...]
    data: tuple[tuple[str, Any], ...]
    verdicts: tuple[tuple[str, bool, str], ...]
    failures: tuple[tuple[str, str, str, str], ...]
    rejected: str | None


def target(dataset: str, version: int | None) -> str:
    """A version of a dataset as commands take it: `leads@v3`."""
    return dataset if version is None else f"{dataset}@v{version}"


def view_run(run: Run) -> RunView:
    """What there is to see of a run."""
    unchanged = run.status == "unchanged" and run.dataset is not None
    return RunView(
        id=run.id,
        dataset=run.output,
        version=run.version,
        path=run.path,
        status=run.status,
        reason=run.reason or "",
        done=run.done,
        partitions=run.partitions,
        statistics=run.dataset.statistics if unchanged and run.dataset else run.statistics,
        notes=tuple(run.notes),
        warnings=tuple(run.warnings),
        errors=() if run.status == "running" else tuple(map(str, run.errors)),
    )


def view_dataset(dataset: Dataset, *, first: Sequence[Mapping[str, Any]] = ()) -> DatasetView:
    """What there is to see of a dataset, from its manifest; `first` are its first records, where they were read."""
    manifest = dataset.manifest
    return DatasetView(
        name=dataset.name,
        version=dataset.version,
        path=dataset.path,
        rows=manifest["rows"],
        rejected=manifest["rejected"],
        parts=len(manifest["parts"]),
        bytes=manifest["bytes"],
        run=manifest["run"],
        created=manifest["created"],
        key=tuple(manifest["key"]),
        state=_state(manifest),
        lacks=_lacks(dataset),
        columns=tuple((column["name"], column["type"]) for column in manifest["columns"]),
        nulls={name: one["nulls"] for name, one in dataset.statistics.get("columns", {}).items()},
        first=first,
    )


def _state(manifest: Mapping[str, Any]) -> str:
    if "state" not in manifest:
        return ""
    done = f"{manifest['state']}, {len(manifest['parts'])} of {counted(manifest['planned'], 'partition')}"
    return f"{done}: {manifest['reason']}" if manifest["reason"] else done


def _lacks(dataset: Dataset) -> str:
    if dataset.limit is not None:
        return f"limited to the first {counted(dataset.limit, 'record')}"
    unattempted = dataset.statistics.get("not_attempted_records", 0)
    return f"not attempted for {counted(unattempted, 'record')}" if unattempted and dataset.version else ""


def view_statistics(report: Mapping[str, Any]) -> StatisticsView:
    """What a report comes to; its form is that of `Statistics.report`."""
    services = report.get("services", {})
    errors = tuple((name, _errors(one["errors"])) for name, one in services.items() if one.get("errors"))
    waits = tuple((one.name, waited) for one in queues_of(services.items()).values() if (waited := _waited(one)))
    return StatisticsView(summary=_summary(report), services=_services(services), errors=errors, waits=waits)


def _summary(report: Mapping[str, Any]) -> tuple[str, ...]:
    parts = {
        "valid": report.get("valid_records"),
        "invalid": report.get("invalid_records"),
        "rejected": report.get("rejected_records"),
        "degraded": report.get("degraded_records"),
        "not attempted": report.get("not_attempted_records"),
    }
    phrases = [counted(report.get("total_records", 0), "record")]
    phrases += [f"{count(value)} {name}" for name, value in parts.items() if value]
    if report.get("total_duration"):
        phrases.append(duration(report["total_duration"]))
    if report.get("records_per_second"):
        phrases.append(rate(report["records_per_second"]))
    if report.get("completeness") is not None:
        phrases.append(f"{share(report['completeness'])} complete")
    phrases += _bill(report)
    return tuple(phrases)


def _bill(report: Mapping[str, Any]) -> list[str]:
    """What the records have cost, and beside it what was paid for work that was lost or done again."""
    if not report.get("cost"):
        return []
    lost: float = report.get("lost_cost", 0.0)
    priced = " ".join(filter(None, ["cost", report.get("currency"), money(report["cost"] - lost)]))
    return [f"{priced}, and {money(lost)} for calls of lost partitions" if lost else priced]


_COUNTS = (*(status.value for status in Status), "deduplicated", "calls", "retries")


def _services(services: Mapping[str, Mapping[str, Any]]) -> Table:
    services = {name: one if _calls_out(one) else {**one, "calls": 0} for name, one in services.items()}
    used = [name for name in _COUNTS if any(one.get(name) for one in services.values())]
    priced = any(one.get("cost") for one in services.values())
    models = any(one.get("tokens") for one in services.values())
    rows = [
        (
            name,
            *(count(one[column]) if one.get(column) else "" for column in used),
            *((_tokens(one.get("tokens")),) if models else ()),
            *((money(one["cost"]) if one.get("cost") else "",) if priced else ()),
            _slowest(one),
        )
        for name, one in services.items()
    ]
    shown = [*(name.replace("_", " ") for name in used), *["tokens"] * models, *["cost"] * priced]
    headers = ("service", *shown, "slowest")
    return Table(headers=headers, rows=tuple(rows), right=frozenset(range(1, len(headers))))


def _tokens(tokens: Mapping[str, int] | None) -> str:
    return f"{count(tokens['input'])} in, {count(tokens['output'])} out" if tokens else ""


def _calls_out(service: Mapping[str, Any]) -> bool:
    """Whether its calls are worth a column: there are not as many as records, or they had to wait."""
    shared = any(service.get(name) for name in ("cached", "deduplicated", "retries"))
    return shared or any(service.get("waited", {}).values())


def _slowest(service: Mapping[str, Any]) -> str:
    longest = service.get("duration", {}).get("max")
    return "" if longest is None else duration(longest)


_NOTICED = 1.0
"""Seconds of waiting, of all calls together, below which nobody asks for the reason."""


def _waited(queue: Queue) -> str:
    """What the calls of a queue waited for on average, the longest first."""
    calls = max(queue.calls, 1)
    told = [(seconds / calls, reason) for reason, seconds in queue.reasons if seconds >= _NOTICED]
    return ", ".join(f"{duration(seconds)} a call for {cause(reason)}" for seconds, reason in told)


def _errors(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{printable(name)} {count(number)}" for name, number in errors.items())


def view_result(result: Result) -> ResultView:
    """What there is to see of one record."""
    metadata = result.metadata
    phrases = [f"{metadata.success_count} of {counted(metadata.services_executed, 'service')} succeeded"]
    phrases.append(duration(metadata.total_duration))
    if metadata.completeness is not None:
        phrases.append(f"{share(metadata.completeness)} complete")
    if metadata.cost:
        phrases.append(f"cost {money(metadata.cost)}")
    return ResultView(
        summary=tuple(phrases),
        data=tuple((name, value) for name, value in result.data.items() if name != "validations"),
        verdicts=_verdicts(result.data.get("validations") or ()),
        failures=tuple((one.service, one.status.value, one.reason or "", one.error or "") for one in metadata.failures),
        rejected=metadata.rejected,
    )


def _verdicts(validations: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, bool, str], ...]:
    return tuple((one["validator"], one["is_valid"], "; ".join(one["errors"] or ())) for one in validations)
