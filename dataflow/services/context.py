"""What a service may ask for besides columns: the run it works in, and what earlier services did."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from html import escape
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, quote_plus

from dataflow.errors import ServiceError
from dataflow.outcomes import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The run that a service works in.

    Attributes:
        run: The id of the run, or of the single execution.
        parameters: What was set for the job, such as by `--set`.
        started_at: When the run, or the single execution, began, in UTC; a run that goes on has begun once.
    """

    run: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def secret(self, name: str) -> str:
        """The value of a secret from the environment of the process that does the work.

        Raises:
            ServiceError: The secret is not set there.
        """
        value = os.environ.get(name) or _sent.get(name)
        if value is None:
            raise ServiceError(f"the secret {name} is not set in the environment of the process that runs the service")
        _revealed[value] = name
        return value


_execution: ContextVar[str] = ContextVar("dataflow_execution", default="")


def current_execution() -> str:
    """The id of the run or single execution that this code works for; empty outside of one."""
    return _execution.get()


@contextmanager
def working_for(run: str) -> Iterator[None]:
    """Let what is called here, on whichever thread or task, know the id that it works for."""
    token = _execution.set(run)
    try:
        yield
    finally:
        _execution.reset(token)


_sent: dict[str, str] = {}


def is_set(name: str) -> bool:
    """Whether this process knows the value of a secret."""
    return bool(os.environ.get(name) or _sent.get(name))


def keep_secrets(values: Mapping[str, str]) -> None:
    """Keep secrets that were sent to this process, in memory only; its environment goes first."""
    _sent.update(values)


def without_secrets(text: str) -> str:
    """A text from elsewhere without the secrets that were used in this process, each replaced by its name.

    Providers and services repeat in errors what they were given, and errors are kept.
    """
    for value, name in list(_revealed.items()):
        if len(value) >= _SHORTEST:
            for form in _forms(value):
                if form in text:
                    text = text.replace(form, f"<{name}>")
    return text


@lru_cache(maxsize=256)
def _forms(secret: str) -> tuple[str, ...]:
    """A secret as urls, JSON and markup write it."""
    coded = (quote(secret), quote(secret, safe=""), quote_plus(secret))
    written = (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], escape(secret))
    return tuple(dict.fromkeys((secret, *coded, *written)))


_revealed: dict[str, str] = {}
_SHORTEST = 6
"""Characters of a secret below which a text may hold it by chance."""


class Outcomes(Mapping[str, Outcome]):
    """What the services listed before did for one record, by service name."""

    __slots__ = ("_outcomes",)

    def __init__(self, outcomes: Mapping[str, Outcome]) -> None:
        self._outcomes = outcomes

    def __getitem__(self, service: str) -> Outcome:
        return self._outcomes[service]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outcomes)

    def __len__(self) -> int:
        return len(self._outcomes)
