"""A job bound to its source: what a run will do, and what of it is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa

from dataflow.engine.arrow import keep_pandas_out
from dataflow.engine.fate import failures_schema, rejects_schema
from dataflow.plan.code import Looks
from dataflow.plan.fingerprint import fingerprints, unseen, values
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import SourcePlan, known_rows
from dataflow.plan.pipeline import Job
from dataflow.plan.sizes import SizeOption
from dataflow.plan.texts import Texts
from dataflow.store.catalog import Catalog
from dataflow.store.schemas import Schemas, schema_text
from dataflow.store.sources import Source
from dataflow.wiring.binding import bind_pipeline, check_key, lookup_tables, wanted_types
from dataflow.wiring.durations import PLANNED, durations_of
from dataflow.wiring.inputs import check_columns, plan_source, resolve_source, size_of
from dataflow.wiring.jobs import Reference
from dataflow.wiring.looking import differences, look_at
from dataflow.wiring.sizing import chosen_size, cut_to, kept_cuts, records_for
from dataflow.wiring.variables import read_variables

CUT = "cut"
"""The name under which a plan keeps how slow services have cut it, so that the next run is cut alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A job bound to its source.

    Attributes:
        job: What is run.
        graph: The bound pipeline.
        source: What is read, and how it is cut.
        tables: The table of each lookup.
        fingerprints: Of each part of the plan.
        rows: How many records there are; None where only reading tells.
        durations: What `bind_pipeline` was given of earlier runs.
        looks: What was seen of the code.
        texts: The files that it is in.
        variables: What the job file is given of this environment, by name.
        uncut: The source where nobody has said how it is cut, so that slow services may; else None.
        cut: The records of a partition, and the threads that they are for, where slow services have asked for them.
    """

    job: Job
    graph: Graph
    source: SourcePlan
    tables: dict[str, pa.Table]
    fingerprints: dict[str, str]
    rows: int | None
    durations: Mapping[str, float] = field(default_factory=dict)
    looks: Looks = field(default_factory=Looks)
    texts: Texts = field(default_factory=Texts)
    variables: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    uncut: Source | None = None
    cut: Mapping[str, int] | None = None

    @property
    def limit(self) -> int | None:
        """The first records that are run, where a limit leaves others out."""
        limit: int | None = self.source.options.get("first_records")
        return limit

    @property
    def binding(self) -> dict[str, Any]:
        """What `bind_pipeline` was given by name."""
        return {"record_budget": self.job.record_trillionths, "durations": dict(self.durations)}


def plan_job(
    job: Job,
    catalog: Catalog,
    *,
    limit: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    before: Callable[[], Mapping[str, Any] | None] = lambda: None,
    environ: Sequence[str] = (),
    partition_size: SizeOption | None = None,
) -> Planned:
    """Bind a job to its source.

    Args:
        job: What to run.
        catalog: Where its output goes, and where names of datasets are looked up.
        limit: The first records that are run, or None for all.
        parameters: What `flow.Context.parameters` will hold.
        before: Reads the plan of a run that goes on, whose choices hold, and whose cuts where it is the same plan.
        environ: Names of variables that the job file is given, beside those of the job.
        partition_size: How large partitions are, whatever source and job say.

    Raises:
        DataflowError: The source cannot be read, or the pipeline does not fit it.
    """
    keep_pandas_out()
    found = resolve_source(job.source, catalog=catalog, spool=f"{catalog.root}/{job.output}/_runs")
    size = chosen_size(partition_size, found, job.partition_size)
    source = plan_source(found, wanted_types(job.pipeline), limit=limit, size=size or size_of(job.pipeline))
    check_columns(source.schema)
    durations = durations_of(job.pipeline, catalog, output=job.output, before=before)
    given = read_variables([*job.environ, *environ], services=job.pipeline.every)
    planned = _bound(job, source, catalog=catalog, durations=durations, variables=given, parameters=parameters)
    kept = kept_cuts(source, before(), planned.fingerprints, size=size)
    if kept is not None:
        return replace(planned, source=kept, rows=known_rows(kept.specs))
    return replace(planned, uncut=found if size is None else None)


def _bound(
    job: Job,
    source: SourcePlan,
    *,
    catalog: Catalog,
    durations: Mapping[str, float],
    variables: Mapping[str, str | None],
    parameters: Mapping[str, Any] | None,
) -> Planned:
    """The job bound to a source as it is cut."""
    tables = lookup_tables(job.pipeline, catalog)
    graph = bind_pipeline(
        job.pipeline, source.schema, tables, record_budget=job.record_trillionths, durations=durations
    )
    check_key(job.keys, graph)
    looks, texts = look_at(job.pipeline)
    parts = fingerprints(
        graph,
        files=source.files,
        options=source.options,
        key=job.keys,
        tables=tables,
        parameters=parameters,
        looks=looks,
        texts=texts,
        variables=variables,
    )
    return Planned(
        job=job,
        graph=graph,
        source=source,
        tables=tables,
        fingerprints=parts,
        rows=known_rows(source.specs),
        durations=durations,
        looks=looks,
        texts=texts,
        variables=variables,
    )


def cut_planned(
    planned: Planned,
    *,
    threads: int,
    limit: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    before: Mapping[str, Any] | None = None,
) -> Planned:
    """The plan with a source that is cut as its slow services need it, where nobody has said how.

    Args:
        planned: The plan of a run that begins anew.
        threads: Partitions that will be run at the same time.
        limit: The first records that are run, or None for all.
        parameters: What `flow.Context.parameters` will hold.
        before: How a run of the same services was cut; it holds for as many threads, so that cuts stay what they are.

    Raises:
        SourceError: The source cannot be read.
    """
    if planned.uncut is None:
        return planned
    if before is not None and before["threads"] == threads:
        cut = before["records"], f"for {threads:,} threads, as before"
    else:
        found = records_for(planned.graph, planned.source, planned.tables, threads=threads, parameters=parameters)
        if found is None:
            return planned
        cut = found
    records, why = cut
    wanted = wanted_types(planned.job.pipeline)
    source = cut_to(planned.source, records, found=planned.uncut, wanted=wanted, why=why, limit=limit)
    made = {"records": records, "threads": threads}
    return replace(planned, source=source, rows=known_rows(source.specs), cut=made)


def plan_values(planned: Planned, *, reference: Reference | None) -> dict[str, Any]:
    """What `plan.json` says, as plain JSON values.

    Args:
        planned: The plan.
        reference: How a command named the job, or None where it came from Python.
    """
    return {
        "fingerprints": planned.fingerprints,
        "pipeline": planned.job.pipeline.name,
        "services": [step.service.name for step in planned.graph.steps],
        "specs": [spec.to_dict() for spec in planned.source.specs],
        "reading": planned.source.options,
        "source": schema_text(planned.source.schema),
        "limit": planned.limit,
        **({CUT: dict(planned.cut)} if planned.cut else {}),
        **({PLANNED: dict(planned.durations)} if planned.durations else {}),
        **({"environ": list(planned.variables)} if planned.variables else {}),
        "texts": dict(planned.texts.files),
        "values": values(planned.graph, planned.looks),
        "job": None if reference is None else asdict(reference),
    }


def differing(plan: Mapping[str, Any], planned: Planned) -> list[str]:
    """What has changed since a plan was written, as people call it; nothing where a run may go on."""
    said = unseen(planned.graph, planned.looks)
    named = values(planned.graph, planned.looks)
    return differences(plan, planned.fingerprints, planned.texts, hidden=tuple(said), values=named)


def schemas_of(planned: Planned) -> Schemas:
    """The schemas of what the run writes."""
    key = planned.job.keys
    return Schemas(
        output=planned.graph.output,
        rejects=rejects_schema(planned.graph, key),
        failures=failures_schema(planned.graph, key),
    )
