"""What the calls of a partition have come to while it is under way: counts for whoever watches, gone with its commit.

The counts of record are made when a partition is settled, in `fate`; nothing is decided by these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflow.errors import NotFound, Skip
from dataflow.outcomes import Status
from dataflow.policies.money import amount
from dataflow.telemetry.durations import Durations

if TYPE_CHECKING:
    from dataflow.engine.calling import Answers
    from dataflow.engine.http.attempts import Call


_SHAPED = ("duration", "waited")


@dataclass(slots=True)
class Tally:
    """The calls of one service in one partition so far; written by the I/O loop only, read by anybody.

    Attributes:
        statuses: Records by how they ended: each that shares no call once.
        calls: Attempts made.
        retries: Those among them that repeated one.
        cost: In trillionths.
        waited: Seconds by reason.
        seconds: Seconds of each call, newest last, since the last look.
        durations: Of the calls before.
    """

    statuses: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    retries: int = 0
    cost: int = 0
    waited: dict[str, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    durations: Durations = field(default_factory=Durations)

    def add(self, status: Status, records: int = 1) -> None:
        """Count records that have ended in some way."""
        self.statuses[status] = self.statuses.get(status, 0) + records

    def recall(self, answers: Answers) -> None:
        """Count what needs no call, since its answer is known."""
        self.add(Status.CACHED, len(answers.remembered) - len(answers.own))
        self.add(Status.SUCCEEDED, len(answers.own))

    def end(self, call: Call) -> None:
        """Count a call that has ended, whatever became of its records."""
        self.calls += call.attempts
        self.retries += call.retries
        self.cost += call.cost
        if call.attempts:
            self.seconds.append(call.seconds)
        for reason, seconds in call.waited.items():
            self.waited[reason] = self.waited.get(reason, 0.0) + seconds

    def read(self) -> dict[str, Any]:
        """The counts as plain JSON values, as `ServiceStatistics` takes them; called by one thread only."""
        seconds, self.seconds = self.seconds, []
        self.durations = Durations.merged([self.durations, Durations.of(seconds)])
        statuses = dict(self.statuses)
        return {
            **statuses,
            "records": sum(statuses.values()),
            "calls": self.calls,
            "retries": self.retries,
            "cost": amount(self.cost),
            "duration": self.durations.to_dict(),
            "waited": dict(self.waited),
        }


def status_of(error: BaseException | None) -> Status:
    """How a record has ended whose call gave this error, or a value."""
    if error is None:
        return Status.SUCCEEDED
    if isinstance(error, NotFound):
        return Status.NOT_FOUND
    if isinstance(error, Skip):
        return Status.SKIPPED
    if getattr(error, "not_attempted", False):
        return Status.NOT_ATTEMPTED
    return Status.TIMED_OUT if getattr(error, "timed_out", False) else Status.FAILED


def merged_tallies(parts: Iterable[tuple[Mapping[str, Tally], bool]]) -> dict[str, dict[str, Any]]:
    """What several tasks of a process have under way, by service, as plain JSON values.

    Args:
        parts: For each task its tallies, and whether the records behind them count; those of tasks that call for
            distinct keys are counted with their partitions.
    """
    found: dict[str, dict[str, Any]] = {}
    for tallies, counted in parts:
        for name, tally in list(tallies.items()):
            told = tally.read()
            kept = told if counted else {one: told[one] for one in ("calls", "retries", "cost", "duration", "waited")}
            found[name] = _added(found[name], kept) if name in found else kept
    return found


def _added(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    counts = {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other} if name not in _SHAPED}
    waited = {
        name: one["waited"].get(name, 0.0) + other["waited"].get(name, 0.0)
        for name in {**one["waited"], **other["waited"]}
    }
    durations = [Durations.from_dict(part["duration"]) for part in (one, other)]
    return {**counts, "waited": waited, "duration": Durations.merged(durations).to_dict()}
