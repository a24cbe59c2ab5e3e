"""Effects: what may be sent only once, what is noted of it, and what a note says about sending it. Pure.

A note is made before a call is sent and when it has ended. Of a call whose first note stands alone nobody knows
whether it took effect, so it is never sent again. A note belongs to a record and not to its place: whoever comes
later claims the notes of its own records, wherever those are by then.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple

UNKNOWN = "unknown"
"""The reason of a failure of which nobody knows whether it took effect."""

CHANGED = "sent before with other inputs"
"""The reason of a failure of a record that was sent when it was not what it is now."""

NEVER_AGAIN = (UNKNOWN, CHANGED)
"""The reasons of failures that no repair tries again, since that could have an effect twice."""


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


class Subject(NamedTuple):
    """What one effect is about.

    Attributes:
        record: The name of the record.
        inputs: A digest of what it is sent with; empty where the name says that.
        nth: Which of several in one partition that are equal in both, from 0.
    """

    record: str
    inputs: str = ""
    nth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One thing that is known of the call of a record.

    Attributes:
        record: The name of the record.
        inputs: A digest of what it was sent with; empty where the name says that, or where it does not count.
        nth: Which of several in one partition that are equal in both, from 0.
        end: What is noted.
        at: When, in seconds since 1970.
        value: The value, as JSON.
        reason: The class of the failure.
        error: Its text.
        status: The HTTP status of the last answer.
        timed_out: Whether time ran out.
    """

    record: str
    inputs: str = ""
    nth: int = 0
    end: End
    at: float
    value: str = ""
    reason: str = ""
    error: str = ""
    status: int | None = None
    timed_out: bool = False

    @property
    def subject(self) -> Subject:
        """What the effect is about."""
        return Subject(self.record, self.inputs, self.nth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What the calls of a partition find noted about them, by place among the calls.

    Attributes:
        subjects: What each is about.
        known: The note of each that was sent.
        changed: For each whose record was sent with other inputs, one of those notes.
    """

    subjects: list[Subject]
    known: dict[int, Note] = field(default_factory=dict)
    changed: dict[int, Note] = field(default_factory=dict)


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


def known(notes: Iterable[Note]) -> dict[Subject, Note]:
    """What is known last of each effect of one partition; what may be sent again is left out.

    Args:
        notes: In the order in which they were made.
    """
    last = {note.subject: note for note in notes}
    return {subject: note for subject, note in last.items() if note.end is not End.NOTHING}


def claim(calls: Sequence[tuple[str, str]], notes: Iterable[Note]) -> Claims:
    """Give each call the note of its record, as far as there are any.

    Of equal calls each takes a note of its own, so as many are sent as have none. A record that was sent only with
    other inputs is not sent; a second one of its name is, where the notes of the name are those of other calls.

    Args:
        calls: The name of the record and the digest of the inputs of each, in the order of the records.
        notes: What is known of these records; each is an effect of its own.
    """
    left: dict[str, dict[str, deque[Note]]] = {}
    for note in notes:
        left.setdefault(note.record, {}).setdefault(note.inputs, deque()).append(note)
    counts: Counter[tuple[str, str]] = Counter()
    claims, missing = Claims(subjects=[]), []
    for at, call in enumerate(calls):
        claims.subjects.append(Subject(*call, counts[call]))
        counts[call] += 1
        if equal := left.get(call[0], {}).get(call[1]):
            claims.known[at] = equal.popleft()
        else:
            missing.append(at)
    for at in missing if left else ():
        others = left.get(claims.subjects[at].record, {})
        if others.get(""):
            claims.known[at] = others[""].popleft()
        elif rest := [note for some in others.values() for note in some]:
            claims.changed[at] = rest[0]
    return claims
