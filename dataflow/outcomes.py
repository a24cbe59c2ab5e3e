"""The shared vocabulary: what a service did for a record, and what happened in a run.

Values only, from the standard library only, since the scheduler's process imports them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
        error: The text of the error with what a provider or an exception has said; it may hold values, so it goes to
            rejects and failures, and to the owner of a run.
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
class Traffic:
    """What the calls to one API are doing, over all runs and workers that share its limits.

    Attributes:
        api: Its name.
        rate: Calls that ended in a second, lately.
        allowed: Calls that may start in a second, None where none is too many or only longer windows count.
        in_flight: Calls that wait for their answer.
        concurrency: How many of these there may be, None for no cap.
        waiting: Calls that may not start yet, by what they wait for: `rate`, `concurrency` or `breaker`.
        breaker: `closed`, `open`, `half_open`, or `held` open by hand.
        rest: Seconds until an open breaker is tried again.
        trouble: What made it open, empty while it is closed.
        pause: Seconds for which a 429 with its Retry-After lets no call start.
    """

    api: str
    rate: float = 0.0
    allowed: float | None = None
    in_flight: int = 0
    concurrency: int | None = None
    waiting: Mapping[str, int] = field(default_factory=dict)
    breaker: str = "closed"
    rest: float = 0.0
    trouble: str = ""
    pause: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened in a run, for progress displays and logs.

    Attributes:
        kind: `sent` (by earlier runs, and not again), `planned`, `shown`, `limited`, `resumed`, `noted`, `waiting`,
            `committed`, `calling`, `retried`, `warned`, `stopping`, `published` or `stopped`.
        run: The id of the run.
        message: One sentence for people, empty where the numbers say it all; of `shown` the address of a live page.
        said: What a provider or an exception has said about it, which may quote a record; for the owner of the run.
        partitions: Partitions planned (`planned`), already done (`resumed`) or just done (`committed`).
        records: Records behind these partitions, where known.
        rejected: Records among them that ended in the rejects.
        traffic: The APIs whose calls are doing something (`calling`, at most once a second); none when they rest.
    """

    kind: str
    run: str
    message: str = ""
    said: str = ""
    partitions: int = 0
    records: int = 0
    rejected: int = 0
    traffic: tuple[Traffic, ...] = ()
