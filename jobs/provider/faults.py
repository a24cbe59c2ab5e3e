"""The kinds of faults, how they are written, and what they do to an answer. Pure.

A fault is written `kind` or `kind:argument`. Faults of the connection (resets, bodies that trickle or never end)
are listed here and carried out in `mischief`; bodies that are packed, written or empty oddly are made in `bodies`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .manners import DRESSES, read_refusal
from .sayings import saying, used_up

FIRST = 1
"""Attempts that fail of `503_then_ok` where no number is given."""
HUGE_BODY = 50_000_000
"""Bytes of a huge body: five times what a client should take."""
GZIP_BOMB = 64 * 1024 * 1024
"""Bytes in a bomb after decompression; packed it is a thousandth."""
DEPTH = 20_000
"""Lists in lists: parsers that recurse give up at about 1,000, some crash at 20,000."""


class Kind(StrEnum):
    """All faults there are."""

    STATUS = "status"
    SAYS = "says"
    QUOTA = "quota"
    THEN_OK = "503_then_ok"
    ALWAYS_500 = "always_500"
    OUTAGE = "outage"
    NO_ANSWER = "no_answer"
    TRICKLE = "trickle"
    RESET_BEFORE_HEADERS = "reset_before_headers"
    RESET_IN_BODY = "reset_in_body"
    CLOSE_KEEPALIVE = "close_keepalive"
    TRUNCATED_JSON = "truncated_json"
    INVALID_JSON = "invalid_json"
    HTML_200 = "html_200"
    ERROR_200 = "error_200"
    WRONG_TYPES = "wrong_types"
    MISSING_FIELDS = "missing_fields"
    NULL_FIELDS = "null_fields"
    EXTRA_FIELDS = "extra_fields"
    NAN = "nan"
    HUGE_BODY = "huge_body"
    GZIP_BOMB = "gzip_bomb"
    DEEP_NESTING = "deep_nesting"
    EMPTY = "empty"
    ENCODING = "encoding"
    CHARSET = "charset"
    REDIRECT = "redirect"
    SLOW = "slow"
    REFUSAL = "refusal"
    BAD_JSON = "bad_json"
    WRONG_SCHEMA = "wrong_schema"
    LENGTH = "length"
    CONTEXT_LENGTH = "context_length"
    REFUSES = "refuses"
    DRESSED = "dressed"
    FILTERED = "filtered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault and its argument.

    Attributes:
        kind: What goes wrong.
        text: The argument as it was written, empty where there is none.
    """

    kind: Kind
    text: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.text}" if self.text else str(self.kind)

    def number(self, default: float) -> float:
        """The argument as a number."""
        return float(self.text) if self.text else default

    @property
    def names(self) -> frozenset[str]:
        """The argument as names of fields; empty means all."""
        return frozenset(filter(None, self.text.split(",")))


_NUMBERS = {Kind.THEN_OK, Kind.TRICKLE, Kind.HUGE_BODY, Kind.GZIP_BOMB, Kind.DEEP_NESTING, Kind.CONTEXT_LENGTH}
_REQUIRED = {Kind.STATUS, Kind.SLOW}


def parse_fault(text: str) -> Fault:
    """Read a fault as it is written.

    Raises:
        ValueError: There is no such kind, or its argument is missing or of the wrong form.
    """
    name, _, argument = text.partition(":")
    try:
        kind = Kind(name)
    except ValueError:
        raise ValueError(f"no fault {name!r}; there are {', '.join(Kind)}") from None
    if kind in _REQUIRED or (kind in _NUMBERS and argument):
        _check_number(text, argument)
    if kind is Kind.STATUS and not (argument.isdecimal() and 200 <= int(argument) <= 599):
        raise ValueError(f"fault {text!r} needs a status from 200 to 599, such as status:503")
    if kind is Kind.SAYS:
        saying(argument)
    if kind is Kind.QUOTA:
        used_up(argument)
    if kind is Kind.REFUSES:
        read_refusal(argument)
    if kind is Kind.DRESSED and argument not in DRESSES:
        raise ValueError(f"fault dressed needs in what an answer stands: {', '.join(DRESSES)}")
    if kind is Kind.EMPTY and argument and not argument.partition("/")[0].isdecimal():
        raise ValueError(f"fault {text!r} needs a status behind the colon, such as empty:204 or empty:404/gzip")
    if kind in {Kind.ENCODING, Kind.CHARSET} and not argument:
        raise ValueError(f"fault {name} needs what is declared, such as encoding:gzip/plain or charset:utf-16")
    if kind is Kind.OUTAGE and argument:
        _check_number(text, argument.removeprefix("@"))
    if kind is Kind.REDIRECT and not argument:
        raise ValueError("fault redirect needs a URL, such as redirect:http://127.0.0.1:1/")
    return Fault(kind=kind, text=argument)


def _check_number(text: str, argument: str) -> None:
    try:
        good = float(argument) >= 0
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"fault {text!r} needs a number that is not negative behind the colon")


def fault_status(fault: Fault, attempt: int) -> int | None:
    """The status that a fault answers with instead of the answer; None where it does something else.

    Args:
        fault: The fault.
        attempt: Which call of this key at this service it is, from 1.
    """
    match fault.kind:
        case Kind.STATUS:
            return int(fault.text)
        case Kind.ALWAYS_500:
            return 500
        case Kind.THEN_OK:
            return 503 if attempt <= fault.number(FIRST) else None
    return None


def distort(fault: Fault, answer: Any) -> bytes | None:
    """The body that a fault makes of a good answer; None for faults that leave the body alone."""
    change = _DISTORTIONS.get(fault.kind)
    return change(fault, answer) if change else None


def accented(answer: bytes) -> str:
    """The answer as JSON whose texts end in an accent, so that their charset shows."""
    changed = _each_leaf(json.loads(answer), frozenset(), lambda held: f"{held} é" if isinstance(held, str) else held)
    return json.dumps(changed, ensure_ascii=False)


def _html(fault: Fault, answer: Any) -> bytes:
    return b"<!doctype html><html><body><h1>We will be back soon</h1></body></html>"


def _error(fault: Fault, answer: Any) -> bytes:
    code: Any = int(fault.text) if fault.text.isdecimal() else fault.text or "internal"
    return _dumps({"error": {"code": code, "message": "something went wrong"}})


def _truncated(fault: Fault, answer: Any) -> bytes:
    whole = json.dumps(answer).encode()
    return whole[: len(whole) // 2]


def _invalid(fault: Fault, answer: Any) -> bytes:
    return json.dumps(answer).replace('"', "'").encode() + b",}"


def _nested(fault: Fault, answer: Any) -> bytes:
    depth = int(fault.number(DEPTH))
    return b'{"data": ' + b"[" * depth + b"]" * depth + b"}"


def _wrong(fault: Fault, answer: Any) -> bytes:
    return _dumps(_each_leaf(answer, fault.names, _other_type))


def _missing(fault: Fault, answer: Any) -> bytes:
    return _dumps(_each_leaf(answer, fault.names, None))


def _null(fault: Fault, answer: Any) -> bytes:
    return _dumps(_each_leaf(answer, fault.names, lambda value: None))


def _nan(fault: Fault, answer: Any) -> bytes:
    changed = _each_leaf(answer, fault.names, lambda value: float("nan") if _is_number(value) else value)
    return _dumps(changed | {"ratio": float("inf")} if isinstance(changed, dict) else changed)


def _extra(fault: Fault, answer: Any) -> bytes:
    surprises = {"_links": {"self": "/"}, "__proto__": {}, "Name": "another", "unexpected": [1, {"a": None}], "": 0}
    return _dumps([one | surprises for one in answer] if isinstance(answer, list) else answer | surprises)


_DISTORTIONS: dict[Kind, Callable[[Fault, Any], bytes]] = {
    Kind.TRUNCATED_JSON: _truncated,
    Kind.INVALID_JSON: _invalid,
    Kind.HTML_200: _html,
    Kind.ERROR_200: _error,
    Kind.WRONG_TYPES: _wrong,
    Kind.MISSING_FIELDS: _missing,
    Kind.NULL_FIELDS: _null,
    Kind.EXTRA_FIELDS: _extra,
    Kind.NAN: _nan,
    Kind.DEEP_NESTING: _nested,
}


def _each_leaf(value: Any, names: frozenset[str], change: Callable[[Any], Any] | None) -> Any:
    """Change the fields that hold no object, or drop them; all of them, or those of the given names."""
    if isinstance(value, list):
        return [_each_leaf(one, names, change) if isinstance(one, dict) else one for one in value]
    changed = {}
    for name, held in value.items():
        if isinstance(held, dict):
            changed[name] = _each_leaf(held, names, change)
        elif names and name not in names:
            changed[name] = held
        elif change is not None:
            changed[name] = change(held)
    return changed


def _other_type(value: Any) -> Any:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return {"0": value[0] if value else None}
    return "n/a" if value is None else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _dumps(value: Any) -> bytes:
    return json.dumps(value).encode()
