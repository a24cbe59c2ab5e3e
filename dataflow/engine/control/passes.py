"""What a gate gives to a call that may start, or raises for one that may not, and how long it had to wait for what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Reason = Literal["rate", "concurrency", "breaker", "budget", "provider", "plane"]

REASONS: tuple[Reason, ...] = ("rate", "concurrency", "breaker", "provider", "plane")
"""What the queue of a gate waits for, in the order of `Waits.totals`; for money calls wait before they come there.

`provider`: it asked to be called later, or more slowly. `plane`: the control plane has not said yet what may start.
"""

_NOTHING: Mapping[Reason, float] = MappingProxyType(dict.fromkeys(REASONS, 0.0))


class Impatient(Exception):
    """A call would wait longer than it wants to.

    Args:
        reason: What it waits for.
        seconds: How much longer, as far as known.
        problem: A sentence about it.
        opened_for: Seconds since its breaker opened without having closed again.
        over: The purse in which there will be no more money, or None.

    Attributes:
        spent: What the calls that it ended had spent, noted by whoever made them.
        said: What the provider said last, where that is why; noted by whoever was told.
    """

    spent: Any = None
    said: str = ""

    def __init__(
        self,
        reason: Reason,
        seconds: float,
        problem: str | None = None,
        *,
        opened_for: float = 0.0,
        over: str | None = None,
    ) -> None:
        super().__init__(reason, seconds)
        self.reason = reason
        self.seconds = seconds
        self.problem = problem or f"the {reason} keeps calls waiting"
        self.opened_for = opened_for
        self.over = over


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """The right to make one call, to be given back with `Gate.leave`.

    Attributes:
        waited: Seconds by reason.
        probe: Whether the breaker judges by this call.
        slot: The slot it uses on the plane's clock, None where it needs none.
        tokens: Reserved for it.
    """

    waited: Mapping[Reason, float] = field(default_factory=lambda: _NOTHING)
    probe: bool = False
    slot: float | None = None
    tokens: int = 0


class Waits:
    """Seconds for which the queue of a gate stood still, by what its first call waited for.

    All of a queue wait for the same, so that one clock for each reason serves every call in it: what a call waited is
    the difference of two readings.

    Attributes:
        reason: What the queue waits for, None while nobody does.
    """

    def __init__(self) -> None:
        self.reason: Reason | None = None
        self._changed = 0.0
        self._seconds = dict.fromkeys(REASONS, 0.0)

    def change(self, reason: Reason | None, *, now: float) -> None:
        """From now on the queue waits for this, or not at all."""
        if self.reason is not None:
            self._seconds[self.reason] += now - self._changed
        self.reason, self._changed = reason, now

    def totals(self, now: float) -> tuple[float, ...]:
        """The reading at this time."""
        self.change(self.reason, now=now)
        return tuple(self._seconds.values())

    def since(self, before: tuple[float, ...], *, now: float) -> dict[Reason, float]:
        """Seconds by reason since a reading."""
        both = zip(REASONS, before, self.totals(now), strict=True)
        return {reason: after - earlier for reason, earlier, after in both}
