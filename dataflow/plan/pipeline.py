"""Pipelines and jobs: what is to be done to which records, as values that run nothing until asked.

The methods that run import the wiring inside, so that declaring stays cheap and knows no engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dataflow.errors import DeclarationError
from dataflow.plan.checks import check_dataset_name, check_environ, check_key_names, check_pipeline
from dataflow.plan.guardrails import Guardrails, MinFound, read_guardrails
from dataflow.plan.sizes import SizeOption, read_partition_size
from dataflow.services.prices import check_record_budget, read_amount
from dataflow.services.service import Service
from dataflow.services.units import seconds

if TYPE_CHECKING:
    from dataflow.plan.explain import Explanation
    from dataflow.plan.quote import Quote
    from dataflow.wiring.result import Result
    from dataflow.wiring.run import Run
    from dataflow.wiring.trial import Sample

Invalid = Literal["keep", "reject"]


@dataclass(frozen=True, eq=False)
class Pipeline:
    """An ordered list of services: written as a sequence, run as a graph.

    Attributes:
        name: Names the pipeline in messages and manifests.
        services: In reading order; a service sees each column as those before it left it.
        invalid: `keep` (default) publishes invalid records with `is_valid` false; `reject` sends them to the rejects.
    """

    name: str
    services: tuple[Service, ...]
    invalid: Invalid = "keep"

    def __init__(self, name: str, services: Iterable[Service], *, invalid: Invalid = "keep") -> None:
        listed = tuple(services)
        check_pipeline(name, listed, invalid)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "services", listed)
        object.__setattr__(self, "invalid", invalid)

    @property
    def every(self) -> tuple[Service, ...]:
        """All services that may be called, with those that composite services are made of."""
        return tuple(one for service in self.services for one in service.every)

    def __repr__(self) -> str:
        return f"<Pipeline {self.name}: {', '.join(service.name for service in self.services)}>"

    def _repr_html_(self) -> str:
        from dataflow.faces.render import pipeline_html

        return pipeline_html(self)

    def explain(self, source: Any = None, **settings: Any) -> Explanation:
        """What runs beside what, and why; and of the first records of a source, how many a run would reject.

        For that they go through the services that need no call and nothing set up.

        Args:
            source: The source to bind to; without it, every column that no service provides is taken as given.
            **settings: `catalog=` for a source or a lookup that names a dataset, `partition_size=` as a run takes it.
                Without that, services that only compute are called for the first records: where they are slow, it
                says how a run would cut the source.

        Raises:
            DeclarationError: The services do not fit the source.
        """
        from dataflow.wiring.explaining import explain

        return explain(self, source, **settings)

    def run(
        self,
        source: Any,
        output: str,
        *,
        key: str | Sequence[str] | None = None,
        max_failures: float | str | None = None,
        min_found: MinFound | None = None,
        record_budget: float | None = None,
        error_texts: bool = True,
        **settings: Any,
    ) -> Run:
        """Run every record of a source through the pipeline and publish a dataset.

        Args:
            source: A path, glob or folder, a `flow.csv(...)`, a dataset, or a pandas, Arrow or Dask object.
            output: The name of the dataset in the catalog.
            key: See `Job`.
            max_failures: See `Job`.
            min_found: See `Job`.
            record_budget: See `Job`.
            error_texts: See `Job`.
            **settings: See `dataflow.wiring.settings.Settings`; `deadline=`, `budget=` and `incremental=` are some of
                them.

        Raises:
            DataflowError: See the tree in `dataflow.errors`; what was done is kept and the same call goes on.
        """
        job = Job(
            self,
            source=source,
            output=output,
            key=key,
            max_failures=max_failures,
            min_found=min_found,
            record_budget=record_budget,
            error_texts=error_texts,
        )
        return job.run(**settings)

    def call(self, record: Mapping[str, Any], **settings: Any) -> Result:
        """Run one record, services side by side, and return its data and what happened.

        Args:
            record: Column to value.
            **settings: `catalog=` for lookups that name a dataset and for what the cache holds, `parameters=` for
                `flow.Context`, `offline=True` to call no API: what the cache does not answer is not attempted.

        Raises:
            CriticalServiceFailed: A critical service failed, so the record is incomplete.
            DeclarationError: A column that a service reads is missing.
        """
        from dataflow.wiring.single import call

        return call(self, record, **settings)

    async def acall(self, record: Mapping[str, Any], **settings: Any) -> Result:
        """`call` as a coroutine; async services run on the caller's own event loop."""
        from dataflow.wiring.single import acall

        return await acall(self, record, **settings)

    def call_many(self, records: Sequence[Mapping[str, Any]], **settings: Any) -> list[Result]:
        """`call` for several records, side by side; results come in their order, and a slow one keeps no other waiting.

        Equal calls of APIs are made once, and so are records that are equal in all that the pipeline reads: they share
        an execution, whose cost is told once. Where a service is not idempotent, every record has its own. Records
        under way at the same time share the requests of services with `batch=`: one that is full is sent at once, one
        that is not when no other record can join it, or none has come a step further for a tenth of a second. It
        holds its records in their order.

        Args:
            records: Column to value, each.
            **settings: As for `call`; `at_once=` records are under way at most (100), and `return_errors=True` puts
                the error of a record in its place.

        Raises:
            CriticalServiceFailed: Some records are incomplete; the first is named, when all have ended.
            DeclarationError: Some records do not fit the pipeline.
        """
        from dataflow.wiring.many import call_many

        return call_many(self, records, **settings)

    async def acall_many(self, records: Sequence[Mapping[str, Any]], **settings: Any) -> list[Result]:
        """`call_many` as a coroutine; async services run on the caller's own event loop."""
        from dataflow.wiring.many import acall_many

        return await acall_many(self, records, **settings)

    def apply(self, data: Any, **settings: Any) -> Any:
        """Run a pandas or Arrow table, a Dask DataFrame or a Dask Bag; the same kind comes back.

        No row is dropped: what a run would reject stays, with the reason in `rejected` and null outputs. A lazy
        Dask collection stays lazy, and each `compute` runs its services again; what APIs have answered comes from the
        cache then. `catalog=` and `offline=` are as for `call`. With `budget=` the services with a price cost no more
        than that, and records that lack one are kept as those for which it failed; not for a Dask collection.

        Raises:
            DeclarationError: The services do not fit the columns.
        """
        from dataflow.wiring.applying import apply

        return apply(self, data, **settings)

    def sample(self, source: Any, n: int = 20, **settings: Any) -> Sample:
        """Run `n` real records of a source and show the fate of each cell; nothing is published.

        `catalog=` and `offline=` are as for `call`.

        Raises:
            DataflowError: The source cannot be read, or the services do not fit it.
        """
        from dataflow.wiring.trial import sample

        return sample(self, source, n=n, **settings)

    def quote(self, source: Any, *, sample: int | None = None, **settings: Any) -> Quote:
        """What a run over a source would call, cost and take; without `sample=`, nothing is called for that.

        It says too how many records would be rejected for failures before any call, and whether that stops a run.

        Args:
            source: As for `run`; all of it is read, since its distinct keys are counted.
            sample: Run so many records first, which is paid for and kept in the cache, to know how services answer.
            **settings: `catalog=`, whose cache answers; `output=`, whose newest version tells how services have
                answered; `budget=`, which is compared with the price.

        Raises:
            DataflowError: The source cannot be read, or the services do not fit it.
        """
        from dataflow.wiring.quoting import quote

        return quote(self, source, sample=sample, **settings)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A pipeline with its source, its output and its guardrails: what a file in `jobs/` defines.

    Attributes:
        pipeline: What is done to each record.
        source: Where the records come from; see `Pipeline.run`.
        output: The name of the dataset that is published.
        key: The column, or columns, that name a record in rejects and failures; without it, file and row.
        max_failures: The share ("1%") or count of failures that the run survives, by calls of each service and by
            records rejected for them; verdicts do not count, and one more ends it. Default: 1 %. Of a small run a
            share is never less than a fifth, up to 100, and never less than one failure; a count is taken as it is.
            An optional service ends the run only where this is given. 100 unexpected exceptions of one local service
            in a row end it too, and nothing is published where more than half of the records were rejected for
            failures, unless "100%" accepts everything.
        min_found: The least share ("20%") of the answers of each enrichment that calls an API, or of those that
            are named ({"company": "20%"}), that found something. Fewer end the run, once there are 100 answers,
            or 10 at its end. Default: none.
        deadline: Seconds, or "2h", after which a run ends, unless the run sets its own. Default: none.
        budget: Money that the services with a price may cost in one run, over all its starts, unless the run sets its
            own. Default: none.
        record_budget: Money that they may cost for one record at most, by their prices and in listed order: a service
            that would exceed it is skipped for that record. Part of the plan, since it changes the output.
        environ: Names of environment variables that the job file reads while it is loaded, `["ACME_URL"]`: wherever
            it is loaded, it finds the values that they have where the run is started. No secrets: these have a way of
            their own.
        partition_size: How large partitions are, unless the run or the source says so: records as a number, or bytes
            such as "64MiB". Default: 64 MiB, less where calls or slow services take a while.
        incremental: Whether a run takes partitions over from the newest version instead of doing them again, unless
            the run says so itself: those of the same source and services, without a failure, whose answers still
            serve and whose services are given no `flow.Context`. Default: everything is done again, with answers from
            the cache.
        error_texts: Whether what providers answer and an author's exceptions say is kept in rejects and failures, and
            shown to whoever runs it. False keeps it out everywhere, for errors that quote personal data: left are
            reasons, statuses, sentences of ours, and class, file and line of an exception. Verdicts of validations are
            data of the output, and stay. Default: True.
    """

    pipeline: Pipeline
    source: Any
    output: str
    key: str | Sequence[str] | None
    max_failures: float | str | None
    min_found: MinFound | None
    deadline: float | str | None
    budget: float | None
    record_budget: float | None
    environ: tuple[str, ...]
    partition_size: SizeOption | None
    incremental: bool
    error_texts: bool

    def __init__(  # noqa: PLR0913 - a job has that many options
        self,
        pipeline: Pipeline,
        *,
        source: Any,
        output: str,
        key: str | Sequence[str] | None = None,
        max_failures: float | str | None = None,
        min_found: MinFound | None = None,
        deadline: float | str | None = None,
        budget: float | None = None,
        record_budget: float | None = None,
        environ: Sequence[str] = (),
        partition_size: SizeOption | None = None,
        incremental: bool = False,
        error_texts: bool = True,
    ) -> None:
        if not isinstance(pipeline, Pipeline):
            raise DeclarationError(f"a job takes a Pipeline, not {type(pipeline).__name__}")
        read_guardrails(pipeline.every, max_failures=max_failures, min_found=min_found)
        if deadline is not None:
            seconds(deadline, where="deadline")
        if budget is not None:
            read_amount(budget, where="budget")
        check_record_budget(pipeline.every, record_budget)
        read_partition_size(partition_size)
        check_dataset_name(output)
        check_key_names(key)
        for name, value in (("incremental", incremental), ("error_texts", error_texts)):
            if not isinstance(value, bool):
                raise DeclarationError(f"{name} takes True or False")
        object.__setattr__(self, "pipeline", pipeline)
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "output", output)
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "max_failures", max_failures)
        object.__setattr__(self, "min_found", min_found)
        object.__setattr__(self, "deadline", deadline)
        object.__setattr__(self, "budget", budget)
        object.__setattr__(self, "record_budget", record_budget)
        object.__setattr__(self, "environ", check_environ(environ))
        object.__setattr__(self, "partition_size", partition_size)
        object.__setattr__(self, "incremental", incremental)
        object.__setattr__(self, "error_texts", error_texts)

    @property
    def keys(self) -> tuple[str, ...]:
        """The key columns, empty where records are named by file and row."""
        if self.key is None:
            return ()
        return (self.key,) if isinstance(self.key, str) else tuple(self.key)

    @property
    def record_trillionths(self) -> int | None:
        """What the paid services may cost for one record, in trillionths."""
        return None if self.record_budget is None else read_amount(self.record_budget, where="record_budget")

    @property
    def guardrails(self) -> Guardrails:
        """What ends a run of it before its time, apart from the deadline."""
        return read_guardrails(self.pipeline.every, max_failures=self.max_failures, min_found=self.min_found)

    def _repr_html_(self) -> str:
        from dataflow.faces.cards import job_html

        return job_html(self)

    def run(self, **settings: Any) -> Run:
        """Run the job; see `Pipeline.run` for the errors and `dataflow.wiring.settings.Settings` for the settings."""
        from dataflow.faces.progress import shown
        from dataflow.wiring.running import run

        with shown(settings) as listening:
            return run(self, **listening)

    def quote(self, *, sample: int | None = None, **settings: Any) -> Quote:
        """What running it would call, cost and take; see `Pipeline.quote`, whose `catalog=` it takes."""
        from dataflow.wiring.quoting import quote_job

        return quote_job(self, sample=sample, **settings)

    def explain(self, **settings: Any) -> Explanation:
        """What runs beside what over the job's own source, and why; see `Pipeline.explain`."""
        from dataflow.wiring.explaining import explain

        guardrails, size = self.guardrails, self.partition_size
        return explain(self.pipeline, self.source, guardrails=guardrails, of_job=size, **settings)
