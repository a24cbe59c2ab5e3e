"""A thread that brings answers to the catalog soon after they were given, however long their partition takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from dataflow.errors import StoreError
from dataflow.policies.leaving import Leaving

_MERGED = 40
"""Times of writing after which small segments are merged."""


class Departures:
    """When the answers of one process are due, and what writes them then.

    Args:
        write: Brings all answers that wait to the catalog.
        merge: Merges small segments.
        warn: Called with what keeps them from it.
    """

    def __init__(
        self, *, write: Callable[[], object], merge: Callable[[], object], warn: Callable[[str], object]
    ) -> None:
        self._write = write
        self._merge = merge
        self._warn = warn
        self._terms: Mapping[int, Leaving] = {}
        self._due: float | None = None
        self._share = 0.0
        self._written = 0
        self._ended = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def begin(self, terms: Mapping[int, Leaving]) -> None:
        """Write from now on what comes, given when the answers of each origin leave, by its number."""
        self._terms = terms
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_writing, name="dataflow-departures", daemon=True)
            self._thread.start()

    def note(self, origin: int) -> None:
        """Be told of an answer."""
        terms = self._terms.get(origin)
        if terms is None:
            return
        self._share += 1 / terms.answers
        due = time.monotonic() + terms.seconds
        if self._due is None or due < self._due or self._share >= 1:
            with self._changed:
                self._due = due if self._due is None else min(due, self._due)
                self._changed.notify()

    def close(self) -> None:
        """End the thread; what waits stays for whoever closes the cache."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _keep_writing(self) -> None:
        while self._is_due():
            try:
                self._write()
                self._written += 1
                if self._written % _MERGED == 0:
                    self._merge()
            except (StoreError, OSError) as error:
                self._warn(f"answers do not reach the catalog for now, so another host would pay again: {error}")

    def _is_due(self) -> bool:
        """Wait until answers are due; False where no more will be written."""
        with self._changed:
            while not self._ended:
                left = None if self._due is None else self._due - time.monotonic()
                if left is not None and (left <= 0 or self._share >= 1):
                    self._due, self._share = None, 0.0
                    return True
                self._changed.wait(left)
            return False
