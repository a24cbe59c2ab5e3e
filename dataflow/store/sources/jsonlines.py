"""JSON lines: planned by one scan that fixes the schema, cut at newlines. Reading a slice is in `objects`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from dataflow.errors import SourceError
from dataflow.plan.partitions import PartitionSpec, SourceFile, SourcePlan, number_specs
from dataflow.store.filesystem import each, is_remote, shown
from dataflow.store.sources.choices import Choice, choose, declared_only
from dataflow.store.sources.content import TextFile, expected_size, text_file
from dataflow.store.sources.decoding import Refused, loads, readable
from dataflow.store.sources.lines import cut_lines, lines
from dataflow.store.sources.options import JsonLinesOptions, Types, value_type
from dataflow.store.sources.shapes import MOST_KEYS, Shape
from dataflow.store.sources.slices import cut_specs, even_target, inflation_limit, whole_spec
from dataflow.store.sources.strangers import refuse_strangers

FORMAT = "jsonl"

_BOM = b"\xef\xbb\xbf"
_FIRST_LOOK = 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What the scan of one file gave.

    Attributes:
        shape: Of all its records together.
        specs: Its slices.
        records: Lines that hold an object.
        refused: Why its first line that is no JSON is none.
    """

    shape: Shape
    specs: tuple[PartitionSpec, ...]
    records: int = 0
    refused: str | None = None


def plan_json_lines(
    files: Sequence[SourceFile],
    options: JsonLinesOptions,
    *,
    wanted: Types,
    target_bytes: int,
    records: int | None = None,
) -> SourcePlan:
    """Plan files of JSON lines; reads all of them, unless `infer=False`.

    Raises:
        SourceError: No line holds an object, a file is one JSON array, or the schema has a type that JSON has not.
    """
    for name, target in options.schema.items():
        if not readable(value_type(target)):
            raise SourceError(f"schema= for `{name}`: JSON cannot be read as {target}")
    look = _scan if options.infer else _measure
    scans = each(lambda file: look(file, target_bytes, records), files, remote=is_remote(files[0].path))
    specs = number_specs(spec for scan in scans for spec in scan.specs)
    if not options.infer:
        return _plan(files, specs, choices=declared_only(options.schema), target_bytes=target_bytes)
    root = Shape()
    refuse_strangers([(file.path, tuple(scan.shape.fields)) for file, scan in zip(files, scans, strict=True)])
    for scan in scans:
        root.merge(scan.shape)
    _check(files, scans, rows=sum(spec.rows for spec in specs), root=root)
    choices = choose(root, schema=options.schema, wanted=wanted)
    if specs and not choices:
        raise SourceError(f"{shown(files[0].path)}: no object has any key; name the columns with schema={{...}}")
    return _plan(files, specs, choices=choices, target_bytes=target_bytes)


def _plan(
    files: Sequence[SourceFile], specs: tuple[PartitionSpec, ...], *, choices: Mapping[str, Choice], target_bytes: int
) -> SourcePlan:
    return SourcePlan(
        schema=pa.schema([pa.field(name, choice.target) for name, choice in choices.items()]),
        specs=specs,
        files=tuple(files),
        options={
            "format": FORMAT,
            "mixed": [name for name, choice in choices.items() if choice.mixed],
            "limit": inflation_limit(target_bytes),
        },
        notes=tuple(note for choice in choices.values() for note in choice.notes),
    )


def _check(files: Sequence[SourceFile], scans: Sequence[Scan], *, rows: int, root: Shape) -> None:
    if rows and not any(scan.records for scan in scans):
        why = next((f" ({scan.refused})" for scan in scans if scan.refused), "")
        raise SourceError(
            f"{shown(files[0].path)}: none of {rows:,} lines holds a JSON object{why}; "
            "if one object is spread over several lines, write one object a line"
        )
    if root.crowded:
        raise SourceError(
            f"{shown(files[0].path)}: the records have more than {MOST_KEYS:,} different keys; "
            "name the columns with schema={...} and infer=False"
        )


def _measure(found: SourceFile, target_bytes: int, records: int | None) -> Scan:
    """The slices of a file whose columns are known; a small one is not scanned."""
    file = text_file(found.path, fingerprint=found.fingerprint)
    start = _start(file)
    if records is None and expected_size(file, found) <= target_bytes:
        return Scan(shape=Shape(), specs=(whole_spec(found, start),) if found.size > start else ())
    stops = (stop for _, stop in lines(file.blocks(start), start=start))
    return Scan(shape=Shape(), specs=_specs(found, file, stops=stops, start=start, size=(target_bytes, records)))


def _scan(found: SourceFile, target_bytes: int, most: int | None) -> Scan:
    file = text_file(found.path, fingerprint=found.fingerprint)
    start, shape, records, refused = _start(file), Shape(), 0, None

    def observed() -> Iterator[int]:
        nonlocal records, refused
        for line, stop in lines(file.blocks(start), start=start):
            try:
                record = loads(line)
            except Refused as error:
                record, refused = None, refused or error.reason
            if type(record) is dict:
                records += 1
                shape.observe(record)
            yield stop

    specs = _specs(found, file, stops=observed(), start=start, size=(target_bytes, most))
    return Scan(shape=shape, specs=specs, records=records, refused=refused)


def _specs(
    found: SourceFile, file: TextFile, *, stops: Iterator[int], start: int, size: tuple[int, int | None]
) -> tuple[PartitionSpec, ...]:
    target_bytes, records = size
    target = even_target(found.size - start, target_bytes) if file.packed is None else target_bytes
    return cut_specs(found, file, slices=cut_lines(stops, target=target, start=start, records=records))


def _start(file: TextFile) -> int:
    """The offset of the first line.

    Raises:
        SourceError: The file is a JSON array, compressed under another name, or UTF-16.
    """
    opening = file.opening(_FIRST_LOOK)
    file.refuse_disguised(opening)
    if opening.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SourceError(f"{shown(file.path)}: is UTF-16; JSON lines are UTF-8, convert the file first")
    start = len(_BOM) if opening.startswith(_BOM) else 0
    if opening[start:].lstrip().startswith(b"["):
        raise SourceError(
            f"{shown(file.path)}: holds one JSON array; write one object a line instead, as `jq -c '.[]'` does"
        )
    return start
