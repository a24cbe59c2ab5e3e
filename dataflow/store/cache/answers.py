"""What is kept of a call: the answer, and the origin that tells whose it is. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

from dataflow.outcomes import Status
from dataflow.services.keys import SIZE, canonical

WAITING, PRIVATE = 0, -1
"""Sources of answers that are in no segment: those that will be, and those that only serve the run that paid."""

FOUND = (Status.NOT_FOUND, Status.SUCCEEDED)
"""The status of an answer by whether something was found."""

Row: TypeAlias = "tuple[bytes, int, int, int, int, float, bytes]"
"""One answer as the index holds it: key, source, origin, found, created in microseconds since 1970, cost, value.

A plain tuple, since millions of them pass by.
"""


def split(keys: bytes) -> list[bytes]:
    """The keys that were joined."""
    return [keys[start : start + SIZE] for start in range(0, len(keys), SIZE)]


class Answer(NamedTuple):
    """One answer.

    Attributes:
        status: `succeeded` or `not_found`.
        value: What it said, as JSON; empty for `not_found`.
        created: When it was given, in seconds since 1970.
        cost: What it has cost, in the currency of the service.
        own: Whether the run that asks has paid for it.
    """

    status: Status
    value: bytes
    created: float
    cost: float = 0.0
    own: bool = False


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Whose answers they are.

    Attributes:
        service: The name of the service.
        version: What its author calls this version of it.
        definition: A short digest of the version and of what the service asks; see `short_definition`.
        code: The digest of the function that gave them, None for an endpoint.
        run: The run that has paid for them, None for a single record or a table.
    """

    service: str
    version: str
    definition: str
    code: str | None = None
    run: str | None = None

    @property
    def folder(self) -> str:
        """Where its segments are, below the root of the cache."""
        return f"{self.service}/{self.definition}"

    @cached_property
    def id(self) -> int:
        """The number by which the index names it: the same in every process, so that nobody has to ask for it."""
        paid = () if self.run is None else (self.run,)
        named = canonical((self.service, self.version, self.definition, self.code, *paid))
        return int.from_bytes(blake2b(named, digest_size=6).digest(), "big")


def short_definition(version: str, text: str) -> str:
    """The name of the folder for a version and a definition of a service: 12 hex digits."""
    return blake2b(canonical((version, text)), digest_size=6).hexdigest()
