"""The breaker of one API as the control plane keeps it: what reports say of it, and who may probe. No clock inside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dataflow.policies import breaker as breakers
from dataflow.policies.breaker import Breaker, BreakerStatus, Held

NEWS = 0.6
"""Seconds without an input that has not failed after which there is taken to be none: partitions look every 0.25 s."""

_ALIVE = {"s": True, "t": True, "r": True, "f": False, "a": None}
"""What the first letter of an `Attempt` says of the API: one that refuses or throttles is there."""


class Circuit:
    """The breaker of one API.

    Attributes:
        status: Where it stands.
    """

    def __init__(self) -> None:
        self.status = BreakerStatus()
        self._fresh_at = -math.inf
        self._failed_by = ""

    def hold(self, state: Held | None) -> None:
        """Keep it open or closed by hand, or let it judge again with None."""
        self.status = breakers.hold(self.status, state)

    def take_up(self, breaker: Breaker, request: Mapping[str, Any], *, in_flight: int, now: float) -> None:
        """Take up how the calls of a holder ended, while so many of all holders are in flight."""
        told = [letter for letter in request["outcomes"] if letter not in "aA"]
        judged = [bool(_ALIVE[letter.lower()]) for letter in told]
        earlier = {place for place, letter in enumerate(told) if letter.isupper()}
        self._failed_by = request["failed_by"] or self._failed_by
        self.status = breakers.record(breaker, self.status, judged, earlier=earlier, in_flight=in_flight, now=now)
        if request["probes"]:
            alive = [_ALIVE[letter.lower()] for letter in request["probes"]]
            self.status = breakers.record_probes(breaker, self.status, alive, now=now)

    def permit(
        self, breaker: Breaker | None, request: Mapping[str, Any], *, wanted: int, fresh: int, now: float
    ) -> dict[str, Any]:
        """What a reply says of it.

        Args:
            breaker: The policy, or None for none.
            request: Of a holder.
            wanted: Calls that it could start now.
            fresh: Calls of all holders that wait and have not failed: these probe first.
            now: The time of the plane.
        """
        if fresh:
            self._fresh_at = now
        in_turn, probes, wait = False, None, 0.0
        if breaker is not None:
            in_turn = self._in_turn(breaker, now=now)
            self.status, probes, wait = breakers.permit(
                breaker,
                self.status,
                now=now,
                wanted=0 if fresh and not request["fresh"] else wanted,
                patient=request["patient"],
                in_turn=in_turn,
            )
        return {
            "probes": probes,
            "wait": wait,
            "opened_for": self.opened_for(now),
            "in_turn": in_turn,
            "trouble": self._trouble(),
        }

    def opened_for(self, now: float) -> float:
        """Seconds since it opened without having closed again."""
        return breakers.opened_for(self.status, now)

    def shown(self, breaker: Breaker | None, *, now: float) -> dict[str, Any]:
        """What a dashboard shows of it, as plain values."""
        return {
            "state": str(self.status.state),
            "held": self.status.held,
            "opened_for": self.opened_for(now),
            "trouble": self._trouble(),
            "rest": 0.0 if breaker is None else breakers.rest(breaker, self.status, now=now),
        }

    def _trouble(self) -> str:
        if self.status.opened is None:
            return ""
        return breakers.trouble(self.status.calls, self.status.failed, reason=self._failed_by)

    def _in_turn(self, breaker: Breaker, *, now: float) -> bool:
        """Whether only inputs are left that have failed, though the API has answered others just before."""
        since = self.status.since
        if since is None or now <= max(self._fresh_at, since) + NEWS:
            return False
        return breakers.tries_in_turn(breaker, self.status)
