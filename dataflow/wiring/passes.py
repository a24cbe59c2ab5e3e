"""The passes of a process beside the main one: the keys of a partition, and the calls of a bucket of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.engine.buckets import call_bucket
from dataflow.engine.environment import Environment
from dataflow.engine.foreseeing import foresee
from dataflow.engine.marks import Effect
from dataflow.engine.partition import Prelude, run_graph
from dataflow.engine.resolving import answer_table, collect_keys, failed_keys, owed, sorted_by_key
from dataflow.engine.resources import Resources
from dataflow.engine.result import Completion
from dataflow.engine.turns import Turns
from dataflow.engine.waiting import Flights
from dataflow.errors import GuardrailReached
from dataflow.plan.foresight import Outlook, call_free
from dataflow.plan.graph import Graph, Step
from dataflow.plan.guardrails import Guardrails
from dataflow.plan.partitions import Batch, PartitionSpec
from dataflow.plan.resolve import Answered, BucketTask, KeyTask, LookTask, Task, stage_of
from dataflow.store.commit import RunFolder
from dataflow.store.resolve import AnswerReader, ResolveFiles
from dataflow.telemetry.statistics import Statistics
from dataflow.wiring.guarding import certain


class Passes:
    """What one process does for the distinct keys of a run.

    Args:
        graph: The bound pipeline.
        folder: The run.
        resources: What the steps need beside records.
        turns: Whose turn it is in this process.
        flush: Called before a bucket is done, to write what was answered.
    """

    def __init__(
        self,
        graph: Graph,
        folder: RunFolder,
        resources: Resources,
        *,
        turns: Turns | None,
        flush: Callable[[], None],
    ) -> None:
        self._graph = graph
        self._run = folder.run
        self._resources = resources
        self._turns = turns
        self._flush = flush
        self._files = ResolveFiles(folder)
        self._readers: dict[str, AnswerReader] = {}

    def reader(self, answered: Answered) -> AnswerReader | None:
        """The answers that a task may look up; None where there are none."""
        if not answered:
            return None
        name = repr(sorted(answered.items()))
        return self._readers.setdefault(name, self._files.reader(answered))

    def prelude(self, spec: PartitionSpec, batch: Batch, *, outlook: Outlook) -> Prelude:
        """What runs before the calls of a partition, and ends the run where these would be in vain."""
        steps, guardrails = call_free(self._graph), Guardrails(max_failures=outlook.max_failures)

        def judge(environment: Environment) -> None:
            own = foresee(environment, steps, resources=self._resources, batch=batch, path=spec.path).counts
            counts = Statistics.merged([Statistics.from_dict(outlook.before), own])
            records = outlook.others + own.total_records
            reason = certain(guardrails, self._graph, run=self._run, counts=counts, records=records)
            if reason is not None:
                reached = GuardrailReached(reason)
                reached.said = _said(environment, steps)
                raise reached

        return Prelude(steps=steps, judge=judge)

    def look(self, task: LookTask, batch: Batch, flights: Flights) -> Completion:
        """Count what becomes of the records of a partition before any call."""
        steps = call_free(self._graph)
        environment = run_graph(
            self._graph, batch.table, self._resources, turns=self._turns, flights=flights, only=steps
        )
        foreseen = foresee(environment, steps, resources=self._resources, batch=batch, path=task.spec.path)
        return replace(_completion(task, Statistics()), foreseen=foreseen)

    def collect(self, task: KeyTask, batch: Batch, flights: Flights) -> Completion:
        """Keep the keys of a partition, given what was read of it."""
        steps = self._steps(task.services)
        stage = stage_of(self._graph, [step.index for step in steps])
        resources = self._with_answers(task.answered)
        ahead = frozenset[int]() if task.ahead == "no" else call_free(self._graph)
        ahead &= ahead if task.ahead == "all" else frozenset(stage.before)
        only = ahead.union(stage.before)
        environment = run_graph(self._graph, batch.table, resources, turns=self._turns, flights=flights, only=only)
        keys = {step.service.name: collect_keys(step, environment) for step in steps}
        foreseen = None
        if task.ahead != "no":
            inside = self._resources if task.ahead == "all" else None
            foreseen = foresee(environment, ahead, resources=inside, batch=batch, path=task.spec.path)
        self._files.put_keys(task, keys, foreseen=foreseen)
        found = {name: one.record for name, one in keys.items()}
        return replace(_completion(task, Statistics()), keys=found, foreseen=foreseen)

    def call(self, task: BucketTask, flights: Flights) -> Completion:
        """Call the keys of a bucket, unless that is done."""
        if self._files.is_done(task):
            return _completion(task, Statistics())
        steps = self._steps(task.services)
        tables = {step.index: self._files.keys_of(task, step.service.name) for step in steps}
        keys = {at: table for at, table in tables.items() if table is not None}
        kept = {at: self._kept(task, self._graph.steps[at]) for at in keys} if task.again else {}
        todo = {at: _without(table, kept.get(at)) for at, table in keys.items()}
        effects = call_bucket(self._graph, todo, self._resources, turns=self._turns, flights=flights)
        self._flush()
        statistics = self._owed(effects, todo)
        answers = {
            self._graph.steps[at].service.name: _joined(
                answer_table(self._graph.steps[at], todo[at], one), kept.get(at)
            )
            for at, one in effects.items()
        }
        self._files.put_answers(task, answers, statistics=statistics)
        return _completion(task, statistics)

    def _with_answers(self, answered: Answered) -> Resources:
        return replace(self._resources, answers=self.reader(answered))

    def _kept(self, task: BucketTask, step: Step) -> pa.Table | None:
        """The answers of an earlier call of the bucket that stay."""
        before = self._files.answers_before(task, step.service.name)
        return None if before is None else before.filter(pc.invert(failed_keys(before)))

    def _owed(self, effects: Mapping[int, Effect], keys: Mapping[int, pa.Table]) -> Statistics:
        steps = {at: self._graph.steps[at] for at in effects}
        services = {step.service.name: owed(step, effects[at], keys[at].num_rows) for at, step in sorted(steps.items())}
        return Statistics(services=services, cost=sum(one.cost for one in services.values()))

    def _steps(self, services: tuple[str, ...]) -> list[Step]:
        return [step for step in self._graph.steps if step.service.name in services]


def _without(keys: pa.Table, known: pa.Table | None) -> pa.Table:
    """The keys that nothing is known of."""
    if known is None or not known.num_rows:
        return keys
    return keys.filter(pc.invert(pc.is_in(keys["key"], known["key"].combine_chunks())))


def _joined(answers: pa.Table, kept: pa.Table | None) -> pa.Table:
    if kept is None:
        return answers
    # An older dataflow has noted less of its answers.
    return sorted_by_key(pa.concat_tables([answers, kept.replace_schema_metadata(None)], promote_options="default"))


def _said(environment: Environment, steps: Collection[int]) -> str:
    """What the error says that was met most often in a partition of which nothing is kept."""
    texts = Counter(
        (environment.graph.steps[at].service.name, failure.error)
        for at in sorted(steps)
        for failure in environment.effects[at].failures
    )
    return "".join(f"the most frequent error: `{name}`: {error}" for (name, error), _ in texts.most_common(1))


def _completion(task: Task, statistics: Statistics) -> Completion:
    return Completion(identity=task.identity, index=task.index, rows=0, rejected=0, statistics=statistics)
