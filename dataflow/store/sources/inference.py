"""Types of text columns, inferred over a whole source: only where every value reads back to the same text.

So 007, +49… and 1.10 stay text, and so does a column whose first odd value stands in the last record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.plan.partitions import PartitionSpec
from dataflow.store.sources.records import read_text
from dataflow.store.sources.texts import convert

CANDIDATES = (pa.int64(), pa.float64(), pa.bool_(), pa.date32())
"""What is tried, in this order; a timestamp has too many spellings to be guessed."""

_POINT = r"^-?([1-9][0-9]{0,14}\.|0\.0{0,3}[1-9])"


def infer_types(
    options: Mapping[str, Any], specs: Sequence[PartitionSpec], *, columns: Sequence[str]
) -> dict[str, pa.DataType]:
    """The types of those columns that are not text after all; reads the whole source, one slice at a time.

    Args:
        options: What reading a slice needs.
        specs: All slices of the source.
        columns: The columns in question.
    """
    open_types = dict.fromkeys(columns, CANDIDATES)
    valued: set[str] = set()
    for spec in specs:
        if not any(open_types.values()):
            break
        table = read_text(options, spec).parsed.table
        for name in set(open_types) & set(table.schema.names):
            text = table.column(name)
            valued |= {name} if text.null_count < len(text) else set()
            open_types[name] = tuple(target for target in open_types[name] if reads_back(text, target))
    return {name: types[0] for name, types in open_types.items() if types and name in valued}


def reads_back(text: pa.ChunkedArray, target: pa.DataType) -> bool:
    """Whether every text is a value of the type whose own text is the same again."""
    converted = convert(text, target)
    if converted.misfits is not None:
        return False
    written = converted.values.cast(pa.string())
    same = pc.equal(written, text)
    if not pa.types.is_floating(target):
        return bool(pc.all(same, min_count=0).as_py())
    # Arrow and Python write short decimal fractions alike; the rest is left to Python.
    alike = pc.and_(same, pc.match_substring_regex(text, _POINT))
    whole = pc.equal(pc.binary_join_element_wise(written, pa.scalar(".0"), ""), text)
    others = text.filter(pc.invert(pc.or_(alike, whole)))
    return all(repr(float(value)) == value for chunk in others.chunks for value in chunk.to_pylist())
