"""`quote`: the price of a run before it runs. Keys are counted over the whole source; nothing is called for that.

With a sample, some records are run first, which is paid for and kept in the cache.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from dataflow.engine.counting import StepKeys, count_ahead
from dataflow.engine.foreseeing import Foreseen
from dataflow.engine.http.offline import SESSIONS
from dataflow.engine.local import available_processors
from dataflow.engine.turns import SIDE_BY_SIDE
from dataflow.errors import DeclarationError
from dataflow.plan.forecast import Setting, make_quote
from dataflow.plan.foresight import first_of
from dataflow.plan.graph import Graph, Step
from dataflow.plan.guardrails import Guardrails
from dataflow.plan.hours import Capacity
from dataflow.plan.intervals import Interval
from dataflow.plan.partitions import PartitionSpec, SourcePlan
from dataflow.plan.pipeline import Job, Pipeline
from dataflow.plan.quote import Called, KeyCount, Quote, Tariff
from dataflow.plan.rates import rates_of
from dataflow.plan.sizes import SizeOption, read_partition_size
from dataflow.policies.money import amount
from dataflow.services.prices import Price
from dataflow.store.catalog import Catalog
from dataflow.store.sources import Source, read
from dataflow.wiring.binding import wanted_types
from dataflow.wiring.history import seen_in_sample, seen_in_version
from dataflow.wiring.inputs import check_columns, plan_source, resolve_source, size_of
from dataflow.wiring.keycounts import KeyCounter
from dataflow.wiring.preparation import DEFAULT_CATALOG, Prepared, prepare_once
from dataflow.wiring.prospects import told_ahead
from dataflow.wiring.trial import Trial, run_sample


def quote_job(
    job: Job,
    *,
    catalog: str = DEFAULT_CATALOG,
    sample: int | None = None,
    partition_size: SizeOption | None = None,
) -> Quote:
    """The quote of a job; see `Job.quote`."""
    of_source = job.source.partition_size if isinstance(job.source, Source) else None
    return quote(
        job.pipeline,
        job.source,
        catalog=catalog,
        sample=sample,
        output=job.output,
        budget=job.budget,
        guardrails=job.guardrails,
        partition_size=partition_size or (None if of_source else job.partition_size),
    )


def quote(
    pipeline: Pipeline,
    source: Any,
    *,
    catalog: str = DEFAULT_CATALOG,
    sample: int | None = None,
    output: str | None = None,
    budget: float | None = None,
    guardrails: Guardrails | None = None,
    trial: Trial | None = None,
    partition_size: SizeOption | None = None,
) -> Quote:
    """The quote of a run over a source; see `Pipeline.quote`. A sample that was taken already is given as `trial`."""
    if source is None:
        raise DeclarationError("a quote counts the keys of a source; say which one with source=")
    if sample is not None:
        trial = run_sample(pipeline, source, n=sample, catalog=catalog)
    with tempfile.TemporaryDirectory(prefix="dataflow-") as spool:
        found = resolve_source(source, catalog=Catalog(catalog), spool=spool)
        size = read_partition_size(partition_size) or found.partition_size or size_of(pipeline)
        plan = plan_source(found, wanted_types(pipeline), size=size)
        check_columns(plan.schema)
        prepared = prepare_once(pipeline, plan.schema, catalog=catalog)
        records, counts, foreseen = count_source(plan, prepared)
    before = {} if output is None else seen_in_version(Catalog(catalog), output, prepared.graph, counts)
    seen = before if trial is None else {**before, **seen_in_sample(trial, counts, before)}
    setting = _setting(prepared.graph, counts, records=records, partitions=len(plan.specs), guardrails=guardrails)
    return make_quote(
        pipeline.name,
        [_called(step) for step in prepared.graph.every if step.service.calls_out and step.nest is None],
        counts,
        {name: rates_of(seen.get(name)) for name in counts},
        setting=replace(setting, budget=budget),
        notes=(
            *told_ahead(guardrails or Guardrails(), prepared.graph, foreseen, records=records),
            *(() if trial is None else (trial.bill.told,)),
        ),
    )


def count_source(plan: SourcePlan, prepared: Prepared) -> tuple[int, dict[str, KeyCount], Foreseen]:
    """The records of a source, the distinct keys of every service that calls out, and what is certain before it does.

    Nothing is called. Where no service calls out, only the first records are looked at.

    Raises:
        DataflowError: A part of the source cannot be read.
    """
    # Answers of a block of `flow.testing.offline` are kept apart, so there are none from before.
    store = None if SESSIONS.current is not None else prepared.memory
    counter, records, foreseen = KeyCounter(prepared.graph), 0, Foreseen()
    for rows, keys, ahead in _count_parts(plan, prepared, store):
        records += rows
        counter.add(keys)
        foreseen = Foreseen.merged([foreseen, ahead])
    return records, counter.counts(), foreseen


_Part = tuple[int, Mapping[str, StepKeys], Foreseen]


def _count_parts(plan: SourcePlan, prepared: Prepared, store: Any) -> Iterator[_Part]:
    """Records and keys of each partition; as many at the same time as there are processors."""
    looked_at = plan.specs if prepared.graph.waits else first_of(plan.specs)

    def count(spec: PartitionSpec) -> _Part:
        batch = read(plan.options, spec, schema=plan.schema)
        rows = batch.table.num_rows + len(batch.unreadable)
        if spec not in looked_at:
            return rows, {}, Foreseen()
        return rows, *count_ahead(prepared.graph, batch, prepared.resources, store=store, path=spec.path)

    at_once = available_processors()
    with ThreadPoolExecutor(at_once, thread_name_prefix="dataflow-quote") as pool:
        for start in range(0, len(plan.specs), at_once):
            yield from pool.map(count, plan.specs[start : start + at_once])


def _setting(
    graph: Graph, counts: Mapping[str, KeyCount], *, records: int, partitions: int, guardrails: Guardrails | None
) -> Setting:
    apis = {step.service.api.name: step.service.api for step in graph.every if step.service.api is not None}
    limits = {} if guardrails is None else _most_failures(graph, guardrails, counts)
    processors = available_processors()
    return Setting(
        records=records,
        partitions=max(1, partitions),
        workers=min(processors, max(1, partitions)),
        side_by_side=SIDE_BY_SIDE * processors,
        most_failures=limits,
        capacities={name: Capacity(rates=api.rates, concurrency=api.concurrency) for name, api in apis.items()},
    )


def _most_failures(graph: Graph, guardrails: Guardrails, counts: Mapping[str, KeyCount]) -> dict[str, int]:
    most = guardrails.max_failures
    heeded = {step.service.name for step in graph.every if guardrails.heed(step.service)}
    return {
        name: most.limit(one.keys + (one.open_keys or one.open_records))
        for name, one in counts.items()
        if name in heeded
    }


def _called(step: Step) -> Called:
    service, api = step.service, step.service.api
    retry = service.policy.retry or (None if api is None else api.retry)
    repeats = retry is not None and service.repeatable
    return Called(
        service=service.name,
        api=None if api is None else api.name,
        attempts=retry.attempts if retry is not None and repeats else 1,
        batch=service.batch,
        conditional=service.policy.when is not None or service.policy.overwrite == "nulls",
        tariff=None if service.policy.price is None else tariff_of(service.policy.price),
    )


def tariff_of(price: Price) -> Tariff:
    """The price of a service as a quote takes it."""
    if price.comes_with_answer:
        most = float("inf") if price.most is None else amount(price.most)
        likely = 0.0 if price.most is None else most / 2
        call = Interval(low=0.0, likely=likely, high=most)
    else:
        call = Interval.exactly(amount(price.call))
    return Tariff(
        call=call,
        record=amount(price.record),
        billed=price.billed,
        currency=price.currency,
        from_answer=price.comes_with_answer,
    )
