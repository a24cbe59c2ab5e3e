"""Counts of answers that are paid for again although they were paid for: those that cannot be kept, or read back."""

from __future__ import annotations

import threading

_MORE = 10
"""Times as many as were told of before, after which it is told again."""


class Losses:
    """What was lost of the answers of some services, in one process; threads may share it."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, bool], int] = {}
        self._reasons: dict[tuple[str, bool], str] = {}
        self._told: dict[tuple[str, bool], int] = {}
        self._lock = threading.Lock()

    def add(self, service: str, why: str, *, kept: bool = False) -> None:
        """Count an answer.

        Args:
            service: The name of the service.
            why: What is wrong with it, without the answer itself.
            kept: Whether it was kept, and cannot be read back.
        """
        with self._lock:
            place = service, kept
            self._counts[place] = self._counts.get(place, 0) + 1
            self._reasons.setdefault(place, why)

    def news(self) -> list[str]:
        """A sentence for each service that has lost answers; again once it has lost ten times as many."""
        if not self._counts:
            return []
        with self._lock:
            due = [one for one, count in self._counts.items() if count >= _MORE * self._told.get(one, 0)]
            self._told.update((one, self._counts[one]) for one in due)
            return [_sentence(*one, count=self._counts[one], why=self._reasons[one]) for one in due]


def _sentence(service: str, kept: bool, *, count: int, why: str) -> str:
    answers = "1 answer" if count == 1 else f"{count:,} answers"
    if kept:
        return f"`{service}`: {answers} of the cache cannot be read back ({why}); they are called for again"
    return f"`{service}`: {answers} cannot be kept, since {why}, and will be called again"
