"""The limits of one API as the control plane keeps them: who holds what, and what an exchange gives. No clock inside.

The arithmetic is in the policies; here their states live side by side, and a holder's request meets all of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dataflow.engine.control.circuit import Circuit
from dataflow.engine.control.limits import Limits, strictest
from dataflow.engine.control.neighbours import HostShare, Wanting
from dataflow.engine.control.replies import again, runs
from dataflow.engine.control.windows import Windows
from dataflow.policies import concurrency, declared, rate, throttle
from dataflow.policies.breaker import Held

INTERVAL = 0.1
"""Seconds between two exchanges of a holder that wants to call."""
HEARTBEAT = 1.0
"""Seconds between two exchanges of a holder whose calls are only running, and the longest wait for news."""
LEASE = 3.0
"""Seconds for which what was given may be used: three heartbeats."""
AHEAD = 2
"""Intervals for which slots are leased in advance; what a killed worker loses is its part of them."""
FARTHEST = 2.0
"""Seconds for which slots of a slow rate are leased in advance."""
OBSERVED = 5
"""Seconds over which the rate of calls is observed."""
UNDECLARED = 0.1
"""Seconds after which a slot is too late where no declared rate depends on it."""


@dataclass(slots=True, kw_only=True, eq=False)
class Member:
    """What is known of one holder.

    Attributes:
        declared: The limits it declares.
        number: Of its last request.
        reply: To that request, in case it asks again.
        until: When its lease ends.
        wanted: Calls that it wanted to start.
        waiting: Calls that wait in its queue.
        reason: What they wait for; see `passes`.
        in_flight: Calls that it had in flight.
        usual: Calls that it had in flight before it allowed itself fewer.
        fresh: Calls that wait and have not failed yet.
        served: When it last got slots.
        shared: Where the planes of its host share what they give, or None.
    """

    declared: Limits
    number: int = 0
    reply: dict[str, Any] | None = None
    until: float = 0.0
    wanted: int = 0
    waiting: int = 0
    reason: str | None = None
    in_flight: int = 0
    usual: int = 0
    fresh: int = 0
    served: float = -math.inf
    shared: str | None = None


class Account:
    """One API.

    Args:
        api: Its name.
        blind: Time before which calls of an earlier plane may still be made, and
        held: time until which such calls may still run; both None where there was none.
        windows: What is counted of its long windows, also on other planes.
        plane: The id of the plane, by which others of the host know it.
    """

    def __init__(
        self,
        api: str,
        *,
        blind: float | None = None,
        held: float | None = None,
        windows: Windows | None = None,
        plane: str = "",
    ) -> None:
        self.api = api
        self.members: dict[str, Member] = {}
        self.circuit = Circuit()
        self.used_at = -math.inf
        self.exchanges = 0
        self._limits: Limits | None = None
        self._slots = rate.Slots(free_at=-math.inf if blind is None else blind)
        self._windows = windows or Windows()
        self._cut, self._use = throttle.Cut(), declared.Use()
        self._shares = concurrency.Shares()
        self._held = held
        self._calls: deque[tuple[int, float, int, int]] = deque(maxlen=OBSERVED + 1)
        self._tokens: float | None = None
        self._warned: set[Limits] = set()
        self._host = HostShare(api, plane=plane)

    def exchange(self, request: Mapping[str, Any], *, now: float, interval: float) -> dict[str, Any]:
        """Take up what a holder reports, and give it what it may use until the next exchange.

        Args:
            request: As `gate` makes it.
            now: The time of the plane.
            interval: Seconds between two exchanges at least.
        """
        member = self._member(request, now=now)
        if request["number"] <= member.number:
            return again(member.reply, now=now) if request["number"] == member.number else {"stale": True}
        self.used_at = now
        self.exchanges += 1
        member.number = request["number"]
        member.wanted, member.waiting, member.usual = request["wanted"], request["waiting"], request["usual"]
        member.reason, member.in_flight, member.fresh = request.get("reason"), request["in_flight"], request["fresh"]
        member.until = now + max(LEASE, 4 * interval)
        with self._host.turn(member.shared, self._known(), now=now):
            self._slots = self._host.slots(self._slots)
            self._take_up(request, now=now)
            member.reply = self._give(member, request, now=now, interval=interval)
            self._host.keep(self._slots, self.members.values(), until=member.until)
        return dict(member.reply)

    def forget(self, holder: str, *, now: float) -> None:
        """A holder is dead: others have its rate at once, and its calls in flight after one attempt timeout."""
        if self.members.pop(holder, None) is not None and self._limits is not None:
            self._shares = concurrency.forget(self._shares, holder, until=now + self._limits.timeout)
            self._merge()

    def tidy(self, *, now: float) -> bool:
        """Drop holders whose lease has ended; whether this API is still of interest."""
        gone = [name for name, member in self.members.items() if member.until < now]
        if self._limits is None:
            return self.circuit.status.held is not None
        self._shares = concurrency.expired(self._shares, now=now, timeout=self._limits.timeout)
        for name in gone:
            del self.members[name]
        if gone:
            self._merge()
        memory = max([600.0, self._limits.timeout, *(one.period for one in self._limits.rates)])
        return bool(self.members) or self.circuit.status.held is not None or now < self.used_at + memory

    def close(self) -> None:
        """Let go of what is open."""
        self._host.close()

    def hold(self, state: Held | None) -> None:
        """Keep the breaker open or closed by hand, or let it judge again with None."""
        self.circuit.hold(state)

    def status(self, *, now: float) -> dict[str, Any]:
        """What a dashboard shows, as plain values."""
        shares = {name: one.share for name, one in self._shares.holdings.items()}
        pace = self._pace(now=now)
        return {
            "rate": self.observed(now=now),
            "allowed": 1 / pace.step if pace is not None and pace.step else None,
            "in_flight": sum(member.in_flight for member in self.members.values()),
            "waiting": sum(member.waiting for member in self.members.values()),
            "waiting_for": self._reasons(),
            "concurrency": self._limits.concurrency if self._limits else None,
            "shares": shares,
            "members": {name: self._member_status(name, one) for name, one in self.members.items()},
            "held_back": sum(count for _, count in self._shares.held.values()),
            "breaker": self.circuit.shown(self._limits.breaker if self._limits else None, now=now),
            "pause": self._pause(now=now),
            "holders": len(self.members),
            "exchanges": self.exchanges,
        }

    def _member_status(self, name: str, member: Member) -> dict[str, Any]:
        held = self._shares.holdings.get(name)
        capped = self._limits is not None and self._limits.concurrency is not None
        share = held.share if held is not None and capped else None
        return {"in_flight": member.in_flight, "waiting": member.waiting, "share": share}

    def _reasons(self) -> dict[str, int]:
        """How many calls wait for what."""
        found: dict[str, int] = {}
        for member in self.members.values():
            if member.waiting and member.reason:
                found[member.reason] = found.get(member.reason, 0) + member.waiting
        return found

    def observed(self, *, now: float) -> float:
        """Calls that ended in a second, over the last ones."""
        return self._lately(now=now)[0]

    def _lately(self, *, now: float) -> tuple[float, float, int]:
        """Calls that ended and that were accepted in a second, and how many ended in all, over the last ones."""
        recent = [one[1:] for one in self._calls if one[0] > now - OBSERVED]
        if not recent:
            return 0.0, 0.0, 0
        seconds, ended = max(1.0, now - recent[0][0]), sum(count for _, count, _ in recent)
        return ended / seconds, (ended - sum(refused for _, _, refused in recent)) / seconds, ended

    def _member(self, request: Mapping[str, Any], *, now: float) -> Member:
        holder = request["holder"]
        member = self.members.get(holder)
        if member is None:
            declared = Limits.from_dict(request["limits"])
            member = self.members[holder] = Member(declared=declared, shared=request.get("shared"))
            self._merge()
            self._hold_back()
        return member

    def _merge(self) -> None:
        """The limits of those who are here; when all have left, those of the last one stay."""
        if self.members:
            self._limits = strictest(dict.fromkeys(member.declared for member in self.members.values()))

    def _hold_back(self) -> None:
        limits = self._known()
        if self._held is not None and limits.concurrency is not None:
            held = {"an earlier control plane": (self._held, limits.concurrency)}
            self._shares = replace(self._shares, held=held)
            self._held = None

    def _known(self) -> Limits:
        assert self._limits is not None
        return self._limits

    def _take_up(self, request: Mapping[str, Any], *, now: float) -> None:
        limits = self._known()
        outcomes: str = request["outcomes"]
        refused = request["throttled"]
        self._count(len(outcomes) + len(request["probes"]), refused=len(refused), now=now)
        if limits.rates:
            ended = sum(letter not in "aA" for letter in (*outcomes, *request["probes"]))
            self._use = declared.take_up(self._use, ended=max(ended, len(refused)), refused=refused, now=now)
        elif refused:
            _, accepted, lately = self._lately(now=now)
            self._cut = throttle.throttle(self._cut, now=now, refused=refused, accepted=accepted, ended=lately)
        if limits.breaker is not None:
            in_flight = sum(member.usual for member in self.members.values())
            self.circuit.take_up(limits.breaker, request, in_flight=in_flight, now=now)
        self._settle(request, now=now)

    def _settle(self, request: Mapping[str, Any], *, now: float) -> None:
        """Slots that were not used, tokens that calls may use, and those that they really used."""
        unused: list[list[float]] = request["unused"]
        pace = self._pace(now=now)
        if pace is None:
            return
        self._slots = rate.give_back(self._slots, [at for at, _ in unused], now=now)
        calls = [(at, -1) for at, _ in unused]
        tokens = [(at, -int(reserved)) for at, reserved in unused]
        tokens += [(at, planned - reserved) for at, reserved, planned in request["planned"]]
        for at, reserved, used in request["tokens"]:
            tokens.append((at if used < reserved else now, used - reserved))
            if used:
                self._tokens = used if self._tokens is None else self._tokens + 0.1 * (used - self._tokens)
        self._charge(calls=calls, tokens=tokens, now=now)

    def _charge(self, *, calls: list[tuple[float, int]], tokens: list[tuple[float, int]], now: float) -> None:
        rates = self._known().rates
        self._windows.charge(calls=calls, tokens=tokens, limits=rates, now=now, late=self._tolerance())

    def _count(self, calls: int, *, refused: int, now: float) -> None:
        second = math.floor(now)
        if not self._calls or self._calls[-1][0] != second:
            # What comes after a pause was made from about now on, not from the full second.
            goes_on = self._calls and self._calls[-1][0] == second - 1
            self._calls.append((second, second if goes_on else now - INTERVAL, 0, 0))
        _, begun, before, earlier = self._calls[-1]
        self._calls[-1] = (second, begun, before + calls, earlier + refused)

    def _give(self, member: Member, request: Mapping[str, Any], *, now: float, interval: float) -> dict[str, Any]:
        limits = self._known()
        pause = self._pause(now=now)
        share = self._share(member, request, now=now)
        startable = (
            0 if pause > 0 else member.waiting if share is None else min(member.waiting, share - member.in_flight)
        )
        fresh = sum(one.fresh for one in self.members.values())
        breaker = self.circuit.permit(limits.breaker, request, wanted=max(0, startable), fresh=fresh, now=now)
        probes = breaker["probes"]
        pace = self._pace(now=now)
        allowed = 0 if pause > 0 or probes == 0 else member.wanted if probes is None else min(probes, member.wanted)
        times = self._lease(member, pace, now=now, interval=interval, wanted=allowed, in_hand=request["in_hand"])
        slots = None if pace is None else {"runs": runs(times, now=now), "tolerance": pace.tolerance}
        if slots is not None:
            slots["tokens"] = self._estimate()
        return {
            "now": now,
            "lease": member.until - now,
            "next": self._next(member, pace, wait=breaker["wait"] if probes == 0 else pause, interval=interval),
            "slots": slots,
            "share": share,
            "breaker": breaker,
            "pause": pause,
            "used_up": self._used_up(now=now) if not times and not request["in_hand"] else None,
            "warning": self._warning(member, limits) or self._host.told(),
        }

    def _share(self, member: Member, request: Mapping[str, Any], *, now: float) -> int | None:
        limits = self._known()
        self._shares = concurrency.expired(self._shares, now=now, timeout=limits.timeout)
        report = concurrency.Holding(
            applied=request["share"], in_flight=member.in_flight, wanted=member.wanted, until=member.until
        )
        cap = limits.concurrency
        if cap is not None:
            here = {name for name, one in self.members.items() if one.shared == member.shared}
            cap = self._host.cap(cap, request["holder"], report, shares=self._shares, here=here, now=now)
        self._shares = concurrency.ask(
            self._shares, request["holder"], cap=_NO_CAP if cap is None else cap, report=report, now=now
        )
        return None if cap is None else self._shares.holdings[request["holder"]].share

    def _pace(self, *, now: float) -> rate.Pace | None:
        """How fast slots come now, or None where a call needs no slot."""
        if self._limits is None:
            return None
        if not self._limits.rates:
            most = throttle.undeclared_rate(self._cut, now=now)
            return None if most is None else rate.Pace(step=1 / most, tolerance=UNDECLARED)
        pace = rate.pace_of(self._limits.rates, tokens=self._estimate())
        pace = replace(pace, step=max(pace.step, self._host.slowest))
        share = declared.share_of(self._use, now=now)
        if share < 1 and pace.step == 0:
            return replace(pace, step=1 / max(1.0, share * self.observed(now=now)))
        return replace(pace, step=pace.step / share)

    def _pause(self, *, now: float) -> float:
        """Seconds for which no call may start, since the provider asks for it."""
        return max(throttle.pause(self._cut, now=now), declared.pause(self._use, now=now))

    def _tolerance(self) -> float:
        return rate.pace_of(self._known().rates, tokens=self._estimate()).tolerance

    def _estimate(self) -> int:
        return math.ceil(self._known().tokens if self._tokens is None else max(1.0, self._tokens))

    def _lease(
        self, member: Member, pace: rate.Pace | None, *, now: float, interval: float, wanted: int, in_hand: int
    ) -> tuple[float, ...]:
        if pace is None or wanted <= 0 or self._host.is_busy:
            return ()
        ahead = max(AHEAD * interval, min(2 * pace.step, FARTHEST))
        rooms = self._rooms(now=now)
        wanting: list[Wanting] = [*(one for one in self.members.values() if one.wanted), *self._host.others]
        others = sorted(wanting, key=lambda one: one.served)
        demands = [one.wanted for one in others]
        total = min([math.floor(ahead / pace.step) + 1 if pace.step else sum(demands), *rooms])
        spare = total - sum(demands)
        # Where there is enough for all, a call finds a slot at any moment; else none must be lost.
        wanted = max(wanted, total // len(others)) if spare > 0 else wanted
        target = total // len(others) if spare > 0 else concurrency.divide(total, demands)[others.index(member)]
        if self._host.others:
            # Planes that ask in a fixed order leave each other something also where there is little.
            target = min(target, max(1, total // len(others)))
        wanted = min([wanted, target - in_hand, *rooms])
        if wanted <= 0:
            return ()
        self._slots, times = rate.lease(self._slots, pace, now=now, until=now + ahead, wanted=wanted, spread=spare > 0)
        if times:
            member.served = now
        estimate = self._estimate()
        self._charge(calls=[(at, 1) for at in times], tokens=[(at, estimate) for at in times], now=now)
        return times

    def _rooms(self, *, now: float) -> list[int]:
        """Calls that still fit into each window that is counted."""
        rates = self._known().rates
        return self._windows.rooms(rates, now=now, late=self._tolerance(), tokens=self._estimate())

    def _used_up(self, *, now: float) -> dict[str, Any] | None:
        """Which limit lets no call start for a while, and for how many seconds."""
        rates = self._known().rates
        found = self._windows.used_up(rates, now=now, late=self._tolerance(), tokens=self._estimate())
        return None if found is None else {"limit": found[0], "wait": found[1]}

    def _next(self, member: Member, pace: rate.Pace | None, *, wait: float, interval: float) -> float:
        if wait > 0 or member.wanted == 0:
            return max(interval, min(wait or HEARTBEAT, HEARTBEAT))
        return max(interval, min(pace.step / 2, HEARTBEAT)) if pace is not None else interval

    def _warning(self, member: Member, limits: Limits) -> str | None:
        if member.declared == limits or member.declared in self._warned:
            return None
        self._warned.add(member.declared)
        return (
            f"`{self.api}` is declared with other limits somewhere else on this control plane; "
            "of each limit the stricter one holds"
        )


_NO_CAP = 1 << 30
