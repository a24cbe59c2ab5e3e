"""Reads a source the way a run does: planned, its options sent through JSON, slice by slice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from dataflow.plan.partitions import SourcePlan, Unreadable
from dataflow.store.sources import Source, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """All that came out of a source."""

    plan: SourcePlan
    table: pa.Table
    rows: list[int]
    unreadable: tuple[Unreadable, ...]
    remains: list[dict[str, object]]

    @property
    def records(self) -> list[tuple[object, ...]]:
        """The records as tuples, in order."""
        return [tuple(record.values()) for record in self.table.to_pylist()]


def read_all(source: Source, wanted: Mapping[str, pa.DataType] | None = None, *, target: int = 1 << 26) -> Everything:
    """Plan the source and read all its slices in order."""
    plan = source.plan(wanted or {}, target_bytes=target)
    options = json.loads(json.dumps(plan.options))
    batches = [read(options, spec, schema=plan.schema) for spec in plan.specs]
    for batch, spec in zip(batches, plan.specs, strict=True):
        assert batch.table.schema == plan.schema
        assert len(batch.rows) == batch.table.num_rows
        assert batch.remains is None or batch.remains.schema == plan.schema
        assert batch.remains is None or batch.remains.num_rows == len(batch.unreadable)
        assert spec.rows in (-1, batch.table.num_rows + len(batch.unreadable))
    return Everything(
        plan=plan,
        table=pa.concat_tables([plan.schema.empty_table(), *(batch.table for batch in batches)]),
        rows=[row for batch in batches for row in batch.rows.to_pylist()],
        unreadable=tuple(record for batch in batches for record in batch.unreadable),
        remains=[record for batch in batches if batch.remains is not None for record in batch.remains.to_pylist()],
    )
