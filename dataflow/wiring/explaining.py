"""`explain`, and the columns of a source: what can be said before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataflow.engine.arrow import keep_pandas_out
from dataflow.plan.explain import Explanation, explain_graph
from dataflow.plan.pipeline import Pipeline
from dataflow.store.catalog import Catalog
from dataflow.wiring.binding import bind_pipeline, given_schema, lookup_tables, wanted_types
from dataflow.wiring.inputs import check_columns, plan_source, resolve_source
from dataflow.wiring.preparation import DEFAULT_CATALOG


def explain(pipeline: Pipeline, source: Any = None, *, catalog: str = DEFAULT_CATALOG) -> Explanation:
    """Tell what runs beside what; see `Pipeline.explain`."""
    keep_pandas_out()
    datasets = Catalog(catalog)
    tables = lookup_tables(pipeline, datasets)
    if source is None:
        graph = bind_pipeline(pipeline, given_schema(pipeline, tables), tables)
        return explain_graph(graph, ["no source was given: columns that no service provides are taken as given"])
    plan = plan_source(_resolved(source, datasets), wanted_types(pipeline))
    check_columns(plan.schema)
    graph = bind_pipeline(pipeline, plan.schema, tables)
    return explain_graph(graph, plan.notes)


def source_columns(source: str) -> list[tuple[str, str]]:
    """Name and Arrow type of each column of a source.

    Raises:
        SourceError: It cannot be read.
    """
    keep_pandas_out()
    plan = plan_source(_resolved(source, Catalog(DEFAULT_CATALOG)), {})
    return [(field.name, str(field.type)) for field in plan.schema]


def _resolved(source: Any, catalog: Catalog) -> Any:
    return resolve_source(source, catalog=catalog, spool=Path(str(catalog.root)) / "_sources")
