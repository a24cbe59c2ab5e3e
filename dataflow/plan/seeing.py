"""The walk over everything that a piece of code reaches: what it does, and which values it works with.

Each thing is seen into, or told by what is the same in every process, or named as unseen; nothing is passed over in
silence. Code is read and never run; objects of libraries are asked what they would be pickled as.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from pickle import PickleBuffer
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from dataflow.plan.bytecode import Body, read_body
from dataflow.plan.digests import Digests
from dataflow.plan.modules import imported, is_own, may_be_own
from dataflow.plan.plain import ADDRESS, CONSTANTS, CONTAINERS, EXACT, PLAIN, is_plain, value_digest
from dataflow.plan.reducing import (
    BUILTINS,
    CACHED,
    PYTHONS,
    WEAK,
    content_of,
    has_layout,
    is_importable,
    is_special,
    is_tool,
    members_of,
    reduced,
    referred,
    says_something,
    serial_of,
    state_of,
)
from dataflow.services.api import API
from dataflow.services.service import Service

MOST = 50_000
"""Objects of libraries that are looked at for one value; of one that has more it is not known in time what it is."""


@dataclass(slots=True)
class Memory:
    """What is known of one loading of a job, so that nothing is looked at twice.

    Attributes:
        bodies: What a code object does, by its identity.
        values: What was seen of an object of a library, by its identity.
        under_way: Objects of libraries that are being looked at.
        left: How many more are looked at for the value under way.
        serials: Whether what is unseen counts as the object that it is, which holds in one process only.
    """

    bodies: dict[int, tuple[CodeType, Body]] = field(default_factory=dict)
    values: dict[int, tuple[Any, Sight]] = field(default_factory=dict)
    under_way: set[int] = field(default_factory=set)
    left: int = MOST
    serials: bool = False


class Sight:
    """One walk, and what it has seen.

    Attributes:
        unseen: What cannot be seen into, by how the code names it.
        values: Digests of the plain values that the code names, such as a number at the top of a file.
        exact: Whether the code names all that it reaches, and all of it is loaded.
    """

    def __init__(self, memory: Memory, path: tuple[str, ...] = ()) -> None:
        self.unseen: dict[str, Any] = {}
        self.values: dict[str, str] = {}
        self.exact = True
        self._memory = memory
        self._path = path
        self._digests = Digests()
        self._put = self._digests.put
        self._seen: dict[int, int] = {}
        self._held: list[Any] = []

    @property
    def shared(self) -> str:
        """A digest of what is the same wherever the same source is loaded."""
        return self._digests.shared

    @property
    def digest(self) -> str:
        """A digest of all of it, the order of dicts and what is loaded by now among it."""
        return self._digests.whole

    def visit(self, value: Any, name: str = "", *, outermost: bool = False) -> None:
        """Count a value, and all that it reaches.

        Args:
            value: Anything.
            name: How the code names it, where it does.
            outermost: Whether it is a name of its own, not an attribute of what was met before.
        """
        before = self._path
        if name:
            self._path = (name,) if outermost else (*before, name)
            self._put(name)
        if outermost and (digest := value_digest(value)):
            self.values[name] = digest
        try:
            self._visit(value)
        except RecursionError:
            self._miss(value)
        finally:
            self._path = before

    def _miss(self, value: Any) -> None:
        self.unseen[".".join(self._path) or type(value).__qualname__] = value
        self._put(f"unseen {type(value).__qualname__}")
        if self._memory.serials:
            self._digests.put_here(str(serial_of(value)))

    def _visit(self, value: Any) -> None:
        kind = type(value)
        if kind in PLAIN:
            self._put(repr(value))
        elif isinstance(value, EXACT) and not is_own(kind.__module__):
            self._put(f"{kind.__qualname__} {value!r}")
        elif kind in (list, tuple) and is_plain(value):
            self._put(f"{kind.__name__} {value!r}")
        elif id(value) in self._seen:
            self._put(f"again {self._seen[id(value)]}")
        else:
            self._seen[id(value)] = len(self._seen)
            self._held.append(value)
            self._look(value, kind)

    def _look(self, value: Any, kind: type) -> None:
        """Look into a thing that was not met before."""
        if isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, type) and typing.get_origin(value) is None:
            self._class(value)
        elif isinstance(value, ModuleType):
            self._module(value)
        elif isinstance(value, Service):
            self._service(value)
        elif isinstance(value, MethodType):
            self._parts("method", value.__func__, value.__self__)
        elif isinstance(value, property):
            self._parts("property", value.fget, value.fset, value.fdel)
        elif isinstance(value, (classmethod, staticmethod)):
            self._parts(kind.__name__, value.__func__)
        elif isinstance(value, Enum):
            self._parts(f"member {value.name}", kind, state_of(value))
        elif is_tool(value):
            self._put(f"{kind.__qualname__} {getattr(value, 'name', '')}")
        elif isinstance(value, WEAK):
            self._parts("weak", referred(value))
        elif is_own(kind.__module__):
            self._instance(value, kind)
        else:
            self._foreign(value, kind)

    def _parts(self, what: str, *parts: Any) -> None:
        self._put(what)
        for part in parts:
            self.visit(part)

    def _function(self, function: FunctionType) -> None:
        home = str(function.__globals__.get("__name__", ""))
        own = not home or is_own(home)
        if not own and is_importable(function, home):
            self._put(f"{home}.{function.__qualname__}")
            return
        body = self._body(function.__code__)
        self._put(body.text)
        self.visit(function.__defaults__)
        self.visit(function.__kwdefaults__)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self.visit(content_of(cell), name, outermost=True)
        self.visit({name: one for name, one in vars(function).items() if name not in PYTHONS})
        if own:
            self.visit(dict(function.__annotations__))
            self._reach(function, body)
        elif "__wrapped__" in vars(function):
            self.visit(vars(function)["__wrapped__"])

    def _body(self, code: CodeType) -> Body:
        known = self._memory.bodies.get(id(code))
        if known is None:
            known = self._memory.bodies[id(code)] = (code, read_body(code))
        return known[1]

    def _reach(self, function: FunctionType, body: Body) -> None:
        """What a function names among the globals of its module, and what it imports."""
        self.exact &= not body.at_will
        for name in body.names:
            if name in PYTHONS or name not in function.__globals__:
                continue
            value = function.__globals__[name]
            if isinstance(value, ModuleType) and name not in body.whole:
                self._put(name)
                self._attributes(value, body, {id(value)})
            else:
                self.visit(value, name, outermost=True)
        for one in body.imports:
            self._import(one.name, one.level, one.names, function.__globals__)
        if "__wrapped__" in vars(function):
            self.visit(vars(function)["__wrapped__"])

    def _attributes(self, module: ModuleType, body: Body, above: set[int]) -> None:
        """What is named of a module, and of the modules in it."""
        if not is_own(module.__name__):
            self._put(f"module {module.__name__}")
            return
        scope = vars(module)
        for name in (*body.names, "__getattr__"):
            value = scope.get(name, above)
            if isinstance(value, ModuleType) and id(value) not in above:
                self._put(name)
                self._attributes(value, body, above | {id(value)})
            elif value is not above and name not in PYTHONS:
                self.visit(value, name, outermost=True)

    def _module(self, module: ModuleType) -> None:
        """A module that may go anywhere: all of it."""
        own = is_own(module.__name__)
        self._put("module" if own else f"module {module.__name__}")
        for name, value in sorted(vars(module).items()) if own else ():
            if not is_special(name) or name == "__getattr__":
                self.visit(value, name, outermost=True)

    def _import(self, name: str, level: int, names: tuple[str, ...], scope: Mapping[str, Any]) -> None:
        """What is imported by a call: it is not loaded in every process, so what of it is seen counts in this one."""
        full, module = imported(name, level, scope)
        if not level and not (may_be_own(name) if module is None else is_own(module.__name__)):
            self._put(f"import {full} {' '.join(names)}")
            return
        self.exact = False
        with self._digests.here():
            for one in names:
                known = {} if module is None else vars(module)
                self.visit(known.get(one, sys.modules.get(f"{full}.{one}")), one, outermost=True)
            if module is not None and (not names or "*" in names):
                self.visit(module, name, outermost=True)

    def _class(self, kind: type) -> None:
        if not is_own(kind.__module__):
            self._put(f"{kind.__module__}.{kind.__qualname__}")
            return
        self._put(f"class {kind.__qualname__}")
        for one in (*kind.__mro__[1:], type(kind)):
            self.visit(one)
        enum = issubclass(kind, Enum)
        for name, member in sorted((members_of(kind) | dict(vars(kind))).items()):
            if says_something(name, enum=enum):
                self._member(name, member)
        if enum:
            self.visit([(name, one._value_) for name, one in vars(kind)["_member_map_"].items()])

    def _member(self, name: str, member: Any) -> None:
        before = dict(self.unseen)
        self.visit(member, name)
        if is_special(name) and not is_own(type(member).__module__):
            # What a library has put there, it has made of the rest of the class.
            self._put("" if before == self.unseen else ADDRESS.sub("", repr(member)))
            self.unseen = before

    def _service(self, service: Service) -> None:
        """A service among the values of code: what it is made of."""
        self._put(f"service {service.kind} {service.name} {service.policy.version}")
        given = (dict(service.constants), dict(service.policy.setup), service.endpoint)
        self._parts("made of", service.function, *given, *service.every[1:])

    def _instance(self, value: Any, kind: type) -> None:
        """An instance of the user's class: its class, its state, and what it is as a value of Python's own."""
        self._put("instance")
        self.visit(kind)
        for name, one in sorted(state_of(value).items()):
            self.visit(one, name)
        plain: Any = next((one for one in (*CONSTANTS, *EXACT) if isinstance(value, one)), None)
        if plain is not None:
            self._put(plain.__repr__(value))
        elif isinstance(value, (dict, list, tuple, set, frozenset)):
            self._content(value)
        elif has_layout(kind):
            self._reduce(value, reduced(value))

    def _content(self, value: Any) -> None:
        """The elements of a container."""
        if isinstance(value, Mapping):
            self._mapping(value)
        elif isinstance(value, (set, frozenset)):
            self._put(f"{len(value)}")
            if is_plain(value):
                self._put(repr(sorted(map(repr, value))))
                return
            for one in sorted((self._alone(one) for one in value), key=lambda one: (one.shared, one.digest)):
                self._take(one)
        else:
            self._put(f"{len(value)}")
            for one in value:
                self.visit(one)

    def _mapping(self, value: Mapping[Any, Any]) -> None:
        """Entries by their keys; the order in which they stand counts in this process only."""
        if is_plain(value) and is_plain(value.values()):
            self._digests.put_table(value)
            return
        keys = [(repr(key), key) if type(key) in PLAIN else (self._alone(key).shared, key) for key in value]
        self._digests.put_here(repr([text for text, _ in keys]))
        for text, key in sorted(keys, key=lambda one: one[0]):
            self._put(text)
            if type(key) not in PLAIN:
                self._take(self._alone(key))
            self.visit(value[key])

    def _alone(self, value: Any) -> Sight:
        """What is seen of a value by itself, whatever was met beside it."""
        found = Sight(self._memory, self._path)
        found._seen = dict(self._seen)
        found.visit(value)
        return found

    def _take(self, other: Sight) -> None:
        """Count what another walk has seen."""
        self._digests.take(other._digests)
        self.unseen.update(other.unseen)
        self.values.update(other.values)
        self.exact &= other.exact

    def _foreign(self, value: Any, kind: type) -> None:
        """A value of Python or of a library."""
        self._put(f"{kind.__module__}.{kind.__qualname__}")
        if isinstance(value, CONTAINERS) and kind.__module__.partition(".")[0] in sys.stdlib_module_names:
            self._content(value)
            self.visit(getattr(value, "default_factory", None))
        elif isinstance(value, re.Pattern):
            self._put(f"{value.pattern!r} {value.flags}")
        elif isinstance(value, CodeType):
            self._put(self._body(value).text)
        elif isinstance(value, (PickleBuffer, memoryview)):
            self._put(hashlib.sha256(value.raw() if isinstance(value, PickleBuffer) else value.tobytes()).hexdigest())
        elif isinstance(value, CACHED):
            self._parts("cached", value.__wrapped__, value.cache_parameters())
        elif isinstance(value, functools.partial):
            self._parts("partial", value.func, value.args, value.keywords)
        elif isinstance(value, BUILTINS):
            self._builtin(value)
        elif typing.get_origin(value) is not None:
            self._parts("generic", typing.get_origin(value), typing.get_args(value))
        elif isinstance(value, API):
            # Its limits say how fast it is called.
            self._parts("API", value.name, value.url, dict(value.headers))
        elif kind.__module__.partition(".")[0] == "dataflow" and is_dataclass(value):
            self._parts("fields", *(getattr(value, one.name) for one in fields(value)))
        else:
            self._library(value)

    def _builtin(self, value: Any) -> None:
        """A function or an attribute that is written in C."""
        owner = getattr(value, "__self__", None)
        self._put(f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}")
        if not isinstance(owner, (ModuleType, type(None))):
            self.visit(owner)

    def _library(self, value: Any) -> None:
        """An object of a library, by what it would be pickled as; looked at once for each loading."""
        memory = self._memory
        if id(value) in memory.under_way:
            self._put("under way")
            return
        known = memory.values.get(id(value))
        if known is None:
            if not memory.under_way:
                memory.left = MOST
            memory.under_way.add(id(value))
            alone = Sight(memory, self._path)
            try:
                memory.left -= 1
                alone._reduce(value, reduced(value) if memory.left > 0 else None)
            finally:
                memory.under_way.discard(id(value))
            known = memory.values[id(value)] = (value, alone)
        self._take(known[1])

    def _reduce(self, value: Any, found: str | tuple[Any, ...] | None) -> None:
        if found is None:
            if type(value).__module__.partition(".")[0] != "dataflow":
                self._miss(value)
        elif isinstance(found, str):
            self._put(f"{getattr(value, '__module__', '')}.{found}")
        else:
            for one in found:
                self.visit(one)
