"""What the provider has seen: calls by service, status and key, and how many were in flight at most. Pure.

A call is counted when its headers have been read and ends once, whatever ended it. Status is what the client got:
a number for a whole answer, `reset` where the provider broke the connection, `left` where the client did before
it had its answer. The log holds [arrival, path, key, status, headers, end] of each call, whose status and end are
None while it runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Ending = int | Literal["reset", "left"]
Entry = list[Any]


@dataclass(slots=True, kw_only=True)
class Line:
    """The counts of one service."""

    calls: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    by_key: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)

    def begin(self) -> None:
        """One more call is here."""
        self.calls += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def end(self, status: Ending) -> None:
        """One of the calls has ended."""
        self.in_flight -= 1
        self.by_status[str(status)] += 1

    def values(self, *, keys: bool) -> dict[str, Any]:
        """The counts as plain values."""
        values = {
            "calls": self.calls,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "by_status": dict(self.by_status),
        }
        values |= {"tokens": dict(self.tokens)} if self.tokens else {}
        return values | {"by_key": dict(self.by_key)} if keys else values


@dataclass(slots=True, kw_only=True)
class Call:
    """A call on its way; it belongs to the tally that counted it, also after another has taken its place."""

    lines: tuple[Line, Line]
    entry: Entry
    attempts: dict[tuple[str, str], int]
    service: str
    ended: bool = False

    def name(self, key: str, parts: Iterable[str]) -> int:
        """Say what the call asks for, once that is known; gives which call of this key it is, from 1.

        Args:
            key: The key in the log and for attempts.
            parts: The keys to count, several for a batch.
        """
        self.entry[2] = key
        self.lines[1].by_key.update(parts)
        attempt = self.attempts[self.service, key] = self.attempts.get((self.service, key), 0) + 1
        return attempt

    def use(self, tokens: dict[str, int]) -> None:
        """Count the tokens of an answer of a model."""
        for line in self.lines:
            line.tokens.update(tokens)

    def end(self, status: Ending, *, now: float) -> None:
        """Count the end of the call; only the first counts."""
        if self.ended:
            return
        self.ended = True
        self.entry[3], self.entry[5] = status, now
        for line in self.lines:
            line.end(status)


class Tally:
    """All counts since the start or the last reset.

    Args:
        services: Names of the services, which are listed also while they have no calls.
        room: Entries of the log at most; later calls are counted, not logged.
    """

    def __init__(self, services: Iterable[str], *, room: int) -> None:
        self.total = Line()
        self.lines = {name: Line() for name in services}
        self.log: list[Entry] = []
        self.attempts: dict[tuple[str, str], int] = {}
        self.room = room
        self.effects: dict[str, dict[str, Any]] = {}

    def effect(self, service: str, key: str, answer: Any) -> Any:
        """Do something once for each key; the answer of the first time."""
        return self.effects.setdefault(service, {}).setdefault(key, answer)

    def begin(self, service: str, path: str, *, now: float, headers: dict[str, str]) -> Call:
        """Count the arrival of a call."""
        entry: Entry = [now, path, None, None, headers, None]
        if len(self.log) < self.room:
            self.log.append(entry)
        lines = (self.total, self.lines[service])
        for line in lines:
            line.begin()
        return Call(lines=lines, entry=entry, attempts=self.attempts, service=service)

    def values(self, *, keys: bool = True) -> dict[str, Any]:
        """The counts as plain values: overall, and for each service under `services`."""
        services = {name: line.values(keys=keys) for name, line in self.lines.items()}
        effects = {name: len(done) for name, done in self.effects.items()}
        return self.total.values(keys=False) | {"logged": len(self.log), "effects": effects, "services": services}
