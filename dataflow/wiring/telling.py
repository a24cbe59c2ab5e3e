"""The story of one record: where it ended, what each service did for it, and which answers were used.

Most of it stands in the files of its version. What only the job can tell is told where the job is found again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dataflow.errors import CatalogError, DataflowError
from dataflow.outcomes import Status
from dataflow.plan.graph import Step
from dataflow.plan.partitions import PartitionSpec
from dataflow.plan.pipeline import Job
from dataflow.store.catalog import Catalog
from dataflow.store.commit import CommitRecord
from dataflow.store.dataset import Dataset
from dataflow.store.finding import Found, Place, find
from dataflow.store.schemas import schema_of_text
from dataflow.telemetry.services import ServiceStatistics
from dataflow.wiring import jobs
from dataflow.wiring.opening import open_dataset
from dataflow.wiring.preparation import DEFAULT_CATALOG
from dataflow.wiring.retracing import Trace, age_of, retrace
from dataflow.wiring.stopped import find_again
from dataflow.wiring.story import Chapter, Story, cut


def why(
    dataset: str | Dataset,
    key: Any,
    *,
    version: int | None = None,
    catalog: str = DEFAULT_CATALOG,
    job: Job | None = None,
) -> Story:
    """Tell what became of one record, and why; no call is made for it.

    Args:
        dataset: The dataset, as `flow.open` takes it.
        key: The value of the key column; a tuple or a mapping for several; `"file:row"` of the source always.
        version: Another version than the newest.
        catalog: Where the dataset is.
        job: The job, for a run that was started from Python; a command's is found again.

    Raises:
        CatalogError: There is no such dataset or version.
        DeclarationError: The key names other columns than records are named by.
    """
    name = f"{dataset}@v{version}" if version is not None else dataset
    opened = name if isinstance(name, Dataset) else open_dataset(name, catalog=catalog)
    found = find(opened, key)
    if found.place is None:
        return Story(dataset=str(opened), key=found.key, ended="nowhere", near=found.near)
    return _Teller(opened, found, found.place, job=job).tell()


class _Teller:
    """Collects the story of one record."""

    def __init__(self, dataset: Dataset, found: Found, place: Place, *, job: Job | None) -> None:
        self._dataset = dataset
        self._origin = origin_of(dataset, place.part["identity"])
        self._found = found
        self._place = place
        self._job = job
        self._notes: list[str] = []

    def tell(self) -> Story:
        place, kind = self._place, "rejects" if self._place.rejected else "output"
        rejected = self._rejected()
        trace = self._retraced(rejected)
        record = self._record(trace)
        folder = self._dataset.path if kind == "output" else f"{self._dataset.meta}/rejects"
        file = place.part if kind == "output" else place.part["rejects"]
        return Story(
            dataset=str(self._dataset),
            key=self._found.key,
            ended=kind,
            count=self._found.count,
            run=self._origin.manifest["run"],
            version=self._origin.version,
            source_file=place.file,
            source_row=place.number,
            part=f"{folder}/{file['name']}",
            part_row=place.row,
            rejected=None if rejected is None else cut(rejected),
            record=cut(record),
            chapters=tuple(self._chapters(record, trace)),
            notes=tuple(self._notes),
        )

    def _rejected(self) -> dict[str, Any] | None:
        if not self._place.rejected:
            return None
        table = self._dataset.side_of("rejects", self._place.part["identity"])
        row = table.slice(self._place.row, 1).to_pylist()[0]
        return {name: row[name] for name in ("service", "reason", "error", "raw") if row[name] is not None}

    def _record(self, trace: Trace | None) -> dict[str, Any]:
        if self._place.rejected:
            return {} if trace is None else dict(trace.record)
        table = self._dataset.columns_of(self._place.part, self._dataset.schema.names)
        row: dict[str, Any] = table.slice(self._place.row, 1).to_pylist()[0]
        return row

    def _failures(self) -> list[dict[str, Any]]:
        table = self._dataset.side_of("failures", self._place.part["identity"]).to_pylist()
        return [row for row in table if row["source_row"] == self._place.number]

    def _retraced(self, rejected: Mapping[str, Any] | None) -> Trace | None:
        if self._place.number is None:
            self._notes.append("the plan of its run is gone, so its source and its failures cannot be told")
            return None
        if rejected is not None and rejected["service"] == "source":
            return None
        try:
            folder = Catalog(self._origin.home.rpartition("/")[0]).run(self._origin.manifest["run"])
            spec = _spec_of(folder.plan(), self._place.part["identity"])
            found = self._found_job() or find_again(folder)
            trace = retrace(found, folder, spec=spec, number=self._place.number, failures=self._failures())
        except DataflowError as error:
            self._notes.append(f"which services found their answer remembered, or skipped it, cannot be told: {error}")
            return None
        if trace.changed:
            self._notes.append(f"declared otherwise since, so told from the files: {', '.join(sorted(trace.changed))}")
        return trace

    def _found_job(self) -> jobs.Found | None:
        if self._job is None:
            return None
        return jobs.Found(job=self._job, program=None, parameters={}, reference=None)

    def _chapters(self, record: Mapping[str, Any], trace: Trace | None) -> list[Chapter]:
        failures = {row["service"]: row for row in self._failures()} if self._place.number is not None else {}
        counts = self._counts()
        verdicts = {one["validator"]: one for one in record.get("validations") or ()}
        shaky: set[int] = set()
        chapters = []
        for name in self._services(trace):
            chapter = _by_files(
                name, failure=failures.get(name), counts=counts.get(name), known=self._place.number is not None
            )
            if trace is not None:
                chapter = _by_trace(chapter, trace, counts=counts.get(name), started=self._started(), shaky=shaky)
            verdict = verdicts.get(name)
            if verdict is not None:
                chapter = replace(chapter, verdict=tuple(verdict["errors"] or (() if verdict["is_valid"] else ("",))))
            chapters.append(self._with_final(chapter, record, trace))
        return chapters

    def _services(self, trace: Trace | None) -> list[str]:
        if trace is not None:
            return [step.service.name for step in trace.steps]
        return list(self._dataset.statistics["services"])

    def _with_final(self, chapter: Chapter, record: Mapping[str, Any], trace: Trace | None) -> Chapter:
        """The chapter with values as the output has them: of the last one who wrote a column."""
        if self._place.rejected:
            return chapter
        if trace is None:
            name = chapter.service
            own = name in record and name not in self._source_columns()
            return replace(chapter, wrote=cut({name: record[name]} if own else {}))
        last = {column.name: step.service.name for step in trace.steps for column in step.writes}
        step = next(one for one in trace.steps if one.service.name == chapter.service)
        final = {
            one.name: record[one.name]
            for one in step.writes
            if last[one.name] == chapter.service and one.name in record
        }
        return replace(chapter, wrote=cut({**chapter.wrote, **final}))

    def _source_columns(self) -> list[str]:
        """The columns that a service of the same name need not have written."""
        try:
            names: list[str] = schema_of_text(self._origin.plan()["source"]).names
        except CatalogError:
            return []
        return names

    def _started(self) -> float:
        folder = Catalog(self._origin.home.rpartition("/")[0]).run(self._origin.manifest["run"])
        return datetime.fromisoformat(folder.head()["started"]).timestamp()

    def _counts(self) -> Mapping[str, ServiceStatistics]:
        record = _record_of(self._dataset, self._place.part["identity"])
        return {} if record is None else record.counts.statistics.services


def _by_files(
    name: str, *, failure: Mapping[str, Any] | None, counts: ServiceStatistics | None, known: bool
) -> Chapter:
    """What the files of the version say: the failure, or how all others of the partition have ended."""
    if failure is not None:
        return Chapter(
            service=name,
            status=failure["status"],
            reason=failure["reason"],
            error=failure.get("error"),
            http_status=failure["http_status"],
            attempts=failure["attempts"],
            duration=failure["duration"],
            cost=failure["cost"],
        )
    if counts is None or not known:
        return Chapter(service=name)
    ends = [end for end in (Status.SUCCEEDED, Status.CACHED, Status.NOT_FOUND, Status.SKIPPED) if getattr(counts, end)]
    if len(ends) == 1:
        return Chapter(service=name, status=ends[0].value)
    return Chapter(service=name, reason=f"{_ends(counts)}: only its job can tell which")


def _ends(counts: ServiceStatistics | None) -> str:
    """How the records of a partition have ended that did not fail."""
    ends = (Status.SUCCEEDED, Status.CACHED, Status.NOT_FOUND, Status.SKIPPED)
    found = [end.replace("_", " ") for end in ends if counts is None or getattr(counts, end)]
    return " or ".join(found)


def _why_untold(step: Step, trace: Trace) -> str:
    if step.service.name in trace.changed:
        return "it is declared otherwise by now"
    if step.service.calls_out and step.service.api is None:
        return "it waits for something outside, and is not called for this"
    if step.service.api is not None and step.service.name in trace.outcomes:
        return "its answer is not remembered any more"
    return "it needs what cannot be told"


def _by_trace(
    chapter: Chapter, trace: Trace, *, counts: ServiceStatistics | None, started: float, shaky: set[int]
) -> Chapter:
    """The chapter with what the job tells; `shaky` are the steps of which it tells nothing, and it grows."""
    step = next(one for one in trace.steps if one.service.name == chapter.service)
    outcome, answer = trace.outcomes.get(chapter.service), trace.answers.get(chapter.service)
    failed = chapter.status is not None and chapter.attempts is not None
    unsure = outcome is None or (outcome.status is Status.NOT_ATTEMPTED and not failed)
    if unsure or shaky.intersection(step.after):
        shaky.add(step.index)
        if not failed and chapter.status is None:
            return replace(chapter, reason=f"{_ends(counts)}: {_why_untold(step, trace)}")
        return chapter
    assert outcome is not None
    errors = trace.verdicts.get(chapter.service)
    verdict = tuple(errors or ()) if chapter.service in trace.verdicts else None
    chapter = replace(chapter, wrote=trace.values.get(chapter.service, {}), verdict=verdict)
    if failed:
        return chapter
    if answer is not None:
        told = datetime.fromtimestamp(answer.created, UTC).isoformat(timespec="seconds")
        chapter = replace(chapter, answered=told, age=age_of(answer), answer_cost=answer.cost)
    status = outcome.status
    if status is Status.CACHED:
        new = answer is not None and answer.created >= started
        called = counts is not None and (not counts.cached or (counts.succeeded and new))
        status = Status.SUCCEEDED if called else Status.CACHED
    reason = outcome.reason if status in (Status.SKIPPED, Status.FAILED) else None
    return replace(chapter, status=status.value, reason=reason)


def origin_of(dataset: Dataset, identity: str) -> Dataset:
    """The version that has made a partition, which later ones have carried over as it was, with its counts."""
    catalog, found = Catalog(dataset.home.rpartition("/")[0]), dataset
    record = _record_of(dataset, identity)
    while record is not None and record.taken_from is not None:
        try:
            found = catalog.open(f"{dataset.name}@v{record.taken_from}")
        except CatalogError:
            break
        record = _record_of(found, identity)
    return found


def _record_of(dataset: Dataset, identity: str) -> CommitRecord | None:
    if dataset.version is None:
        folder = Catalog(dataset.home.rpartition("/")[0]).run(dataset.manifest["run"])
        return folder.committed().get(identity)
    return dataset.records().get(identity)


def _spec_of(plan: Mapping[str, Any], identity: str) -> PartitionSpec:
    for one in plan["specs"]:
        if one["identity"] == identity:
            return PartitionSpec.from_dict(one)
    raise CatalogError(f"the partition {identity} is not in the plan of its run")
