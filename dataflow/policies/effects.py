"""Effects: what may be sent only once, what is noted of it, and what a note says about sending it. Pure.

A note is made before a call is sent and when it has ended. Of a call whose first note stands alone nobody knows
whether it took effect, so it is never sent again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum

UNKNOWN = "unknown"
"""The reason of a failure of which nobody knows whether it took effect."""


class Reach(IntEnum):
    """How far a call has come with its provider; of several requests the furthest counts.

    Attributes:
        NOTHING: It has surely done nothing: it never arrived, or was refused.
        TAKEN: It was answered: it has done what it does.
        UNCLEAR: It was sent, and nobody knows.
    """

    NOTHING = 0
    TAKEN = 1
    UNCLEAR = 2


class End(StrEnum):
    """What is noted of a call.

    Attributes:
        SENT: It is about to be sent, and this is durable before it is.
        NOTHING: It has surely done nothing, so it may be sent again.
        SUCCEEDED: It gave a value.
        NOT_FOUND: It answered that it knows nothing.
        SKIPPED: Its author has skipped the record, or
        REJECTED: has rejected it.
        FAILED: It failed after it may have taken effect.
    """

    SENT = "sent"
    NOTHING = "nothing"
    SUCCEEDED = "succeeded"
    NOT_FOUND = "not_found"
    SKIPPED = "skipped"
    REJECTED = "rejected"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One thing that is known of the call of a record.

    Attributes:
        place: Of the record in its partition.
        end: What is noted.
        at: When, in seconds since 1970.
        value: The value, as JSON.
        reason: The class of the failure.
        error: Its text.
        status: The HTTP status of the last answer.
        timed_out: Whether time ran out.
    """

    place: int
    end: End
    at: float
    value: str = ""
    reason: str = ""
    error: str = ""
    status: int | None = None
    timed_out: bool = False


_NOT_SENT = frozenset(
    {
        "bad input",
        "bad request",
        "breaker open",
        "cannot connect",
        "certificate",
        "no secret",
        "no such host",
        "rate used up",
        "retry later",
    }
)
"""Reasons that are given before anything is sent, or by which an author says that nothing was done."""

_UNCLEAR = frozenset({408, 499})
"""The refusals that may come from somebody in between while the provider goes on."""

_NEVER_DONE = frozenset({501, 505})
"""The faults of a server that has understood nothing of the request."""


def reach_of(reason: str, *, status: int | None) -> Reach:
    """How far one request has come that failed.

    Args:
        reason: The class of the failure.
        status: Of the answer, or None where there was none.
    """
    if reason in _NOT_SENT:
        return Reach.NOTHING
    return Reach.UNCLEAR if status is None else reach_of_status(status)


def reach_of_status(status: int) -> Reach:
    """How far a request has come that was answered with this status.

    A redirect is not followed and a refusal does nothing; a server that fails may have done half of it.
    """
    if 200 <= status < 300:
        return Reach.TAKEN
    if status >= 500:
        return Reach.NOTHING if status in _NEVER_DONE else Reach.UNCLEAR
    return Reach.UNCLEAR if status in _UNCLEAR else Reach.NOTHING


def known(notes: Iterable[Note]) -> dict[int, Note]:
    """What is known last of each record, by place; what may be sent again is left out.

    Args:
        notes: In the order in which they were made.
    """
    last = {note.place: note for note in notes}
    return {place: note for place, note in last.items() if note.end is not End.NOTHING}
