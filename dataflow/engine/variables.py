"""Variables of the environment that a job file sees while it is loaded, wherever that is.

Their values travel beside the secrets, in memory only: they are never written, logged or shown.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

Variables = Mapping[str, str | None]
"""Values by name; None for one that is not set."""

NONE: Variables = MappingProxyType({})

_given: ContextVar[Variables] = ContextVar("given", default=NONE)
_setting = threading.RLock()
_kept: dict[str, Variables] = {}


def read(names: Iterable[str]) -> dict[str, str | None]:
    """What these are for the run of this context: as its client has given them, else as they are in this process."""
    given = _given.get()
    return {name: given[name] if name in given else os.environ.get(name) for name in names}


def digest_of(variables: Variables) -> str:
    """A digest of names and values; empty for none."""
    if not variables:
        return ""
    return hashlib.sha256(json.dumps(sorted(variables.items())).encode()).hexdigest()[:16]


@contextmanager
def as_given(variables: Variables) -> Iterator[None]:
    """Let this context find the values that a client has given, in place of those of this process."""
    token = _given.set(variables)
    try:
        yield
    finally:
        _given.reset(token)


def keep(variables: Variables, *, run: str) -> None:
    """Keep in this process what the client of a run has given."""
    _kept[run] = dict(variables)


def kept(run: str) -> Variables:
    """What the client of a run has given."""
    return _kept.get(run, NONE)


def forget(run: str) -> None:
    """Keep nothing of a run any more."""
    _kept.pop(run, None)


@contextmanager
def in_place(variables: Variables) -> Iterator[None]:
    """Set these in the environment of this process for a while; two jobs are never loaded at once."""
    with _setting:
        before = {name: os.environ.get(name) for name in variables}
        _set(variables)
        try:
            yield
        finally:
            _set(before)


def _set(variables: Variables) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
