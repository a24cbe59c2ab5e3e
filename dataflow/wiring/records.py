"""Records that are dicts, as a table that a pipeline takes, and back.

What a pipeline does with them is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from dataflow.engine.arrow import bring_pandas_in
from dataflow.errors import DeclarationError
from dataflow.plan.pipeline import Pipeline
from dataflow.services.types import is_text
from dataflow.store.sources.texts import convert, convertible
from dataflow.wiring.binding import bind_pipeline
from dataflow.wiring.preparation import DEFAULT_CATALOG, Needs, Prepared, needs_of, prepare_once


def to_table(
    pipeline: Pipeline, records: Sequence[Mapping[str, Any]], *, catalog: str = DEFAULT_CATALOG
) -> tuple[pa.Table, dict[int, str]]:
    """The columns of some records that the pipeline reads or writes, under the types that it declares.

    Returns:
        The table; and for each record with a value of another type, by its place, what is wrong. Such a value
        is null in the table.
    """
    needs = needs_of(pipeline, catalog=catalog)
    names = dict.fromkeys(name for record in records for name in record)
    touched = [name for name in names if needs.touched is None or name in needs.touched]
    columns: dict[str, pa.Array] = {}
    misfits: dict[int, str] = {}
    for name in touched:
        columns[name], wrong = _column([record.get(name) for record in records], name, needs)
        misfits |= {row: f"column `{name}`: {text}" for row, text in wrong.items()}
    # Without any column a table would have no rows.
    return pa.table(columns or {"": pa.nulls(len(records), pa.bool_())}), misfits


def prepare_records(
    pipeline: Pipeline,
    schema: pa.Schema,
    *,
    names: Sequence[str],
    catalog: str = DEFAULT_CATALOG,
    offline: bool = False,
) -> Prepared:
    """The pipeline ready for what `to_table` made; `names` are all columns, which a refusal may have to mention.

    Raises:
        DeclarationError: The pipeline does not fit the columns.
    """
    try:
        return prepare_once(pipeline, schema, catalog=catalog, offline=offline)
    except DeclarationError:
        fields = [schema.field(name) if name in schema.names else pa.field(name, pa.null()) for name in names]
        bind_pipeline(pipeline, pa.schema(fields), needs_of(pipeline, catalog=catalog).tables)
        raise


def _column(values: list[Any], name: str, needs: Needs) -> tuple[pa.Array, dict[int, str]]:
    wanted = needs.wanted.get(name)
    try:
        return _typed(values, wanted, name, needs), {}
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        wrong = {row: text for row, value in enumerate(values) if (text := _misfit(value, wanted, name, needs))}
    kept = [None if row in wrong else value for row, value in enumerate(values)]
    try:
        return _typed(kept, wanted, name, needs), wrong
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DeclarationError(f"the values of `{name}` have no type in common; convert them before") from error


def _typed(values: list[Any], wanted: pa.DataType | None, name: str, needs: Needs) -> pa.Array:
    found = pa.array(values)
    if pa.types.is_null(found.type):
        known = needs.given.field(name).type if name in needs.given.names else pa.null()
        return pa.array(values, wanted or known)
    if wanted is None or found.type == wanted:
        return found
    numbers = pa.types.is_integer(found.type) and (pa.types.is_floating(wanted) or pa.types.is_integer(wanted))
    texts = is_text(found.type) and is_text(wanted)
    if numbers or texts or pa.types.is_nested(wanted):
        return pa.array(values, wanted)
    if is_text(found.type) and convertible(wanted) and (pa.types.is_temporal(wanted) or pa.types.is_decimal(wanted)):
        read = convert(pa.chunked_array([found]), wanted)
        if read.misfits is None:
            return read.values.combine_chunks()
    elif pa.types.is_temporal(wanted) or pa.types.is_decimal(wanted):
        return found.cast(wanted)
    raise TypeError("another type than declared")


def _misfit(value: Any, wanted: pa.DataType | None, name: str, needs: Needs) -> str | None:
    try:
        _typed([value], wanted, name, needs)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        declared = f", but its first reader declares {wanted}" if wanted is not None else ", which has no Arrow type"
        return f"is {type(value).__name__}{declared}"
    return None


def to_records(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as dicts of Python values."""
    try:
        rows: list[dict[str, Any]] = table.to_pylist(maps_as_pydicts="strict")
    except ValueError:
        # Nanoseconds need the timestamps of pandas.
        bring_pandas_in()
        rows = table.to_pylist(maps_as_pydicts="strict")
    return rows


def to_record(columns: Sequence[Any], schema: pa.Schema) -> dict[str, Any]:
    """The only row of some columns as a dict of Python values."""
    try:
        found = [column.to_pylist(maps_as_pydicts="strict") for column in columns]
        return {name: one for name, (one,) in zip(schema.names, found, strict=True)}
    except ValueError:
        return to_records(pa.Table.from_arrays(list(columns), schema=schema))[0]


def merged(record: Mapping[str, Any], output: Mapping[str, Any]) -> dict[str, Any]:
    """The record as it came, with what the pipeline has written or read."""
    return {**record, **{name: value for name, value in output.items() if name}}
