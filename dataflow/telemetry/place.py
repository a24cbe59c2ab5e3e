"""Where the work is that this code does, so that logs and traces can say it.

Names and numbers of dataflow's own: run, dataset, partition, service, execution. No value of a record belongs here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

Place = Mapping[str, str | int]
"""What is known of it, by name."""

NAMES = ("run", "dataset", "partition", "service", "execution")

_place: ContextVar[Place] = ContextVar("dataflow_place", default=MappingProxyType({}))


def current_place() -> Place:
    """Where this code works; empty outside of a run and of an execution."""
    return _place.get()


@contextmanager
def placed(**names: str | int) -> Iterator[None]:
    """Let what is called here, on whichever thread or task, know more of where it is."""
    token = _place.set({**_place.get(), **names})
    try:
        yield
    finally:
        _place.reset(token)
