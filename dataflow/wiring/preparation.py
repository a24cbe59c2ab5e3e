"""A pipeline made ready in this process: bound, its lookups read, its classes set up, once for each schema.

For single records, tables and samples; runs prepare their workers in `worker`.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass

import pyarrow as pa

from dataflow.engine.arrow import keep_pandas_out
from dataflow.engine.resources import Resources, make_resources
from dataflow.plan.graph import Graph
from dataflow.plan.pipeline import Pipeline
from dataflow.store.catalog import Catalog
from dataflow.wiring.binding import bind_pipeline, lookup_tables, prepare_arrow

DEFAULT_CATALOG = "datasets"
"""The folder of datasets under the current one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A pipeline that is ready for records of one schema."""

    graph: Graph
    resources: Resources


_prepared: weakref.WeakKeyDictionary[Pipeline, dict[tuple[str, str], Prepared]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def prepare_once(pipeline: Pipeline, schema: pa.Schema, *, catalog: str = DEFAULT_CATALOG) -> Prepared:
    """The pipeline ready for a schema; made at the first call, kept as long as the pipeline lives.

    Raises:
        DeclarationError: The pipeline does not fit the schema, or a class cannot be set up.
        SourceError: A lookup's table cannot be read.
    """
    key = (schema.to_string(show_schema_metadata=False), catalog)
    with _lock:
        known = _prepared.setdefault(pipeline, {})
        if key not in known:
            known[key] = _prepare(pipeline, schema, catalog)
            weakref.finalize(pipeline, known[key].resources.close)
        return known[key]


def _prepare(pipeline: Pipeline, schema: pa.Schema, catalog: str) -> Prepared:
    keep_pandas_out()
    tables = lookup_tables(pipeline, Catalog(catalog))
    graph = bind_pipeline(pipeline, schema, tables)
    prepare_arrow(graph)
    return Prepared(graph=graph, resources=make_resources(graph, tables=tables))
