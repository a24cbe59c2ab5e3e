"""Whether an API lets us in at all: a refusal of the first calls ends the run, before a million records hear it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from dataflow.engine.http.attempts import NO_SECRET
from dataflow.errors import GuardrailReached, NotFound
from dataflow.policies.meaning import Meaning, meaning_of
from dataflow.services.replies import REFUSAL
from dataflow.services.said import said
from dataflow.services.service import Service

REFUSALS = (401, 403)


class AccessCheck:
    """Looks at how the calls of one service end in this process.

    Args:
        service: The service.
        strict: Whether a refusal ends the run; else it is a failure of its record.
        texts: Whether what the provider says may be told to the owner of the run.
    """

    def __init__(self, service: Service, *, strict: bool, texts: bool = True) -> None:
        self._service = service
        self._texts = texts
        self._open = not strict

    def __call__(self, error: BaseException | None) -> None:
        """Note how a call ended.

        Raises:
            GuardrailReached: Access is refused, and no call has ever been let in.
        """
        if self._open:
            return
        status = None if error is None else status_of(error)
        reason = getattr(error, "reason", None)
        heard = error is None or isinstance(error, NotFound) or reason == REFUSAL
        if heard or (status is not None and 200 <= status < 300):
            self._open = True
            return
        if reason == NO_SECRET:
            raise GuardrailReached(f"`{self._service.name}`: {error}; set it, then run the same command again")
        if status in REFUSALS and not is_later(error, self._service.api.later):
            api = self._service.api
            secrets = ", ".join(api.auth.secrets) if api.auth is not None else ""
            advice = f"check the secrets {secrets}" if secrets else "the API is declared without auth="
            refused = GuardrailReached(
                f"`{self._service.name}`: {api.name} refuses access ({status}) from the first call on; {advice}, "
                "then run the same command again"
            )
            refused.said = f"it said: {said}" if self._texts and (said := getattr(error, "said", "")) else ""
            raise refused


def is_later(error: BaseException, later: Collection[int]) -> bool:
    """Whether an error only means that the provider asks to be called later, as its status alone may not say."""
    means = meaning_behind(error, later)
    return getattr(error, "later", False) or (means is not None and means.is_later)


def meaning_behind(error: BaseException, later: Collection[int] = ()) -> Meaning | None:
    """What the answer means that an error of a library carries; None for one without an answer, or of our own."""
    status, (headers, body) = status_of(error), _answer_behind(error)
    if status is None or status < 400 or headers is None:
        return None
    return meaning_of(status, headers, body, later=later, now_wall=time.time())


def said_behind(error: BaseException) -> str:
    """What the provider says in the answer that an error of a library carries, empty for one without an answer."""
    headers, body = _answer_behind(error)
    kind = next((text for name, text in (headers or {}).items() if name.lower() == "content-type"), "")
    return said(body, kind) if body else ""


def _answer_behind(error: BaseException) -> tuple[Mapping[str, str] | None, bytes]:
    """Headers and body of the answer behind an error, as far as they are there."""
    response: Any = getattr(error, "response", None)
    headers = getattr(response, "headers", None)
    try:
        body = getattr(response, "content", b"")
    except Exception:
        # A stream that nobody has read raises what its library likes; the headers are still there.
        body = b""
    return headers if isinstance(headers, Mapping) else None, body if isinstance(body, bytes) else b""


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error: of our own, or of a library whose errors carry their response."""
    response: Any = getattr(error, "response", None)
    status = getattr(error, "status", None) or getattr(response, "status_code", None)
    return status if isinstance(status, int) else None
