"""Keys: what names one call, so that no answer is paid for twice. Pure; where answers are kept is not known here.

Two inputs share a key only where no function could tell them apart. A key that is too fine costs one more call;
one that is too coarse would give a record the answer of another. So these all differ:

    1, 1.0, True, "1", b"1"     the type counts, also that of a field: a dataclass is no dict, a tuple no list
    0.0, -0.0                   they print differently
    Decimal("1"), Decimal("1.0")  equal, but a request would hold different texts
    one instant in two zones    the local time differs; a zone counts by its name, a fixed offset by the offset
    "é" as one or two code points  text counts as given

These are the same: dicts whose keys come in another order, any NaN and any other NaN, numpy's scalars and Python's,
a UTC of one library and a UTC of another. Classes count by name and fields, not by module, since a job is
imported under another name after each change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Any
from uuid import UUID

from dataflow.errors import DeclarationError

SIZE = 20
"""Bytes of a key: 160 bits, with which an accident is out of the question and a file of millions stays small."""

_FORM = b"dataflow-key-1"
"""Says how keys are made; a change of the canonical form changes it, and with it every key."""

_DOUBLE = Struct(">d")


class Keys:
    """The keys of one service, whose common part is hashed once.

    Threads may share it. It holds the state of a hash, so a process makes its own instead of receiving one.

    Args:
        service: The name of the service.
        version: What its author calls this version of it.
        definition: What it does, as a text that changes when it does something else; without secrets.

    Attributes:
        known: Keys of single texts, for whoever asks for the same ones again and again.
    """

    __slots__ = ("_prefix", "known")

    def __init__(self, *, service: str, version: str, definition: str) -> None:
        self.known: dict[str, bytes] = {}
        self._prefix = blake2b(canonical((service, version, definition)), digest_size=SIZE, person=_FORM)

    def of(self, inputs: Sequence[object]) -> bytes:
        """The key of one call.

        Args:
            inputs: Its inputs, in the order in which the service declares them.

        Raises:
            DeclarationError: A value is of a type that has no canonical form.
        """
        hasher = self._prefix.copy()
        hasher.update(canonical(inputs))
        return hasher.digest()


def call_key(*, service: str, version: str, definition: str, inputs: Sequence[object]) -> bytes:
    """The key of one call; `Keys` is faster for many calls of one service.

    Raises:
        DeclarationError: An input is of a type that has no canonical form.
    """
    return Keys(service=service, version=version, definition=definition).of(inputs)


def canonical(values: Sequence[object]) -> bytes:
    """Bytes that are the same for the same values and types, and differ for any others.

    Each value is a letter for its type, then its content with a length or an end mark, so no form is the beginning
    of another.

    Raises:
        DeclarationError: A value is of a type that has no canonical form, or is nested too deeply.
    """
    try:
        return _items(b"(%d:", values)
    except RecursionError as error:
        raise DeclarationError("an input is nested too deeply for a key; give the service a flatter value") from error


def _encode(value: Any) -> bytes:
    encoder = _ENCODERS.get(type(value))
    return encoder(value) if encoder is not None else _other(value)


def _items(head: bytes, values: Sequence[Any]) -> bytes:
    parts = [head % len(values)]
    for value in values:
        encoder = _ENCODERS.get(type(value))
        parts.append(encoder(value) if encoder is not None else _other(value))
    return b"".join(parts)


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"s%d:%b" % (len(data), data)


def _float(value: float) -> bytes:
    return b"f" + _DOUBLE.pack(value) if value == value else b"N"  # noqa: PLR0124


def _dict(value: dict[Any, Any]) -> bytes:
    pairs = sorted((_encode(key), _encode(one)) for key, one in value.items())
    return b"{%d:" % len(pairs) + b"".join(part for pair in pairs for part in pair)


def _datetime(value: datetime) -> bytes:
    return b"T" + _text(value.isoformat()) + _zone(value)


def _time(value: time) -> bytes:
    return b"h" + _text(value.isoformat()) + _zone(value)


def _zone(value: datetime | time) -> bytes:
    """The rules of a zone by name; without a name the offset, which is in the ISO text, says all."""
    zone = value.tzinfo
    name = str(getattr(zone, "key", None) or getattr(zone, "zone", None) or "")
    return _text("" if name == "UTC" else name)


def _timedelta(value: timedelta) -> bytes:
    nanoseconds = getattr(value, "nanoseconds", 0)
    return b"p%d,%d,%d,%d;" % (value.days, value.seconds, value.microseconds, nanoseconds)


def _enum(value: Enum) -> bytes:
    return b"e" + _text(type(value).__qualname__) + _encode(value.value)


def _fields(value: Any, names: tuple[str, ...]) -> bytes:
    parts = [b"o%d:" % len(names), _text(type(value).__qualname__)]
    for name in names:
        parts += (_text(name), _encode(getattr(value, name)))
    return b"".join(parts)


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    str: _text,
    # Base 16, since Python refuses to write very long numbers in base 10.
    int: lambda value: b"i%x;" % value,
    float: _float,
    bool: lambda value: b"1" if value else b"0",
    type(None): lambda _: b"_",
    bytes: lambda value: b"b%d:%b" % (len(value), value),
    Decimal: lambda value: b"d" + _text(str(value)),
    datetime: _datetime,
    date: lambda value: b"D" + _text(value.isoformat()),
    time: _time,
    timedelta: _timedelta,
    UUID: lambda value: b"u" + value.bytes,
    list: lambda value: _items(b"[%d:", value),
    tuple: lambda value: _items(b"(%d:", value),
    dict: _dict,
    set: lambda value: b"S%d:" % len(value) + b"".join(sorted(map(_encode, value))),
    frozenset: lambda value: b"Z%d:" % len(value) + b"".join(sorted(map(_encode, value))),
}
"""A form for each type; the letters differ, and datetime stands before date, which is its base."""


def _other(value: Any) -> bytes:
    """The form of what is no plain type: members, objects with fields, subclasses, numpy's scalars."""
    if isinstance(value, Enum):
        return _enum(value)
    kind: type = type(value)
    if (names := _field_names(kind)) is not None:
        return _fields(value, names)
    for base, encoder in _ENCODERS.items():
        if isinstance(value, base):
            return encoder(value)
    if kind.__module__ == "numpy" and getattr(getattr(value, "dtype", None), "kind", "") in "biuf" and not value.shape:
        return _encode(value.item())
    raise DeclarationError(
        f"a value of type {kind.__qualname__} cannot be part of a key; give the service text, numbers, dates, lists,"
        " dicts or dataclasses, or switch its cache off"
    )


@lru_cache(maxsize=256)
def _field_names(kind: type) -> tuple[str, ...] | None:
    """The fields of a dataclass, named tuple, msgspec struct or pydantic model, None for any other class."""
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    for attribute in ("__struct_fields__", "model_fields", "_fields"):
        names = getattr(kind, attribute, None)
        if isinstance(names, (tuple, dict)):
            return tuple(names)
    return None
