"""What the exception of an author's function means for the attempt or the call that it has ended.

How exceptions of other people's clients are known is in `foreign`; an answer that one carries means what the same
answer means to a declared endpoint. What is tried again is decided by whoever calls the function.
"""

from __future__ import annotations

from collections.abc import Collection

from dataflow.engine.http.answering import check_status
from dataflow.engine.http.attempts import RETRY_LATER, Again, Answer, AttemptError, CallError
from dataflow.engine.http.foreign import (
    HEARD,
    Carried,
    Reason,
    answer_in,
    is_of_model,
    is_own_pool,
    leaves_of,
    reason_in,
)
from dataflow.engine.http.statuses import asked_again
from dataflow.engine.texts import place_of
from dataflow.errors import Invalid, NotFound, Reject, RetryLater, Skip, Verdict
from dataflow.policies.retry import Attempt
from dataflow.services.said import said_by

NOT_FOUND = (404,)
"""Statuses that say that nothing is known, unless the function makes something else of them; as for an endpoint."""

_WORDS = (NotFound, Skip, Reject, Invalid)
_HEARD_BYTES = 64 * 1024
_ORDER: tuple[Again, ...] = ("never", "repeatable", "always")

_SENTENCES: dict[Reason, tuple[str, Again]] = {
    "cannot connect": ("no connection could be set up", "always"),
    "no such host": ("the name of the host is not known", "always"),
    "certificate": ("the certificate of the server is not trusted", "never"),
    "connection lost": ("the connection was lost", "repeatable"),
    "timeout": ("no whole answer in time", "repeatable"),
    "answer cut off": ("the answer ended early", "repeatable"),
    "unreadable answer": ("the answer cannot be unpacked", "never"),
}


def meant_by(error: Exception, *, later: Collection[int]) -> AttemptError | Verdict | None:
    """What an exception of a function means; None where it is one as any other, which no other attempt would mend.

    Of a group, such as that of several tasks, it is what allows least.

    Args:
        error: The exception.
        later: Statuses besides 429 by which the API asks to be called later.
    """
    leaves = leaves_of(error)
    if leaves != [error] and len(leaves) == 1 and isinstance(leaves[0], _WORDS):
        return leaves[0]
    found = [_meaning(leaf, later) for leaf in leaves]
    if any(one is None for one in found):
        return None
    attempts = [one for one in found if isinstance(one, AttemptError)]
    if not attempts:
        return found[0]
    least = min(attempts, key=lambda one: _ORDER.index(one.again))
    waits = [one.after for one in attempts if one.after is not None]
    least.after = max(waits) if waits else None
    return least


def is_asked_again(meant: AttemptError | Verdict | None) -> bool:
    """Whether an author has asked to be called again."""
    return isinstance(meant, AttemptError) and meant.reason == RETRY_LATER


def ended_by(meant: AttemptError | Verdict) -> Exception:
    """What the call ends with where nothing is tried again."""
    if isinstance(meant, Verdict):
        return meant
    late, later = meant.reason == "timeout", meant.attempt is Attempt.THROTTLED
    return CallError(meant.reason, meant.error, status=meant.status, timed_out=late, later=later, said=meant.said)


def hear(error: BaseException) -> None:
    """Read what the answer says that an exception of `urllib` carries unread; on the thread that made the request."""
    if not any(one.__module__ == "urllib.error" and one.__name__ == "HTTPError" for one in type(error).__mro__):
        return
    try:
        setattr(error, HEARD, error.read(_HEARD_BYTES))  # type: ignore[attr-defined]
        error.close()  # type: ignore[attr-defined]
    except Exception:
        # It cannot be read to its end, so that only its status speaks.
        return


def _meaning(error: BaseException, later: Collection[int]) -> AttemptError | NotFound | None:
    if isinstance(error, RetryLater):
        return asked_again(error)
    carried = answer_in(error)
    if carried is None:
        reason = reason_in(error)
        if reason is None or isinstance(reason, str):
            return None if reason is None else _unanswered(reason, error)
        carried = Carried(status=reason)
    answer = Answer(status=carried.status, headers=carried.headers, body=carried.body)
    try:
        check_status(answer, () if is_of_model(error) else NOT_FOUND, later=later)
    except NotFound as nothing:
        return nothing
    except AttemptError as found:
        found.error = _placed(found.error, error)
        found.said = found.said or said_by(error)
        return found
    return None


def _unanswered(reason: Reason, error: BaseException) -> AttemptError:
    sentence, again = _SENTENCES[reason]
    attempt = Attempt.FAILED
    if is_own_pool(error):
        attempt = Attempt.ABANDONED
    elif reason == "unreadable answer":
        attempt = Attempt.REFUSED
    text = _placed(f"{sentence} ({type(error).__name__})", error)
    return AttemptError(reason, text, attempt=attempt, again=again, said=said_by(error))


def _placed(text: str, error: BaseException) -> str:
    """The sentence with file and line of the author's code where it came through."""
    place = place_of(error)
    return f"{text} ({place})" if place else text
