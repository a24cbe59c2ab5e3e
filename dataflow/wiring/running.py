"""A run from beginning to end: plan, lock, resume or start, drive, publish.

Each decision is made where it is pure, in `plan`, `policies` and `engine`; here they meet the catalog.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any

from dataflow.engine.control.home import ask, process_plane
from dataflow.engine.drive import Engine, Report, drive, stop_after, stop_on_signal
from dataflow.engine.http.offline import SESSIONS
from dataflow.engine.program import Program, pack_object
from dataflow.engine.result import Completion
from dataflow.errors import CatalogError, DataflowError, GuardrailReached, Interrupted, LimitReached, ServiceError
from dataflow.outcomes import Event
from dataflow.plan.fingerprint import changes
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import PartitionSpec
from dataflow.plan.pipeline import Job
from dataflow.services.context import Context
from dataflow.services.units import about
from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder
from dataflow.store.dataset import Dataset
from dataflow.telemetry.statistics import Statistics
from dataflow.wiring.binding import prepare_arrow
from dataflow.wiring.engines import cluster_engine, local_engine, local_turns, uses_processes
from dataflow.wiring.guarding import Standing, reached
from dataflow.wiring.jobs import Reference
from dataflow.wiring.keeping import CountKeeper, long_limited
from dataflow.wiring.memory import answers_since
from dataflow.wiring.planning import Planned, carries, is_current, is_whole, plan_job, plan_values, schemas_of
from dataflow.wiring.run import Run
from dataflow.wiring.secrets import require_secrets
from dataflow.wiring.settings import Settings, read_settings
from dataflow.wiring.stopped import (
    find_again,
    planned_specs,
    publishable,
    published_as,
    require_same_plan,
    shortfalls,
)
from dataflow.wiring.worker import completion, make_setup, make_work

_CLEAN_ENDS = (Interrupted, GuardrailReached, LimitReached)
"""What ends a run before its time and lets the same command go on."""

TOLD_AGAIN = 3600.0
"""Seconds after which it is said again that a limit is used up."""


def run(job: Job, *, program: Program | None = None, reference: Reference | None = None, **settings: Any) -> Run:
    """Run a job and publish its output; see `Settings` for what may be set.

    Args:
        job: What to run.
        program: How the job travels to workers, where it came from a file; else it is packed.
        reference: How a command named the job, kept for `dataflow publish`.
        **settings: See `Settings`.

    Raises:
        DeclarationError: The job does not fit its source.
        SourceError: The source cannot be read.
        OutputLocked: Another run holds the output.
        GuardrailReached: Too many failures, or too little found; what is done is kept.
        LimitReached: The deadline has come; what is done is kept.
        Interrupted: Stopped by a signal, or partitions are left; the same call goes on.
        ClusterError: The cluster cannot be reached, or was lost.
        StoreError: Something could not be committed or published.
    """
    chosen = read_settings(settings)
    execution = _execution(job, chosen, program, reference=reference)
    current = execution.run

    def publish(**others: Any) -> None:
        # Whoever listened to the run may be gone by then.
        elsewhere = read_settings({**settings, "on_event": None, **others})
        _Execution(job, elsewhere, current, program, as_it_is=True).perform()

    current._publish = publish
    if chosen.wait:
        execution.perform()
        return current

    def background() -> None:
        try:
            execution.perform()
        except BaseException as error:
            current._error = error

    current._thread = threading.Thread(target=background, name=f"dataflow-{current.id}", daemon=True)
    current._thread.start()
    return current


def run_to_a_stop(
    job: Job, *, program: Program | None = None, reference: Reference | None = None, **settings: Any
) -> Run:
    """`run`, but a run that has stopped before its time is returned too, and `Run.wait` raises why it has.

    Raises:
        DataflowError: It has failed, so there is nothing to go on with.
    """
    execution = _execution(job, read_settings(settings), program, reference=reference)
    try:
        execution.perform()
    except _CLEAN_ENDS as error:
        execution.run._error = error
    return execution.run


def publish_run(run: str, *, catalog: str, **settings: Any) -> Run:
    """Publish a stopped run as it is, with the job that its command had named; see `Run.publish`.

    Args:
        run: The id of the run, or `latest` for the newest one.
        catalog: Where it is.
        **settings: Where it is done and who listens; see `Settings`.

    Raises:
        DataflowError: As for `Run.publish`; DeclarationError too where the job cannot be found again.
    """
    folder = publishable(Catalog(catalog), run)
    current = Run(id=folder.run, output=folder.dataset, catalog=catalog)
    with Catalog(catalog).lock(folder.dataset, run=folder.run):
        # A live run is refused before its job is looked for.
        before = published_as(folder)
    if before is not None:
        _note_published(current, before)
        return current
    found = find_again(folder)
    limit = folder.plan()["limit"]
    chosen = read_settings({**settings, "catalog": catalog, "parameters": found.parameters, "limit": limit})
    _Execution(found.job, chosen, current, found.program, as_it_is=True).perform()
    return current


def new_id() -> str:
    """A run id that sorts by time and does not repeat."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


class _Execution:
    """One run while it runs: what it holds and what it tells."""

    def __init__(
        self,
        job: Job,
        settings: Settings,
        run: Run,
        program: Program | None,
        *,
        reference: Reference | None = None,
        as_it_is: bool = False,
    ) -> None:
        self.reference = reference
        self.as_it_is = as_it_is
        self.job = job
        self.settings = settings
        self.run = run
        self.program = program
        self.began = 0.0
        self.catalog = Catalog(settings.catalog)
        self.guardrails = job.guardrails
        self._told: dict[str, float] = {}

    def perform(self) -> None:
        """The whole run; the run's status says how it ended."""
        self.began = time.perf_counter()
        with ExitStack() as stack:
            tell = self.settings.on_event or _ignore
            try:
                self._perform(stack, tell)
            except BaseException as error:
                with suppress(AttributeError):
                    error.run = self.run  # type: ignore[attr-defined]
                self.run.status = "stopped" if self.as_it_is or isinstance(error, _CLEAN_ENDS) else "failed"
                with suppress(Exception):
                    # A listener that fails again must not hide what ended the run.
                    tell(Event(kind="stopped", run=self.run.id, message=str(error)))
                raise
            finally:
                self.run.duration = time.perf_counter() - self.began

    def _perform(self, stack: ExitStack, tell: Callable[[Event], None]) -> None:
        # A stopped run is published where it is, whatever its job says by now.
        stack.enter_context(self.catalog.lock(self.run.output, run=self.run.id))
        if self.as_it_is:
            self._publish_as_it_is(tell)
            return
        planned = plan_job(self.job, self.catalog, limit=self.settings.limit, parameters=self.settings.parameters)
        self.run.notes += [*planned.source.notes, *planned.graph.notes]
        newest = self.catalog.open(self.job.output) if self.catalog.has(self.job.output) else None
        if self.settings.if_changed and newest is not None and is_current(newest, planned):
            self.run.dataset, self.run.status = newest, "unchanged"
            self.run.notes.append(f"nothing has changed since {newest}")
            return
        folder = self._enter(planned, newest)
        self.run.id = folder.run
        self._finish(planned, folder, newest, tell)

    def _publish_as_it_is(self, tell: Callable[[Event], None]) -> None:
        """What is left of a stopped run without a new call, then its version."""
        folder = publishable(self.catalog, self.run.id)
        before = published_as(folder)
        if before is not None:
            _note_published(self.run, before)
            return
        planned = plan_job(self.job, self.catalog, limit=self.settings.limit, parameters=self.settings.parameters)
        require_same_plan(folder, planned.fingerprints)
        self.run.counts, self.run.done = Statistics(), 0
        self._finish(planned, folder.resume(as_it_is=True), None, tell)

    def _finish(
        self, planned: Planned, folder: RunFolder, newest: Dataset | None, tell: Callable[[Event], None]
    ) -> None:
        """Do what is left, and publish."""
        try:
            self._work(planned, folder, newest, tell)
        except _CLEAN_ENDS as error:
            folder.stop(str(error))
            raise
        lineage = {"source": [asdict(file) for file in planned.source.files], "pipeline": self.job.pipeline.name}
        self.run.duration = time.perf_counter() - self.began
        self.run.dataset = folder.publish(planned.source.specs, lineage=lineage, duration=self.run.duration)
        self.run.status = "published"
        self.run._publish = None
        self._warn(planned.graph, tell)
        tell(Event(kind="published", run=self.run.id, message=f"published {self.run.dataset}"))

    def _enter(self, planned: Planned, newest: Dataset | None) -> RunFolder:
        """The unfinished run where it has the same plan, else a new one."""
        unfinished = self._unfinished()
        if unfinished is not None:
            differing = changes(unfinished.plan()["fingerprints"], planned.fingerprints)
            if self.settings.resume and not differing:
                return unfinished.resume()
            reason = f"changed: {', '.join(differing)}" if differing else "a new run was asked for"
            unfinished.abandon(reason)
            self.run.notes.append(f"run {unfinished.run} is abandoned ({reason}); a new run starts")
        plan = plan_values(planned, limit=self.settings.limit, reference=self.reference)
        return self.catalog.start(
            self.job.output,
            run_id=self.run.id,
            plan=plan,
            schemas=schemas_of(planned),
            key=self.job.keys,
            answers_since=self._paid_before(planned, newest),
        )

    def _paid_before(self, planned: Planned, newest: Dataset | None) -> str | None:
        """Since when the answers serve that a run has left which was published as it is."""
        if newest is None or is_whole(newest) or not self.settings.resume or not carries(newest, planned):
            return None
        with suppress(CatalogError):
            # Where somebody has removed what is told about that run, its answers are paid for again.
            return answers_since(self.catalog.run(newest.manifest["run"]))
        return None

    def _unfinished(self) -> RunFolder | None:
        """The run that could go on; one that was killed while it was published as it is, is published first."""
        found = self.catalog.unfinished(self.job.output)
        placed = None if found is None else found.placed()
        if found is None or placed is None or is_whole(placed):
            return found
        dataset = found.resume(as_it_is=True).publish(planned_specs(found))
        self.run.notes.append(f"run {found.run} is published as it was, as {dataset}")
        return None

    def _work(self, planned: Planned, folder: RunFolder, newest: Dataset | None, tell: Callable[[Event], None]) -> None:
        specs = planned.source.specs
        self.run.partitions = len(specs)
        tell(Event(kind="planned", run=folder.run, partitions=len(specs), records=planned.rows or 0))
        planned_now = {spec.identity for spec in specs}
        done = {name: record for name, record in folder.committed().items() if name in planned_now}
        if newest is not None and self.settings.resume and carries(newest, planned):
            done |= folder.carry_over([spec for spec in specs if spec.identity not in done], newest)
        self._count([completion(record) for record in done.values()])
        if done:
            rows, rejected = self.run.counts.total_records, self.run.counts.rejected_records
            tell(Event(kind="resumed", run=folder.run, partitions=len(done), records=rows, rejected=rejected))
        left = [spec for spec in specs if spec.identity not in done]
        self._stop_at(self._reached(planned))
        if left:
            self._drive(planned, folder, left, tell)
        if self.run.done < len(specs):
            raise Interrupted(
                f"run {folder.run} stopped after {self.run.done} of {len(specs)} partitions; "
                "run the same command again to go on"
            )
        self._stop_at(self._reached(planned, over=True))

    def _drive(
        self, planned: Planned, folder: RunFolder, left: list[PartitionSpec], tell: Callable[[Event], None]
    ) -> None:
        lost: list[Report] = []
        reason: str | None = None
        deadline = self.settings.deadline
        if deadline is None and not self.as_it_is:
            deadline = self.job.deadline
        with ExitStack() as stack:
            apis = long_limited(planned.graph) if SESSIONS.current is None else ()
            keeper = CountKeeper(self.catalog.root, apis=apis, warn=partial(self._say, tell))
            engine = self._engine(planned, folder, stack, keeper)
            stop = stack.enter_context(stop_on_signal())
            late = stack.enter_context(stop_after(deadline, stop))
            waits = partial(self._wait, tell)
            reports = stack.enter_context(closing(drive(engine, left, stop=stop, look=keeper.look, wait=waits)))
            for report in reports:
                if report.completion is None:
                    lost.append(self._lost(report, tell))
                    continue
                self._count([report.completion])
                self._repeat(report.completion.warnings, tell)
                self.run.duration = time.perf_counter() - self.began
                tell(_committed(folder.run, report))
                reason = reason or self._reached(planned)
                if reason is not None:
                    # What is in flight may be paid for, so it may still end and be committed.
                    stop.set()
        self._stop_at(reason)
        if late.is_set() and self.run.done < self.run.partitions:
            raise LimitReached(
                f"the deadline of {deadline} was reached after {self.run.done} of {self.run.partitions} partitions; "
                "what is done is kept, run the same command again to go on, or with a later --deadline (deadline=)"
            )
        if lost:
            raise Interrupted(
                f"{len(lost)} partitions killed their worker again and again, such as {_place(lost[0].spec)}; "
                "the rest is done; look at what the services do with these records, then run again"
            )

    def _engine(self, planned: Planned, folder: RunFolder, stack: ExitStack, keeper: CountKeeper) -> Engine:
        setup = make_setup(
            folder,
            options=planned.source.options,
            schema=planned.source.schema,
            key=self.job.keys,
            catalog=self.catalog.root,
            parameters=self.settings.parameters,
            profile=self.settings.profile,
            may_call=not self.as_it_is,
        )
        if uses_processes(self.settings, planned.graph, planned.source):
            program = self.program or pack_object(self.job.pipeline)
            return cluster_engine(
                program, setup, self.settings, stack, source=planned.source, graph=planned.graph, keeper=keeper
            )
        if SESSIONS.current is None and not self.as_it_is:
            require_secrets(planned.graph)
        keeper.open(process_plane().id, ask)
        stack.callback(keeper.keep)
        prepare_arrow(planned.graph)
        context = Context(run=folder.run, parameters=self.settings.parameters)
        turns = local_turns(planned.graph, self.settings)
        work = make_work(planned.graph, folder, tables=planned.tables, context=context, setup=setup, turns=turns)
        stack.callback(work.close)
        return local_engine(work, self.settings, stack, turns=turns)

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

    def _repeat(self, warnings: tuple[str, ...], tell: Callable[[Event], None]) -> None:
        """Say what a worker had to say, once for all of them."""
        for message in dict.fromkeys(warnings):
            if message not in self.run.warnings:
                self._say(tell, message)

    def _reached(self, planned: Planned, *, over: bool = False) -> str | None:
        """The guardrail that the run has reached by now, in words."""
        if self.as_it_is:
            return None
        counts = self.run.counts
        records = planned.rows or counts.total_records * self.run.partitions // max(self.run.done, 1)
        standing = Standing(run=self.run.id, counts=counts, records=records, over=over)
        return reached(self.guardrails, planned.graph, standing)

    def _stop_at(self, reason: str | None) -> None:
        if reason is not None:
            raise GuardrailReached(reason)

    def _wait(self, tell: Callable[[Event], None], completion: Completion) -> None:
        """A partition was given back: say for which limit and until when, once an hour."""
        now, problem = time.monotonic(), completion.stopped
        if completion.outage or problem is None or now < self._told.get(problem, -math.inf) + TOLD_AGAIN:
            return
        self._told[problem] = now
        self._say(tell, f"{problem}, next call in {about(completion.again_in)}")

    def _say(self, tell: Callable[[Event], None], message: str) -> None:
        self.run.warnings.append(message)
        tell(Event(kind="warned", run=self.run.id, message=message))

    def _warn(self, graph: Graph, tell: Callable[[Event], None]) -> None:
        for step in graph.steps:
            part = self.run.counts.services.get(step.service.name)
            for message in [] if part is None else shortfalls(step.service.name, part):
                self._repeat((message,), tell)


def _execution(
    job: Job, settings: Settings, program: Program | None, *, reference: Reference | None = None
) -> _Execution:
    current = Run(id=new_id(), output=job.output, catalog=str(settings.catalog))
    return _Execution(job, settings, current, program, reference=reference)


def _note_published(run: Run, dataset: Dataset) -> None:
    """Show the version of a run that was published before."""
    run.dataset, run.status = dataset, "unchanged"
    run.notes.append(f"run {run.id} was published before, as {dataset}; nothing was done")


def _ignore(event: Event) -> None:
    """The listener where nobody listens."""


def _committed(run: str, report: Report) -> Event:
    assert report.completion is not None
    done = report.completion
    return Event(kind="committed", run=run, partitions=1, records=done.statistics.total_records, rejected=done.rejected)


def _place(spec: PartitionSpec) -> str:
    return f"partition {spec.index} ({spec.path} from record {spec.first_row})"
