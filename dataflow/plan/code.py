"""Digests of code: what a function or class does, blind to comments, docstrings and line numbers.

All that the code reaches counts as part of it, so that editing a function or a value beside a service is a change of
the service; the walk is in `seeing`. Pure: code is read, never run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any
from weakref import WeakKeyDictionary

from dataflow.plan.plain import CONSTANTS, EXACT
from dataflow.plan.seeing import Memory, Sight


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What a function, a class or a value is made of.

    Attributes:
        digest: Of all that the walk from it sees; another one where any of that was edited.
        shared: Of what is the same in every process that has loaded the same source.
        unseen: What cannot be seen into, by how the code names it.
        values: Digests of the plain values that it names, by name.
        exact: Whether all of it was seen: nothing is unseen, and the code reaches nothing that it does not name.
    """

    digest: str
    shared: str
    unseen: tuple[str, ...]
    values: Mapping[str, str]
    exact: bool


class Looks:
    """Looks at the things of one loading of a job, each once, so that what its services change later is no change.

    Args:
        serials: Whether what cannot be seen into counts as the object that it is; for code without a text, such as
            that of a notebook, where nothing else tells that it was made anew.
    """

    def __init__(self, *, serials: bool = False) -> None:
        self._serials = serials
        self._memory = Memory(serials=serials)
        self._codes: dict[int, tuple[Any, Code]] = {}

    def __call__(self, thing: Any) -> Code:
        """What a thing is made of."""
        known = self._codes.get(id(thing))
        if known is None:
            code = self._look(thing)
            before = _become.get(thing, {}) if _is_itself(thing) else {}
            known = self._codes[id(thing)] = (thing, before.get(code.digest, code))
        return known[1]

    def settle(self) -> None:
        """Take what all that was looked at has become by now for what it was.

        To be called when a run has ended that nobody could edit anything beside: what counts and remembers is changed
        by its own services then, and the same things as they stand now are no edit.
        """
        now = Looks(serials=self._serials)
        for thing, code in list(self._codes.values()):
            if _is_itself(thing) and (changed := now._look(thing).digest) != code.digest:
                _become.setdefault(thing, {})[changed] = code

    def _look(self, thing: Any) -> Code:
        sight = Sight(self._memory)
        sight.visit(thing)
        return Code(
            digest=sight.digest,
            shared=sight.shared,
            unseen=tuple(sight.unseen),
            values=sight.values,
            exact=sight.exact and not sight.unseen,
        )


_become: WeakKeyDictionary[Any, dict[str, Code]] = WeakKeyDictionary()
"""What things were before runs of this process have changed them, by the digest of what they have become."""


def _is_itself(thing: Any) -> bool:
    """Whether a thing is equal to itself only, and may be remembered."""
    kind: Any = type(thing)
    return callable(thing) and kind.__eq__ is object.__eq__ and kind.__weakrefoffset__ != 0


def look(thing: Any) -> Code:
    """What a function, a class or a value is made of by now, with all of the code that it reaches."""
    return Looks()(thing)


def code_digest(function: Callable[..., Any]) -> str:
    """A digest of a function or class, and of all of the user's own code and values that it reaches."""
    return look(function).digest


def stable(value: Any) -> str:
    """A text for a value that is the same in every process: no addresses, no order of sets, no module names."""
    if isinstance(value, re.Pattern):
        return f"{value.pattern!r}{value.flags}"
    if isinstance(value, Enum):
        return f"{type(value).__qualname__}.{value.name}={stable(value.value)}"
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(stable, value)))}}}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{stable(key)}: {stable(one)}' for key, one in value.items()))}}}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}({', '.join(map(stable, value))})"
    if isinstance(value, (*CONSTANTS, *EXACT)):
        return repr(value)
    if is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__qualname__}{[stable(getattr(value, one.name)) for one in fields(value)]}"
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    if getattr(type(value), "__repr__", None) is object.__repr__:
        return type(value).__qualname__
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
