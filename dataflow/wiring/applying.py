"""`apply`: a table in, the same kind of table out, no row dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.engine import collections
from dataflow.engine.arrow import bring_pandas_in
from dataflow.engine.environment import Environment
from dataflow.engine.fate import UNREADABLE, output_table
from dataflow.engine.http.settings import Money
from dataflow.engine.partition import run_graph
from dataflow.engine.program import load, pack_object
from dataflow.engine.rejected import reasons
from dataflow.engine.verdicts import everything
from dataflow.errors import DeclarationError
from dataflow.plan.graph import Graph
from dataflow.plan.pipeline import Pipeline
from dataflow.services.types import holds
from dataflow.store.sources.arrays import empty_table
from dataflow.wiring.budgets import spent_here
from dataflow.wiring.preparation import DEFAULT_CATALOG, Needs, Prepared, needs_of, prepare_once
from dataflow.wiring.records import merged, prepare_records, to_records, to_table

REJECTED = "rejected"
"""The column that says why a run would have rejected the row; null where it would not."""


def apply(
    pipeline: Pipeline,
    data: Any,
    *,
    catalog: str = DEFAULT_CATALOG,
    offline: bool = False,
    budget: float | None = None,
) -> Any:
    """Run a table; see `Pipeline.apply`."""
    kind = "arrow" if isinstance(data, pa.Table) else collections.kind_of(data)
    if kind in ("arrow", "pandas"):
        function = apply_table if kind == "arrow" else apply_pandas
        with spent_here(pipeline.every, budget=budget) as money:
            return function(pipeline, data, catalog=catalog, offline=offline, money=money)
    if budget is not None:
        raise DeclarationError(
            "apply cannot hold a budget= over a Dask collection, whose partitions are run again at each compute; "
            "run() can, or apply it to a pandas or Arrow table"
        )
    if kind == "dask":
        return collections.map_frames(data, _Applied(pipeline, catalog, offline=offline))
    if kind == "bag":
        return collections.map_records(data, _Applied(pipeline, catalog, offline=offline))
    raise DeclarationError(
        f"apply takes a pandas or Arrow table, a Dask DataFrame or a Dask Bag, not {type(data).__name__}; "
        "one record goes to call(), a file to run()"
    )


class _Applied:
    """A pipeline as a function of pandas frames or lists of records, in a form that travels to Dask's workers."""

    def __init__(self, pipeline: Pipeline, catalog: str, *, offline: bool) -> None:
        self._program = pack_object(pipeline)
        self._catalog = catalog
        self._offline = offline

    def frame(self, frame: Any, schema: pa.Schema | None) -> Any:
        """A partition of a Dask DataFrame."""
        pipeline = load(self._program)
        return apply_pandas(pipeline, frame, catalog=self._catalog, offline=self._offline, schema=schema)

    def empty(self, meta: Any) -> tuple[Any, pa.Schema]:
        """What a partition will look like, and the schema that all are read under; no service is called."""
        pipeline = load(self._program)
        schema = frame_schema(meta, pipeline, catalog=self._catalog)
        graph = prepare_once(pipeline, schema, catalog=self._catalog).graph
        table = empty_table(graph.output).append_column(REJECTED, pa.nulls(0, pa.string()))
        return _to_frame(meta, table, graph), schema

    def records(self, records: Any) -> list[dict[str, Any]]:
        """A partition of a Dask Bag of dicts."""
        listed = list(records)
        if not listed:
            return []
        return apply_records(load(self._program), listed, catalog=self._catalog, offline=self._offline)


def apply_records(
    pipeline: Pipeline,
    records: Sequence[Mapping[str, Any]],
    *,
    catalog: str = DEFAULT_CATALOG,
    offline: bool = False,
) -> list[dict[str, Any]]:
    """Run dicts; one with a value that no service could read is not run, and says so in `rejected`."""
    table, misfits = to_table(pipeline, records, catalog=catalog)
    names = list(dict.fromkeys(name for record in records for name in record))
    prepared = prepare_records(pipeline, table.schema, names=names, catalog=catalog, offline=offline)
    readable = [row for row in range(len(records)) if row not in misfits]
    outputs = iter(to_records(run_table(prepared, table.take(pa.array(readable, pa.int64())))))
    added = dict.fromkeys(column.name for column in prepared.graph.final if column.version > 0)
    added |= dict.fromkeys([*prepared.graph.output.names[len(prepared.graph.final) :], REJECTED])
    return [
        {**added, **record, REJECTED: f"{UNREADABLE}: {misfits[row]}"}
        if row in misfits
        else merged(record, next(outputs))
        for row, record in enumerate(records)
    ]


def apply_table(
    pipeline: Pipeline,
    table: pa.Table,
    *,
    catalog: str = DEFAULT_CATALOG,
    offline: bool = False,
    money: Money | None = None,
) -> pa.Table:
    """Run an Arrow table: its columns, the outputs, and `rejected`."""
    prepared = prepare_once(pipeline, table.schema, catalog=catalog, offline=offline, money=money)
    with _closed_after(money, prepared):
        return run_table(prepared, table)


@contextmanager
def _closed_after(money: Money | None, prepared: Prepared) -> Iterator[None]:
    """Give back what is left of the money; what was prepared without any is kept for the next time."""
    try:
        yield
    finally:
        if money is not None:
            prepared.resources.close()


def run_table(prepared: Prepared, table: pa.Table) -> pa.Table:
    """Run the rows of a table and keep every one of them; see `whole_table`."""
    return whole_table(run_graph(prepared.graph, table, prepared.resources))


def whole_table(environment: Environment) -> pa.Table:
    """Every row after the services, with `rejected`.

    A row that a run would reject has nulls in the columns that services add; columns that they overwrite show
    what the source had.
    """
    output = output_table(environment, kept=everything(environment.size))
    found = reasons(environment)
    texts: list[str | None] = [None] * environment.size
    for row, one in found.items():
        texts[row] = f"{one.service}: {one.error}"
    if found:
        output = _without_outputs(output, environment, list(found))
    return output.append_column(REJECTED, pa.array(texts, pa.string()))


def _without_outputs(output: pa.Table, environment: Environment, rows: list[int]) -> pa.Table:
    mask = np.zeros(environment.size, np.bool_)
    mask[rows] = True
    rejected = pa.array(mask)
    source = environment.graph.source
    for column in environment.graph.final:
        if column.version == 0:
            continue
        at = output.schema.get_field_index(column.name)
        field = output.schema.field(at)
        fits = column.name in source.names and holds(field.type, source.field(column.name).type)
        before = environment.source_column(column.name).cast(field.type) if fits else pa.nulls(len(mask), field.type)
        output = output.set_column(at, field, pc.if_else(rejected, before, output.column(at)))
    return output


def apply_pandas(
    pipeline: Pipeline,
    frame: Any,
    *,
    catalog: str = DEFAULT_CATALOG,
    offline: bool = False,
    schema: pa.Schema | None = None,
    money: Money | None = None,
) -> Any:
    """Run a pandas frame; index and untouched columns stay as they are."""
    bring_pandas_in()
    schema = schema or frame_schema(frame, pipeline, catalog=catalog)
    prepared = prepare_once(pipeline, schema, catalog=catalog, offline=offline, money=money)
    try:
        table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DeclarationError(
            f"a column of the frame does not have one type ({error.args[-1] if error.args else error}); "
            "convert it before, since a column has one type in all partitions"
        ) from error
    with _closed_after(money, prepared):
        return _to_frame(frame, run_table(prepared, table), prepared.graph)


def frame_schema(frame: Any, pipeline: Pipeline, *, catalog: str = DEFAULT_CATALOG) -> pa.Schema:
    """The Arrow schema of the columns of a frame that the pipeline reads or writes.

    Those without a value have the type that a service declares, else text.

    Raises:
        DeclarationError: A column has no type, two have one name, or the pipeline does not fit the columns.
    """
    bring_pandas_in()
    needs = needs_of(pipeline, catalog=catalog)
    names = [name for name in frame.columns if needs.touched is None or name in needs.touched]
    strange = [str(name) for name in names if not isinstance(name, str)]
    if strange or len(set(names)) < len(names):
        problem = f"names that are no texts ({', '.join(strange)})" if strange else "two columns of one name"
        raise DeclarationError(f"the frame has {problem}; rename them before")
    schema = pa.schema([_known(_field(frame, name), needs) for name in names])
    prepare_records(pipeline, schema, names=[str(name) for name in frame.columns], catalog=catalog)
    return schema


def _field(frame: Any, name: str) -> pa.Field:
    try:
        return pa.Schema.from_pandas(frame[[name]], preserve_index=False).remove_metadata().field(name)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DeclarationError(
            f"the column `{name}` of the frame does not have one Arrow type; convert it before"
        ) from error


def _known(field: pa.Field, needs: Needs) -> pa.Field:
    values = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if not pa.types.is_null(values):
        return field
    given = needs.given.field(field.name).type if field.name in needs.given.names else pa.string()
    return field.with_type(needs.wanted.get(field.name, given))


def _to_frame(frame: Any, table: pa.Table, graph: Graph) -> Any:
    """The frame with the columns that services have written, in their places, and the new ones behind."""
    pandas = bring_pandas_in()
    written = {column.name for column in graph.final if column.version > 0}
    names = [name for name in table.column_names if name in written or name not in graph.source.names]
    series = {name: table[name].to_pandas(types_mapper=pandas.ArrowDtype).set_axis(frame.index) for name in names}
    replaced = {name: series.pop(name) for name in names if name in graph.source.names}
    added = pandas.DataFrame(series, index=frame.index)
    return pandas.concat([frame.assign(**replaced), added], axis="columns")
