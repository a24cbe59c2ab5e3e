"""What one service did, as a value that merges over partitions.

Standard library only. How these numbers are counted is the business of the engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from operator import attrgetter
from typing import Any

from dataflow.errors import StoreError
from dataflow.outcomes import Kind, Priority, Status
from dataflow.policies.money import cleaned
from dataflow.telemetry.durations import Durations
from dataflow.telemetry.given import NOTHING_GIVEN, Given
from dataflow.telemetry.tokens import NO_TOKENS, Tokens

STATUSES = tuple(status.value for status in Status)
"""The seven ways in which a service ends for a record, as names of counts."""

_COUNTS = ("records", "calls", *STATUSES, "deduplicated", "retries")
_WAITS = ("rate", "concurrency", "breaker", "budget", "provider", "plane")

_counts = attrgetter(*_COUNTS)
_waits = attrgetter(*_WAITS)


def added(rows: Iterable[tuple[int, ...]]) -> list[int]:
    """The sum of every column."""
    return [sum(column) for column in zip(*rows, strict=True)]


def _longest(streaks: Iterable[Streak | None]) -> Streak | None:
    """The longest streak; of equal ones the first by file and row, so that the order of the parts does not matter."""
    there = [one for one in streaks if one is not None]
    return min(there, key=lambda one: (-one.calls, one.file, one.row, one.error), default=None)


def _merged_counts(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            counts[name] = counts.get(name, 0) + count
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """Seconds that calls of a service waited before they started, by what they waited for.

    Added up over calls that waited side by side, so it may exceed the duration of the run.

    Attributes:
        rate: For a slot of a declared rate.
        concurrency: For a place among the calls in flight.
        breaker: For an API that was down.
        budget: For money.
        provider: Since it asked to be called later, or more slowly, or had just failed.
        plane: For the control plane to say what may start.
    """

    rate: float = 0.0
    concurrency: float = 0.0
    breaker: float = 0.0
    budget: float = 0.0
    provider: float = 0.0
    plane: float = 0.0

    @classmethod
    def merged(cls, parts: Sequence[Waited]) -> Waited:
        """The waiting of all parts together."""
        waiting = [part for part in parts if part != _NO_WAIT]
        if len(waiting) < 2:
            return waiting[0] if waiting else _NO_WAIT
        sums = (math.fsum(column) for column in zip(*map(_waits, waiting), strict=True))
        return cls(**dict(zip(_WAITS, sums, strict=True)))

    def to_dict(self) -> dict[str, float]:
        """Seconds by reason; reasons without waiting are left out."""
        return {name: seconds for name in _WAITS if (seconds := getattr(self, name))}

    def report(self) -> dict[str, float]:
        """The public form: seconds for every reason, to the millisecond."""
        return {name: round(getattr(self, name), 3) for name in _WAITS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """Calls of a service in a row that raised what nobody expects.

    Attributes:
        calls: How many.
        error: The class of the first exception.
        file: The source file of the first record.
        row: Its row there.
    """

    calls: int
    error: str
    file: str
    row: int


_NO_WAIT = Waited()
_NO_DURATIONS = Durations()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatistics:
    """What one service did.

    Attributes:
        kind: What the service is for.
        priority: What its failure means for a record.
        records: Records that came to the service; the sum of the seven statuses.
        calls: Calls that were made; for a local service, the times its function was called.
        succeeded: Records by status, and so `cached` to `not_attempted`.
        deduplicated: Records among them that shared the call of another record.
        retries: Calls that repeated an attempt for the same record.
        cost: Money, in the currency of the service.
        lost_cost: The part of it that no record rests on: it was paid for work that was lost, or done again.
        tokens: Of a model, as its answers count them; in the public form where there are any.
        duration: Seconds, by call for services that call out and by batch for local ones.
        waited: Seconds of waiting by reason, not part of `duration`.
        errors: Failed and timed-out records by class of error; read only.
        shared: The records of `deduplicated` by status; read only, and no part of the public form.
        streak: The longest streak of exceptions in one partition, for a local service; no part of it either.
        given: When the answers of its API were given; no part of it either.
        member_of: The composite service that it works for, or empty.
        api: The name of the API that it calls, whose limits it shares with others; empty for a local service.
    """

    kind: Kind
    priority: Priority
    records: int = 0
    calls: int = 0
    succeeded: int = 0
    cached: int = 0
    deduplicated: int = 0
    not_found: int = 0
    failed: int = 0
    timed_out: int = 0
    skipped: int = 0
    not_attempted: int = 0
    retries: int = 0
    cost: float = 0.0
    lost_cost: float = 0.0
    tokens: Tokens = NO_TOKENS
    duration: Durations = _NO_DURATIONS
    waited: Waited = _NO_WAIT
    errors: Mapping[str, int] = field(default_factory=dict)
    shared: Mapping[str, int] = field(default_factory=dict)
    streak: Streak | None = None
    given: Given = NOTHING_GIVEN
    member_of: str = ""
    api: str = ""

    def unpaid(self) -> ServiceStatistics:
        """The same without calls and money."""
        return replace(self, calls=0, retries=0, cost=0.0, tokens=NO_TOKENS)

    def billed(self, called: ServiceStatistics) -> ServiceStatistics:
        """The same records with what was really called for them; what these do not account for was lost.

        Args:
            called: The calls of all processes, whatever became of their partitions.
        """
        lost = max(0.0, cleaned(called.cost - self.cost))
        return replace(
            self, calls=called.calls, retries=called.retries, cost=called.cost, tokens=called.tokens, lost_cost=lost
        )

    def calls_ending(self, *statuses: Status) -> int:
        """Calls and remembered answers that ended in these ways: records that shared one count once.

        For a local service, which shares none, these are records.
        """
        return sum(getattr(self, one.value) - self.shared.get(one.value, 0) for one in statuses)

    @classmethod
    def merged(cls, name: str, parts: Sequence[ServiceStatistics]) -> ServiceStatistics:
        """The statistics of service `name` over all parts, of which there is at least one.

        Raises:
            StoreError: The parts are of different kinds or priorities.
        """
        first = parts[0]
        if len(parts) == 1:
            return first
        for part in parts:
            if (part.kind, part.priority) != (first.kind, first.priority):
                raise StoreError(
                    f"statistics of service {name!r}: {first.priority} {first.kind} in one partition, "
                    f"{part.priority} {part.kind} in another; they do not come from one plan, start a new run"
                )
        counts = dict(zip(_COUNTS, added(map(_counts, parts)), strict=True))
        return cls(
            kind=first.kind,
            priority=first.priority,
            **counts,
            cost=cleaned(math.fsum(part.cost for part in parts)),
            lost_cost=cleaned(math.fsum(part.lost_cost for part in parts)),
            tokens=Tokens.merged(part.tokens for part in parts),
            duration=Durations.merged([part.duration for part in parts]),
            waited=Waited.merged([part.waited for part in parts]),
            errors=_merged_counts(part.errors for part in parts),
            shared=_merged_counts(part.shared for part in parts),
            streak=_longest(part.streak for part in parts),
            given=Given.merged(part.given for part in parts),
            member_of=first.member_of,
            api=next((part.api for part in parts if part.api), ""),
        )

    def as_taken_over(self, *, asked: bool) -> ServiceStatistics:
        """The same outcomes for a run that did none of the work, so that nothing was called, paid or waited for.

        Args:
            asked: Whether the service has an API: what succeeded then counts as cached.
        """
        return replace(
            self,
            calls=0,
            succeeded=0 if asked else self.succeeded,
            cached=self.cached + (self.succeeded if asked else 0),
            deduplicated=0,
            shared={},
            retries=0,
            cost=0.0,
            tokens=NO_TOKENS,
            duration=_NO_DURATIONS,
            waited=_NO_WAIT,
            streak=None,
        )

    def to_dict(self) -> dict[str, Any]:
        """The state as plain JSON values; what is 0 or empty is left out."""
        parts = {"duration": self.duration.to_dict(), "waited": self.waited.to_dict()}
        counts = dict(zip(_COUNTS, _counts(self), strict=True))
        streak = None if self.streak is None else asdict(self.streak)
        shown = {"errors": dict(self.errors), "shared": dict(self.shared), "streak": streak}
        shown["given"] = self.given.to_dict()
        tokens = self.tokens.to_dict() if self.tokens else None
        state = {
            **counts,
            "cost": self.cost,
            "lost_cost": self.lost_cost,
            "tokens": tokens,
            **parts,
            **shown,
            "member_of": self.member_of,
            "api": self.api,
        }
        kept = {name: value for name, value in state.items() if value}
        return {"kind": self.kind.value, "priority": self.priority.value, **kept}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ServiceStatistics:
        """The statistics that `to_dict` wrote."""
        parts = {
            "kind": Kind(values["kind"]),
            "priority": Priority(values["priority"]),
            "duration": Durations.from_dict(values.get("duration", {})),
            "waited": Waited(**values.get("waited", {})),
            "tokens": Tokens(**values.get("tokens", {})),
            "streak": Streak(**values["streak"]) if "streak" in values else None,
            "given": Given(**values.get("given", {})),
        }
        return cls(**{**values, **parts})

    def report(self) -> dict[str, Any]:
        """The public form, with every field in its documented order."""
        names = ("records", "calls", "succeeded", "cached", "deduplicated", *STATUSES[2:], "retries")
        return {
            "kind": self.kind.value,
            "priority": self.priority.value,
            **({"member_of": self.member_of} if self.member_of else {}),
            **({"api": self.api} if self.api else {}),
            **{name: getattr(self, name) for name in names},
            "cost": cleaned(self.cost),
            **({"lost_cost": cleaned(self.lost_cost)} if self.lost_cost else {}),
            **({"tokens": self.tokens.to_dict()} if self.tokens else {}),
            "duration": self.duration.report(),
            "waited": self.waited.report(),
            "errors": dict(sorted(self.errors.items(), key=lambda item: (-item[1], item[0]))),
        }
