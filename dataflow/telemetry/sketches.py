"""Estimates of distinct values that merge, on the HyperLogLog sketch of datasketches.

The library is imported where a sketch is touched: most runs have none, and its import brings numpy.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

_SIZE = 12
"""Logarithm of the registers: 2 kB a sketch and a standard error of 1.6 %."""

_EMPTY = "\0"
"""What stands for the empty text, which the library ignores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinct:
    """A sketch of the distinct values of a column, nulls not counted.

    Attributes:
        state: The sketch as datasketches serialises it.
    """

    state: bytes

    relative_error: ClassVar[float] = 0.033

    @classmethod
    def of(cls, values: Sequence[int] | Sequence[float] | Sequence[str]) -> Distinct:
        """The sketch of some values, which have one type; integers fit 64 bits.

        Repeated values cost time and change nothing.
        """
        from datasketches import hll_sketch, tgt_hll_type

        sketch = hll_sketch(_SIZE, tgt_hll_type.HLL_4)
        update = sketch.update
        for value in values:
            update(value)
        if "" in values:
            update(_EMPTY)
        return cls(state=sketch.serialize_compact())

    @classmethod
    def merged(cls, parts: Sequence[Distinct | None]) -> Distinct | None:
        """The sketch of the values of all parts, or None where a part has none and so cannot be counted."""
        known = [part for part in parts if part is not None]
        if len(known) < len(parts) or not known:
            return None
        if len(known) == 1:
            return known[0]
        return cls(state=_union(known).serialize_compact())

    def estimate(self) -> int:
        """About how many distinct values there are, within `relative_error` in 19 of 20 cases.

        The library estimates a sketch that grew by updates in a way that depends on their order. United with
        itself it holds the same and is estimated from its registers alone, so that the order in which
        partitions end does not show.
        """
        estimate: float = _union([self, self]).get_estimate()
        return round(estimate)

    def to_text(self) -> str:
        """The state as base64, for JSON."""
        return base64.b64encode(self.state).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> Distinct:
        """The sketch that `to_text` wrote."""
        return cls(state=base64.b64decode(text))

    def report(self) -> dict[str, Any]:
        """The public form: the estimate, and two standard errors of it as a share."""
        return {"estimate": self.estimate(), "relative_error": self.relative_error}


def _union(parts: Sequence[Distinct]) -> Any:
    from datasketches import hll_sketch, hll_union, tgt_hll_type

    union = hll_union(_SIZE)
    for part in parts:
        union.update(hll_sketch.deserialize(part.state))
    return union.get_result(tgt_hll_type.HLL_4)
