"""The circuit breaker of one API, shared by a cluster: a table, and pure functions over its status.

    state      event                                              state
    ---------  -------------------------------------------------  ---------
    closed     tripped: nothing succeeds any more, as below       open
    open       rested: a second, doubled each time up to `reset`  half open
    half open  proved: a probe was answered                       closed
    half open  refuted: one failed, was cancelled or is overdue   open

It judges the provider and not records: it trips when failures in a row outlast the calls that were in flight when
they began by `threshold` (see `streak`), or when `share` of the calls in `window` failed. A refusal is an answer, too.
Probes are drawn from inputs that have not failed yet. Where there are none left, and the API has answered others just
before, each of those left may probe in turn within the attempts that were declared for it: a source that ends in
records that always fail ends, too. Who asks for one record is not let through before `reset`.

Anything else changes nothing. A hand may hold it open or closed on top; then nothing is counted, and it begins
anew when let go. Time is an argument; who asks, who calls and where the status lives is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal

from dataflow.errors import DeclarationError
from dataflow.policies.streak import NONE, Streak

Held = Literal["open", "closed"]

SLOTS = 60
"""Into which the window is cut: seconds for the default window; memory and error are bounded by it."""
OUTAGE = 600.0
"""Seconds for which a batch waits for an API that is down without anything done; then somebody has to look."""
ASK_AGAIN = 1.0
"""Seconds at most until it is worth asking again where a report or a hand may change everything at any time."""

FIRST = 1.0
"""Seconds until the first probe of those who wait for the API."""
IN_TURN = 0.3
"""Seconds between two probes where only inputs are left that have failed, while the API has answered others."""

_DOUBLINGS = 64


class State(StrEnum):
    """Whether calls go through: all, none, or a few probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(StrEnum):
    """What moves a breaker from one state to another; see the table above."""

    TRIPPED = "tripped"
    RESTED = "rested"
    PROVED = "proved"
    REFUTED = "refuted"


TABLE: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.CLOSED, Event.TRIPPED): State.OPEN,
        (State.OPEN, Event.RESTED): State.HALF_OPEN,
        (State.HALF_OPEN, Event.PROVED): State.CLOSED,
        (State.HALF_OPEN, Event.REFUTED): State.OPEN,
    }
)
"""Every way from one state to another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When calls to an API stop and how they begin again.

    Attributes:
        threshold: Failures in a row that open it, beside those of the calls that were in flight when they began.
        share: Of the calls in the window that opens it when they failed. 90 %: below that, retries get through.
        minimum: Calls in the window before the share means something; never less than open it in a row.
        window: Seconds.
        reset: Seconds that who asks for one record is kept away, twice as long each time in a row; and the longest
            rest between two probes of a run.
        maximum: Seconds that who asks for one record is kept away at most.
        probes: Calls let through at a time to see whether the API is well; the first that is answered closes it.
        probe_deadline: Seconds after which a probe without a report has failed, so that it is never half open
            for ever; not less than the timeout of an attempt.
    """

    threshold: int = 5
    share: float = 0.9
    minimum: int = 100
    window: float = 60.0
    reset: float = 60.0
    maximum: float = 300.0
    probes: int = 1
    probe_deadline: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerStatus:
    """Where one breaker stands; begin with `BreakerStatus()`.

    Attributes:
        state: Its place in the table.
        held: What a hand holds it to, None when it decides itself.
        streak: Failures in a row, while closed.
        answered: When a call succeeded last, None before.
        calls: In the window in which it opened, and
        failed: those among them that failed.
        slots: (slot of time, calls, failures) in the window, while closed; 60 at most.
        opened: When it opened last, None while closed.
        since: When it opened first without having closed again, None while closed.
        openings: How often in a row.
        probes: When the outstanding probes are overdue, the oldest first.
    """

    state: State = State.CLOSED
    held: Held | None = None
    streak: Streak = NONE
    answered: float | None = None
    calls: int = 0
    failed: int = 0
    slots: tuple[tuple[int, int, int], ...] = ()
    opened: float | None = None
    since: float | None = None
    openings: int = 0
    probes: tuple[float, ...] = ()


def read_breaker(value: Any, *, where: str) -> Breaker | None:
    """The breaker that an author wrote: a `Breaker` or its fields; None or True for the default, False for none.

    Args:
        value: As written.
        where: Who says so, for the error: "API `acme`: breaker".

    Raises:
        DeclarationError: It is none of these, or a number in it makes no sense.
    """
    if value is None or isinstance(value, bool):
        return None if value is False else Breaker()
    if isinstance(value, Mapping):
        unknown = sorted(str(name) for name in value if name not in _FIELDS)
        if unknown:
            raise DeclarationError(f"{where} has no {', '.join(unknown)}; it has {', '.join(_FIELDS)}")
        value = Breaker(**value)
    if not isinstance(value, Breaker):
        raise DeclarationError(f"{where} takes flow.Breaker(...) or a mapping of its fields; False means none")
    for name, (fits, takes) in _FIELDS.items():
        if not fits(getattr(value, name)):
            raise DeclarationError(f"{where}: {name} takes {takes}")
    if value.maximum < value.reset:
        raise DeclarationError(
            f"{where}: maximum ({value.maximum:g} s) is less than reset ({value.reset:g} s); give both"
        )
    return value


def record(
    breaker: Breaker,
    status: BreakerStatus,
    outcomes: Sequence[bool],
    *,
    in_flight: int,
    now: float,
    earlier: Collection[int] = (),
) -> BreakerStatus:
    """The status after a report of calls.

    A report counts while closed only: what comes in later is of calls that started before it opened, and
    says nothing new.

    Args:
        breaker: The policy.
        status: Before the report.
        outcomes: Of the calls since the last report, in order: True for an answer, if only a refusal, False for a
            failure. Calls that were abandoned are left out.
        in_flight: Calls that are on their way now.
        now: When the report came in; its calls count from then.
        earlier: Places of the calls that began before the first of the failures in a row.
    """
    if status.held is not None or not outcomes:
        return status
    if any(outcomes):
        status = replace(status, answered=now)
    if status.state is not State.CLOSED:
        return status
    slot = int(now // (breaker.window / SLOTS))
    kept = [one for one in status.slots if one[0] > slot - SLOTS]
    calls, failed = sum(one[1] for one in kept), sum(one[2] for one in kept)
    streak = status.streak
    before = (calls, failed)
    for place, succeeded in enumerate(outcomes):
        calls, failed = calls + 1, failed + (not succeeded)
        if succeeded:
            streak = streak.answered(earlier=place in earlier)
            continue
        streak = streak.failed(threshold=breaker.threshold, in_flight=in_flight, earlier=place in earlier)
        enough = max(breaker.minimum, streak.needed)
        if streak.is_outlasted or (calls >= enough and failed / calls >= breaker.share):
            return _move(replace(status, calls=calls, failed=failed), Event.TRIPPED, at=now)
    slots = _added(kept, slot=slot, calls=calls - before[0], failed=failed - before[1])
    return replace(status, streak=streak, slots=slots)


def permit(
    breaker: Breaker, status: BreakerStatus, *, now: float, wanted: int, patient: bool = True, in_turn: bool = False
) -> tuple[BreakerStatus, int | None, float]:
    """The status after asking for calls, how many may start now, and how long to wait before asking again.

    The number is None for as many as one likes, which need no report as probes, or that of the probes granted:
    each is to be reported by `record_probes` before its deadline.

    Args:
        breaker: The policy.
        status: Before asking.
        now: When is asked.
        wanted: Calls that could start now; ask for no more than will start at once.
        patient: Whether those who ask wait for the API; who asks for one record does not.
        in_turn: Whether only inputs are left that have failed, and each may probe; see `tries_in_turn`.
    """
    if status.held is not None:
        return (status, None, 0.0) if status.held == "closed" else (status, 0, ASK_AGAIN)
    status = _overdue(status, now=now)
    if status.state is State.CLOSED:
        return status, None, 0.0
    left = _rest_left(breaker, status, now=now, patient=patient, in_turn=in_turn)
    if left > 0 and (status.state is State.OPEN or not patient):
        return status, 0, left
    if status.state is State.OPEN:
        status = _move(status, Event.RESTED, at=now)
    free = breaker.probes - len(status.probes)
    if free <= 0:
        return status, 0, min(ASK_AGAIN, status.probes[0] - now)
    granted = max(0, min(free, wanted))
    return replace(status, probes=status.probes + (now + breaker.probe_deadline,) * granted), granted, 0.0


def tries_in_turn(breaker: Breaker, status: BreakerStatus) -> bool:
    """Whether inputs that have failed may be at fault themselves: the API has answered others just before it opened."""
    if status.since is None or status.answered is None:
        return False
    return status.since - status.answered <= breaker.window


def record_probes(
    breaker: Breaker, status: BreakerStatus, outcomes: Sequence[bool | None], *, now: float
) -> BreakerStatus:
    """The status after a report of probes.

    One that comes when no probe is outstanding is too late and ignored.

    Args:
        breaker: The policy.
        status: Before the report.
        outcomes: True for a probe that was answered, if only with a refusal; False for a failure; None for
            one that was cancelled: it counts as a failure, or a hung API would be probed for ever.
        now: When the report came in.
    """
    if status.held is not None:
        return status
    status = _overdue(status, now=now)
    known = outcomes[: len(status.probes)]
    if not known:
        return status
    if any(known):
        return _move(status, Event.PROVED, at=now)
    return _move(status, Event.REFUTED, at=now)


def hold(status: BreakerStatus, held: Held | None) -> BreakerStatus:
    """The status held open or closed by hand, or let go with None: then it begins anew, closed."""
    return status if held == status.held else BreakerStatus(held=held)


def shown_state(state: str, held: str | None) -> str:
    """The state of a breaker in one word for people: `held` where somebody holds it open by hand."""
    return {"open": "held", "closed": "closed"}.get(held or "", state)


def trouble(calls: int, failed: int, *, reason: str) -> str:
    """What made a breaker open, in a few words: how many of the last calls failed, and why the last one did."""
    why = f", {reason}" if reason else ""
    return f"{failed:,} of the last {calls:,} calls failed{why}"


def opened_for(status: BreakerStatus, now: float) -> float:
    """Seconds since it opened without having closed again, half-open periods included; 0 while closed or held.

    A run that began later counts from its own beginning: nobody probes an API that nobody calls.
    """
    return 0.0 if status.since is None else max(0.0, now - status.since)


def rest(breaker: Breaker, status: BreakerStatus, *, now: float) -> float:
    """Seconds until an open breaker lets probes of a run through, if somebody calls then; 0 in any other state."""
    is_open = status.state is State.OPEN and status.held is None
    return max(0.0, _rest_left(breaker, status, now=now, patient=True, in_turn=False)) if is_open else 0.0


def to_dict(status: BreakerStatus) -> dict[str, Any]:
    """The status as values that JSON has."""
    return {
        **asdict(status),
        "state": str(status.state),
        "slots": [list(slot) for slot in status.slots],
        "probes": list(status.probes),
    }


def from_dict(values: Mapping[str, Any]) -> BreakerStatus:
    """The status that `to_dict` gave; fields that are missing have their defaults, unknown ones are ignored."""
    known = {one.name: values[one.name] for one in fields(BreakerStatus) if one.name in values}
    status = BreakerStatus(**known)
    slots = tuple((int(slot), int(calls), int(failed)) for slot, calls, failed in status.slots)
    streak = Streak(**values["streak"]) if "streak" in values else NONE
    return replace(status, state=State(status.state), streak=streak, slots=slots, probes=tuple(status.probes))


def _move(status: BreakerStatus, event: Event, *, at: float) -> BreakerStatus:
    state = TABLE[status.state, event]
    if state is State.CLOSED:
        return BreakerStatus(answered=at)
    if state is State.HALF_OPEN:
        return replace(status, state=state)
    since = at if status.since is None else status.since
    return BreakerStatus(
        state=state,
        opened=at,
        since=since,
        openings=status.openings + 1,
        answered=status.answered,
        calls=status.calls,
        failed=status.failed,
    )


def _overdue(status: BreakerStatus, *, now: float) -> BreakerStatus:
    """The status with what time alone has brought about, dated when it was due and not when somebody looked."""
    if status.probes and status.probes[0] <= now:
        return _move(status, Event.REFUTED, at=status.probes[0])
    return status


def _rest_left(breaker: Breaker, status: BreakerStatus, *, now: float, patient: bool, in_turn: bool) -> float:
    times = 2.0 ** min(status.openings - 1, _DOUBLINGS)
    if not patient:
        # Counted from the last opening, which each refuted probe of a run is, too.
        rest = min(breaker.maximum, breaker.reset * times)
    elif in_turn and status.openings > 1:
        rest = min(breaker.reset, IN_TURN)
    else:
        rest = min(breaker.reset, FIRST * times)
    return (status.opened or 0.0) + rest - now


def _added(kept: list[tuple[int, int, int]], *, slot: int, calls: int, failed: int) -> tuple[tuple[int, int, int], ...]:
    if kept and kept[-1][0] >= slot:
        last, earlier_calls, earlier_failed = kept.pop()
        return (*kept, (last, earlier_calls + calls, earlier_failed + failed))
    return (*kept, (slot, calls, failed))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_positive(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0


def _is_share(value: Any) -> bool:
    return _is_positive(value) and value <= 1


_COUNT = (_is_count, "a whole number from 1")
_TIME = (_is_positive, "a number of seconds above 0")
_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = MappingProxyType(
    {
        "threshold": _COUNT,
        "share": (_is_share, "a share above 0, up to 1"),
        "minimum": _COUNT,
        "window": _TIME,
        "reset": _TIME,
        "maximum": _TIME,
        "probes": _COUNT,
        "probe_deadline": _TIME,
    }
)
