"""What one gate knows of the health of its API: what the breaker lets through, and how many calls may be in flight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dataflow.policies.breaker import Breaker
from dataflow.policies.restraint import FREE
from dataflow.policies.retry import Attempt

NO_ANSWER = frozenset({Attempt.FAILED, Attempt.ABANDONED})
"""Endings of calls that say nothing for an API that is there."""


class Health:
    """The health of one API as one gate sees it.

    Attributes:
        probes: Calls that may probe; None while the breaker is closed.
        probing: Probes in flight.
        until: When an open breaker is asked again.
        opened_for: Seconds since it opened without having closed again.
        trouble: What made it open, empty while it is closed.
        restraint: How many calls may be in flight while nothing succeeds.
    """

    __slots__ = (
        "_breaker",
        "_failing_since",
        "_in_turn",
        "opened_for",
        "probes",
        "probing",
        "restraint",
        "trouble",
        "until",
    )

    def __init__(self, breaker: Breaker | None) -> None:
        self._breaker = breaker
        self._failing_since = -math.inf
        self._in_turn = False
        self.probes: int | None = None
        self.probing = 0
        self.until = -math.inf
        self.opened_for = 0.0
        self.trouble = ""
        self.restraint = FREE

    @property
    def is_down(self) -> bool:
        """Whether the API fails for all: its breaker is not closed, and not since what is left may be at fault."""
        return self.probes is not None and not self._in_turn

    @property
    def in_turn(self) -> bool:
        """Whether its breaker is not closed, and only inputs are left that have failed, which may be at fault."""
        return self.probes is not None and self._in_turn

    @property
    def is_in_doubt(self) -> bool:
        """Whether so many calls have failed in a row that its breaker may open."""
        return self._breaker is not None and self.restraint.streak.length >= self._breaker.threshold

    def usual(self, in_flight: int) -> int:
        """The calls that are in flight now, or were before fewer of them were allowed."""
        return max(in_flight, self.restraint.usual)

    def is_earlier(self, began: float | None) -> bool:
        """Whether a call began before the first of the failures in a row."""
        return self.restraint.streak.going_on and began is not None and began < self._failing_since

    def answered(self, *, share: int, earlier: bool) -> None:
        """A call was answered, if only with a refusal."""
        self.restraint = self.restraint.answered(share=share, earlier=earlier)

    def failed(self, *, in_flight: int, earlier: bool, now: float) -> bool:
        """A call has failed while so many others are on their way; whether the plane should hear of it at once."""
        if self._breaker is None:
            return False
        before, threshold = self.restraint.streak, self._breaker.threshold
        if not before.going_on:
            self._failing_since = now
        self.restraint = self.restraint.failed(threshold=threshold, in_flight=in_flight, earlier=earlier)
        streak = self.restraint.streak
        return streak.is_outlasted or (streak.length != before.length and streak.length % threshold == 0)

    def learn(self, told: Mapping[str, Any], *, now: float) -> None:
        """Take up what the plane says of the breaker."""
        probes, self.opened_for, self._in_turn = told["probes"], told["opened_for"], told["in_turn"]
        self.until, self.trouble = now + told["wait"], told["trouble"]
        if probes is None and self.probes is not None:
            self.restraint = self.restraint.begun_anew()
        self.probes = None if probes is None else probes + (self.probes or 0)

    def begin(self) -> bool:
        """Note that a call starts; whether it is a probe."""
        if self.probes is None:
            return False
        self.probes -= 1
        self.probing += 1
        return True

    def end_probe(self) -> bool:
        """Note that a probe has ended; whether it was the last one."""
        self.probing -= 1
        return self.probing == 0

    def give_back(self, probe: bool) -> None:
        """Note that a call that was let through does not start."""
        self.probing -= probe
        if self.probes is not None:
            self.probes += probe
