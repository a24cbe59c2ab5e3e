"""Durations that merge: exact count, total and maximum, and a histogram for the percentiles.

Buckets of 5 % width instead of a quantile sketch: merging adds integers, so it gives the same in any order
and on any machine, and it needs no import. What is measured, and when, is the engine's business.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

_WIDTH = math.log(1.05)
_SHORTEST = 1e-9


def _bucket(seconds: float) -> int:
    """The number of the 5 % wide bucket; what a coarse clock calls 0 is counted as a nanosecond."""
    return math.floor(math.log(max(seconds, _SHORTEST)) / _WIDTH)


def _middle(bucket: int) -> float:
    """The geometric middle of a bucket, at most 2.5 % from anything in it."""
    return math.exp((bucket + 0.5) * _WIDTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """How long the calls of a service took, in seconds; `Durations()` is zero.

    Attributes:
        count: Calls or records that were measured.
        total: Seconds of all of them.
        longest: Seconds of the longest one.
        buckets: Measurements by the number of their bucket; read only.
    """

    count: int = 0
    total: float = 0.0
    longest: float = 0.0
    buckets: Mapping[int, int] = field(default_factory=dict)

    relative_error: ClassVar[float] = 0.025

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Durations:
        """One measurement for each call, as services that call out give."""
        values = [max(value, 0.0) for value in seconds]
        if not values:
            return cls()
        return cls(
            count=len(values),
            total=math.fsum(values),
            longest=max(values),
            buckets=Counter(map(_bucket, values)),
        )

    @classmethod
    def batch(cls, seconds: float, *, records: int) -> Durations:
        """One measurement for many records, as local services give: each gets the mean.

        The percentiles over many partitions are then those of the partitions' means, weighted by records.
        """
        if records <= 0:
            return cls()
        mean = max(seconds, 0.0) / records
        return cls(count=records, total=max(seconds, 0.0), longest=mean, buckets={_bucket(mean): records})

    @classmethod
    def merged(cls, parts: Sequence[Durations]) -> Durations:
        """The durations of all parts together."""
        measured = [part for part in parts if part.count]
        if len(measured) < 2:
            return measured[0] if measured else cls()
        buckets: dict[int, int] = {}
        for part in measured:
            for bucket, count in part.buckets.items():
                buckets[bucket] = buckets.get(bucket, 0) + count
        return cls(
            count=sum(part.count for part in measured),
            total=math.fsum(part.total for part in measured),
            longest=max(part.longest for part in measured),
            buckets=buckets,
        )

    def percentile(self, share: float) -> float | None:
        """An estimate of the duration below which `share` (0 to 1) of the measurements lie.

        At most 2.5 % off the measurement of that rank, above a nanosecond; None where nothing was measured.
        """
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                return min(_middle(bucket), self.longest)
        return None

    def at_most(self, seconds: float) -> int:
        """How many measurements were no longer, as exactly as the buckets allow."""
        return sum(count for bucket, count in self.buckets.items() if _middle(bucket) <= seconds)

    def to_dict(self) -> dict[str, Any]:
        """The state as plain JSON values; `buckets` is number, count, number, count, and so on."""
        if not self.count:
            return {}
        flat = [value for item in sorted(self.buckets.items()) for value in item]
        return {"count": self.count, "total": self.total, "longest": self.longest, "buckets": flat}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Durations:
        """The durations that `to_dict` wrote."""
        flat = values.get("buckets", [])
        buckets = dict(zip(flat[::2], flat[1::2], strict=True))
        return cls(**{**values, "buckets": buckets})

    def report(self) -> dict[str, float | None]:
        """The public form, in seconds; the percentiles are estimates within `relative_error`."""
        if not self.count:
            return {"p50": None, "p95": None, "p99": None, "max": None, "relative_error": self.relative_error}
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        marks = {name: _significant(self.percentile(share)) for name, share in shares.items()}
        return {**marks, "max": _significant(self.longest, 6), "relative_error": self.relative_error}


def _significant(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")
