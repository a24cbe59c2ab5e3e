"""Cache: how long an answer serves that was paid for before. Pure: the time is an argument.

Where answers are kept is not known here, nor which of them a run may not use for other reasons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

DEFAULT = 30 * 86_400.0
"""Seconds for which an answer serves: a company or a person rarely changes within a month."""

MISSES = 7 * 86_400.0
"""Seconds at most for which it serves that nothing was found: providers learn every week."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """How long the answers of a service serve.

    Attributes:
        lifetime: Seconds, infinite for ever.
    """

    lifetime: float = DEFAULT

    def serves_since(self, now: float, *, found: bool) -> float:
        """Since when an answer must have been given to serve now; one from the future, of a wrong clock, serves.

        Args:
            now: In seconds since 1970.
            found: Whether it says something; that nothing is known serves for 7 days, and never longer than the rest.
        """
        return now - (self.lifetime if found else min(self.lifetime, MISSES))


FOREVER = CachePolicy(lifetime=math.inf)
