"""The shape of the JSON values at one place of many records, and the Arrow type that holds all of them.

Pure. Where no type holds what was seen without loss (text beside numbers, integers past 2**53 beside fractions)
the place becomes text: strings as they are, other values as their JSON text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

EXACT = 2**53
"""Integers up to here are floating point numbers without loss."""

MOST_KEYS = 2000
"""Different keys of objects at one place; beyond, the keys are data and no columns."""

_INT64 = 2**63
_WORDS = {bool: "true or false", int: "numbers", float: "numbers", str: "text", list: "lists", dict: "objects"}


@dataclass(slots=True)
class Shape:
    """What was seen at one place; grows with `observe`.

    Attributes:
        kinds: The Python types of the values, without that of None.
        inexact: Whether an integer was past 2**53.
        huge: Whether an integer was past 64 bits.
        item: The shape of all items of the lists, once there was a list.
        fields: The shapes by key of the objects, in order of appearance, at most a few more than `MOST_KEYS`.
    """

    kinds: set[type] = field(default_factory=set)
    inexact: bool = False
    huge: bool = False
    item: Shape | None = None
    fields: dict[str, Shape] = field(default_factory=dict)

    @property
    def crowded(self) -> bool:
        """Whether there were more different keys than columns make sense for."""
        return len(self.fields) > MOST_KEYS

    def observe(self, value: Any) -> None:
        """Take one decoded value into the shape."""
        kind = type(value)
        if value is None:
            return
        self.kinds.add(kind)
        if kind is int:
            self.inexact = self.inexact or not -EXACT <= value <= EXACT
            self.huge = self.huge or not -_INT64 <= value < _INT64
        elif kind is list:
            self.item = self.item or Shape()
            for item in value:
                self.item.observe(item)
        elif kind is dict and not self.crowded:
            self._observe_fields(value)

    def _observe_fields(self, value: dict[str, Any]) -> None:
        fields = self.fields
        for key, item in value.items():
            shape = fields.get(key)
            if shape is None:
                shape = fields[key] = Shape()
            if type(item) is not str or str not in shape.kinds:
                shape.observe(item)

    def merge(self, other: Shape) -> None:
        """Take all that the other shape has seen into this one."""
        self.kinds |= other.kinds
        self.inexact = self.inexact or other.inexact
        self.huge = self.huge or other.huge
        if other.item is not None:
            self.item = self.item or Shape()
            self.item.merge(other.item)
        for key, shape in other.fields.items():
            self.fields.setdefault(key, Shape()).merge(shape)

    def conflict(self) -> str | None:
        """Why only text holds all values of this place, or None where a type does."""
        if self.crowded:
            return f"has more than {MOST_KEYS:,} different keys"
        if self.kinds == {dict} and not self.fields:
            return "has only empty objects"
        if self.kinds <= {int, float}:
            return self._inexact_numbers()
        if len(self.kinds) > 1:
            words = dict.fromkeys(_WORDS[kind] for kind in _WORDS if kind in self.kinds)
            return f"mixes {' and '.join(words)}"
        return None

    def _inexact_numbers(self) -> str | None:
        if self.huge:
            return "has integers past 64 bits"
        if self.inexact and float in self.kinds:
            return "has integers past 2**53 beside fractions"
        return None

    def conflicts(self, path: str) -> Iterator[str]:
        """A sentence for each place, here or below, that becomes text."""
        reason = self.conflict()
        if reason is not None:
            yield f"`{path}` {reason}; it is read as text, values that are no strings as their JSON text"
            return
        if self.item is not None:
            yield from self.item.conflicts(f"{path}[]")
        for key, shape in self.fields.items():
            yield from shape.conflicts(f"{path}.{key}")

    def arrow(self) -> pa.DataType:
        """The type of this place; null alone is text."""
        if self.conflict() is not None or not self.kinds or self.kinds == {str}:
            return pa.string()
        if self.kinds == {bool}:
            return pa.bool_()
        if self.kinds == {int}:
            return pa.int64()
        if self.kinds <= {int, float}:
            return pa.float64()
        if self.item is not None:
            return pa.list_(self.item.arrow())
        return pa.struct([pa.field(key, shape.arrow()) for key, shape in self.fields.items()])
