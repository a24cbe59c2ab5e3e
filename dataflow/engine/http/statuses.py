"""What an attempt has come to that was answered with an error, or by which an author asks for another one. Pure."""

from __future__ import annotations

from dataflow.engine.http.attempts import RETRY_LATER, Again, Answer, AttemptError
from dataflow.errors import RetryLater
from dataflow.policies.effects import Reach, reach_of_status
from dataflow.policies.retry import Attempt, attempt_of_status, is_retryable_status, retry_after
from dataflow.services.said import said, said_by


def status_error(answer: Answer, *, now_wall: float) -> AttemptError:
    """What an answer with a status that is no success means.

    Args:
        answer: The answer.
        now_wall: Seconds since 1970, for a Retry-After that is a date.
    """
    attempt = attempt_of_status(answer.status)
    return AttemptError(
        f"HTTP {answer.status}",
        f"answered {answer.status}",
        attempt=attempt,
        again=_again(answer.status, attempt=attempt, repeatable=is_retryable_status(answer.status)),
        status=answer.status,
        after=retry_after(answer.headers.get("Retry-After"), now_wall=now_wall),
        said=said_in_answer(answer),
    )


def _again(status: int, *, attempt: Attempt, repeatable: bool) -> Again:
    """When it may be tried again: always by who was asked to come later, since nothing was done by then."""
    if attempt is Attempt.THROTTLED and reach_of_status(status) is Reach.NOTHING:
        return "always"
    return "repeatable" if repeatable else "never"


def asked_again(error: RetryLater, *, status: int | None = None) -> AttemptError:
    """What an author's RetryLater means."""
    return AttemptError(
        RETRY_LATER,
        "asked to be called again",
        attempt=Attempt.REFUSED,
        again="always",
        status=status,
        after=error.after,
        said=said_by(error),
    )


def said_in_answer(answer: Answer) -> str:
    """What the provider said in the body of an answer; only asked where it is an error."""
    return said(answer.body, str(answer.headers.get("Content-Type") or ""))
