"""A store of answers in memory, which the tests of calls and of their memory share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataflow.outcomes import Status


@dataclass
class Kept:
    """One answer as a store gives it."""

    status: Status
    value: bytes
    created: float = 0.0
    cost: float = 0.0
    own: bool = False


class Store(dict[bytes, Kept]):
    """Answers in a dict."""

    def get_many(self, keys: Sequence[bytes], *, service: str) -> dict[bytes, Kept]:
        return {key: self[key] for key in keys if key in self}

    def put_answer(
        self, key: bytes, *, status: Status, value: bytes, created: float, service: str, cost: float
    ) -> None:
        self[key] = Kept(status, value, created, cost)
