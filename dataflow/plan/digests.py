"""Two digests that are made side by side: of what is the same in every process, and of what holds in this one too."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dataflow.plan.modules import SHIPPED
from dataflow.plan.plain import texts_of

_SHIPPED = re.compile(SHIPPED + r"[0-9a-f]{16}\.?")
"""What the names of modules begin with where a program was loaded: another one after each edit."""


def as_written(text: str) -> str:
    """A text with the names of modules as their authors know them, wherever and after whatever edit they are loaded."""
    return _SHIPPED.sub("", text) if SHIPPED in text else text


class Digests:
    """The digests of one walk.

    Attributes:
        only_here: Whether what is put is not the same in every process.
    """

    def __init__(self) -> None:
        self.only_here = False
        self._shared = hashlib.sha256()
        self._here = hashlib.sha256()

    @property
    def shared(self) -> str:
        """Of what is the same wherever the same source is loaded."""
        return self._shared.hexdigest()[:16]

    @property
    def whole(self) -> str:
        """Of all of it, the order of dicts and what is loaded by now among it."""
        return hashlib.sha256(self._shared.digest() + self._here.digest()).hexdigest()[:16]

    def put(self, text: str) -> None:
        """Count a text."""
        found = as_written(text)
        told = f"{len(found)}:{found}".encode("utf-8", "surrogatepass")
        (self._here if self.only_here else self._shared).update(told)

    def put_here(self, text: str) -> None:
        """Count a text that is not the same in every process."""
        with self.here():
            self.put(text)

    def put_table(self, table: Mapping[Any, Any]) -> None:
        """Count a table of constants, which may be a large one; the order of its keys is not the same everywhere."""
        keys, entries = texts_of(table)
        self.put_here(keys)
        self.put(entries)

    def take(self, other: Digests) -> None:
        """Count what another walk has come to."""
        self.put(other.shared)
        self.put_here(other._here.hexdigest())

    @contextmanager
    def here(self) -> Iterator[None]:
        """Count what is put meanwhile for this process only."""
        before, self.only_here = self.only_here, True
        try:
            yield
        finally:
            self.only_here = before
