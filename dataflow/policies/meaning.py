"""What an answer means that is an error: the provider is ill, asks for less, refuses, or wants money. Pure.

| answer | means |
|---|---|
| 429, a status of `later=`, 403 or 420 that says when to come again, another 4xx with Retry-After | later |
| 400, 403 or 420 with a code that says so, such as `rateLimitExceeded` or `ThrottlingException` | later |
| 400, 402, 403, 429 with a code or a sentence that says so | the quota of the account is used up |
| 5xx | the provider is ill; whether it may be tried again is decided by its status |
| 401, any other | refused |
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from dataflow.policies.quota import is_asked_for_less, is_quota_used_up
from dataflow.policies.resets import Resets
from dataflow.policies.retry import Attempt, attempt_of_status, is_retryable_status

TELLS_BY_RESET = frozenset({403, 420})
"""Statuses that mean "later" where a limit is used up; with any other it may be the last call that a limit allowed."""
TELLS_BY_CODE = frozenset({400, 403, 420})
"""Statuses that mean "later" where the class of the error says so."""
_LONGEST = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What an answer means.

    Attributes:
        attempt: How the attempt ended.
        repeatable: Whether the same request may be answered otherwise later.
        after: Seconds that the provider asks to wait, or None.
        out_of_quota: Whether the account has no more to spend.
    """

    attempt: Attempt
    repeatable: bool
    after: float | None = None
    out_of_quota: bool = False

    @property
    def is_later(self) -> bool:
        """Whether the provider is well and asks to be called later."""
        return self.attempt is Attempt.THROTTLED


def meaning_of(
    status: int, headers: Mapping[str, str], body: bytes, *, later: Collection[int] = (), now_wall: float
) -> Meaning:
    """What an answer means whose status is no success.

    Args:
        status: Of the answer.
        headers: Their names are read without regard to case.
        body: Unpacked.
        later: Further statuses by which its API says "later".
        now_wall: Seconds since 1970, by our clock.
    """
    found = _parsed(body)
    resets = Resets(headers, now_wall=now_wall, body=found)
    sure = status == 429 or status in later or (status in TELLS_BY_CODE and is_asked_for_less(found))
    asked = resets.asked if resets.asked is not None or status not in TELLS_BY_RESET else resets.used_up
    after = resets.told if sure else asked
    if is_quota_used_up(status, found, waits=asked if asked is not None else after if sure else None):
        return Meaning(attempt=Attempt.REFUSED, repeatable=False, out_of_quota=True)
    if sure or (after is not None and 400 <= status <= 499 and status != 401):
        return Meaning(attempt=Attempt.THROTTLED, repeatable=True, after=after)
    return Meaning(attempt=attempt_of_status(status), repeatable=is_retryable_status(status), after=after)


def _parsed(body: bytes) -> Any:
    """The body of an error: what its JSON says, else its text."""
    if len(body) > _LONGEST:
        return ""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
