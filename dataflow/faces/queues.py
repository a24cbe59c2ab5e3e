"""What the calls of each API waited for, told once: its services stand in one queue. Pure; standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Queue:
    """The calls of all services of one API.

    Attributes:
        name: The API; the service where no API is known.
        calls: That were made.
        waited: Seconds by reason, of all of them together.
    """

    name: str
    calls: int = 0
    waited: dict[str, float] = field(default_factory=dict)

    @property
    def reasons(self) -> list[tuple[str, float]]:
        """What they waited for and how long in all, the longest first."""
        return sorted(self.waited.items(), key=lambda one: (-one[1], one[0]))


def queues_of(services: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Queue]:
    """The queues, each by the name of its first service, in the order of the services.

    Args:
        services: Names with `api`, `calls` and `waited` as statistics and boards have them.
    """
    found: dict[str, Queue] = {}
    first: dict[str, str] = {}
    for name, one in services:
        api = one.get("api") or ""
        opens = first.setdefault(api, name) if api else name
        queue = found.setdefault(opens, Queue(name=f"API {api}" if api else name))
        queue.calls += one.get("calls", 0)
        for reason, seconds in one.get("waited", {}).items():
            queue.waited[reason] = queue.waited.get(reason, 0.0) + seconds
    return found
