"""What objects say of themselves: their state, what pickling would take of them, and whether they hold any meaning."""

from __future__ import annotations

import copyreg
import functools
import itertools
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import BuiltinFunctionType, FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any

_TOOLS: tuple[Any, ...] = (
    type(threading.Lock()),
    type(threading.RLock()),
    threading.Condition,
    threading.Event,
    threading.Semaphore,
    threading.Barrier,
    threading.local,
    logging.Logger,
    logging.LoggerAdapter,
    weakref.WeakKeyDictionary,
    type(os.environ),
)
"""What code works with, and what it holds is no part of the code."""

PYTHONS = {"__doc__", "__module__", "__qualname__", "__dict__", "__weakref__", "__name__", "__signature__"}
PYTHONS |= {"__firstlineno__", "__static_attributes__", "_abc_impl", "__builtins__", "__wrapped__"}
"""Attributes of functions and classes that say nothing, or are counted by themselves."""

_ENUMS = {"_member_map_", "_value2member_map_", "_member_names_", "_unhashable_values_", "_hashable_values_"}
_PYDANTIC = {"__pydantic_fields__", "__pydantic_decorators__"}
"""What pydantic keeps of a class that says more than its functions and annotations do."""

CACHED = type(functools.lru_cache(int))
BUILTINS = (
    BuiltinFunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    type(str.upper),
    type(int.__add__),
    type("".__add__),
)
"""Functions and attributes that are written in C."""

WEAK = (weakref.ref, weakref.WeakValueDictionary, weakref.WeakSet)
"""What refers to others without holding them; a dict with weak keys is a cache, and a tool."""

_OF_ITS_MAKING = {"__doc__", "__objclass__", "_sort_order_", "cls_ref"}
_HEAP_TYPE = 1 << 9


def is_tool(value: Any) -> bool:
    """Whether a value is a tool that holds no part of the code: a lock, a logger, the environment, the terminal."""
    return isinstance(value, _TOOLS) or any(value is one for one in (sys.stdout, sys.stderr, sys.stdin))


def referred(value: Any) -> Any:
    """What a weak reference, or a container of such, refers to by now."""
    match value:
        case weakref.WeakValueDictionary():
            return dict(value)
        case weakref.WeakSet():
            return set(value)
    return value()


def state_of(value: Any) -> dict[str, Any]:
    """The attributes of an instance, those in slots among them."""
    found: dict[str, Any] = {}
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            full = f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
            if full not in ("__dict__", "__weakref__"):
                try:
                    found[full] = object.__getattribute__(value, full)
                except AttributeError:
                    continue
    with suppress(AttributeError):
        found.update(object.__getattribute__(value, "__dict__"))
    return {name: one for name, one in found.items() if name not in _OF_ITS_MAKING}


def reduced(value: Any) -> str | tuple[Any, ...] | None:
    """What pickling takes of an object: a name, or what makes it again; None where it cannot be pickled."""
    registered: Callable[[Any], Any] | None = copyreg.dispatch_table.get(type(value))
    try:
        found = value.__reduce_ex__(5) if registered is None else registered(value)
    except Exception:
        # Whatever a library raises, it says that the object does not travel.
        return None
    if isinstance(found, str):
        return found
    make, given, state, items, pairs = (*found, None, None, None)[:5]
    return make, given, cleaned(state), list(items or ()), list(pairs or ())


def cleaned(state: Any) -> Any:
    """A state without what its making has left: documentation, and what it belongs to."""
    if isinstance(state, tuple):
        return tuple(cleaned(one) for one in state)
    if isinstance(state, dict):
        return {name: one for name, one in state.items() if name not in _OF_ITS_MAKING}
    return state


def has_layout(kind: type) -> bool:
    """Whether instances of a class hold more than their attributes, as those of a class written in C do."""
    bases = (base for base in kind.__mro__ if base is not object)
    return any(not base.__flags__ & _HEAP_TYPE for base in bases)


def is_importable(function: FunctionType, module: str) -> bool:
    """Whether a function stands under its own name in the module whose globals it sees."""
    found: Any = sys.modules.get(module)
    try:
        for part in function.__qualname__.split("."):
            found = getattr(found, part)
    except Exception:
        # A library may answer for its attributes with code of its own.
        return False
    return found is function


def members_of(kind: type) -> dict[str, Any]:
    """What a metaclass written in C keeps of a class beside its attributes."""
    found: dict[str, Any] = {}
    metaclass: Any = type(kind)
    for above in metaclass.__mro__:
        for name, one in vars(above).items() if above not in (type, object) else ():
            if isinstance(one, (MemberDescriptorType, GetSetDescriptorType)):
                try:
                    found[name] = getattr(kind, name)
                except AttributeError:
                    continue
    return found


_serials = itertools.count(1)
_met: dict[int, tuple[Callable[[], Any], int]] = {}


def serial_of(value: Any) -> int:
    """A number for an object, which no other one of this process has or had."""
    known = _met.get(id(value))
    if known is None or known[0]() is not value:
        try:
            held: Callable[[], Any] = weakref.ref(value)
        except TypeError:
            held = functools.partial(_itself, value)
        known = _met[id(value)] = (held, next(_serials))
    return known[1]


def _itself(value: Any) -> Any:
    return value


def is_special(name: str) -> bool:
    """Whether a name is one of Python's own or of a library that follows it: `__slots__`."""
    return name.startswith("__") and name.endswith("__")


def says_something(name: str, *, enum: bool) -> bool:
    """Whether an attribute of a class says something of its own.

    Args:
        name: Of the attribute.
        enum: Whether the class is an enum, whose members are counted by themselves.
    """
    if name in PYTHONS or (enum and name in _ENUMS):
        return False
    return not name.startswith("__pydantic_") or name in _PYDANTIC


def content_of(cell: Any) -> Any:
    """What a function keeps of the one around it; None where that is not there yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
