"""Whether a job loads, finds its source and fits it."""

from __future__ import annotations

from collections.abc import Mapping

from dataflow.plan.partitions import SourcePlan
from dataflow.plan.pipeline import Job
from dataflow.store.catalog import Catalog
from dataflow.wiring.binding import bind_pipeline, check_key, given_schema, lookup_tables, wanted_types
from dataflow.wiring.doctor.findings import Finding, ok, room, warning
from dataflow.wiring.durations import durations_of
from dataflow.wiring.explaining import planned_source
from dataflow.wiring.inputs import check_columns
from dataflow.wiring.jobs import find_job


def load_job(text: str, *, parameters: Mapping[str, str]) -> tuple[Job, list[Finding]]:
    """The job that a command names.

    Raises:
        DeclarationError: It does not load.
    """
    job = find_job(text, parameters=parameters).job
    services = len(job.pipeline.every)
    return job, [ok("job", f"{text} loads: {services} service{'s' * (services != 1)} for {job.output}")]


def look_at_source(job: Job, *, catalog: str) -> tuple[SourcePlan | None, list[Finding]]:
    """The source of a job as it is planned; None where the job has none.

    Raises:
        SourceError: It is not there, or cannot be read.
    """
    if job.source is None:
        return None, [warning("source", "the job names none", advice="give the run a --source")]
    plan = planned_source(job.source, Catalog(catalog), wanted_types(job.pipeline))
    check_columns(plan.schema)
    size, files, columns = sum(one.size for one in plan.files), len(plan.files), len(plan.schema)
    return plan, [
        ok("source", f"{files} file{'s' * (files != 1)}, {room(size)}, {columns} column{'s' * (columns != 1)}")
    ]


def look_at_binding(job: Job, plan: SourcePlan | None, *, catalog: str) -> list[Finding]:
    """Whether the services fit the columns of the source and of their lookups.

    Raises:
        DataflowError: They do not.
    """
    datasets = Catalog(catalog)
    tables = lookup_tables(job.pipeline, datasets)
    schema = given_schema(job.pipeline, tables) if plan is None else plan.schema
    graph = bind_pipeline(
        job.pipeline,
        schema,
        tables,
        record_budget=job.record_trillionths,
        durations=durations_of(job.pipeline, datasets),
    )
    check_key(job.keys, graph)
    fact = f"all services find what they read, in {len(graph.levels())} steps one after the other"
    return [ok("services", fact)]
