"""A registry of services, found by what they can do or by their names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dataflow.errors import DeclarationError
from dataflow.services.service import Service


@dataclass(frozen=True, slots=True, init=False, repr=False)
class ServiceRegistry:
    """Services that are found by their `capabilities=`, or by their names.

    Args:
        services: In the order in which `find` gives them.

    Raises:
        DeclarationError: Something is no service, or two share a name.
    """

    services: tuple[Service, ...]

    def __init__(self, services: Iterable[Service]) -> None:
        listed = tuple(services)
        names: set[str] = set()
        for one in listed:
            if not isinstance(one, Service):
                raise DeclarationError(f"a registry holds services, not {type(one).__name__}")
            if one.name in names:
                raise DeclarationError(f"the registry has two services called `{one.name}`; use with_(name=...)")
            names.add(one.name)
        object.__setattr__(self, "services", listed)

    def __repr__(self) -> str:
        return f"<ServiceRegistry: {', '.join(one.name for one in self.services)}>"

    def __len__(self) -> int:
        return len(self.services)

    def __iter__(self) -> Iterator[Service]:
        return iter(self.services)

    @property
    def capabilities(self) -> tuple[str, ...]:
        """All that its services can do, by name."""
        return tuple(sorted({can for one in self.services for can in one.options.get("capabilities", ())}))

    def named(self, names: Iterable[str]) -> tuple[Service, ...]:
        """The services of these names, in the order of the names.

        Raises:
            DeclarationError: A name is that of none, or is given twice.
        """
        known = {one.name: one for one in self.services}
        listed = list(names)
        if twice := sorted({name for name in listed if listed.count(name) > 1}):
            raise DeclarationError(f"`{twice[0]}` is named twice")
        for name in listed:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}"
                raise DeclarationError(f"no service of the registry is called `{name}`; {hint}")
        return tuple(known[name] for name in listed)

    def find(self, capability: str) -> tuple[Service, ...]:
        """The services that can do something, in listed order.

        Raises:
            DeclarationError: None can; the message names what they can.
        """
        found = tuple(one for one in self.services if capability in set(one.options.get("capabilities", ())))
        if found:
            return found
        near = difflib.get_close_matches(capability, self.capabilities, n=1)
        listed = ", ".join(map(repr, self.capabilities)) or "none"
        hint = f"did you mean {near[0]!r}?" if near else f"there are {listed}"
        raise DeclarationError(f"no service of the registry has the capability {capability!r}; {hint}")
