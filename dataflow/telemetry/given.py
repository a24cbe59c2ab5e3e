"""When the answers were given that a service had for its records, so that it can be told whether they still serve.

Standard library only. How long an answer serves is the business of its policy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The answers of one service that are kept, whether they were given just now or long ago.

    Attributes:
        records: Records that have such an answer.
        found: When the oldest was given that says something, in seconds since 1970, or None.
        missed: When the oldest was given that says that nothing is known, or None.
    """

    records: int = 0
    found: float | None = None
    missed: float | None = None

    @classmethod
    def merged(cls, parts: Iterable[Given]) -> Given:
        """All answers together."""
        there = [part for part in parts if part.records]
        if len(there) < 2:
            return there[0] if there else NOTHING_GIVEN
        return cls(
            records=sum(part.records for part in there),
            found=_oldest(part.found for part in there),
            missed=_oldest(part.missed for part in there),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what there is none of is left out."""
        named = {"records": self.records, "found": self.found, "missed": self.missed}
        return {name: value for name, value in named.items() if value}


NOTHING_GIVEN = Given()


def _oldest(moments: Iterable[float | None]) -> float | None:
    return min((one for one in moments if one is not None), default=None)
