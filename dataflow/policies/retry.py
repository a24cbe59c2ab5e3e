"""Retry: how an attempt ended, whether there is another one, and how long to wait before it. Pure.

The draw is an argument. What an answer means is read in `meaning`; whether there is time for a retry is the business of
`deadline`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, get_args

from dataflow.errors import DeclarationError
from dataflow.policies.resets import LONGEST

Backoff = Literal["exponential", "linear", "constant"]

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods that may be repeated without asking, after RFC 9110 section 9.2.2."""

_RETRYABLE = frozenset({408, 425, 429})
_DOUBLINGS = 64


class Attempt(StrEnum):
    """How one attempt at a call ended, for all policies.

    Attributes:
        SUCCEEDED: An answer that can be used.
        FAILED: Connect error, reset, timeout or 5xx: the provider is ill; counts for the breaker.
        THROTTLED: 429 and whatever else says "later": the provider is well and asks for less.
        REFUSED: Other statuses, malformed answers and the like: the provider is well; counts for no policy.
        ABANDONED: Cancelled by us: says nothing about the provider.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    THROTTLED = "throttled"
    REFUSED = "refused"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a call is tried and how long the waits between are.

    Attributes:
        attempts: In all, the first included. 3: what most clients settle for, more is for patient providers.
        backoff: How the longest wait grows: doubled, by `initial` each time, or not at all.
        initial: Seconds at most before the second attempt.
        maximum: Seconds at most before any.
    """

    attempts: int = 3
    backoff: Backoff = "exponential"
    initial: float = 1.0
    maximum: float = 10.0


def read_retry(value: Any, *, where: str) -> Retry:
    """The retry that an author wrote: attempts in all, a `Retry`, False for one attempt, None or True for the default.

    Args:
        value: As written.
        where: Who says so, for the error: "API `acme`: retry".

    Raises:
        DeclarationError: It is none of these, or a number in it makes no sense.
    """
    if value is None or isinstance(value, bool):
        return Retry(attempts=1) if value is False else Retry()
    if isinstance(value, int) and value >= 1:
        return Retry(attempts=value)
    if not isinstance(value, Retry):
        raise DeclarationError(
            f"{where} takes the attempts in all, a whole number from 1, or flow.Retry(...); False means one attempt"
        )
    for name, (fits, takes) in _FIELDS.items():
        if not fits(getattr(value, name)):
            raise DeclarationError(f"{where}: {name} takes {takes}")
    if value.maximum < value.initial:
        raise DeclarationError(
            f"{where}: maximum ({value.maximum:g} s) is less than initial ({value.initial:g} s); give both"
        )
    return value


def wait_before_next(retry: Retry, *, attempts: int, draw: float, after: float | None = None) -> float | None:
    """Seconds to wait before the next attempt, or None when there is none left.

    Full jitter: any wait up to the backoff is as likely, so that calls that failed together come back apart
    (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

    Args:
        retry: The policy.
        attempts: Made so far.
        draw: Chance, from 0 up to but not including 1.
        after: Seconds that the provider asked for; the wait is no shorter. At most 300 of them count; negative
            ones and NaN are ignored.
    """
    if attempts >= retry.attempts:
        return None
    wait = draw * min(retry.maximum, _ceiling(retry, attempts=max(1, attempts)))
    return max(wait, min(after, LONGEST)) if after is not None and after > 0 else wait


def is_retryable_status(status: int) -> bool:
    """Whether the same request may be answered otherwise later: 408, 425, 429 and 5xx but 501."""
    return status in _RETRYABLE or (500 <= status <= 599 and status != 501)


def attempt_of_status(status: int) -> Attempt:
    """How an attempt ended that was answered with this status and nothing else wrong; 408 is a refusal as any 4xx."""
    if 200 <= status <= 299:
        return Attempt.SUCCEEDED
    if status == 429:
        return Attempt.THROTTLED
    return Attempt.FAILED if 500 <= status <= 599 else Attempt.REFUSED


def _ceiling(retry: Retry, *, attempts: int) -> float:
    if retry.backoff == "constant":
        return retry.initial
    if retry.backoff == "linear":
        return retry.initial * attempts
    return retry.initial * 2.0 ** min(attempts - 1, _DOUBLINGS)


def _is_attempts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_seconds(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0


_FIELDS: MappingProxyType[str, tuple[Callable[[Any], bool], str]] = MappingProxyType(
    {
        "attempts": (_is_attempts, "a whole number from 1"),
        "backoff": (get_args(Backoff).__contains__, '"exponential", "linear" or "constant"'),
        "initial": (_is_seconds, "a number of seconds from 0"),
        "maximum": (_is_seconds, "a number of seconds from 0"),
    }
)
