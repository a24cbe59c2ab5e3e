"""Delimited text (CSV, TSV): planned from the headers of its files, cut at ends of records.

The parser and the conversion of text are elsewhere; here they are joined to files, columns and source rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from dataflow.errors import SourceError
from dataflow.plan.partitions import PartitionSpec, SourceFile, SourcePlan, number_specs
from dataflow.store.filesystem import each, is_remote, shown
from dataflow.store.sources.content import expected_size, text_file
from dataflow.store.sources.cuts import cut
from dataflow.store.sources.header import Head, read_head
from dataflow.store.sources.inference import infer_types
from dataflow.store.sources.options import DelimitedOptions, Types, check_known, listed, value_type
from dataflow.store.sources.records import unclosed
from dataflow.store.sources.slices import cut_specs, even_target, inflation_limit, whole_spec
from dataflow.store.sources.strangers import refuse_strangers
from dataflow.store.sources.texts import convertible

FORMAT = "csv"


def plan_delimited(
    files: Sequence[SourceFile],
    options: DelimitedOptions,
    *,
    wanted: Types,
    target_bytes: int,
    records: int | None = None,
) -> SourcePlan:
    """Plan delimited files: read their headers, cut the large ones, decide the type of every column.

    A file up to `target_bytes` is one slice, not scanned, unless slices are counted in records. A larger one is
    scanned once, at about the speed of the disk; so is a packed one, whose slices are offsets of its inflated text.

    Raises:
        SourceError: A header, an option or the encoding does not fit, or a quote is never closed.
    """
    remote = is_remote(files[0].path)
    heads = each(lambda file: _head(file, options), files, remote=remote)
    columns = _columns(files, heads)
    check_known(options.schema, columns)
    cuts = each(
        lambda pair: _specs(*pair, options=options, target_bytes=target_bytes, records=records),
        list(zip(files, heads, strict=True)),
        remote=remote,
    )
    specs = number_specs(spec for part in cuts for spec in part)
    plain = _plain_options(options, columns, heads=heads, target_bytes=target_bytes)
    types = _declared(columns, options, wanted=wanted)
    if options.infer:
        text = [name for name in columns if name not in types]
        types |= infer_types(plain, specs, columns=text)
    return SourcePlan(
        schema=pa.schema([pa.field(name, types.get(name, pa.string())) for name in columns]),
        specs=specs,
        files=tuple(files),
        options=plain,
        notes=(*_header_notes(columns, heads), *_type_notes(columns, options, wanted=wanted)),
    )


def _head(found: SourceFile, options: DelimitedOptions) -> Head:
    file = text_file(found.path, fingerprint=found.fingerprint, encoding=options.encoding, structure=options.structure)
    return read_head(file, options)


def _columns(files: Sequence[SourceFile], heads: Sequence[Head]) -> tuple[str, ...]:
    columns = tuple(dict.fromkeys(name for head in heads for name in head.names or ()))
    if not columns:
        raise SourceError(f"{shown(files[0].path)}: is empty, so it has no header; give names=[...] with header=False")
    refuse_strangers([(head.file.path, head.names or ()) for head in heads])
    return columns


def _specs(
    found: SourceFile, head: Head, *, options: DelimitedOptions, target_bytes: int, records: int | None
) -> tuple[PartitionSpec, ...]:
    file = head.file
    if head.names is None or (file.packed is None and head.start >= found.size):
        return ()
    size = expected_size(file, found)
    if records is None and size <= target_bytes:
        return (whole_spec(found, head.start),)
    blocks = file.checked(file.blocks(head.start), offset=head.start)
    target = even_target(size - head.start, target_bytes) if file.packed is None else target_bytes
    cuts = cut(blocks, options.marks, target=target, start=head.start, records=records)
    if cuts.unclosed is not None:
        raise unclosed(found.path, cuts.unclosed)
    return cut_specs(found, file, slices=cuts.slices)


def _plain_options(
    options: DelimitedOptions, columns: tuple[str, ...], *, heads: Sequence[Head], target_bytes: int
) -> dict[str, Any]:
    others = {head.file.path: list(head.names) for head in heads if head.names is not None and head.names != columns}
    return {
        "format": FORMAT,
        **options.to_dict(),
        "columns": list(columns),
        "headers": others,
        "limit": inflation_limit(target_bytes),
    }


def _declared(columns: Sequence[str], options: DelimitedOptions, *, wanted: Types) -> dict[str, pa.DataType]:
    """The types that the schema or the first reader of a column declares; the schema is the stronger word."""
    types = {}
    for name in columns:
        if name in options.schema:
            if not convertible(options.schema[name]):
                raise SourceError(f"schema= for `{name}`: text cannot be read as {options.schema[name]}")
            types[name] = options.schema[name]
        elif name in wanted and convertible(value_type(wanted[name])):
            types[name] = value_type(wanted[name])
    return types


def _header_notes(columns: Sequence[str], heads: Sequence[Head]) -> list[str]:
    notes = []
    for head in heads:
        if head.unnamed:
            named = listed(f"column_{place}" for place in head.unnamed)
            notes.append(f"{shown(head.file.path)}: the header has no name for {named}")
            break
    full = [head for head in heads if head.names is not None]
    present = Counter(name for head in full for name in head.names or ())
    short = [name for name in columns if present[name] < len(full)]
    if short:
        notes.append(f"not in every file and null elsewhere: {listed(short)}")
    if len(columns) == 1 and any(mark in columns[0] for mark in ",;\t|"):
        notes.append(f"the header is one column, `{columns[0]}`; another delimiter= may be meant")
    return notes


def _type_notes(columns: Sequence[str], options: DelimitedOptions, *, wanted: Types) -> list[str]:
    return [
        f"`{name}` is wanted as {wanted[name]}, which text cannot become; it stays text"
        for name in columns
        if name in wanted and name not in options.schema and not convertible(value_type(wanted[name]))
    ]
