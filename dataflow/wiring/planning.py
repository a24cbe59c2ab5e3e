"""A job bound to its source: what a run will do, what of it is written down, and how it compares to what there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from dataflow.engine.arrow import keep_pandas_out
from dataflow.engine.fate import failures_schema, rejects_schema
from dataflow.plan.fingerprint import changes, fingerprints
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import SourcePlan, known_rows
from dataflow.plan.pipeline import Job
from dataflow.store.catalog import Catalog
from dataflow.store.dataset import Dataset
from dataflow.store.schemas import Schemas, schema_text
from dataflow.wiring.binding import bind_pipeline, check_key, lookup_tables, wanted_types
from dataflow.wiring.durations import PLANNED, durations_of
from dataflow.wiring.inputs import check_columns, partition_bytes, plan_source, resolve_source
from dataflow.wiring.jobs import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A job bound to its source; `rows` is None where only reading tells how many records there are."""

    job: Job
    graph: Graph
    source: SourcePlan
    tables: dict[str, pa.Table]
    fingerprints: dict[str, str]
    rows: int | None
    durations: Mapping[str, float] = field(default_factory=dict)

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
) -> Planned:
    """Bind a job to its source.

    Args:
        job: What to run.
        catalog: Where its output goes, and where names of datasets are looked up.
        limit: The first records that are run, or None for all.
        parameters: What `flow.Context.parameters` will hold.
        before: Reads the plan of a run that goes on, whose choices hold.

    Raises:
        DataflowError: The source cannot be read, or the pipeline does not fit it.
    """
    keep_pandas_out()
    found = resolve_source(job.source, catalog=catalog, spool=f"{catalog.root}/{job.output}/_runs")
    source = plan_source(found, wanted_types(job.pipeline), limit=limit, target_bytes=partition_bytes(job.pipeline))
    check_columns(source.schema)
    tables = lookup_tables(job.pipeline, catalog)
    durations = durations_of(job.pipeline, catalog, output=job.output, before=before)
    graph = bind_pipeline(
        job.pipeline, source.schema, tables, record_budget=job.record_trillionths, durations=durations
    )
    check_key(job.keys, graph)
    parts = fingerprints(
        graph, files=source.files, options=source.options, key=job.keys, tables=tables, parameters=parameters
    )
    rows = known_rows(source.specs)
    return Planned(
        job=job, graph=graph, source=source, tables=tables, fingerprints=parts, rows=rows, durations=durations
    )


def plan_values(planned: Planned, *, limit: int | None, reference: Reference | None) -> dict[str, Any]:
    """What `plan.json` says, as plain JSON values.

    Args:
        planned: The plan.
        limit: The first records that are run, or None for all.
        reference: How a command named the job, or None where it came from Python.
    """
    return {
        "fingerprints": planned.fingerprints,
        "pipeline": planned.job.pipeline.name,
        "services": [step.service.name for step in planned.graph.steps],
        "specs": [spec.to_dict() for spec in planned.source.specs],
        "reading": planned.source.options,
        "source": schema_text(planned.source.schema),
        "limit": limit,
        **({PLANNED: dict(planned.durations)} if planned.durations else {}),
        "job": None if reference is None else asdict(reference),
    }


def schemas_of(planned: Planned) -> Schemas:
    """The schemas of what the run writes."""
    key = planned.job.keys
    return Schemas(
        output=planned.graph.output,
        rejects=rejects_schema(planned.graph, key),
        failures=failures_schema(planned.graph, key),
    )


def carries(newest: Dataset, planned: Planned) -> bool:
    """Whether the newest version was made under the same plan but for its source."""
    return set(changes(newest.manifest["fingerprints"], planned.fingerprints)) <= {"source"}


def is_whole(version: Dataset) -> bool:
    """Whether every service was attempted for every record of a version."""
    return not version.statistics["not_attempted_records"]


def is_current(newest: Dataset, planned: Planned) -> bool:
    """Whether a run of the plan could give nothing but the newest version."""
    return is_whole(newest) and not changes(newest.manifest["fingerprints"], planned.fingerprints)
