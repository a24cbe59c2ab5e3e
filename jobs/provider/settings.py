"""How the provider is to behave: the settings, how they are read, and which of them hold for a call. Pure.

Settings come as JSON or as command-line text; both are read by the same table. `paths` (by the longest prefix) and
`keys` (by the exact key) override those in `CALL_SETTINGS` for some calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .faults import Fault, Kind, parse_fault
from .limits import Rate, RetryAfter, parse_rate

AUTHS = ("none", "bearer", "basic", "api-key", "oauth2")
Reader = Callable[[Any], Any]


def _seconds(value: Any) -> float:
    number = math.inf if value is True else float(value)
    if not number >= 0:
        raise ValueError(f"{value!r} is no number of seconds")
    return number


def _share(value: Any) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{value!r} is no share from 0 to 1")
    return number


def _flag(value: Any) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ValueError(f"{value!r} is neither true nor false")
    return str(value).lower() == "true"


def _auth(value: Any) -> str:
    if value not in AUTHS:
        raise ValueError(f"no auth {value!r}; there are {', '.join(AUTHS)}")
    return str(value)


def _names(value: Any) -> frozenset[bytes]:
    listed = value.split(",") if isinstance(value, str) else list(value)
    return frozenset(name.strip().lower().encode() for name in listed if name.strip())


def _unless_null(read: Reader) -> Reader:
    return lambda value: None if value in (None, "", "none") else read(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: its value at first, how a value is read, and what it is for."""

    default: Any
    read: Reader
    about: str


CALL_SETTINGS = {
    "latency": Setting(default=0.0, read=_seconds, about="seconds before an answer"),
    "jitter": Setting(default=0.0, read=_seconds, about="seconds that the latency varies by, up and down"),
    "rate": Setting(default=None, read=_unless_null(parse_rate), about="calls let through, such as 100/s; else 429"),
    "concurrency": Setting(default=None, read=_unless_null(int), about="calls at a time; else 429"),
    "retry_after": Setting(default=RetryAfter.SECONDS, read=RetryAfter, about="form: " + ", ".join(RetryAfter)),
    "fault": Setting(default=None, read=_unless_null(parse_fault), about="what goes wrong: " + ", ".join(Kind)),
    "share": Setting(default=1.0, read=_share, about="share of the calls that the fault hits"),
    "times": Setting(
        default=None, read=_unless_null(int), about="calls of each key that the fault hits, from the first"
    ),
    "every": Setting(default=None, read=_unless_null(_seconds), about="seconds between two calls that the fault hits"),
}
SETTINGS = CALL_SETTINGS | {
    "auth": Setting(default="none", read=_auth, about="what a call must show: " + ", ".join(AUTHS)),
    "secret": Setting(default="secret", read=str, about="token, key, or password of the user and client `demo`"),
    "expires_in": Setting(default=3600.0, read=_seconds, about="seconds that oauth2 tokens are said to live"),
    "token_lifetime": Setting(default=None, read=_unless_null(_seconds), about="seconds that they live in truth"),
    "outage": Setting(default=0.0, read=_seconds, about="seconds from now that all services are down"),
    "outage_as": Setting(default=Fault(kind=Kind.STATUS, text="503"), read=parse_fault, about="what being down means"),
    "media": Setting(default=None, read=_unless_null(str.lower), about="the only Content-Type of bodies; else 415"),
    "unknown": Setting(default=0.12, read=_share, about="share of the domains without a company"),
    "finishes": Setting(default=False, read=_flag, about="true: a call runs for its latency even if its client leaves"),
    "seed": Setting(default=8, read=int, about="another seed, other facts"),
    "log": Setting(default=2_000_000, read=int, about="calls logged at most"),
    "logged": Setting(default=frozenset(), read=_names, about="headers in the log besides its own: accept,user-agent"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What holds for a call.

    Attributes:
        latency: Seconds before an answer.
        jitter: Seconds that the latency varies by, up and down.
        rate: Calls let through, or None.
        concurrency: Calls at a time, or None.
        retry_after: The form of Retry-After on 429 and, where it was asked for, on faults that are errors.
        fault: What goes wrong, or None.
        share: Share of the calls that the fault hits.
        times: Calls of each key that the fault hits, from the first; None for all.
        every: Seconds between two calls that the fault hits, whatever their keys; None for all.
        origins: For each setting where it was made: empty for all calls, else the path or key.
    """

    latency: float
    jitter: float
    rate: Rate | None
    concurrency: int | None
    retry_after: RetryAfter
    fault: Fault | None
    share: float
    times: int | None
    every: float | None
    origins: Mapping[str, str]


class Settings:
    """The settings in force.

    Args:
        changes: What differs from the defaults.

    Raises:
        ValueError: A setting has no such name, or its value cannot be read.
    """

    def __init__(self, changes: Mapping[str, Any] | None = None) -> None:
        self.values: dict[str, Any] = {name: setting.default for name, setting in SETTINGS.items()}
        self.given: dict[str, Any] = {}
        self._paths: dict[str, dict[str, Any]] = {}
        self._keys: dict[str, dict[str, Any]] = {}
        self._rules: dict[tuple[str, str], Rule] = {}
        self.change(changes or {})

    def change(self, changes: Mapping[str, Any]) -> None:
        """Put new values over the old ones; `paths` and `keys` entry by entry, where null takes an entry away."""
        plain = {name: value for name, value in changes.items() if name not in {"paths", "keys"}}
        values = _read(plain, SETTINGS)
        overrides = {
            name: {part: _read_override(given) for part, given in (changes.get(name) or {}).items()}
            for name in ("paths", "keys")
        }
        self.values |= values
        self._paths = _without_nulls(self._paths | overrides["paths"])
        self._keys = _without_nulls(self._keys | overrides["keys"])
        self.given |= plain | {
            name: _without_nulls(self.given.get(name, {}) | (changes[name] or {}))
            for name in ("paths", "keys")
            if name in changes
        }
        self._rules.clear()

    def rule(self, path: str, key: str | None) -> Rule:
        """What holds for a call of this path and key."""
        prefix = max((one for one in self._paths if path.startswith(one)), key=len, default="") if self._paths else ""
        part = key if key is not None and key in self._keys else ""
        rule = self._rules.get((prefix, part))
        if rule is None:
            rule = self._rules[prefix, part] = self._compose(prefix, part)
        return rule

    def _compose(self, prefix: str, part: str) -> Rule:
        values = {name: self.values[name] for name in CALL_SETTINGS}
        origins = {name: "" for name in CALL_SETTINGS if name in self.given}
        for origin, changes in ((prefix, self._paths.get(prefix)), (part, self._keys.get(part))):
            values |= changes or {}
            origins |= dict.fromkeys(changes or {}, origin)
        return Rule(**values, origins=origins)


def _read(given: Mapping[str, Any], table: Mapping[str, Setting]) -> dict[str, Any]:
    values = {}
    for name, value in given.items():
        if name not in table:
            raise ValueError(f"no setting {name!r}; there are {', '.join(table)}")
        try:
            values[name] = table[name].read(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"setting {name}: {error}") from None
    return values


def _read_override(given: Any) -> dict[str, Any] | None:
    """A fault alone may stand for a whole override."""
    if given is None:
        return None
    return _read({"fault": given} if isinstance(given, str) else given, CALL_SETTINGS)


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
