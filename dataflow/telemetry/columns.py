"""What is known about one column: type, nulls, least and greatest value, distinct values where asked for.

Values and their JSON form only; reading them off Arrow arrays is the business of `profile`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dataflow.errors import StoreError
from dataflow.telemetry.sketches import Distinct

Value = bool | int | float | str | Decimal
"""A least or greatest value; values of one column have one type, so they compare.

Dates, times and timestamps are ISO text, which sorts as it reads and holds nanoseconds. Durations are seconds.
"""

TEXT_LIMIT = 64
"""Characters kept of a least or greatest text, so that a 10 MB field does not travel with the counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnStatistics:
    """What is known about one column of the output.

    Attributes:
        type: The Arrow type as text.
        nulls: Records without a value.
        min: Least value, or None where unknown or where the type has no order. A text is cut to its first
            64 characters, a NaN is no value.
        max: Greatest value, in the same way.
        distinct: A sketch of the distinct values, or None where none was asked for.
    """

    type: str
    nulls: int = 0
    min: Value | None = None
    max: Value | None = None
    distinct: Distinct | None = None

    def __post_init__(self) -> None:
        for name, value in (("min", self.min), ("max", self.max)):
            if isinstance(value, str) and len(value) > TEXT_LIMIT:
                object.__setattr__(self, name, value[:TEXT_LIMIT])
            elif isinstance(value, float) and math.isnan(value):
                object.__setattr__(self, name, None)

    @classmethod
    def merged(cls, name: str, parts: Sequence[ColumnStatistics]) -> ColumnStatistics:
        """The statistics of column `name` over all parts, of which there is at least one.

        Distinct values are known only where every part knows them.

        Raises:
            StoreError: The parts have different types.
        """
        first = parts[0]
        if len(parts) == 1:
            return first
        for part in parts:
            if part.type != first.type:
                raise StoreError(
                    f"statistics of column {name!r}: one partition has the type {first.type}, another has "
                    f"{part.type}; they do not come from one plan, start a new run"
                )
        least = [part.min for part in parts if part.min is not None]
        greatest = [part.max for part in parts if part.max is not None]
        return cls(
            type=first.type,
            nulls=sum(part.nulls for part in parts),
            min=min(least, default=None),
            max=max(greatest, default=None),
            distinct=Distinct.merged([part.distinct for part in parts]),
        )

    def to_dict(self) -> dict[str, Any]:
        """The state as plain JSON values; what is unknown or 0 is left out."""
        state: dict[str, Any] = {"type": self.type}
        if self.nulls:
            state["nulls"] = self.nulls
        if self.min is not None:
            state["min"] = _encode(self.min)
        if self.max is not None:
            state["max"] = _encode(self.max)
        if self.distinct is not None:
            state["distinct"] = self.distinct.to_text()
        return state

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ColumnStatistics:
        """The statistics that `to_dict` wrote."""
        sketch = values.get("distinct")
        return cls(
            type=values["type"],
            nulls=values.get("nulls", 0),
            min=_decode(values.get("min")),
            max=_decode(values.get("max")),
            distinct=None if sketch is None else Distinct.from_text(sketch),
        )

    def report(self) -> dict[str, Any]:
        """The public form; `distinct` is an estimate and is there only where it was asked for."""
        public = {"type": self.type, "nulls": self.nulls, "min": _public(self.min), "max": _public(self.max)}
        return public if self.distinct is None else {**public, "distinct": self.distinct.report()}


def _encode(value: Value) -> Any:
    """The value as JSON keeps it: what JSON has no word for is a text under the name of its type."""
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, float) and math.isinf(value):
        return {"float": str(value)}
    return value


def _decode(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((tag, text),) = value.items()
    return Decimal(text) if tag == "decimal" else float(text)


def _public(value: Value | None) -> Any:
    """The value as a reader of the report expects it: numbers, bools and text; the rest as text."""
    encoded = None if value is None else _encode(value)
    return str(value) if isinstance(encoded, dict) else encoded
