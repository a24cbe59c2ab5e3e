"""Joins a pipeline to the data it is bound to: the source's schema and the tables of its lookups."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from dataflow.engine.arrow import bring_pandas_in
from dataflow.engine.fate import FAILURES, REJECTS
from dataflow.errors import DeclarationError, SourceError
from dataflow.outcomes import Kind
from dataflow.plan.binding import bind
from dataflow.plan.graph import Graph
from dataflow.plan.pipeline import Pipeline
from dataflow.services.contract import RESERVED
from dataflow.services.service import Service
from dataflow.services.signature import ALL, Container, Form
from dataflow.store.catalog import Catalog
from dataflow.store.dataset import Dataset
from dataflow.store.filesystem import is_remote
from dataflow.store.sources import Source, csv, infer_source, parquet, read_table
from dataflow.store.sources.options import listed

_PANDAS = (Container.SERIES, Container.DATAFRAME)


def wanted_types(pipeline: Pipeline) -> dict[str, pa.DataType]:
    """The type that the first reader of each source column declares; the reading of text formats follows it."""
    wanted: dict[str, pa.DataType] = {}
    written: set[str] = set()
    for service in pipeline.services:
        for parameter in service.parameters:
            fields = list((parameter.declared.fields or {}).values()) if parameter.is_record else []
            for at, column in enumerate(parameter.columns):
                declared = fields[at] if fields else parameter.declared
                if column not in written | set(wanted) and column != ALL and declared.arrow is not None:
                    wanted[column] = declared.arrow
        if service.kind is not Kind.VALIDATION:
            written |= {output.column for output in service.outputs}
    return wanted


def kept_types(pipeline: Pipeline) -> dict[str, pa.DataType]:
    """The type of each column that a service writes for some records only, which a null does not tell."""
    kept: dict[str, pa.DataType] = {}
    for service in pipeline.services:
        partly = service.policy.overwrite == "nulls" or service.policy.when is not None
        for output in service.outputs if partly else ():
            if output.declared is not None and output.declared.arrow is not None:
                kept.setdefault(output.column, output.declared.arrow)
    return kept


def touched_columns(pipeline: Pipeline, tables: Mapping[str, pa.Table]) -> frozenset[str] | None:
    """The columns that a pipeline reads or writes, or None where a service reads `flow.ALL`.

    Others need no type: they pass by as they are. Columns that every run writes count, since they may clash.
    """
    touched = set(RESERVED)
    for service in pipeline.services:
        when = service.policy.when
        touched |= {column for parameter in service.parameters for column in parameter.columns}
        touched |= {when.column} if when is not None else set()
        touched |= set(_written(service, tables))
    return None if ALL in touched else frozenset(touched)


def _written(service: Service, tables: Mapping[str, pa.Table]) -> list[str]:
    """The columns that a service writes, those of a lookup by its table."""
    if service.form is not Form.LOOKUP or "into" in service.options:
        return [output.column for output in service.outputs] or [service.options.get("into", "")]
    names = service.options.get("columns", {})
    return [names.get(name, name) for name in service.lookup.select or tables[service.name].schema.names]


def bind_pipeline(
    pipeline: Pipeline,
    schema: pa.Schema,
    tables: Mapping[str, pa.Table],
    *,
    record_budget: int | None = None,
    durations: Mapping[str, float] | None = None,
) -> Graph:
    """The pipeline bound to a source schema and to the tables of its lookups; for the others see `bind`.

    Raises:
        DeclarationError: They do not fit.
    """
    return bind(
        pipeline.services,
        schema,
        name=pipeline.name,
        invalid=pipeline.invalid,
        tables={name: table.schema for name, table in tables.items()},
        record_budget=record_budget,
        durations=durations,
    )


def lookup_tables(pipeline: Pipeline, catalog: Catalog) -> dict[str, pa.Table]:
    """The table of each lookup, read.

    Raises:
        SourceError: A table cannot be read.
        CatalogError: A dataset does not exist.
    """
    lookups = [service for service in pipeline.every if service.form is Form.LOOKUP]
    return {service.name: read_lookup(service, catalog) for service in lookups}


def read_lookup(service: Service, catalog: Catalog) -> pa.Table:
    """The table of one lookup: the keys of a text file stay text, its other columns are inferred.

    Raises:
        DeclarationError: It lacks a column that `on=` names, or is none.
        SourceError: It cannot be read.
    """
    table = _lookup_table(service, catalog)
    missing = next((key for key in service.lookup.on.values() if key not in table.column_names), None)
    if missing is not None:
        near = difflib.get_close_matches(missing, table.column_names, n=1)
        advice = f"did you mean `{near[0]}`?" if near else f"it has {listed(table.column_names)}"
        raise DeclarationError(
            f"`{service.name}`: the table has no column `{missing}`, which on= names; {advice} "
            '(where the column of the records has another name, write on={"column": "column of the table"})'
        )
    return table


def _lookup_table(service: Service, catalog: Catalog) -> pa.Table:
    table = service.lookup.table
    if isinstance(table, pa.Table):
        return table
    if type(table).__name__ == "DataFrame" and hasattr(table, "iloc"):
        bring_pandas_in()
        return pa.Table.from_pandas(table, preserve_index=False)
    if isinstance(table, Source):
        return read_table(table)
    if not isinstance(table, (str, Path)):
        raise DeclarationError(
            f"`{service.name}`: table= takes a path, a source or a table, not {type(table).__name__}"
        )
    if str(table).lower().split(".")[-1] in ("csv", "tsv") or ".csv." in str(table).lower():
        text = dict.fromkeys(service.lookup.on.values(), pa.string())
        return read_table(csv(table, infer=True), wanted=text)
    return read_table(named_source(table, catalog))


def named_source(path: str | Path, catalog: Catalog) -> Source:
    """A source by its path, or a dataset by its folder, or by its name in the catalog where no such path exists.

    Raises:
        SourceError: It can be no path.
    """
    text = str(path)
    if catalog.has(text) and not _path_test(text, Path.exists):
        return dataset_source(catalog.open(text))
    # A folder of versions is no folder of files: they would come all together.
    folder, _, name = text.rstrip("/").rpartition("/")
    remote = is_remote(text) and "." not in name and not text.startswith("http")
    if remote or _path_test(text, Path.is_dir):
        around = Catalog(folder or ".")
        return dataset_source(around.open(name)) if around.has(name) else infer_source(path)
    return infer_source(path)


def _path_test(text: str, test: Callable[[Path], bool]) -> bool:
    try:
        return test(Path(text))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"the source is a text that can be no path ({reason}); give a path, or a table") from error


def dataset_source(dataset: Dataset) -> Source:
    """The parts of a dataset as a source; of a run that is not published, only what its records name."""
    return parquet(dataset.path if dataset.version is not None else dataset.files)


def needs_pandas(graph: Graph) -> bool:
    """Whether some service asks for pandas containers."""
    parameters = (parameter for step in graph.every for parameter in step.service.parameters)
    return any(parameter.container in _PANDAS for parameter in parameters)


def given_schema(pipeline: Pipeline, tables: Mapping[str, pa.Table]) -> pa.Schema:
    """A source schema made of what the services read and nobody before them writes, for `explain` without a source."""
    written: set[str] = set()
    fields: dict[str, pa.DataType] = {}
    wanted = wanted_types(pipeline)
    for service in pipeline.services:
        columns = [column for one in service.parameters for column in one.columns if column != ALL]
        when = service.policy.when
        columns += [when.column] if when is not None and when.column else []
        for column in columns:
            if column not in written:
                flag = when is not None and when.test == "flag" and when.column == column
                fields.setdefault(column, _given_type(service, column, wanted, tables) if not flag else pa.bool_())
        written |= set(_written(service, tables))
    return pa.schema(fields)


def _given_type(
    service: Service, column: str, wanted: Mapping[str, pa.DataType], tables: Mapping[str, pa.Table]
) -> pa.DataType:
    if column in wanted:
        return wanted[column]
    if service.form is Form.LOOKUP and column in service.lookup.on:
        return tables[service.name].schema.field(service.lookup.on[column]).type
    if service.form is Form.EACH and column == service.parameters[0].name:
        return pa.list_(pa.string())
    return pa.string()


def prepare_arrow(graph: Graph) -> None:
    """Import pandas before the work if a service needs it, so that the first partition does not pay for it."""
    if needs_pandas(graph):
        bring_pandas_in()


def check_key(key: tuple[str, ...], graph: Graph) -> None:
    """Refuse a key that names no column, or one that the rejects or the failures have of their own.

    Raises:
        DeclarationError: A key column is neither in the source nor in the output, or its name is taken.
    """
    taken = [name for name in key if name in {field.name for field in (*REJECTS, *FAILURES)}]
    if taken:
        raise DeclarationError(
            f"the key {', '.join(taken)} has the name of a column of the rejects or failures; "
            "copy it to a column of another name in a transformation, and use that as the key"
        )
    known: dict[str, Any] = dict.fromkeys([*graph.source.names, *graph.output.names])
    missing = [name for name in key if name not in known]
    if missing:
        raise DeclarationError(
            f"the key {', '.join(missing)} is no column of the source; its columns are {', '.join(graph.source.names)}"
        )
