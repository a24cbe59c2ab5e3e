"""The shared vocabulary: what a service did for a record, and what happened in a run.

Values only, from the standard library only, since the scheduler's process imports them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How one service ended for one record; a record has exactly one per service."""

    SUCCEEDED = "succeeded"
    CACHED = "cached"
    NOT_FOUND = "not_found"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    SKIPPED = "skipped"
    NOT_ATTEMPTED = "not_attempted"


class Kind(StrEnum):
    """What a service is for."""

    TRANSFORMATION = "transformation"
    VALIDATION = "validation"
    ENRICHMENT = "enrichment"


class Priority(StrEnum):
    """What a failure of a service means for its record."""

    CRITICAL = "critical"
    IMPORTANT = "important"
    OPTIONAL = "optional"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one service did for one record.

    Attributes:
        service: The name of the service.
        status: How it ended.
        reason: A short class of reason, such as `missing input` or the name of an exception class.
        error: The text of the error; it may hold values, so it goes to rejects and failures only.
        attempts: Calls that were made, 0 where none was.
        duration: Seconds over all attempts.
        cost: Money over all attempts, in the currency of the service.
    """

    service: str
    status: Status
    reason: str | None = None
    error: str | None = None
    attempts: int = 1
    duration: float = 0.0
    cost: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened in a run, for progress displays and logs.

    Attributes:
        kind: `planned`, `resumed`, `committed`, `retried`, `warned`, `published` or `stopped`.
        run: The id of the run.
        message: One sentence for people, empty where the numbers say it all.
        partitions: Partitions planned (`planned`), already done (`resumed`) or just done (`committed`).
        records: Records behind these partitions, where known.
        rejected: Records among them that ended in the rejects.
    """

    kind: str
    run: str
    message: str = ""
    partitions: int = 0
    records: int = 0
    rejected: int = 0
