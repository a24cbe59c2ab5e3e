"""Guardrails: whether a run has failed too often to go on. Pure arithmetic on counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FLOOR = 100
"""Failures that a share never stops a run for: 1 % of a small run says little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxFailures:
    """How many failures a run survives, for each service and for unreadable records.

    Attributes:
        share: Of the records of the whole run, at least 100; used where `count` is None.
        count: A fixed number instead.
    """

    share: float
    count: int | None = None

    def limit(self, records: int) -> int:
        """The most failures allowed in a run of so many records."""
        return self.count if self.count is not None else max(FLOOR, int(self.share * records))

    def exceeded(self, failures: Mapping[str, int], *, records: int) -> str | None:
        """The first name with too many failures, in words, or None.

        Args:
            failures: Count by service; `source` stands for unreadable records.
            records: Of the whole run, as far as known.
        """
        limit = self.limit(records)
        for name, count in failures.items():
            if count > limit:
                return f"`{name}` failed for {count:,} records, more than the {limit:,} that max_failures allows"
        return None
