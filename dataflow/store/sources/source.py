"""What a user names as the source of a run, as an inert value; planning it is the first I/O.

Each format is the business of the modules beside this one, which are imported when they are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pyarrow as pa

from dataflow.errors import SourceError
from dataflow.plan.partitions import Batch, PartitionSpec, SourceFile, SourcePlan
from dataflow.plan.sizes import PartitionSize
from dataflow.store.filesystem import plain_name, shown
from dataflow.store.listing import find
from dataflow.store.sources.arrays import empty_table
from dataflow.store.sources.content import COMPRESSIONS
from dataflow.store.sources.foreign import foreign_by_name
from dataflow.store.sources.options import DelimitedOptions, JsonLinesOptions, RowGroupOptions, make_options

Options: TypeAlias = DelimitedOptions | JsonLinesOptions | RowGroupOptions

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_TABLE_SLICE = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Source:
    """Files and how to read them; made by `csv`, `jsonl`, `parquet` and `files`.

    Attributes:
        paths: Files, folders, globs or URLs.
        format: `csv`, `jsonl`, `parquet`, or None where the names of the files tell.
        options: The options that were given.
        partition_size: How large its slices are, or None where the run decides.
    """

    paths: tuple[str, ...]
    format: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    partition_size: PartitionSize | None = None

    def __repr__(self) -> str:
        return f"{self.format or 'files'}({', '.join(repr(shown(path)) for path in self.paths)})"

    def plan(self, wanted: Mapping[str, pa.DataType], *, target_bytes: int, records: int | None = None) -> SourcePlan:
        """Find the files, fix one schema for all of them, and cut them into slices.

        Args:
            wanted: The type that the first reader of a column declares. Text formats follow it; Parquet does not.
            target_bytes: About how large a slice is, in bytes of (uncompressed) text or of decoded row groups.
            records: Records of a slice, whatever their bytes; None where bytes count.

        Raises:
            SourceError: Nothing is there, a file cannot be read as described, or the files do not fit together.
        """
        found = dict.fromkeys(file for path in self.paths for file in find(path))
        files = tuple(found)
        given = self.format or _format_of(files)
        _check_alike(files, given)
        options = make_options(given, self.options, tabs=_tabs(files))
        return _plan(files, options, wanted=wanted, target_bytes=target_bytes, records=records)


def read(options: Mapping[str, Any], spec: PartitionSpec, *, schema: pa.Schema) -> Batch:
    """Read one slice of a planned source; needs nothing but plain data, so any process can do it.

    Args:
        options: `SourcePlan.options`, also after a trip through JSON.
        spec: One of `SourcePlan.specs`.
        schema: `SourcePlan.schema`.

    Raises:
        SourceError: The file has changed since it was planned, or cannot be read.
    """
    if options["format"] == "csv":
        from dataflow.store.sources.records import read_delimited

        return read_delimited(options, spec, schema=schema)
    if options["format"] == "jsonl":
        from dataflow.store.sources.objects import read_json_lines

        return read_json_lines(options, spec, schema=schema)
    from dataflow.store.sources.rowgroups import read_row_groups

    return read_row_groups(options, spec, schema=schema)


def read_table(source: Source, *, wanted: Mapping[str, pa.DataType] | None = None) -> pa.Table:
    """The whole source as one table, for reference data that fits into memory.

    Raises:
        SourceError: Some record cannot be read: here there are no rejects that could hold it.
    """
    plan = source.plan(wanted or {}, target_bytes=_TABLE_SLICE)
    tables = []
    for spec in plan.specs:
        batch = read(plan.options, spec, schema=plan.schema)
        if batch.unreadable:
            first = batch.unreadable[0]
            column = f", column `{first.column}`" if first.column else ""
            raise SourceError(
                f"{shown(spec.path)}, row {first.row}{column}: {first.error}; mend the file or the options"
            )
        tables.append(batch.table)
    return pa.concat_tables(tables) if tables else empty_table(plan.schema)


def format_by_name(path: str) -> str | None:
    """The format that the end of a file's name tells, behind that of a compression."""
    name = plain_name(path).lower()
    for end in COMPRESSIONS:
        name = name.removesuffix(end)
    return next((known for end, known in SUFFIXES.items() if name.endswith(end)), None)


def _plan(
    files: Sequence[SourceFile],
    options: Options,
    *,
    wanted: Mapping[str, pa.DataType],
    target_bytes: int,
    records: int | None,
) -> SourcePlan:
    if isinstance(options, DelimitedOptions):
        from dataflow.store.sources.delimited import plan_delimited

        return plan_delimited(files, options, wanted=wanted, target_bytes=target_bytes, records=records)
    if isinstance(options, JsonLinesOptions):
        from dataflow.store.sources.jsonlines import plan_json_lines

        return plan_json_lines(files, options, wanted=wanted, target_bytes=target_bytes, records=records)
    from dataflow.store.sources.rowgroups import plan_row_groups

    return plan_row_groups(files, target_bytes=target_bytes, records=records)


def _format_of(files: Sequence[SourceFile]) -> str:
    named = [(file, format_by_name(file.path)) for file in files]
    for file, known in named:
        if known is None and (foreign := foreign_by_name(file.path)):
            raise SourceError(f"{shown(file.path)}: {foreign}")
        if known is None:
            raise SourceError(
                f"{shown(file.path)}: the name does not tell the format; use flow.csv, flow.jsonl or flow.parquet, "
                "or leave the file out by a glob"
            )
    return str(named[0][1])


def _check_alike(files: Sequence[SourceFile], given: str) -> None:
    """Several files must be of one format; a single one is taken at the caller's word."""
    if len(files) == 1:
        return
    for file in files:
        known = format_by_name(file.path)
        if known not in (given, None):
            raise SourceError(
                f"{shown(file.path)}: is {known} among files of {given}; one source has one format, "
                "name its files by a glob"
            )


def _tabs(files: Sequence[SourceFile]) -> bool:
    return all(".tsv" in plain_name(file.path).lower() for file in files)
