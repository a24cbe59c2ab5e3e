"""Concurrency: one cap on calls in flight, divided among holders by what they want. Pure.

At any time the sum of what is counted for each holder is at most the cap. Counted is the largest of the share it was
given, the share it said it worked with, and the calls it said it had in flight: so a share that shrinks frees nothing
before its holder has said so. What a holder that died or fell silent had stays counted for one attempt timeout, since
its calls still run at the provider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

TENURE = 1.0
"""Seconds for which a holder keeps what it has when there are more holders than calls allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What one holder has.

    Attributes:
        share: Calls in flight that it was given.
        applied: The share that it worked with when it asked last.
        in_flight: Calls that it had then.
        wanted: Calls that it wanted to start then.
        until: The share must not be used after this time.
        since: When it last got a first call, or lost the last one.
    """

    share: int = 0
    applied: int = 0
    in_flight: int = 0
    wanted: int = 0
    until: float = 0.0
    since: float = 0.0

    @property
    def counted(self) -> int:
        """The most calls that it can have in flight."""
        return max(self.share, self.applied, self.in_flight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How the cap of one API is divided.

    Attributes:
        holdings: By holder.
        held: By holder that is gone, the time until which its calls may still run, and how many.
    """

    holdings: Mapping[str, Holding] = field(default_factory=dict)
    held: Mapping[str, tuple[float, int]] = field(default_factory=dict)

    @property
    def counted(self) -> int:
        """The most calls that all of them can have in flight; at most the cap."""
        living = sum(holding.counted for holding in self.holdings.values())
        return living + sum(count for _, count in self.held.values())


def ask(shares: Shares, holder: str, *, cap: int, report: Holding, now: float) -> Shares:
    """Take up what a holder reports and give it its share, in `holdings`.

    Args:
        shares: As they are, `expired` at this time already.
        holder: Who asks.
        cap: Calls in flight at most.
        report: Its `applied`, `in_flight` and `wanted`, and `until` when a new share is valid; the rest is ignored.
        now: When it asked.
    """
    before = shares.holdings.get(holder, Holding(since=now))
    reported = replace(report, share=before.share, since=before.since)
    held = {name: one for name, one in shares.held.items() if name != holder}
    asked = Shares(holdings={**shares.holdings, holder: reported}, held=held)
    free = cap - (asked.counted - reported.counted)
    share = max(0, min(_fair(asked, holder, cap=cap, now=now), free))
    since = before.since if (share > 0) == (before.share > 0) else now
    return replace(asked, holdings={**asked.holdings, holder: replace(reported, share=share, since=since)})


def forget(shares: Shares, holder: str, *, until: float) -> Shares:
    """A holder is gone: hold back what it had until its last call has timed out."""
    holdings = dict(shares.holdings)
    holding = holdings.pop(holder, None)
    if holding is None or holding.counted == 0:
        return replace(shares, holdings=holdings)
    return Shares(holdings=holdings, held={**shares.held, holder: (until, holding.counted)})


def expired(shares: Shares, *, now: float, timeout: float) -> Shares:
    """Forget holders whose lease has run out, and give back what was held long enough.

    Args:
        shares: As they were.
        now: When.
        timeout: Seconds of the longest attempt.
    """
    for holder in [name for name, holding in shares.holdings.items() if holding.until < now]:
        shares = forget(shares, holder, until=shares.holdings[holder].until + timeout)
    if any(until <= now for until, _ in shares.held.values()):
        held = {name: one for name, one in shares.held.items() if one[0] > now}
        shares = replace(shares, held=held)
    return shares


def divide(total: int, demands: Sequence[int]) -> list[int]:
    """Divide calls fairly: nobody gets more than it demands, and who gets less than another wanted no more.

    Where there are fewer calls than demands, the first ones get one each.
    """
    given = [0] * len(demands)
    asking = [at for at, demand in enumerate(demands) if demand > 0]
    if total < len(asking):
        for at in asking[: max(0, total)]:
            given[at] = 1
        return given
    left = total
    for rank, at in enumerate(sorted(asking, key=lambda at: demands[at])):
        given[at] = min(demands[at], left // (len(asking) - rank))
        left -= given[at]
    return given


def _fair(shares: Shares, holder: str, *, cap: int, now: float) -> int:
    """What a holder should have: its part by demand, and of what is left an equal part if it wants to go on."""
    total = cap - sum(count for _, count in shares.held.values())
    names = sorted(shares.holdings, key=lambda name: _turn(shares.holdings[name], now=now))
    demands = [shares.holdings[name].in_flight + shares.holdings[name].wanted for name in names]
    parts = divide(total, demands)
    own = shares.holdings[holder]
    part = parts[names.index(holder)]
    if own.wanted == 0:
        return part
    spare = total - sum(parts)
    return part + max(0, spare) // sum(one.wanted > 0 for one in shares.holdings.values())


def _turn(holding: Holding, *, now: float) -> tuple[int, float]:
    """Who comes first where calls are fewer than holders: who has just begun, then who waits longest."""
    if holding.share > 0:
        return (0 if now < holding.since + TENURE else 2, holding.since)
    return (1, holding.since)
