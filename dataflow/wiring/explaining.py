"""`explain`, and the columns of a source: what can be said before anything runs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dataflow.engine.arrow import keep_pandas_out
from dataflow.engine.collections import kind_of
from dataflow.plan.explain import Explanation, explain_graph
from dataflow.plan.guardrails import Guardrails
from dataflow.plan.partitions import SourcePlan, known_rows
from dataflow.plan.pipeline import Pipeline
from dataflow.plan.sizes import PartitionSize, SizeOption
from dataflow.store.catalog import Catalog
from dataflow.wiring.binding import bind_pipeline, given_schema, lookup_tables, prepare_arrow, wanted_types
from dataflow.wiring.durations import durations_of
from dataflow.wiring.inputs import check_columns, plan_source, resolve_source, size_of, some_partitions
from dataflow.wiring.looking import look_at, said_of_unseen
from dataflow.wiring.preparation import DEFAULT_CATALOG
from dataflow.wiring.prospects import look_at_first, told_ahead
from dataflow.wiring.settings import Settings
from dataflow.wiring.sizing import chosen_size, cut_to, records_for, threads_for


def explain(
    pipeline: Pipeline,
    source: Any = None,
    *,
    catalog: str = DEFAULT_CATALOG,
    guardrails: Guardrails | None = None,
    partition_size: SizeOption | None = None,
    of_job: SizeOption | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Explanation:
    """Tell what runs beside what; see `Pipeline.explain`.

    Args:
        pipeline: What is told about.
        source: What it is bound to, or None.
        catalog: Where names of datasets are looked up.
        guardrails: Those of a job, for what a run would make of its first records.
        partition_size: How large partitions are, as a run is given it.
        of_job: The same as a job says it.
        parameters: What `flow.Context.parameters` will hold.
    """
    keep_pandas_out()
    datasets = Catalog(catalog)
    tables = lookup_tables(pipeline, datasets)
    durations = durations_of(pipeline, datasets)
    if source is None:
        graph = bind_pipeline(pipeline, given_schema(pipeline, tables), tables, durations=durations)
        given = "no source was given: columns that no service provides are taken as given"
        return explain_graph(graph, [given, *said_of_unseen(graph, look_at(pipeline)[0])])
    wanted = wanted_types(pipeline)
    with tempfile.TemporaryDirectory(prefix="dataflow-") as spool:
        found = resolve_source(some_partitions(source, 1), catalog=datasets, spool=spool)
        size = chosen_size(partition_size, found, of_job)
        plan = plan_source(found, wanted, size=size or size_of(pipeline))
        check_columns(plan.schema)
        graph = bind_pipeline(pipeline, plan.schema, tables, durations=durations)
        prepare_arrow(graph)
        looked = look_at_first(plan, graph, tables, parameters=parameters)
        if size is None:
            threads = threads_for(Settings())
            cut = records_for(graph, plan, tables, threads=threads, parameters=parameters, seconds=looked.seconds)
            plan = plan if cut is None else cut_to(plan, cut[0], found=found, wanted=wanted, why=cut[1])
    records = None if kind_of(source) in ("dask", "bag") else known_rows(plan.specs)
    ahead = told_ahead(guardrails or Guardrails(), graph, looked.foreseen, records=records)
    cuts = [] if size is None else [_told_cuts(plan, size)]
    return explain_graph(graph, [*plan.notes, *cuts, *ahead, *said_of_unseen(graph, look_at(pipeline)[0])])


def _told_cuts(plan: SourcePlan, size: PartitionSize) -> str:
    partitions = "1 partition" if len(plan.specs) == 1 else f"{len(plan.specs):,} partitions"
    return f"cut into {partitions}, since partition_size says {size} each"


def source_columns(source: str, *, catalog: str = DEFAULT_CATALOG) -> list[tuple[str, str]]:
    """Name and Arrow type of each column of a source.

    Raises:
        SourceError: It cannot be read.
    """
    keep_pandas_out()
    return [(field.name, str(field.type)) for field in planned_source(source, Catalog(catalog), {}).schema]


def planned_source(source: Any, catalog: Catalog, wanted: dict[str, pa.DataType]) -> SourcePlan:
    """The plan of a source; of a Dask DataFrame only the first partition is computed."""
    with tempfile.TemporaryDirectory(prefix="dataflow-") as spool:
        return plan_source(resolve_source(some_partitions(source, 1), catalog=catalog, spool=spool), wanted)
