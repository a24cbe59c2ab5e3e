"""Values that are told by their text alone, so that another text means another value."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import ItemsView, Iterable, KeysView, Mapping, ValuesView
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import chain
from pathlib import PurePath
from typing import Any
from uuid import UUID

CONSTANTS = (str, bytes, int, float, complex, bool, type(None))
EXACT = (Decimal, Fraction, date, time, timedelta, PurePath, UUID, range, slice, bytearray)
PLAIN = frozenset(CONSTANTS)
_EXACTLY = frozenset((*EXACT, datetime))
_FEW = 100
CONTAINERS = (Mapping, list, tuple, set, frozenset, deque, KeysView, ValuesView, ItemsView)
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""What a text says of an object that it cannot tell: another one in each process."""


def is_plain(values: Iterable[Any]) -> bool:
    """Whether all of these are constants of Python's own."""
    return PLAIN.issuperset(map(type, values))


def value_digest(value: Any) -> str:
    """A digest of a value that its text tells, or of a few of them; empty for any other."""
    held = value.values() if type(value) is dict else value if type(value) in (list, tuple) else (value,)
    if len(held) > _FEW or not all(type(one) in PLAIN or type(one) in _EXACTLY for one in held):
        return ""
    return hashlib.sha256(repr(value).encode(errors="surrogatepass")).hexdigest()[:16]


def texts_of(table: Mapping[Any, Any]) -> tuple[str, str]:
    """The keys of a table of constants as they stand, and all of it in an order that does not depend on that."""
    # Constants have no line break in their text.
    keys = list(map(repr, table))
    entries = sorted(zip(keys, map(repr, map(table.__getitem__, table)), strict=True))
    return "\n".join(keys), "\n".join(chain.from_iterable(entries))
