"""Arrow values under the wider type that all files of a source have, checked; pure.

Which type that is, `drift` decides. A value that it cannot hold (an integer past 2**53 beside fractions, a year that
nanoseconds do not reach) is a misfit, at whatever depth it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.store.sources.shapes import EXACT

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Widened:
    """Values after widening.

    Attributes:
        values: Under the wider type.
        misfits: For every value whether it, or something in it, did not fit; None where all did.
    """

    values: pa.Array
    misfits: Mask | None = None


def widened(values: pa.Array, target: pa.DataType) -> Widened:
    """The values under a type that `widen` found for theirs and others."""
    if values.type == target:
        return Widened(values=values)
    if pa.types.is_null(values.type):
        return Widened(values=pa.nulls(len(values), target))
    if pa.types.is_dictionary(values.type):
        return widened(values.dictionary_decode(), target)
    if pa.types.is_struct(target):
        return _struct(values, target)
    if pa.types.is_list(target) or pa.types.is_large_list(target):
        return _list(values, target)
    try:
        return Widened(values=values.cast(target))
    except pa.ArrowInvalid:
        return _each(values, target)


def _struct(values: pa.Array, target: pa.DataType) -> Widened:
    present = {field.name: child for field, child in zip(values.type, values.flatten(), strict=True)}
    children, misfits = [], None
    for field in target:
        if field.name not in present:
            children.append(pa.nulls(len(values), field.type))
            continue
        found = widened(present[field.name], field.type)
        children.append(found.values)
        if found.misfits is not None:
            misfits = found.misfits if misfits is None else misfits | found.misfits
    made = pa.StructArray.from_arrays(children, fields=list(target), mask=values.is_null())
    return Widened(values=made, misfits=misfits)


def _list(values: pa.Array, target: pa.DataType) -> Widened:
    items = widened(values.flatten(), target.value_type)
    large = pa.types.is_large_list(target)
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64 if large else np.int32)
    kind: Any = pa.LargeListArray if large else pa.ListArray
    made = kind.from_arrays(pa.array(offsets), items.values, type=target, mask=values.is_null())
    if items.misfits is None:
        return Widened(values=made)
    misfits = np.zeros(len(values), np.bool_)
    misfits[np.repeat(np.arange(len(values)), lengths)[items.misfits]] = True
    return Widened(values=made, misfits=misfits)


def _each(values: pa.Array, target: pa.DataType) -> Widened:
    """The values of which some do not fit: those are null."""
    if pa.types.is_integer(values.type) and pa.types.is_floating(target):
        exact = pc.and_(pc.less_equal(values, EXACT), pc.greater_equal(values, -EXACT))
        made = pc.if_else(exact, values, pa.nulls(1, values.type)[0]).cast(target)
    else:
        made = _by_halves(values, target)
    return Widened(values=made, misfits=(made.is_null().to_numpy(False) & values.is_valid().to_numpy(False)))


def _by_halves(values: pa.Array, target: pa.DataType) -> pa.Array:
    try:
        return values.cast(target)
    except pa.ArrowInvalid:
        if len(values) == 1:
            return pa.nulls(1, target)
        half = len(values) // 2
        return pa.concat_arrays([_by_halves(values[:half], target), _by_halves(values[half:], target)])
