"""The first records of a planned source, and about how many there are: read without reading all of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.plan.partitions import PartitionSpec, SourcePlan
from dataflow.store.sources.content import TextFile, expected_size, text_file
from dataflow.store.sources.cuts import record_ends
from dataflow.store.sources.lines import lines
from dataflow.store.sources.options import DelimitedOptions
from dataflow.store.sources.sequential import close_idle
from dataflow.store.sources.source import read

_BYTES = 1 << 16
"""Bytes of text that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceHead:
    """The beginning of a source.

    Attributes:
        table: Its first records, without those that cannot be read.
        rows: Records of the whole source, as far as known.
        largest: Records of its largest slice.
    """

    table: pa.Table
    rows: float
    largest: float


def read_head(plan: SourcePlan, records: int) -> SourceHead | None:
    """The first records of a planned source; None where it has none, or one that is very long.

    Raises:
        SourceError: The source cannot be read.
    """
    first = next((spec for spec in plan.specs if spec.rows), None)
    if first is None:
        return None
    head, length = _head(plan, first, records=records)
    if head is None:
        return None
    batch = read(plan.options, head, schema=plan.schema)
    # No slice goes on from there: the first one begins before it.
    close_idle(first.path)
    counts = [float(spec.rows) if spec.rows >= 0 else _expected(plan, spec) / length for spec in plan.specs]
    table = batch.table.slice(0, records if first.rows < 0 else min(records, first.rows))
    return SourceHead(table=table, rows=sum(counts), largest=max(counts))


def _head(plan: SourcePlan, spec: PartitionSpec, *, records: int) -> tuple[PartitionSpec | None, float]:
    """A slice of the first records of another, and the bytes of one of them where the slices are not counted."""
    if plan.options["format"] == "parquet":
        return replace(spec, stop=min(spec.stop, spec.start + records), identity=""), 1.0
    file = _text(plan, spec)
    stop = spec.start + _BYTES if spec.stop < 0 else min(spec.stop, spec.start + _BYTES)
    data = file.slice(spec.start, stop, limit=_BYTES)
    ends = _ends(plan.options, data)
    if len(data) == _BYTES:
        # The last one may go on.
        ends = ends[ends < len(data)]
    if not len(ends):
        return None, 0.0
    chosen = ends[: min(records, len(ends))]
    length = int(chosen[-1])
    return replace(spec, stop=spec.start + length, rows=len(chosen), identity=""), length / len(chosen)


def _ends(options: dict[str, Any], data: bytes) -> Any:
    if options["format"] == "csv":
        return record_ends(data, DelimitedOptions.from_dict(options).marks)
    return np.fromiter((stop for _, stop in lines([data])), np.int64)


def _expected(plan: SourcePlan, spec: PartitionSpec) -> float:
    """Bytes of text of a whole file behind its header."""
    file = _text(plan, spec)
    size = spec.size if file.packed is None else expected_size(file, plan.file(spec))
    return float(max(size - spec.start, 0))


def _text(plan: SourcePlan, spec: PartitionSpec) -> TextFile:
    if plan.options["format"] == "csv":
        given = DelimitedOptions.from_dict(plan.options)
        return text_file(spec.path, fingerprint=spec.fingerprint, encoding=given.encoding, structure=given.structure)
    return text_file(spec.path, fingerprint=spec.fingerprint)
