"""Retraces one record through the job of its run: what each service did for it, and the answers that were used.

Local services compute again; what an API has answered is looked up where it is remembered. No call is made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataflow.engine.arrow import keep_pandas_out
from dataflow.engine.environment import Environment, outcomes_of
from dataflow.engine.http.attempts import CallError
from dataflow.engine.http.offline import SESSIONS
from dataflow.engine.http.settings import CallSettings
from dataflow.engine.partition import run_graph
from dataflow.engine.resources import make_resources
from dataflow.errors import DeclarationError, SourceError
from dataflow.outcomes import Outcome, Status
from dataflow.plan.fingerprint import changes, fingerprints
from dataflow.plan.graph import Graph, Step
from dataflow.plan.partitions import PartitionSpec
from dataflow.plan.pipeline import Job
from dataflow.policies.effects import End, Note
from dataflow.services.context import Context
from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder
from dataflow.store.schemas import schema_of_text
from dataflow.store.sent import Sent
from dataflow.store.sources import read
from dataflow.wiring.binding import bind_pipeline, lookup_tables, prepare_arrow
from dataflow.wiring.durations import PLANNED
from dataflow.wiring.jobs import Found
from dataflow.wiring.looking import look_at
from dataflow.wiring.memory import open_memory
from dataflow.wiring.variables import read_variables


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A remembered answer that a service used.

    Attributes:
        created: When it was given, in seconds since 1970.
        cost: What it cost.
    """

    created: float
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One record after its job, without a call.

    Attributes:
        steps: The steps of the job.
        outcomes: What each did by now, by the name of its service; those that could not be told are missing.
        answers: The remembered answers, by the name of the service.
        values: What each service wrote, by column.
        verdicts: What each validation said: its errors, None where it found nothing wrong.
        record: The record as its source has it.
        changed: The services that are declared otherwise by now, of which nothing is told.
    """

    steps: tuple[Step, ...]
    outcomes: Mapping[str, Outcome]
    answers: Mapping[str, Answer]
    values: Mapping[str, Mapping[str, Any]]
    verdicts: Mapping[str, list[str] | None]
    record: Mapping[str, Any]
    changed: frozenset[str]


class _Watched:
    """A store of answers that notes which were found."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.found: dict[str, Answer] = {}

    def get_many(self, keys: Sequence[bytes], *, service: str) -> Any:
        found = self._store.get_many(keys, service=service)
        for one in found.values():
            self.found[service] = Answer(created=one.created, cost=one.cost)
        return found

    def put_answer(self, key: bytes, **_: Any) -> None:
        """Nothing is kept: nothing was called."""


class _SeenLog:
    """What is noted of one record, which is the only one of its table."""

    def __init__(self, find: Callable[[Collection[str]], Sequence[Note]], found: Callable[[Note], None]) -> None:
        self._find = find
        self._found = found

    def begin(self, records: Collection[str]) -> Sequence[Note]:
        notes = self._find(records)
        for note in notes[:1]:
            if note.end is not End.SENT:
                self._found(note)
        return notes

    def write(self, notes: Sequence[Note]) -> None:
        """Nothing is noted: nothing was sent."""

    def close(self) -> None:
        """Nothing was opened."""


class _SeenEffects:
    """What is noted of one record, by service, and the answers among it."""

    def __init__(self, folder: RunFolder, identity: str, *, key: tuple[str, ...]) -> None:
        self._folder = folder
        self._identity = identity
        self.key = key
        self.found: dict[str, Answer] = {}

    def log(self, service: str) -> _SeenLog:
        folder = self._folder
        sent = Sent(folder.root, folder.dataset, service, apart=SESSIONS.current is not None)

        def find(records: Collection[str]) -> list[Note]:
            late = [note for note in sent.at(folder.run, self._identity) if note.record in records]
            return [*sent.of(records), *late]

        def found(note: Note) -> None:
            self.found[service] = Answer(created=note.at, cost=0.0)

        return _SeenLog(find, found)


def retrace(
    found: Found, folder: RunFolder, *, spec: PartitionSpec, number: int, failures: Sequence[Mapping[str, Any]]
) -> Trace:
    """Run one record through its job again, without a call.

    Args:
        found: The job.
        folder: The run that has made the record.
        spec: Its partition.
        number: Its row in the source.
        failures: What had failed for it, which fails again.

    Raises:
        DeclarationError: The job is not what it was.
        SourceError: The source is not what it was.
        DataflowError: The job cannot be set up here.
    """
    keep_pandas_out()
    plan = folder.plan()
    graph, tables, changed = _bound(found.job, folder, plan=plan, parameters=found.parameters)
    batch = read(plan["reading"], spec, schema=schema_of_text(plan["source"]))
    rows = batch.rows.to_pylist()
    if number not in rows:
        raise SourceError(f"{spec.path}, row {number}: is no record that can be read")
    place = rows.index(number)
    memory = open_memory(graph, folder)
    watched = None if memory is None else _Watched(memory)
    settings = CallSettings(store=watched, store_apart=watched, may_call=False, warn=lambda _: None)
    context = Context(run=folder.run, started_at=folder.started_at, parameters=found.parameters)
    resources = make_resources(graph, tables=tables, context=context, settings=settings)
    try:
        resources.effects = seen = _SeenEffects(folder, spec.identity, key=found.job.keys)
        resources.kept = _kept(failures)
        table = batch.table.slice(place, 1)
        environment = run_graph(graph, table, resources, only=_without_calls(graph, changed))
    finally:
        resources.close()
        if memory is not None:
            memory.close()
    answers = seen.found | ({} if watched is None else watched.found)
    return _trace(graph, environment, answers=answers, record=table.to_pylist()[0], changed=changed)


def _bound(
    job: Job, folder: RunFolder, *, plan: Mapping[str, Any], parameters: Mapping[str, Any]
) -> tuple[Graph, dict[str, Any], frozenset[str]]:
    """The job bound to the source as it was, and the services of it that are others by now."""
    tables = lookup_tables(job.pipeline, Catalog(folder.root))
    graph = bind_pipeline(
        job.pipeline,
        schema_of_text(plan["source"]),
        tables,
        record_budget=job.record_trillionths,
        durations=plan.get(PLANNED),
    )
    prepare_arrow(graph)
    looks, texts = look_at(job.pipeline)
    now = fingerprints(
        graph,
        files=(),
        options=plan["reading"],
        key=job.keys,
        tables=tables,
        parameters=parameters,
        looks=looks,
        texts=texts,
        variables=read_variables([*job.environ, *plan.get("environ", ())], services=job.pipeline.every),
    )
    differing = [part for part in changes(plan["fingerprints"], now) if part != "source"]
    services = frozenset(part.removeprefix("service ") for part in differing if part.startswith("service "))
    if len(services) < len(differing):
        raise DeclarationError(f"the job has changed since: {', '.join(differing)}")
    return graph, tables, services


def _without_calls(graph: Graph, changed: frozenset[str]) -> set[int]:
    """The steps that may run: not those that wait for something outside without an API, nor what needs them."""
    able: set[int] = set()
    for step in graph.steps:
        called = [one.service for one in step.every if one.nest is None]
        outside = any(one.calls_out and one.api is None for one in called)
        same = changed.isdisjoint(one.service.name for one in step.every)
        if same and not outside and able.issuperset(step.after):
            able.add(step.index)
    return able


def _kept(failures: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, Exception]]:
    kept: dict[str, dict[int, Exception]] = {}
    for one in failures:
        whole = one.get("error") or ""
        error = CallError(one["reason"], one["reason"], status=one["http_status"], whole=whole)
        error.timed_out = one["status"] == Status.TIMED_OUT
        error.not_attempted = one["status"] == Status.NOT_ATTEMPTED
        kept[one["service"]] = {0: error}
    return kept


def _trace(
    graph: Graph,
    environment: Environment,
    *,
    answers: Mapping[str, Answer],
    record: Mapping[str, Any],
    changed: frozenset[str],
) -> Trace:
    done = [step for step in graph.steps if step.index in environment.effects]
    outcomes: dict[str, Outcome] = {}
    values: dict[str, dict[str, Any]] = {}
    verdicts: dict[str, list[str] | None] = {}
    for step in done:
        effect, name = environment.effects[step.index], step.service.name
        others = [outcome for _, outcome in outcomes_of(step, effect)]
        outcomes[name] = others[-1] if others else Outcome(service=name, status=Status.SUCCEEDED)
        values[name] = {column.name: environment.column(column)[0].as_py() for column in step.writes}
        if effect.verdicts is not None:
            verdicts[name] = None if effect.verdicts.valid[0] else effect.verdicts.errors.to_pylist()
    return Trace(
        steps=graph.steps,
        outcomes=outcomes,
        answers=answers,
        values=values,
        verdicts=verdicts,
        record=record,
        changed=changed,
    )


def age_of(answer: Answer, *, now: float | None = None) -> float:
    """Seconds since an answer was given."""
    return max(0.0, (time.time() if now is None else now) - answer.created)
