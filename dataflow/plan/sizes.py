"""How large a partition is: what an author says, and what follows from how long a record takes. Pure."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from dataflow.errors import DeclarationError
from dataflow.services.units import size

SizeOption: TypeAlias = "int | str"
"""Records as a whole number, or bytes as a text with a unit such as "64MiB"."""

LONGEST = 60.0
"""Seconds of computing in one partition at most: what a killed worker loses, and how long nothing is seen of it."""
SHORTEST = 1.0
"""Seconds at least: far more than a partition costs by itself."""
_EACH = 4
"""Partitions for a thread, so that the last one does not keep all others waiting."""
_CLOSE = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionSize:
    """The size of a partition, in one of two measures.

    Attributes:
        records: Records; None where bytes count.
        bytes: About so many bytes of (uncompressed) text, or of decoded row groups; None where records count.
    """

    records: int | None = None
    bytes: int | None = None

    def __str__(self) -> str:
        return f"{self.records:,} records" if self.bytes is None else f"{self.bytes:,} bytes"


def read_partition_size(given: SizeOption | None, *, where: str = "partition_size") -> PartitionSize | None:
    """What an author wrote; a text of digits, as from a command line, is a number of records.

    Raises:
        DeclarationError: It is neither records nor bytes.
    """
    if given is None:
        return None
    count = int(given) if isinstance(given, str) and given.strip().isdecimal() else given
    if isinstance(count, str):
        with suppress(DeclarationError):
            return PartitionSize(bytes=max(1, size(count, where=where)))
    elif isinstance(count, int) and not isinstance(count, bool) and count > 0:
        return PartitionSize(records=count)
    raise DeclarationError(
        f'{where} takes a number of records from 1, or bytes with their unit such as "64MiB", not {given!r}'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long the local services of a pipeline take.

    Attributes:
        seconds: For one record.
        records: Of the source, as far as known.
        largest: Records of the largest partition as it is cut.
    """

    seconds: float
    records: float
    largest: float


def records_each(pace: Pace, *, threads: int) -> int | None:
    """Records of a partition by which every thread gets several and none takes long; None where the cuts are fine."""
    total = pace.seconds * pace.records
    wanted = LONGEST if threads == 1 else min(LONGEST, max(SHORTEST, total / (threads * _EACH)))
    if pace.largest * pace.seconds <= wanted * _CLOSE:
        return None
    return max(1, math.ceil(pace.records / math.ceil(total / wanted)))


def told_pace(pace: Pace, *, threads: int) -> str:
    """Why a source is cut for slow services, as the end of a sentence."""
    unit, each = ("s", pace.seconds) if pace.seconds >= 1 else ("ms", pace.seconds * 1000)
    several = "1 thread" if threads == 1 else f"{threads:,} threads"
    return f"for {several}: a record takes about {each:.2g} {unit}"
