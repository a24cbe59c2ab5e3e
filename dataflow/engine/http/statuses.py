"""What an attempt has come to that was answered with an error, or by which an author asks for another one. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import timedelta

from dataflow.engine.http.attempts import OUT_OF_QUOTA, RETRY_LATER, Again, Answer, AttemptError
from dataflow.errors import RetryLater
from dataflow.policies.effects import Reach, reach_of_status
from dataflow.policies.meaning import Meaning, meaning_of
from dataflow.policies.resets import retry_after
from dataflow.policies.retry import Attempt
from dataflow.services.said import said, said_by

TOO_MANY = 429
"""The status that says "later" by itself."""


def status_error(answer: Answer, *, now_wall: float, later: Collection[int] = ()) -> AttemptError:
    """What an answer with a status that is no success means.

    Args:
        answer: The answer.
        now_wall: Seconds since 1970, by our clock.
        later: Further statuses by which the API says "later".
    """
    means = meaning_of(answer.status, answer.headers, answer.body, later=later, now_wall=now_wall)
    reason, error = _told(answer.status, means)
    return AttemptError(
        reason,
        error,
        attempt=means.attempt,
        again=_again(answer.status, attempt=means.attempt, repeatable=means.repeatable),
        status=answer.status,
        after=means.after,
        said=said_in_answer(answer),
    )


def _told(status: int, means: Meaning) -> tuple[str, str]:
    """The class of reason of an answer, and a sentence."""
    if means.out_of_quota:
        return OUT_OF_QUOTA, f"answered {status}: the quota of the account is used up"
    if means.is_later and status != TOO_MANY:
        return f"HTTP {status}", f"answered {status}, which asks to be called later"
    return f"HTTP {status}", f"answered {status}"


def _again(status: int, *, attempt: Attempt, repeatable: bool) -> Again:
    """When it may be tried again: always by who was asked to come later, since nothing was done by then."""
    if attempt is Attempt.THROTTLED and reach_of_status(status) is Reach.NOTHING:
        return "always"
    return "repeatable" if repeatable else "never"


def asked_again(error: RetryLater, *, status: int | None = None, wall: Callable[[], float] = time.time) -> AttemptError:
    """What an author's RetryLater means."""
    return AttemptError(
        RETRY_LATER,
        "asked to be called again",
        attempt=Attempt.REFUSED,
        again="always",
        status=status,
        after=_seconds(error.after, wall=wall),
        said=said_by(error),
    )


def _seconds(after: float | timedelta | str | None, *, wall: Callable[[], float]) -> float | None:
    """Those that an author asks to wait, in whatever form he has them."""
    if isinstance(after, timedelta):
        return after.total_seconds()
    return retry_after(after, now_wall=wall()) if isinstance(after, str) else after


def said_in_answer(answer: Answer) -> str:
    """What the provider said in the body of an answer; only asked where it is an error."""
    return said(answer.body, str(answer.headers.get("Content-Type") or ""))
