"""What a process does before its first partition of a run, and for each partition: read, run, settle, commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pyarrow as pa

from dataflow.engine.arrow import keep_pandas_out
from dataflow.engine.control.passes import Impatient
from dataflow.engine.fate import settle
from dataflow.engine.http.losses import Losses
from dataflow.engine.http.offline import SESSIONS
from dataflow.engine.http.quality import Limits
from dataflow.engine.http.settings import PATIENCE, CallSettings, Halted, Money
from dataflow.engine.live.calls import CALLS
from dataflow.engine.partition import run_graph
from dataflow.engine.resources import Resources, make_resources
from dataflow.engine.result import Completion
from dataflow.engine.spending import count_spent
from dataflow.engine.tally import Tally, merged_tallies
from dataflow.engine.tracing import beginning, carried, told_completion
from dataflow.engine.turns import Turns, turns_of
from dataflow.engine.waiting import Flights
from dataflow.errors import DataflowError
from dataflow.plan.foresight import Outlook
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import Batch, PartitionSpec
from dataflow.plan.pipeline import Job, Pipeline
from dataflow.plan.resolve import BucketTask, KeyTask, LookTask, MainTask, Task
from dataflow.services.context import Context
from dataflow.store.catalog import Catalog
from dataflow.store.commit import CommitRecord, RunFolder
from dataflow.store.effects import RunEffects
from dataflow.store.live import keep_said
from dataflow.store.resolve import AnswerReader
from dataflow.store.schemas import schema_of_text, schema_text
from dataflow.store.sources import read
from dataflow.store.sources.sequential import close_idle
from dataflow.store.tills import Tills
from dataflow.wiring.binding import bind_pipeline, lookup_tables, prepare_arrow
from dataflow.wiring.memory import Memory, open_memory
from dataflow.wiring.passes import Passes
from dataflow.wiring.reloading import confirm
from dataflow.wiring.repair import KeptFailures

STOPPED = "stopped"
"""Why a partition is given back that nobody wants done any more."""
FACTORY = "dataflow.wiring.worker:prepare"

Work = Callable[[Task], Completion]


def make_setup(
    folder: RunFolder,
    *,
    options: Mapping[str, Any],
    schema: pa.Schema,
    key: tuple[str, ...],
    catalog: str,
    parameters: Mapping[str, Any],
    profile: bool,
    may_call: bool = True,
    offline: bool = False,
    limits: Mapping[str, tuple[float | None, int | None]],
    money: Money | None = None,
    binding: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What workers need beside the job, as plain JSON values.

    `may_call=False` is for what calls no API, and `offline` says that only the cache may answer in its place; `limits`
    are `min_found` and the failed calls of each service, `money` the budgets, and `binding` what
    `bind_pipeline` is given by name. The span under way becomes the parent of those of partitions.
    """
    return {
        "folder": folder.to_dict(),
        "options": dict(options),
        "schema": schema_text(schema),
        "key": list(key),
        "catalog": catalog,
        "parameters": dict(parameters),
        "profile": profile,
        "may_call": may_call,
        "offline": offline,
        "limits": {name: list(limit) for name, limit in limits.items()},
        "binding": dict(binding or {}),
        "trace": carried(),
        "money": None if money is None else {"run": money.run, "titles": dict(money.titles)},
    }


def prepare(loaded: Job | Pipeline, setup: Mapping[str, Any], worker: Any = None) -> Work:
    """Set a process up for a run; called once per process and run.

    Args:
        loaded: The job or pipeline, as the program gave it.
        setup: What `make_setup` made, with `live` for whether workers tell what they have under way.
        worker: The Dask worker of this process, which knows the way to the control plane.

    Returns:
        The function that runs and commits one partition.

    Raises:
        DeclarationError: The job is another one here than where the run was started.
        DataflowError: The pipeline cannot be bound or set up here.
    """
    keep_pandas_out()
    pipeline = loaded.pipeline if isinstance(loaded, Job) else loaded
    schema = schema_of_text(setup["schema"])
    tables = lookup_tables(pipeline, Catalog(setup["catalog"]))
    graph = bind_pipeline(pipeline, schema, tables, **setup["binding"])
    prepare_arrow(graph)
    if setup.get("agreed") is not None:
        confirm(pipeline, graph, setup, where=getattr(worker, "address", ""))
    folder = RunFolder.from_dict(setup["folder"])
    context = Context(run=folder.run, started_at=folder.started_at, parameters=setup["parameters"])
    line = find_line(graph, worker) if setup["may_call"] else None
    turns = turns_of(worker) if worker is not None and graph.waits else None
    work = make_work(graph, folder, tables=tables, context=context, setup=setup, line=line, turns=turns)
    if worker is not None and setup.get("live"):
        work.tell_on(worker)
    return work


def find_line(graph: Graph, worker: Any) -> Any:
    """The way from this worker to the control plane of its cluster; None where nothing of the graph needs it."""
    if worker is None or not graph.calls_apis:
        return None
    from dataflow.engine.control.scheduler import WorkerLine

    return WorkerLine(worker)


def make_work(
    graph: Graph,
    folder: RunFolder,
    *,
    tables: Mapping[str, pa.Table],
    context: Context,
    setup: Mapping[str, Any],
    line: Any = None,
    turns: Turns | None = None,
) -> PartitionWork:
    """The work on partitions in this process, with all it holds.

    Args:
        graph: The bound pipeline.
        folder: The run.
        tables: The table of each lookup.
        context: What `flow.Context` parameters get.
        setup: What `make_setup` made.
        line: The way to the control plane; None for the one of this process.
        turns: Whose turn it is in this process; None where partitions have their threads for themselves.

    Raises:
        DataflowError: A class cannot be set up, or the cache cannot be opened.
    """
    told: list[str] = []
    losses = Losses()
    memory = open_memory(graph, folder, parameters=setup["parameters"], warn=told.append)
    tills = Tills(folder, (step.service for step in graph.every if step.service.api is not None))
    settings = CallSettings(
        till=tills.of,
        line=line,
        store=memory,
        store_apart=memory if memory is not None and memory.apart else None,
        patience=PATIENCE,
        strict=True,
        warn=told.append,
        may_call=setup["may_call"],
        offline=setup["offline"],
        money=None if setup["money"] is None else Money(**setup["money"]),
        shared=setup.get("shared"),
        limits={name: Limits(min_found=found, max_failures=most) for name, (found, most) in setup["limits"].items()},
        losses=losses,
        error_texts=setup.get("error_texts", True),
    )
    resources = make_resources(graph, tables=tables, context=context, settings=settings)
    return PartitionWork(
        graph, folder, resources, setup=setup, memory=memory, tills=tills, turns=turns, told=told, losses=losses
    )


class PartitionWork:
    """The function that does one task: reads, runs, settles and commits a partition, or serves its distinct keys.

    What is done already is not done again.
    """

    def __init__(
        self,
        graph: Graph,
        folder: RunFolder,
        resources: Resources,
        *,
        setup: Mapping[str, Any],
        tills: Tills,
        memory: Memory | None = None,
        turns: Turns | None = None,
        told: list[str],
        losses: Losses,
    ) -> None:
        self._graph = graph
        self._folder = folder
        self._resources = resources
        self._options = setup["options"]
        self._schema = schema_of_text(setup["schema"])
        self._key = tuple(setup["key"])
        self._profile = setup["profile"]
        self._trace = setup["trace"]
        self._memory = memory
        self._tills = tills
        self._turns = turns
        self._told = told
        self._losses = losses
        self._halted = False
        self._pulse: Any = None
        self.dataset = folder.dataset
        CALLS.enter(self)
        self._flights: dict[Flights, Task] = {}
        self._kept = KeptFailures(folder)
        self._passes = Passes(graph, folder, resources, turns=turns, flush=self._flush)

    def __call__(self, task: Task) -> Completion:
        with nullcontext() if self._turns is None else self._turns.partition():
            return self._trace_task(task)

    def _trace_task(self, task: Task) -> Completion:
        """Do a task where logs and traces know what it is part of."""
        name = f"dataflow.{task.kind if isinstance(task, KeyTask | LookTask | BucketTask) else 'partition'}"
        place: dict[str, Any] = {"run": self._folder.run, "dataset": self._folder.dataset, "partition": task.index}
        with beginning(name, parent=self._trace, **place) as span:
            return told_completion(span, self._perform(task))

    def _perform(self, task: Task) -> Completion:
        flights = Flights()
        self._flights[flights] = task
        try:
            if self._halted:
                raise Halted  # noqa: TRY301
            done = self._done(task, flights)
        except Impatient as error:
            return self._give_back(task, flights, stopped=error.problem, because=error)
        except DataflowError as error:
            keep_said(self._folder, error)
            raise
        except Halted:
            return self._give_back(task, flights, stopped=STOPPED)
        finally:
            CALLS.end(self.dataset, flights.tallies, forget=lambda: self._flights.pop(flights))
        return replace(done, warnings=self._warnings())

    def _done(self, task: Task, flights: Flights) -> Completion:
        if self._memory is not None and not isinstance(task, KeyTask):
            self._memory.refresh()
        match task:
            case BucketTask():
                return self._passes.call(task, flights)
            case KeyTask():
                return self._passes.collect(task, self._read(task.spec), flights)
            case LookTask():
                return self._passes.look(task, self._read(task.spec), flights)
            case MainTask():
                answers = self._passes.reader(task.answered)
                return self._partition(task.spec, flights, answers=answers, outlook=task.outlook)
            case PartitionSpec():
                return self._partition(task, flights)
        raise TypeError(f"no work is known for a {type(task).__name__}")

    def _partition(
        self,
        spec: PartitionSpec,
        flights: Flights,
        *,
        answers: AnswerReader | None = None,
        outlook: Outlook | None = None,
    ) -> Completion:
        record = self._folder.find(spec)
        if record is not None:
            return completion_of(record)
        return self._commit(spec, flights, answers=answers, outlook=outlook)

    def _commit(
        self, spec: PartitionSpec, flights: Flights, *, answers: AnswerReader | None, outlook: Outlook | None
    ) -> Completion:
        batch = self._read(spec)
        resources = replace(
            self._resources,
            answers=answers,
            effects=RunEffects(self._folder, spec.identity, key=self._key, apart=SESSIONS.current is not None),
            kept=self._kept.of(spec, batch),
        )
        prelude = None if outlook is None else self._passes.prelude(spec, batch, outlook=outlook)
        environment = run_graph(
            self._graph, batch.table, resources, turns=self._turns, flights=flights, prelude=prelude
        )
        self._flush()
        result = settle(environment, batch, key=self._key, path=spec.path)
        record = self._folder.commit(spec, result, profile=self._profile)
        return replace(completion_of(record), rejects=result.rejected)

    def _read(self, spec: PartitionSpec) -> Batch:
        batch = read(self._options, spec, schema=self._schema)
        return batch.first(spec.rows) if "first_records" in self._options else batch

    def _flush(self) -> None:
        """Write what was answered and called."""
        self._tills.sync()
        if self._memory is not None:
            self._memory.keep()

    def _give_back(self, task: Task, flights: Flights, *, stopped: str, because: Impatient | None = None) -> Completion:
        """What goes back to the driver for a partition that is not whole; its answers so far are remembered."""
        self._flush()
        return Completion(
            identity=task.identity,
            index=task.index,
            rows=0,
            rejected=0,
            statistics=count_spent(flights.spent),
            stopped=stopped,
            again_in=0.0 if because is None else because.seconds,
            outage=because is not None and because.reason == "breaker",
            over=None if because is None else because.over,
            said="" if because is None or not self._resources.error_texts else because.said,
            warnings=self._warnings(),
        )

    def _warnings(self) -> tuple[str, ...]:
        """What services and limits had to say since the last partition."""
        self._told += self._losses.news() + ([] if self._memory is None else self._memory.news())
        count = len(self._told)
        said = tuple(self._told[:count])
        del self._told[:count]
        return said

    def under_way(self) -> dict[str, Any]:
        """What this process has under way, for whoever watches; called by one thread only."""
        tasks = list(self._flights.items())
        return {
            "partitions": sum(isinstance(task, (MainTask, PartitionSpec)) for _, task in tasks),
            "services": merged_tallies(
                (flights.tallies, isinstance(task, (MainTask, PartitionSpec))) for flights, task in tasks
            ),
        }

    def tallies(self) -> list[Mapping[str, Tally]]:
        """What the calls of each task under way have come to."""
        return [flights.tallies for flights in list(self._flights)]

    def tell_on(self, worker: Any) -> None:
        """Let the scheduler of a worker know from now on what this process has under way."""
        from dataflow.engine.live.scheduler import Pulse

        self._pulse = Pulse(worker, self._folder.run, self.under_way)

    def halt(self) -> None:
        """Make no new calls; partitions that wait for some, or that would compute for long, are given back."""
        self._halted = True
        for flights in list(self._flights):
            flights.halted = True
        if self._resources.callers is not None:
            self._resources.callers.halt()

    def cancel(self) -> None:
        """End the calls in flight, also those of services without an API; their partitions fail."""
        for flights in list(self._flights):
            flights.cancel()

    def close(self) -> None:
        """Close what was opened for the run."""
        CALLS.leave(self)
        if self._pulse is not None:
            self._pulse.close()
        self._resources.close()
        self._tills.close()
        if self._memory is not None:
            self._memory.close()
        close_idle()


def completion_of(record: CommitRecord) -> Completion:
    """What goes back to the driver for a commit record."""
    return Completion(
        identity=record.identity,
        index=record.index,
        rows=record.rows,
        rejected=record.rejected,
        statistics=record.counts.statistics,
    )
