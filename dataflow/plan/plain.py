"""Values that are told by their text alone, so that another text means another value."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

CONSTANTS = (str, bytes, int, float, complex, bool, type(None))
EXACT = (Decimal, Fraction, date, time, timedelta, PurePath, UUID, range, slice, bytearray)
PLAIN = frozenset(CONSTANTS)


def is_plain(values: Iterable[Any]) -> bool:
    """Whether all of these are constants of Python's own."""
    return all(type(one) in PLAIN for one in values)
