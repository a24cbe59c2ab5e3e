"""A pipeline made ready in this process: bound, its lookups read, its classes set up, once for each schema.

For single records, tables and samples; runs prepare their workers in `worker`.
"""

from __future__ import annotations

import atexit
import sys
import threading
import warnings
import weakref
from dataclasses import dataclass
from functools import cache
from queue import SimpleQueue

import pyarrow as pa

from dataflow.engine.arrow import keep_pandas_out
from dataflow.engine.http.settings import CallSettings, Money
from dataflow.engine.resources import Resources, make_resources
from dataflow.plan.graph import PUBLISHED, Graph
from dataflow.plan.pipeline import Pipeline
from dataflow.store.cache.connection import limits_prefix
from dataflow.store.catalog import Catalog
from dataflow.store.files import rooted
from dataflow.wiring.binding import (
    bind_pipeline,
    given_schema,
    kept_types,
    lookup_tables,
    prepare_arrow,
    touched_columns,
    wanted_types,
)
from dataflow.wiring.durations import durations_of
from dataflow.wiring.memory import Memory, shared_memory

DEFAULT_CATALOG = "datasets"
"""The folder of datasets under the current one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a pipeline asks of records, whichever columns they have.

    Attributes:
        touched: The columns that it reads or writes, or None for all there are.
        wanted: The type that the first reader of a column declares, or who writes it for some records.
        given: The type of a column that a service reads, for where the values do not tell one.
        tables: The table of each lookup.
    """

    touched: frozenset[str] | None
    wanted: dict[str, pa.DataType]
    given: pa.Schema
    tables: dict[str, pa.Table]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A pipeline that is ready for records of one schema, with the answers that it remembers, if any."""

    graph: Graph
    resources: Resources
    memory: Memory | None = None


_needs: weakref.WeakKeyDictionary[Pipeline, dict[str, Needs]] = weakref.WeakKeyDictionary()
_prepared: weakref.WeakKeyDictionary[Pipeline, dict[tuple[str, str, bool], Prepared]] = weakref.WeakKeyDictionary()
_lock = threading.RLock()
_gone: SimpleQueue[Resources | None] = SimpleQueue()


def has_needs(pipeline: Pipeline, *, catalog: str) -> bool:
    """Whether `needs_of` takes no time, since it was asked before."""
    return catalog in _needs.get(pipeline, {})


def is_prepared(pipeline: Pipeline, schema: pa.Schema, *, catalog: str, offline: bool) -> bool:
    """Whether `prepare_once` takes no time, since records of that schema came before."""
    return _key(schema, catalog, offline) in _prepared.get(pipeline, {})


def _key(schema: pa.Schema, catalog: str, offline: bool) -> tuple[str, str, bool]:
    return schema.to_string(), catalog, offline


def needs_of(pipeline: Pipeline, *, catalog: str = DEFAULT_CATALOG) -> Needs:
    """What the pipeline asks of records; found at the first call, which reads the tables of its lookups.

    Raises:
        SourceError: A lookup's table cannot be read.
    """
    with _lock:
        known = _needs.setdefault(pipeline, {})
        if catalog not in known:
            keep_pandas_out()
            tables = lookup_tables(pipeline, Catalog(catalog))
            known[catalog] = Needs(
                touched=touched_columns(pipeline, tables),
                wanted=kept_types(pipeline) | wanted_types(pipeline),
                given=given_schema(pipeline, tables),
                tables=tables,
            )
        return known[catalog]


def prepare_once(
    pipeline: Pipeline,
    schema: pa.Schema,
    *,
    catalog: str = DEFAULT_CATALOG,
    offline: bool = False,
    money: Money | None = None,
) -> Prepared:
    """The pipeline ready for a schema; made at the first call, kept as long as the pipeline lives.

    With money it is made for this once, and whoever asked for it closes its resources.

    Args:
        pipeline: The pipeline.
        schema: Of the records.
        catalog: Where its lookups are read, and where answers are kept.
        offline: Whether only the cache may answer in place of APIs.
        money: What may be spent, or None where nothing limits it.

    Raises:
        DeclarationError: The pipeline does not fit the schema, or a class cannot be set up.
        SourceError: A lookup's table cannot be read.
    """
    # The note of pandas in a schema differs from table to table, and says nothing of its columns.
    ours = {PUBLISHED: b"1"} if PUBLISHED in (schema.metadata or {}) else None
    schema = schema.with_metadata(ours)
    if money is not None:
        return _prepare(pipeline, schema, catalog=catalog, offline=offline, money=money)
    key = _key(schema, catalog, offline)
    with _lock:
        known = _prepared.setdefault(pipeline, {})
        if key not in known:
            known[key] = _prepare(pipeline, schema, catalog=catalog, offline=offline)
            _closing()
            weakref.finalize(pipeline, _gone.put, known[key].resources).atexit = False
        return known[key]


@cache
def _closing() -> threading.Thread:
    """The thread that closes what was made ready for pipelines that are gone.

    Garbage is collected on any thread: also on the event loop that closing waits for, and where that holds a lock.
    """
    thread = threading.Thread(target=_close_gone, name="dataflow-closing", daemon=True)
    thread.start()
    atexit.register(_close_all)
    return thread


def _close_gone() -> None:
    while (resources := _gone.get()) is not None:
        try:
            resources.close()
        except Exception:
            sys.excepthook(*sys.exc_info())


def _close_all() -> None:
    """Close what is left when the process ends."""
    for known in list(_prepared.values()):
        for prepared in known.values():
            _gone.put(prepared.resources)
    _gone.put(None)
    _closing().join()


def _prepare(
    pipeline: Pipeline, schema: pa.Schema, *, catalog: str, offline: bool, money: Money | None = None
) -> Prepared:
    tables = needs_of(pipeline, catalog=catalog).tables
    graph = bind_pipeline(pipeline, schema, tables, durations=durations_of(pipeline, Catalog(catalog)))
    prepare_arrow(graph)
    memory = shared_memory(graph, rooted(catalog), warn=warnings.warn) if graph.calls_apis else None
    shared = limits_prefix(catalog) if graph.calls_apis else None
    settings = CallSettings(store=memory, may_call=not offline, offline=offline, money=money, shared=shared)
    return Prepared(graph=graph, resources=make_resources(graph, tables=tables, settings=settings), memory=memory)
