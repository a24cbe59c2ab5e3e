"""Arrow columns as lists of Python values, for services that read records.

A value that Python cannot hold must not cost its neighbours theirs, so it is a hole until its service is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dataflow.engine.arrow import bring_pandas_in


@dataclass(frozen=True, slots=True)
class Hole:
    """Stands for a value that Python cannot hold, such as a date past the year 9999."""

    problem: str


class Holed(list[Any]):
    """Values of which some are holes."""


def to_python(column: Any) -> list[Any]:
    """A column as Python values; nanoseconds that a datetime cannot hold come as pandas timestamps."""
    if _counts_nanoseconds(column.type):
        try:
            unit = "us"
            coarser = pa.duration(unit) if pa.types.is_duration(column.type) else pa.timestamp(unit, column.type.tz)
            column = column.cast(coarser)
        except pa.ArrowInvalid:
            bring_pandas_in()
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):
        bring_pandas_in()
        values = Holed(_value(one) for one in column)
    return values


def refuse_holes(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, raising where it would be given a hole."""

    def call(*values: Any) -> Any:
        for value in values:
            if isinstance(value, Hole):
                raise ValueError(value.problem)  # noqa: TRY004
        return function(*values)

    return call


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return Hole(f"a {scalar.type} that Python has no value for")


def _counts_nanoseconds(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(arrow) or pa.types.is_duration(arrow)) and arrow.unit == "ns"
