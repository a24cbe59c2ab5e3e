"""A run from beginning to end: plan, lock, resume or start, drive, publish.

Each decision is made where it is pure, in `plan`, `policies` and `engine`; here they meet the catalog.
"""

from __future__ import annotations

import contextvars
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from dataflow.engine.exporting import flushed
from dataflow.engine.program import Program
from dataflow.engine.tracing import beginning
from dataflow.errors import GuardrailReached, Interrupted, LimitReached
from dataflow.outcomes import Event
from dataflow.plan.pipeline import Job
from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder
from dataflow.store.dataset import Dataset
from dataflow.telemetry.statistics import Statistics
from dataflow.wiring.announcing import Announcer, tell_run
from dataflow.wiring.budgets import read_budgets
from dataflow.wiring.caching import check_recall, merge_segments
from dataflow.wiring.driving import Driving
from dataflow.wiring.entering import Entry
from dataflow.wiring.jobs import Found, Reference
from dataflow.wiring.planning import Planned, cut_planned, differing, plan_job
from dataflow.wiring.repair import Repair
from dataflow.wiring.run import Run
from dataflow.wiring.saying import complete, plain_of, said_of
from dataflow.wiring.sending import Sending
from dataflow.wiring.settings import Settings, moved, read_settings
from dataflow.wiring.sizing import threads_for
from dataflow.wiring.stopped import (
    environ_of,
    find_again,
    publishable,
    published_as,
    require_same_plan,
)
from dataflow.wiring.unchanged import asked, changed_since
from dataflow.wiring.watching import Watching

_CLEAN_ENDS = (Interrupted, GuardrailReached, LimitReached)
"""What ends a run before its time and lets the same command go on."""


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
        LimitReached: The deadline has come, or money or a quota is used up; what is done is kept.
        Interrupted: Stopped by a signal, or partitions are left; the same call goes on.
        ClusterError: The cluster cannot be reached, or was lost.
        StoreError: Something could not be committed or published.
    """
    chosen = read_settings(settings)
    execution = _execution(job, chosen, program, reference=reference)
    current = execution.run

    def publish(**others: Any) -> None:
        # Whoever listened to the run may be gone by then.
        elsewhere = read_settings(moved({**settings, "on_event": None, "deadline": None}, **others))
        _Execution(job, elsewhere, current, program, as_it_is=True).perform()

    def repair(service: str | None, **others: Any) -> Run:
        from dataflow.wiring.repairing import repair_run

        assert current.dataset is not None
        found = Found(job=job, program=program, parameters=dict(chosen.parameters), reference=reference)
        own = {**settings, "on_event": None, "deadline": None, "wait": True, "if_changed": False, "send_again": ()}
        elsewhere = moved(own, **others)
        return repair_run(current.dataset.manifest["run"], found=found, service=service, **elsewhere)

    current._publish, current._repair = publish, repair
    if chosen.wait:
        execution.perform()
        return current

    def background() -> None:
        try:
            execution.perform()
        except BaseException as error:
            current._error = error
        finally:
            current._ended.set()

    # It is part of whatever span has begun it.
    work = partial(contextvars.copy_context().run, background)
    current._thread = threading.Thread(target=work, name=f"dataflow-{current.id}", daemon=True)
    current._thread.start()
    return current


def run_to_a_stop(
    job: Job,
    *,
    program: Program | None = None,
    reference: Reference | None = None,
    names: Sequence[str] = (),
    **settings: Any,
) -> Run:
    """`run`, but a run that has stopped before its time is returned too, and `Run.wait` raises why it has.

    Args: as for `run`, and `names` by which the run is asked for beside its id.

    Raises:
        DataflowError: It has failed, so there is nothing to go on with.
    """
    execution = _execution(job, read_settings(settings), program, reference=reference, names=names)
    with suppress(*_CLEAN_ENDS):
        execution.perform()
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
    given = {"catalog": catalog, "parameters": found.parameters, "limit": limit, "environ": environ_of(folder)}
    chosen = read_settings({**settings, **given})
    _Execution(found.job, chosen, current, found.program, as_it_is=True).perform()
    return current


def perform_repair(repair: Repair, found: Found, *, settings: Settings, run: Run) -> None:
    """Mend a version with its job; see `repairing.repair_run`."""
    _Execution(found.job, settings, run, found.program, reference=found.reference, repair=repair).perform()


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
        repair: Repair | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.repair = repair
        self.as_it_is = as_it_is
        self.job = job
        self.settings = settings
        self.run = run
        self.program = program
        self.began = time.perf_counter()
        self.catalog = Catalog(settings.catalog)
        self.entry = Entry(job=job, catalog=self.catalog, settings=settings, run=run, reference=reference)
        budget = job.budget if settings.budget is None else settings.budget
        self.budgets = None if as_it_is else read_budgets(job.pipeline.every, budget=budget)
        self.watching = Watching(
            run,
            tell=Announcer(run.output, settings.on_event),
            traffic=settings.traffic and settings.on_event is not None,
            live=settings.live,
            names=names,
        )

    def perform(self) -> None:
        """The whole run; the run's status says how it ended."""
        self.began = time.perf_counter()
        begun = beginning("dataflow.run", run=self.run.id, dataset=self.run.output)
        with flushed(), begun as span, ExitStack() as stack:
            tell = self.watching.hear
            try:
                self._perform(stack, tell)
            except BaseException as error:
                with suppress(AttributeError):
                    error.run = self.run  # type: ignore[attr-defined]
                complete(error, self.run)
                self.run._error = error
                self.run.status = "stopped" if self.as_it_is or isinstance(error, _CLEAN_ENDS) else "failed"
                with suppress(Exception):
                    # A listener that fails again must not hide what ended the run.
                    tell(Event(kind="stopped", run=self.run.id, message=plain_of(error), said=said_of(error)))
                raise
            finally:
                self.run.duration = time.perf_counter() - self.began
                self.watching.close()
                tell_run(span, self.run)

    def _perform(self, stack: ExitStack, tell: Callable[[Event], None]) -> None:
        # A stopped run is published where it is, whatever its job says by now.
        held = self.catalog.lock(self.run.output, run=self.run.id)
        stack.enter_context(held)
        if self.as_it_is:
            self._publish_as_it_is(stack, tell)
            return
        if (unfinished := self.entry.unfinished()) is not None:
            # Planning may take a while, and whoever is refused meanwhile looks for the run that he is told of.
            held.rename(unfinished.run)
        planned = self._plan(cache(lambda: self.entry.plan_before(self.repair)))
        if self.settings.wait and self.program is None:
            # Whoever does not wait may edit meanwhile; what comes from a file is looked at once anyway.
            stack.callback(planned.looks.settle)
        check_recall(planned.graph, self.settings.recall)
        sending = self.entry.sending(planned)
        sending.check()
        if self.repair is None and self._is_unchanged(planned):
            self._note(planned)
            return
        settings = self.settings
        if self.repair is None:
            planned = cut_planned(
                planned,
                threads=threads_for(settings),
                limit=settings.limit,
                parameters=settings.parameters,
                before=self.entry.cut_before(planned),
            )
        self._note(planned)
        folder = self.entry.enter(planned) if self.repair is None else self.entry.enter_repair(planned, self.repair)
        self.run.id = folder.run
        held.rename(folder.run)
        self._take_over(sending, folder, tell)
        self._finish(planned, folder, stack=stack, tell=tell)

    def _is_unchanged(self, planned: Planned) -> bool:
        """Whether nothing is to be done, where that was asked for; says why otherwise."""
        told: list[str] = []
        settings = self.settings
        for version in self.entry.versions() if settings.if_changed and not settings.send_again else ():
            reason = changed_since(version, planned, recall=settings.recall, now=time.time())
            if reason is None:
                self.run.dataset, self.run.status = version, "unchanged"
                self.run.notes.append(f"nothing has changed since {version}")
                return True
            told.append(f"run again, since {version} may differ: {reason}")
        self.run.notes += told[:1]
        return False

    def _beside(self, version: Dataset) -> list[str]:
        """What a version is beside the others, where it is not the one that its name stands for from now on."""
        latest = self.catalog.open(self.run.output)
        if version.limit is None or latest.version == version.version:
            return []
        return [f"{version} is limited to the first {version.limit:,} records; latest stays v{latest.version}"]

    def _earlier(self) -> Dataset | None:
        """The version from which partitions are taken over, where that was chosen."""
        chosen = self.job.incremental if self.settings.incremental is None else self.settings.incremental
        if not chosen or not self.settings.resume or self.as_it_is:
            return None
        return next(iter(self.entry.versions()), None)

    def _take_over(self, sending: Sending, folder: RunFolder, tell: Callable[[Event], None]) -> None:
        """Let the run know what was sent before, and say so before it sends anything."""
        for note in sending.take_over(folder):
            self.run.notes.append(note)
            tell(Event(kind="sent", run=self.run.id, message=note))

    def _plan(self, before: Callable[[], Mapping[str, Any] | None]) -> Planned:
        settings = self.settings
        return plan_job(
            self.job,
            self.catalog,
            limit=settings.limit,
            parameters=settings.parameters,
            before=before,
            environ=settings.environ,
            partition_size=settings.partition_size,
        )

    def _note(self, planned: Planned) -> None:
        self.run.notes += [*planned.source.notes, *planned.graph.notes]

    def _publish_as_it_is(self, stack: ExitStack, tell: Callable[[Event], None]) -> None:
        """What is left of a stopped run without a new call, then its version."""
        folder = publishable(self.catalog, self.run.id)
        before = published_as(folder)
        if before is not None:
            _note_published(self.run, before)
            return
        planned = self._plan(folder.plan)
        require_same_plan(folder, differing(folder.plan(), planned))
        self.run.counts, self.run.done, self.run._stop = Statistics(), 0, threading.Event()
        folder = folder.resume(as_it_is=True)
        self.entry.sending(planned).go_on(folder)
        self._finish(planned, folder, stack=stack, tell=tell)

    def _finish(
        self,
        planned: Planned,
        folder: RunFolder,
        *,
        stack: ExitStack,
        tell: Callable[[Event], None],
    ) -> None:
        """Do what is left, and publish."""
        repair = Repair.of(folder)
        if repair is not None:
            repair.take_over(folder, planned.source.specs, asked=asked(planned.graph))
        driving = Driving(
            planned,
            folder,
            settings=self.settings,
            run=self.run,
            program=self.program,
            may_call=not self.as_it_is,
            began=self.began,
            watching=self.watching,
            home=stack,
            budgets=self.budgets,
        )
        try:
            driving.perform(self._earlier() if repair is None else None)
        except _CLEAN_ENDS as error:
            folder.stop(plain_of(error))
            raise
        lineage: dict[str, Any] = {
            "source": [asdict(file) for file in planned.source.files],
            "pipeline": self.job.pipeline.name,
        }
        lineage |= {} if repair is None else {"repaired": asdict(repair)}
        self.run.duration = time.perf_counter() - self.began
        self.run.dataset = folder.publish(
            planned.source.specs, lineage=lineage, duration=self.run.duration, spent=driving.spent
        )
        self.run.status, self.run._error = "published", None
        self.run._publish = None
        self.run.notes += self._beside(self.run.dataset)
        driving.say_shortfalls()
        merge_segments(planned.graph, folder.root, warn=driving.say)
        tell(Event(kind="published", run=self.run.id, message=f"published {self.run.dataset}"))


def _execution(
    job: Job,
    settings: Settings,
    program: Program | None,
    *,
    reference: Reference | None = None,
    names: Sequence[str] = (),
) -> _Execution:
    current = Run(id=new_id(), output=job.output, catalog=str(settings.catalog))
    return _Execution(job, settings, current, program, reference=reference, names=names)


def _note_published(run: Run, dataset: Dataset) -> None:
    """Show the version of a run that was published before."""
    run.dataset, run.status = dataset, "unchanged"
    run.notes.append(f"run {run.id} was published before, as {dataset}; nothing was done")
