"""What a service remembers of the calls that were made for it: answers by key, in whichever store is given.

A value is kept in the form that `services.kept` gives its declared type. Where answers are kept is the business of
the store, which the engine is given; what cannot be kept, or read back, is counted, since it is paid for again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from dataflow.engine.http.losses import Losses
from dataflow.errors import NotFound
from dataflow.outcomes import Status
from dataflow.policies.money import trillionths
from dataflow.services.kept import KeptForm, NotKept
from dataflow.services.types import Declared

if TYPE_CHECKING:
    from dataflow.engine.calling import Answers


_STEP = 1e-3
"""Seconds by which an answer is at least newer than the one that it stands in for."""


class Remembered(Protocol):
    """One answer as a store gives it."""

    @property
    def status(self) -> Status:
        """`succeeded` or `not_found`."""

    @property
    def value(self) -> bytes:
        """The value as it was encoded; empty for `not_found`."""

    @property
    def created(self) -> float:
        """When it was given, in seconds since 1970."""

    @property
    def cost(self) -> float:
        """What it has cost, in the currency of the service."""

    @property
    def own(self) -> bool:
        """Whether this run has paid for it, so that it is part of its bill."""


class AnswerStore(Protocol):
    """Where answers are kept."""

    def get_many(self, keys: Sequence[bytes], *, service: str) -> Mapping[bytes, Remembered]:
        """The answers of a service that still serve."""

    def put_answer(
        self, key: bytes, *, status: Status, value: bytes, created: float, service: str, cost: float
    ) -> None:
        """Keep an answer; returns before it is on disk."""


class Memory:
    """The answers of one service.

    Args:
        store: Where they are kept, or None to remember nothing.
        service: The name of the service.
        returns: What it returns.
        from_json: Whether its values were read from JSON, so that they are of that type for sure.
        losses: Counts the answers that are paid for again, since they cannot be kept or read back.
    """

    def __init__(
        self,
        store: AnswerStore | None,
        *,
        service: str,
        returns: Declared,
        from_json: bool = False,
        losses: Losses | None = None,
    ) -> None:
        self._store = store
        self._service = service
        self._returns = returns
        self._from_json = from_json
        self._form = KeptForm(returns, from_json=from_json)
        self._losses = losses or Losses()
        self._unread: dict[bytes, float] = {}

    def recall(self, keys: Sequence[bytes], answers: Answers) -> set[int]:
        """Fill in the answers that are known; the places of those that are."""
        if self._store is None:
            return set()
        known = self._store.get_many(keys, service=self._service)
        filled = {
            at for at, key in enumerate(keys) if key in known and self._fill(answers, at, key=key, found=known[key])
        }
        for at in filled:
            if known[keys[at]].own:
                answers.own_at(at, cost=trillionths(known[keys[at]].cost))
        return filled

    def _fill(self, answers: Answers, at: int, *, key: bytes, found: Remembered) -> bool:
        if found.status is Status.NOT_FOUND:
            answers.raised[at] = NotFound()
            answers.given[at] = found.created
            return True
        try:
            answers.values[at] = self._form.read(found.value)
        except NotKept as error:
            if key not in self._unread:
                self._losses.add(self._service, str(error), kept=True)
            self._unread[key] = found.created
            return False
        answers.given[at] = found.created
        return True

    def remember(self, key: bytes, value: Any, cost: float = 0.0) -> float | None:
        """Keep the value of a call and what it cost; one of another type than declared is the failure of its record.

        Returns:
            When it was given, in seconds since 1970; None where it is not kept.
        """
        if self._store is None:
            return None
        if value is None and not self._returns.nullable:
            return self._keep(key, Status.NOT_FOUND, b"", cost)
        if not self._from_json and self._returns.mismatch(value) is not None:
            return None
        try:
            data = self._form.write(value)
        except NotKept as error:
            self._losses.add(self._service, str(error))
            return None
        return self._keep(key, Status.SUCCEEDED, data, cost)

    def remember_error(self, key: bytes, error: BaseException, cost: float = 0.0) -> float | None:
        """Keep that nothing was found, and what that cost; no other error is kept. Returns what `remember` does."""
        if self._store is None or not isinstance(error, NotFound):
            return None
        return self._keep(key, Status.NOT_FOUND, b"", cost)

    def _keep(self, key: bytes, status: Status, value: bytes, cost: float) -> float:
        """Keep an answer that is given now; that moment."""
        assert self._store is not None
        # Newer than the one that it stands in for, also where a wrong clock has dated that one.
        now = max(time.time(), self._unread.pop(key, 0.0) + _STEP) if self._unread else time.time()
        self._store.put_answer(key, status=status, value=value, created=now, service=self._service, cost=cost)
        return now
