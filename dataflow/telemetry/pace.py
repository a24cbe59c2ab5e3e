"""How far a run is, how fast it goes and how long it will take: a fold over its events. Pure; time is an argument.

How this is said to people is the business of the faces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from dataflow.outcomes import Event, Traffic

WINDOW = 60.0
"""Seconds that speed is measured over: long enough to be steady, short enough to follow a limit that bites."""

LEAST_MARKS = 16
"""Partitions that it is measured over at least, however long they take."""

_APART = 1.0
"""Seconds between two marks that are kept once there are many."""


class Mark(NamedTuple):
    """Where a run was at some time."""

    at: float
    done: int
    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Where a run is.

    Attributes:
        partitions: Planned.
        done: Committed, those of earlier attempts too.
        planned_records: Behind all partitions, or 0 where only reading tells.
        records: Behind the committed partitions.
        rejected: Among these.
        marks: Where it was lately, oldest first; empty until it is planned.
        traffic: What its calls are doing, as last heard.
        heard: When that was.
    """

    partitions: int = 0
    done: int = 0
    planned_records: int = 0
    records: int = 0
    rejected: int = 0
    marks: tuple[Mark, ...] = ()
    traffic: tuple[Traffic, ...] = ()
    heard: float = float("-inf")

    def after(self, event: Event, now: float) -> Pace:
        """Where it is after an event."""
        if event.kind == "planned":
            start = (Mark(now, 0, 0),)
            return Pace(partitions=event.partitions, planned_records=event.records, marks=start)
        if event.kind == "calling":
            return replace(self, traffic=event.traffic, heard=now)
        if event.kind not in ("resumed", "committed"):
            return self
        moved = replace(
            self,
            done=self.done + event.partitions,
            records=self.records + event.records,
            rejected=self.rejected + event.rejected,
        )
        mark = Mark(now, moved.done, moved.records)
        return replace(moved, marks=(mark,) if event.kind == "resumed" else _recent((*self.marks, mark)))

    def speed(self, now: float) -> float | None:
        """Records a second, lately; None until a partition is committed."""
        if len(self.marks) < 2 or now <= self.marks[0].at:
            return None
        return (self.records - self.marks[0].records) / (now - self.marks[0].at)

    def left(self, now: float) -> float | None:
        """Seconds until the end at this speed, by records where their number is known; None until it can be told."""
        if len(self.marks) < 2:
            return None
        first = self.marks[0]
        if self.planned_records:
            made, missing = self.records - first.records, self.planned_records - self.records
        else:
            made, missing = self.done - first.done, self.partitions - self.done
        return max(missing, 0) * (now - first.at) / made if made > 0 else None


def _recent(marks: tuple[Mark, ...]) -> tuple[Mark, ...]:
    """The marks that speed is measured from; their number does not grow with the run."""
    kept = marks
    if len(kept) > LEAST_MARKS and kept[-2].at - kept[-3].at < _APART:
        kept = (*kept[:-2], kept[-1])
    while len(kept) > LEAST_MARKS and kept[1].at <= kept[-1].at - WINDOW:
        kept = kept[1:]
    return kept
