"""A run from beginning to end: plan, lock, resume or start, drive, publish.

Each decision is made where it is pure, in `plan`, `policies` and `engine`; here they meet the catalog.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dataflow.engine.arrow import keep_pandas_out
from dataflow.engine.drive import GRACE, Engine, Report, drive, stop_after, stop_on_signal
from dataflow.engine.fate import failures_schema, rejects_schema
from dataflow.engine.http.offline import SESSIONS
from dataflow.engine.program import Program, pack_object
from dataflow.engine.result import Completion
from dataflow.errors import DataflowError, GuardrailReached, Interrupted, LimitReached, ServiceError
from dataflow.outcomes import Event, Priority, Traffic
from dataflow.plan.fingerprint import changes, fingerprints
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import PartitionSpec, SourcePlan, known_rows
from dataflow.plan.pipeline import Job
from dataflow.policies.guardrail import MaxFailures
from dataflow.services.context import Context
from dataflow.services.units import share_or_count
from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder
from dataflow.store.dataset import Dataset
from dataflow.store.schemas import Schemas
from dataflow.telemetry.statistics import Statistics
from dataflow.wiring.binding import bind_pipeline, check_key, lookup_tables, prepare_arrow, wanted_types
from dataflow.wiring.engines import cluster_engine, local_engine, uses_processes
from dataflow.wiring.inputs import check_columns, partition_bytes, plan_source, resolve_source
from dataflow.wiring.run import Run
from dataflow.wiring.secrets import require_secrets
from dataflow.wiring.settings import Settings, read_settings
from dataflow.wiring.traffic import Watch
from dataflow.wiring.worker import completion, make_setup, make_work

_CLEAN_ENDS = (Interrupted, GuardrailReached, LimitReached)
"""What ends a run before its time and lets the same command go on."""

_STOPPING = f"no new calls begin, those in flight have {GRACE:g} s to end; a second Ctrl-C does not wait for them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A job bound to its source; `rows` is None where only reading tells how many records there are."""

    job: Job
    graph: Graph
    source: SourcePlan
    tables: dict[str, pa.Table]
    fingerprints: dict[str, str]
    rows: int | None


def run(job: Job, *, program: Program | None = None, **settings: Any) -> Run:
    """Run a job and publish its output; see `Settings` for what may be set.

    Args:
        job: What to run.
        program: How the job travels to workers, where it came from a file; else it is packed.
        **settings: See `Settings`.

    Raises:
        DeclarationError: The job does not fit its source.
        SourceError: The source cannot be read.
        OutputLocked: Another run holds the output.
        GuardrailReached: Too many failures; what is done is kept.
        LimitReached: The deadline has come; what is done is kept.
        Interrupted: Stopped by a signal, or partitions are left; the same call goes on.
        ClusterError: The cluster cannot be reached, or was lost.
        StoreError: Something could not be committed or published.
    """
    chosen = read_settings(settings)
    current = Run(id=new_id(), output=job.output, catalog=str(chosen.catalog))
    if chosen.wait:
        _Execution(job, chosen, current, program).perform()
        return current

    def background() -> None:
        try:
            _Execution(job, chosen, current, program).perform()
        except BaseException as error:
            current._error = error
        finally:
            current._ended.set()

    current._thread = threading.Thread(target=background, name=f"dataflow-{current.id}", daemon=True)
    current._thread.start()
    return current


def new_id() -> str:
    """A run id that sorts by time and does not repeat."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def plan_job(
    job: Job, catalog: Catalog, *, limit: int | None = None, parameters: Mapping[str, Any] | None = None
) -> Planned:
    """Bind a job to its source.

    Args:
        job: What to run.
        catalog: Where its output goes, and where names of datasets are looked up.
        limit: The first records that are run, or None for all.
        parameters: What `flow.Context.parameters` will hold.

    Raises:
        DataflowError: The source cannot be read, or the pipeline does not fit it.
    """
    keep_pandas_out()
    found = resolve_source(job.source, catalog=catalog, spool=f"{catalog.root}/{job.output}/_runs")
    source = plan_source(found, wanted_types(job.pipeline), limit=limit, target_bytes=partition_bytes(job.pipeline))
    check_columns(source.schema)
    tables = lookup_tables(job.pipeline, catalog)
    graph = bind_pipeline(job.pipeline, source.schema, tables)
    check_key(job.keys, graph)
    parts = fingerprints(
        graph, files=source.files, options=source.options, key=job.keys, tables=tables, parameters=parameters
    )
    rows = known_rows(source.specs)
    return Planned(job=job, graph=graph, source=source, tables=tables, fingerprints=parts, rows=rows)


class _Execution:
    """One run while it runs: what it holds and what it tells."""

    def __init__(self, job: Job, settings: Settings, run: Run, program: Program | None) -> None:
        self.job = job
        self.settings = settings
        self.run = run
        self.program = program
        self.began = time.perf_counter()
        self.stopping = False
        self.catalog = Catalog(settings.catalog)
        share, count = share_or_count(job.max_failures, where="max_failures")
        self.max_failures = MaxFailures(share=share, count=count)

    def perform(self) -> None:
        """The whole run; the run's status says how it ended."""
        with ExitStack() as stack:
            tell = self.settings.on_event or _ignore
            try:
                self._perform(stack, tell)
            except BaseException as error:
                self.run.status = "stopped" if isinstance(error, _CLEAN_ENDS) else "failed"
                with suppress(Exception):
                    # A listener that fails again must not hide what ended the run.
                    tell(Event(kind="stopped", run=self.run.id, message=str(error)))
                raise
            finally:
                self.run.duration = time.perf_counter() - self.began

    def _perform(self, stack: ExitStack, tell: Callable[[Event], None]) -> None:
        stack.enter_context(self.catalog.lock(self.job.output, run=self.run.id))
        planned = plan_job(self.job, self.catalog, limit=self.settings.limit, parameters=self.settings.parameters)
        self.run.notes += [*planned.source.notes, *planned.graph.notes]
        newest = self.catalog.open(self.job.output) if self.catalog.has(self.job.output) else None
        unchanged = newest is not None and not changes(newest.manifest["fingerprints"], planned.fingerprints)
        if self.settings.if_changed and unchanged:
            self.run.dataset, self.run.status = newest, "unchanged"
            self.run.notes.append(f"nothing has changed since {newest}")
            return
        folder = self._enter(planned, tell)
        self.run.id = folder.run
        try:
            self._work(planned, folder, newest, tell)
        except _CLEAN_ENDS as error:
            folder.stop(str(error))
            raise
        lineage = {"source": [asdict(file) for file in planned.source.files], "pipeline": self.job.pipeline.name}
        self.run.duration = time.perf_counter() - self.began
        self.run.dataset = folder.publish(planned.source.specs, lineage=lineage, duration=self.run.duration)
        self.run.status = "published"
        self._warn(planned.graph, tell)
        tell(Event(kind="published", run=self.run.id, message=f"published {self.run.dataset}"))

    def _enter(self, planned: Planned, tell: Callable[[Event], None]) -> RunFolder:
        """The unfinished run where it has the same plan, else a new one."""
        unfinished = self.catalog.unfinished(self.job.output)
        if unfinished is not None:
            differing = changes(unfinished.plan()["fingerprints"], planned.fingerprints)
            if self.settings.resume and not differing:
                return unfinished.resume()
            reason = f"changed: {', '.join(differing)}" if differing else "a new run was asked for"
            unfinished.abandon(reason)
            self.run.notes.append(f"run {unfinished.run} is abandoned ({reason}); a new run starts")
        plan = {
            "fingerprints": planned.fingerprints,
            "pipeline": self.job.pipeline.name,
            "services": [step.service.name for step in planned.graph.steps],
            "specs": [spec.to_dict() for spec in planned.source.specs],
        }
        return self.catalog.start(
            self.job.output, run_id=self.run.id, plan=plan, schemas=schemas_of(planned), key=self.job.keys
        )

    def _work(self, planned: Planned, folder: RunFolder, newest: Dataset | None, tell: Callable[[Event], None]) -> None:
        specs = planned.source.specs
        self.run.partitions = len(specs)
        tell(Event(kind="planned", run=folder.run, partitions=len(specs), records=planned.rows or 0))
        planned_now = {spec.identity for spec in specs}
        done = {name: record for name, record in folder.committed().items() if name in planned_now}
        if newest is not None and self.settings.resume and _carries(newest, planned):
            done |= folder.carry_over([spec for spec in specs if spec.identity not in done], newest)
        self._count([completion(record) for record in done.values()])
        if done:
            rows, rejected = self.run.counts.total_records, self.run.counts.rejected_records
            tell(Event(kind="resumed", run=folder.run, partitions=len(done), records=rows, rejected=rejected))
        left = [spec for spec in specs if spec.identity not in done]
        self._guard(planned)
        if left:
            self._drive(planned, folder, left, tell)
        if self.run.done < len(specs):
            raise Interrupted(
                f"run {folder.run} stopped after {self.run.done} of {len(specs)} partitions; "
                "run the same command again to go on"
            )

    def _drive(
        self, planned: Planned, folder: RunFolder, left: list[PartitionSpec], tell: Callable[[Event], None]
    ) -> None:
        lost: list[Report] = []
        postponed: list[float] = []
        with ExitStack() as stack:
            engine = self._engine(planned, folder, stack)
            stop = stack.enter_context(stop_on_signal(self.run._stop))
            late = stack.enter_context(stop_after(self.settings.deadline, stop))
            watch = stack.enter_context(closing(self._watch(engine, planned.graph, tell)))

            def look() -> None:
                watch.look()
                if stop.is_set() and not self.stopping:
                    self.stopping = True
                    tell(Event(kind="stopping", run=self.run.id, message=_STOPPING))

            todo = () if stop.is_set() else left
            reports = stack.enter_context(closing(drive(engine, todo, stop=stop, look=look)))
            for report in reports:
                if report.completion is None:
                    lost.append(self._lost(report, tell))
                    continue
                self._count([report.completion])
                postponed += [report.postponed] if report.postponed else []
                self.run.duration = time.perf_counter() - self.began
                tell(_committed(folder.run, report))
                self._guard(planned)
        if postponed:
            self.run.notes.append(_put_off(postponed))
        if late.is_set() and self.run.done < self.run.partitions:
            raise LimitReached(
                f"the deadline of {self.settings.deadline} was reached after {self.run.done} of {self.run.partitions} "
                "partitions; what is done is kept, run again with a later --deadline to go on"
            )
        if lost:
            raise Interrupted(
                f"{len(lost)} partitions killed their worker again and again, such as {_place(lost[0].spec)}; "
                "the rest is done; look at what the services do with these records, then run again"
            )

    def _watch(self, engine: Engine, graph: Graph, tell: Callable[[Event], None]) -> Watch:
        """Tells a listener what the calls are doing; calls that are answered offline have no limits to wait for."""
        listened = self.settings.on_event is not None and self.settings.traffic and SESSIONS.current is None
        apis = {step.service.api.name for step in graph.steps if step.service.api is not None} if listened else set()
        return Watch(engine, apis=apis, tell=lambda traffic: tell(_calling(self.run.id, traffic)))

    def _engine(self, planned: Planned, folder: RunFolder, stack: ExitStack) -> Engine:
        setup = make_setup(
            folder,
            options=planned.source.options,
            schema=planned.source.schema,
            key=self.job.keys,
            catalog=self.catalog.root,
            parameters=self.settings.parameters,
            profile=self.settings.profile,
        )
        if uses_processes(self.settings, planned.graph, planned.source):
            program = self.program or pack_object(self.job.pipeline)
            return cluster_engine(program, setup, self.settings, stack, source=planned.source, graph=planned.graph)
        if SESSIONS.current is None:
            require_secrets(planned.graph)
        prepare_arrow(planned.graph)
        context = Context(run=folder.run, parameters=self.settings.parameters)
        work = make_work(planned.graph, folder, tables=planned.tables, context=context, setup=setup)
        stack.callback(work.close)
        return local_engine(work, self.settings, stack)

    def _lost(self, report: Report, tell: Callable[[Event], None]) -> Report:
        if report.kind == "killed":
            tell(Event(kind="warned", run=self.run.id, message=f"{_place(report.spec)} killed its worker; going on"))
            return report
        if isinstance(report.error, DataflowError):
            raise report.error
        raise ServiceError(
            f"{_place(report.spec)} failed with {type(report.error).__name__}; nothing of it is committed"
        ) from report.error

    def _count(self, completions: list[Completion]) -> None:
        self.run.counts = Statistics.merged([self.run.counts, *(one.statistics for one in completions)])
        self.run.done += len(completions)

    def _guard(self, planned: Planned) -> None:
        """Stop the run where a service has failed too often."""
        counts = self.run.counts
        records = planned.rows or counts.total_records * self.run.partitions // max(self.run.done, 1)
        failures = {name: one.failed + one.timed_out for name, one in counts.services.items()}
        came = max((one.records for one in counts.services.values()), default=counts.total_records)
        failures["source"] = counts.total_records - came
        reason = self.max_failures.exceeded(failures, records=records)
        if reason is not None:
            raise GuardrailReached(
                f"{reason}; `dataflow failures {self.run.id}` lists them; mend the service or raise max_failures, "
                "then run the same command again to go on"
            )

    def _warn(self, graph: Graph, tell: Callable[[Event], None]) -> None:
        for step in graph.steps:
            part = self.run.counts.services.get(step.service.name)
            failed = 0 if part is None else part.failed + part.timed_out
            if failed and step.service.policy.priority is Priority.IMPORTANT:
                message = f"`{step.service.name}` failed for {failed:,} records, which are marked degraded"
                self.run.warnings.append(message)
                tell(Event(kind="warned", run=self.run.id, message=message))


def _ignore(event: Event) -> None:
    """The listener where nobody listens."""


def schemas_of(planned: Planned) -> Schemas:
    """The schemas of what the run writes."""
    key = planned.job.keys
    return Schemas(
        output=planned.graph.output,
        rejects=rejects_schema(planned.graph, key),
        failures=failures_schema(planned.graph, key),
    )


def _carries(newest: Dataset, planned: Planned) -> bool:
    """Whether the newest version was made under the same plan but for its source."""
    return set(changes(newest.manifest["fingerprints"], planned.fingerprints)) <= {"source"}


def _put_off(seconds: list[float]) -> str:
    partitions = "1 partition was" if len(seconds) == 1 else f"{len(seconds):,} partitions were"
    return f"{partitions} put off for up to {max(seconds):,.0f} s, since the breaker of an API was open"


def _calling(run: str, traffic: tuple[Traffic, ...]) -> Event:
    return Event(kind="calling", run=run, traffic=traffic)


def _committed(run: str, report: Report) -> Event:
    assert report.completion is not None
    done = report.completion
    return Event(kind="committed", run=run, partitions=1, records=done.statistics.total_records, rejected=done.rejected)


def _place(spec: PartitionSpec) -> str:
    return f"partition {spec.index} ({spec.path} from record {spec.first_row})"
