"""Whether an API lets us in at all: a refusal of the first calls ends the run, before a million records hear it."""

from __future__ import annotations

from typing import Any

from dataflow.engine.http.attempts import NO_SECRET
from dataflow.errors import GuardrailReached, NotFound
from dataflow.services.replies import REFUSAL
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
        if status in REFUSALS and not getattr(error, "later", False):
            api = self._service.api
            secrets = ", ".join(api.auth.secrets) if api.auth is not None else ""
            advice = f"check the secrets {secrets}" if secrets else "the API is declared without auth="
            refused = GuardrailReached(
                f"`{self._service.name}`: {api.name} refuses access ({status}) from the first call on; {advice}, "
                "then run the same command again"
            )
            refused.said = f"it said: {said}" if self._texts and (said := getattr(error, "said", "")) else ""
            raise refused


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error: of our own, or of a library whose errors carry their response."""
    response: Any = getattr(error, "response", None)
    status = getattr(error, "status", None) or getattr(response, "status_code", None)
    return status if isinstance(status, int) else None
