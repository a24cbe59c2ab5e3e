"""What a service remembers of the calls that were made for it: answers by key, in whichever store is given.

A value is kept as JSON and read back under the type that the service declares, as an answer is. Where answers
are kept is the business of the store, which the engine is given.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from dataflow.errors import NotFound
from dataflow.outcomes import Status
from dataflow.services.answers import AnswerReader, read_answer
from dataflow.services.types import Declared

if TYPE_CHECKING:
    from dataflow.engine.calling import Answers


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
        from_json: Whether its values were read from JSON, so that they come back as they are.
    """

    def __init__(self, store: AnswerStore | None, *, service: str, returns: Declared, from_json: bool = False) -> None:
        self._store = store
        self._service = service
        self._returns = returns
        self._from_json = from_json
        self._reader = AnswerReader(returns=returns)

    def recall(self, keys: Sequence[bytes], answers: Answers) -> set[int]:
        """Fill in the answers that are known; the places of those that are."""
        if self._store is None:
            return set()
        known = self._store.get_many(keys, service=self._service)
        return {at for at, key in enumerate(keys) if key in known and self._fill(answers, at, known[key])}

    def _fill(self, answers: Answers, at: int, found: Remembered) -> bool:
        if found.status is Status.NOT_FOUND:
            answers.raised[at] = NotFound()
            return True
        try:
            answers.values[at] = read_answer(found.value, self._reader)
        except (ValueError, NotFound):
            # Kept under another declaration: asked for anew.
            return False
        return True

    def remember(self, key: bytes, value: Any, cost: float = 0.0) -> None:
        """Keep the value of a call and what it cost, where JSON gives the value back as it was."""
        if self._store is None:
            return
        if value is None and not self._returns.nullable:
            self._keep(key, Status.NOT_FOUND, b"", cost)
            return
        plain = self._plain(value)
        try:
            data = msgspec.json.encode(plain)
            same = self._from_json or bool(self._plain(read_answer(data, self._reader)) == plain)
        except (TypeError, ValueError, NotFound, msgspec.MsgspecError):
            return
        # JSON writes NaN as null.
        if same:
            self._keep(key, Status.SUCCEEDED, data, cost)

    def _plain(self, value: Any) -> Any:
        return value if self._returns.plain is None or value is None else self._returns.plain(value)

    def remember_error(self, key: bytes, error: BaseException, cost: float = 0.0) -> None:
        """Keep that nothing was found, and what that cost; no other error is kept."""
        if self._store is not None and isinstance(error, NotFound):
            self._keep(key, Status.NOT_FOUND, b"", cost)

    def _keep(self, key: bytes, status: Status, value: bytes, cost: float) -> None:
        assert self._store is not None
        self._store.put_answer(key, status=status, value=value, created=time.time(), service=self._service, cost=cost)
