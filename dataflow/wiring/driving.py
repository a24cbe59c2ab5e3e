"""The partitions of one run: what is done, what is left, and everything that may end the run before its last one.

Who runs them is decided in `engines`, what ends a run for its quality in `guarding`, its begin and end in `running`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import Literal

from dataflow.engine.arrival import Arrival
from dataflow.engine.drive import GRACE, Engine, Report, drive, stop_after, stop_on_signal
from dataflow.engine.http.offline import SESSIONS
from dataflow.engine.program import Program
from dataflow.engine.result import Completion
from dataflow.errors import DataflowError, GuardrailReached, Interrupted, LimitReached
from dataflow.outcomes import Event
from dataflow.plan.partitions import PartitionSpec
from dataflow.plan.resolve import Answered, BucketTask, KeyTask, LookTask, Task, stages
from dataflow.store.commit import RunFolder
from dataflow.store.dataset import Dataset
from dataflow.store.resolve import ResolveFiles
from dataflow.store.tills import read_called
from dataflow.telemetry.place import placed
from dataflow.telemetry.statistics import Statistics
from dataflow.wiring.announcing import committed
from dataflow.wiring.board import budgets_of, head_of
from dataflow.wiring.budgets import Budgets
from dataflow.wiring.caching import lacking
from dataflow.wiring.ending import killed, left_over, out_of_time, unexpected
from dataflow.wiring.foresight import Foresight
from dataflow.wiring.guarding import Standing, reached
from dataflow.wiring.keeping import CountKeeper, long_limited
from dataflow.wiring.looking import said_of_unseen
from dataflow.wiring.planning import Planned
from dataflow.wiring.postponing import Postponing
from dataflow.wiring.repair import Repair
from dataflow.wiring.resolving import STAGES, Perform, Resolving, main_tasks
from dataflow.wiring.run import Run
from dataflow.wiring.settings import Settings
from dataflow.wiring.starting import open_engine
from dataflow.wiring.stopped import shortfalls
from dataflow.wiring.treasury import Treasury
from dataflow.wiring.unchanged import take_over
from dataflow.wiring.watching import Watching
from dataflow.wiring.worker import completion_of

_STOPPING = f"no new calls begin, those in flight have {GRACE:g} s to end; a second Ctrl-C does not wait for them"


class Driving:
    """Brings a run from what is committed to its last partition, and counts and tells on the way.

    Args:
        planned: The job, bound to its source.
        folder: Where its partitions are committed.
        settings: Of the run.
        run: What the user holds; its counts, notes and warnings are kept here.
        program: How the job travels to workers; None to pack it.
        may_call: False for a run that is published as it is: no call is made, and no guardrail ends it.
        began: When the run began, on the clock of `time.perf_counter`.
        watching: Shows the run to others.
        home: Closes the connection to a cluster, when all is said.
        budgets: What may be spent, or None.

    Attributes:
        spent: What was called for distinct keys and waited for in vain, which no commit record counts.
    """

    def __init__(
        self,
        planned: Planned,
        folder: RunFolder,
        *,
        settings: Settings,
        run: Run,
        program: Program | None,
        may_call: bool,
        began: float,
        watching: Watching,
        home: ExitStack,
        budgets: Budgets | None = None,
    ) -> None:
        self.planned = planned
        self.folder = folder
        self.settings = settings
        self.run = run
        self._program = program
        self._guarded = may_call
        self._may_call = may_call and not settings.offline
        self._began = began
        self._watching = watching
        self._tell = watching.hear
        self._home = home
        self._budgets = budgets
        self._treasury: Treasury | None = None
        self._over: str | None = None
        self.spent = Statistics()
        self._lost: list[Report] = []
        self._postponing = Postponing()
        self._reason: str | None = None
        self._ended: DataflowError | None = None
        self._stopping = False
        self._calls: dict[str, int] = {}
        repair = Repair.of(folder)
        # The passes know keys, not the records whose failures stay.
        self._mends_one = repair is not None and repair.service is not None
        self._foresight = Foresight(planned, run=folder.run, judges=self._may_call and not self._mends_one)

    def perform(self, earlier: Dataset | None = None) -> None:
        """Do the partitions that are not committed.

        Args:
            earlier: The version from which they are taken over where they would be the same; None to do all of them.

        Raises:
            GuardrailReached: The run is not good enough.
            LimitReached: The deadline has come, or the quota of a provider is used up.
            Interrupted: Partitions are left.
        """
        try:
            self._perform(earlier)
        except BaseException:
            try:
                self._bill()
            except Exception as error:
                with suppress(Exception):
                    # What ended the run is what its user has to know.
                    self.say(f"what the run has called could not be read, so its bill is not whole: {error}")
            raise
        self._bill()

    def _bill(self) -> None:
        """Count the calls of the run as they were made, whatever became of them."""
        if self.planned.graph.calls_apis:
            called = read_called(self.folder)
            self.run.counts = self.run.counts.billed(called.services, currency=called.currency)

    def _perform(self, earlier: Dataset | None) -> None:
        specs = self.planned.source.specs
        self.run.partitions = len(specs)
        self._show()
        self._tell(Event(kind="planned", run=self.folder.run, partitions=len(specs), records=self.planned.rows or 0))
        self._say_once(tuple(said_of_unseen(self.planned.graph, self.planned.looks)))
        done = self._done(earlier)
        left = [spec for spec in specs if spec.identity not in done]
        self._stop_at(self._reached())
        if left:
            with placed(run=self.folder.run):
                self._drive(left)
        if self.run.done < len(specs):
            raise left_over(self.folder.run, done=self.run.done, partitions=len(specs))
        self._stop_at(self._reached(over=True))
        lack = lacking(self.run.counts, self.run.id) if self.settings.offline and self._guarded else None
        if lack is not None:
            raise Interrupted(lack)

    def say(self, message: str, *, said: str = "") -> None:
        """Say something that deserves a look, with what somebody else has said about it."""
        self.run.warnings.append(message)
        self._tell(Event(kind="warned", run=self.run.id, message=message, said=said))

    def say_shortfalls(self) -> None:
        """Say which services are missing from records that are published all the same."""
        for step in self.planned.graph.every:
            part = self.run.counts.services.get(step.service.name)
            self._say_once(() if part is None else tuple(shortfalls(step.service.name, part)))

    def _say_once(self, messages: tuple[str, ...], *, said: str = "") -> None:
        """Say what one worker, or many, had to say."""
        for message in dict.fromkeys(messages):
            if message not in self.run.warnings:
                self.say(message, said=said)

    def _done(self, earlier: Dataset | None) -> set[str]:
        """The identities of what needs no work, counted."""
        specs = self.planned.source.specs
        planned_now = {spec.identity for spec in specs}
        done = {name: record for name, record in self.folder.committed().items() if name in planned_now}
        if earlier is not None and (left := [spec for spec in specs if spec.identity not in done]):
            taken = take_over(self.folder, self.planned, left, version=earlier, now=time.time())
            done |= taken.records
            self._note(taken.note)
        self._count([completion_of(record) for record in done.values()])
        if self.planned.graph.calls_apis:
            self._spend(ResolveFiles(self.folder).spent())
        if done:
            rows, rejected = self.run.counts.total_records, self.run.counts.rejected_records
            self._tell(
                Event(kind="resumed", run=self.folder.run, partitions=len(done), records=rows, rejected=rejected)
            )
        return set(done)

    def _drive(self, left: list[PartitionSpec]) -> None:
        deadline = self.settings.deadline
        if deadline is None and self._may_call:
            deadline = self.planned.job.deadline
        with ExitStack() as stack:
            apis = long_limited(self.planned.graph, calls=self._may_call)
            keeper = CountKeeper(self.folder.root, apis=apis, warn=self.say)
            engine = self._open(stack, keeper)
            stop = stack.enter_context(stop_on_signal(self.run._stop))
            late = stack.enter_context(stop_after(deadline, stop))
            self._watching.attach(engine)
            if engine.page is not None:
                self.run.page = engine.page
                self._tell(Event(kind="shown", run=self.run.id, message=engine.page))
            perform = partial(self._hand_out, engine, stop=stop, look=partial(self._look, keeper, stop))
            answered = self._resolve(left, perform, engine)
            if answered is not None:
                perform(main_tasks(left, answered))
            elif self._over is not None:
                # Whatever is free or known already is done all the same.
                perform(left)
        if (note := self._postponing.note) is not None:
            self.run.notes.append(note)
        self._end(deadline if late.is_set() else None)

    def _open(self, stack: ExitStack, keeper: CountKeeper) -> Engine:
        return open_engine(
            self.planned,
            self.folder,
            stack,
            home=self._home,
            settings=self.settings,
            program=self._program,
            may_call=self._may_call,
            keeper=keeper,
            treasury=self._open_treasury(),
            arrival=Arrival(stop=self.run._stop, say=partial(self._tell_that, "waiting")),
            warn=lambda message: self._say_once((message,)),
            tell=partial(self._tell_that, "limited"),
        )

    def _look(self, keeper: CountKeeper, stop: threading.Event) -> None:
        """Look around while partitions are under way."""
        if self._watching.look():
            self.run.stop()
        keeper.look()
        if self._treasury is not None:
            self._treasury.check()
        if stop.is_set() and not self._stopping:
            self._stopping = True
            self._tell(Event(kind="stopping", run=self.run.id, message=_STOPPING))

    def _hand_out(
        self, engine: Engine, tasks: Sequence[Task], *, stop: threading.Event, look: Callable[[], None]
    ) -> list[Completion] | None:
        """Do tasks; None where some are left."""
        done: list[Completion] = []
        self._reason = self._reason or self._foresight.reached()
        todo = () if stop.is_set() or self._reason is not None else tasks
        stage = STAGES.get(type(todo[0])) if todo else None
        self._watching.stage(stage, planned=len(todo))
        fitted = map(self._foresight.fit, todo)
        with closing(drive(engine, fitted, stop=stop, look=look, wait=self._put_off)) as reports:
            for report in reports:
                done += [] if report.completion is None else [report.completion]
                self._watching.stage(stage, done=len(done), planned=len(todo))
                self._hear(report)
                if self._reason is not None:
                    # What is in flight may be paid for, so it may still end and be committed.
                    stop.set()
        return done if len(done) == len(tasks) else None

    def _end(self, late: float | str | None) -> None:
        """Raise what ends the run before its last partition, if anything does.

        Args:
            late: The deadline that has come, or None.
        """
        self._stop_at(self._reason)
        if late is not None and self.run.done < self.run.partitions:
            raise out_of_time(late, done=self.run.done, partitions=self.run.partitions)
        if self._treasury is not None and self._over is not None:
            raise self._treasury.limit_reached(self._over, done=self.run.done, partitions=self.run.partitions)
        if self._lost:
            raise killed(self._lost)

    def _resolve(self, left: Sequence[PartitionSpec], perform: Perform, engine: Engine) -> Answered | None:
        """Ask for distinct keys before the partitions are run; None where the run is being stopped."""
        if not self._may_call:
            return ResolveFiles(self.folder).answered()
        if len(self.planned.source.specs) < 2 or self._mends_one:
            return {}
        if not stages(self.planned.graph):
            for looks in self._foresight.looks(left, threads=engine.threads):
                perform(looks)
            return {}
        resolving = Resolving(
            self.planned.graph,
            self.folder,
            specs=left,
            perform=perform,
            threads=lambda: engine.threads,
            note=self._note,
            foresight=self._foresight,
        )
        self._calls = resolving.calls
        return resolving.resolve()

    def _note(self, note: str) -> None:
        self.run.notes.append(note)
        self._tell_that("noted", note)

    def _tell_that(self, kind: Literal["waiting", "limited", "noted"], message: str) -> None:
        self._tell(Event(kind=kind, run=self.run.id, message=message))

    def _hear(self, report: Report) -> None:
        """Take up how a task has ended."""
        if report.completion is None:
            self._lose(report)
            return
        if isinstance(report.spec, KeyTask | LookTask | BucketTask):
            self._spend(report.completion.statistics)
            self._say_once(report.completion.warnings)
            if not isinstance(report.spec, BucketTask):
                self._foresight.take(report.spec.spec, report.completion.foreseen)
            self._reason = self._reason or self._foresight.reached() or self._reached()
            return
        self._count([report.completion])
        self._watching.take(report.completion)
        self._say_once(report.completion.warnings)
        self._postponing.seconds += [report.postponed] if report.postponed else []
        self.run.duration = time.perf_counter() - self._began
        self._tell(committed(self.folder.run, report.completion))
        self._reason = self._reason or self._reached()

    def _lose(self, report: Report) -> None:
        if report.kind == "killed":
            self._tell(
                Event(kind="warned", run=self.run.id, message=f"{report.spec.place} killed its worker; going on")
            )
            # What was only looked at is still to be done.
            self._lost += [] if isinstance(report.spec, LookTask) else [report]
            return
        if isinstance(report.error, GuardrailReached | LimitReached):
            self._reason, self._ended = self._reason or report.error.plain, self._ended or report.error
            return
        if isinstance(report.error, DataflowError):
            raise report.error
        raise unexpected(report) from report.error

    def _put_off(self, completion: Completion) -> None:
        """Count what it has spent, and say for which limit a partition was given back and until when, once an hour."""
        # Its answers are counted, with what they have cost, where a partition rests on them.
        self._spend(completion.statistics.unpaid())
        self._over = self._over or completion.over
        self._say_once(completion.warnings)
        outage = (completion.stopped,) if completion.outage and completion.stopped else ()
        self._say_once(outage, said=completion.said)
        if (news := self._postponing.news(completion, now=time.monotonic())) is not None:
            self.say(news)

    def _spend(self, statistics: Statistics) -> None:
        """Count what no commit record does."""
        self.spent = Statistics.merged([self.spent, statistics])
        self.run.counts = Statistics.merged([self.run.counts, statistics])

    def _count(self, completions: list[Completion]) -> None:
        # A partition names every service in listed order, what was spent before it only some of them.
        self.run.counts = Statistics.merged([*(one.statistics for one in completions), self.run.counts])
        self.run.done += len(completions)
        for one in completions:
            self._foresight.commit(one.identity, one.statistics)

    def _reached(self, *, over: bool = False) -> str | None:
        """The guardrail that the run has reached by now, in words."""
        if not self._guarded or (self.settings.offline and lacking(self.run.counts, self.run.id)):
            return None
        counts = self.run.counts
        records = self.planned.rows or counts.total_records * self.run.partitions // max(self.run.done, 1)
        standing = Standing(run=self.run.id, counts=counts, records=records, calls=self._calls, over=over)
        return reached(self.planned.job.guardrails, self.planned.graph, standing)

    def _stop_at(self, reason: str | None) -> None:
        if reason is not None:
            raise self._ended if self._ended is not None and self._ended.plain == reason else GuardrailReached(reason)

    def _open_treasury(self) -> Treasury | None:
        """Hands out the money, where a budget limits it."""
        if self._budgets is not None and self._may_call:
            self._treasury = Treasury(self._budgets, self.folder, warn=self.say)
        return self._treasury

    def _show(self) -> None:
        """Show the run to others; calls that are answered offline have no limits to wait for."""
        steps = self.planned.graph.every if SESSIONS.current is None else ()
        self._watching.begin(
            self.folder,
            apis={step.service.api.name for step in steps if step.service.api is not None},
            head=lambda: head_of(self.planned, self.folder, page=self.run.page),
            budgets=lambda: budgets_of(self._treasury),
        )
