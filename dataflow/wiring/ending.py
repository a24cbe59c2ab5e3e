"""What ends a run before its last partition, as errors that say how far it came and how to go on. Pure.

Whether one of them ends it is decided by who drives the run.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataflow.engine.drive import Report
from dataflow.errors import Interrupted, LimitReached, ServiceError


def left_over(run: str, *, done: int, partitions: int) -> Interrupted:
    """The error for partitions that are left."""
    return Interrupted(
        f"run {run} stopped after {done} of {partitions} partitions; run the same command again to go on"
    )


def out_of_time(deadline: float | str | None, *, done: int, partitions: int) -> LimitReached:
    """The error for a deadline that has come."""
    return LimitReached(
        f"the deadline of {deadline} was reached after {done} of {partitions} partitions; "
        "what is done is kept, run the same command again to go on, or with a later --deadline (deadline=)"
    )


def killed(lost: Sequence[Report]) -> Interrupted:
    """The error for partitions whose workers died of them."""
    return Interrupted(
        f"{len(lost)} partitions killed their worker again and again, such as {lost[0].spec.place}; the rest is done; "
        "look at what the services do with these records, then run again"
    )


def unexpected(report: Report) -> ServiceError:
    """The error for a task that failed with what nobody expects."""
    return ServiceError(f"{report.spec.place} failed with {type(report.error).__name__}; nothing of it is committed")
