"""Whether the account of an API has no more to spend: then no further record will be answered, and the run ends."""

from __future__ import annotations

from dataflow.engine.http.access import status_of
from dataflow.engine.http.attempts import OUT_OF_QUOTA
from dataflow.errors import LimitReached
from dataflow.services.service import Service


class QuotaCheck:
    """Looks at how the calls of one service end in this process.

    Args:
        service: The service.
        strict: Whether a used-up quota ends the run; else it is a failure of its record.
        texts: Whether what the provider says may be told to the owner of the run.
    """

    def __init__(self, service: Service, *, strict: bool, texts: bool = True) -> None:
        self._service = service
        self._strict = strict
        self._texts = texts

    def __call__(self, error: BaseException | None) -> None:
        """Note how a call ended.

        Raises:
            LimitReached: The provider says that the quota is used up.
        """
        if error is None or not self._strict or getattr(error, "reason", None) != OUT_OF_QUOTA:
            return
        reached = LimitReached(
            f"`{self._service.name}`: the quota of {self._service.api.name} is used up (it answered "
            f"{status_of(error)}); what is done and paid for is kept: raise it there, or wait until it is renewed, "
            "then run the same command again to go on"
        )
        said = getattr(error, "said", "")
        reached.said = f"it said: {said}" if self._texts and said else ""
        raise reached
