"""Joins the rows of the source to what is told about them: failures and rejects, by source file and row.

Only the partitions that are concerned are read again, one at a time, under the plan of their run.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.errors import CatalogError, SourceError
from dataflow.plan.partitions import Batch, PartitionSpec
from dataflow.store.filesystem import shown
from dataflow.store.schemas import schema_of_text
from dataflow.store.sources import read
from dataflow.store.sources.arrays import empty_table

PREFIX = "source_"
"""Stands before a column of the source that has the name of another column."""


def joined(table: pa.Table, plan: Mapping[str, Any], *, key: Sequence[str]) -> pa.Table:
    """The table with the columns of the source beside each of its rows, in the same order.

    A key column of the source is there already. A record that could not be read has nulls; its raw text is in the
    rejects.

    Args:
        table: Failures or rejects, with `source_file` and `source_row`.
        plan: What the run wrote about its plan.
        key: The columns that name a record.

    Raises:
        CatalogError: The run was made by a dataflow that did not write down how its source is read.
        SourceError: The source is gone or has changed since.
    """
    if "reading" not in plan:
        raise CatalogError("the run is older than this question: it did not keep how its source is read")
    schema = schema_of_text(plan["source"])
    specs = [PartitionSpec.from_dict(one) for one in plan["specs"]]
    places, pieces = [], [empty_table(schema)]
    for spec, rows, found in concerned(table, specs):
        places.append(found)
        pieces.append(_taken(read(plan["reading"], spec, schema=schema), rows, path=spec.path))
    order = np.argsort(np.concatenate(places)) if places else np.empty(0, np.int64)
    inputs = pa.concat_tables(pieces).take(pa.array(order))
    names = table.column_names
    for name in (name for name in schema.names if name not in key):
        table = table.append_column(_free(name, [*names, *schema.names]) if name in names else name, inputs[name])
    return table


def concerned(
    table: pa.Table, specs: Sequence[PartitionSpec]
) -> Iterator[tuple[PartitionSpec, pa.Array, np.ndarray[Any, np.dtype[np.int64]]]]:
    """Each partition that rows of the table come from, with their source rows and their places in the table."""
    slices: dict[str, list[PartitionSpec]] = {}
    for spec in sorted(specs, key=lambda one: one.first_row):
        slices.setdefault(spec.path, []).append(spec)
    starts = {path: [spec.first_row for spec in found] for path, found in slices.items()}
    rows = table["source_row"].to_pylist()
    places: dict[tuple[str, int], list[int]] = {}
    for place, (path, row) in enumerate(zip(table["source_file"].to_pylist(), rows, strict=True)):
        at = bisect_right(starts.get(path, ()), row) - 1
        if at < 0:
            raise SourceError(f"{shown(path)}, row {row}: is not in the plan of the run; run it again")
        places.setdefault((path, at), []).append(place)
    for (path, at), found in places.items():
        yield slices[path][at], pa.array([rows[place] for place in found], pa.int64()), np.array(found, np.int64)


def _taken(batch: Batch, rows: pa.Array, *, path: str) -> pa.Table:
    """The records of these source rows; null for those that could not be read."""
    numbers = batch.rows.combine_chunks() if isinstance(batch.rows, pa.ChunkedArray) else batch.rows
    indices = pc.index_in(rows, value_set=numbers)
    bad = {one.row for one in batch.unreadable}
    lost = [row for row in rows.filter(pc.is_null(indices)).to_pylist() if row not in bad]
    if lost:
        raise SourceError(f"{shown(path)}: has no row {lost[0]} any more; run again to plan anew")
    return batch.table.take(indices)


def _free(name: str, taken: Sequence[str]) -> str:
    name = PREFIX + name
    return _free(name, taken) if name in taken else name
