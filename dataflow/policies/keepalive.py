"""How long a server keeps an idle connection open, as far as its endings have shown. Pure; time is an argument.

A request that is sent just when the server closes its connection is lost in a way that looks like a call, so no
connection is used again that comes near to the age at which the server closes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

MARGIN, SHARE = 0.02, 0.2
"""Before the age at which connections were closed, seconds or a share of it, none is used any more."""
BELIEVED = 60.0
"""Seconds for which an observation holds: a server that was started again closes all at once, whatever their age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """What was seen of one server.

    Attributes:
        ended: The least idle age at which it has closed a connection.
        ended_at: When that was last seen.
        survived: The greatest idle age after which a connection has served another call.
        survived_at: When that was last seen.
    """

    ended: float = math.inf
    ended_at: float = -math.inf
    survived: float = 0.0
    survived_at: float = -math.inf

    def end(self, age: float, *, now: float) -> Keepalive:
        """The server has closed a connection that was idle for so long; one that others outlive tells nothing."""
        if age < self.survived and now < self.survived_at + BELIEVED:
            return self
        known = self.ended if now < self.ended_at + BELIEVED else math.inf
        return replace(self, ended=min(known, age), ended_at=now)

    def survive(self, age: float, *, now: float) -> Keepalive:
        """A connection that was idle for so long has served another call."""
        if now < self.survived_at + BELIEVED and age < self.survived:
            return self
        return replace(self, survived=age, survived_at=now)

    def trusted(self, now: float) -> float:
        """The idle age up to which a connection may be used again; infinity where nothing is known."""
        if now >= self.ended_at + BELIEVED:
            return math.inf
        return max(0.0, self.ended - max(MARGIN, SHARE * self.ended))
