"""What of a request an endpoint of a model refuses, read from its error: endpoints say it in many ways. Pure.

Which ways there are to ask it is said in `manners`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dataflow.services.manners import Format, Part
from dataflow.services.said import said

_ABOUT = 2000
"""Characters of what an endpoint said in which it names what it refuses."""
_WHOLE = 64 * 1024
"""Bytes up to which a body is parsed; a larger one is hardly an error."""
_DEEP = 6
_OTHERWISE = frozenset({401, 402, 403, 408, 429})
"""Statuses that speak of the account or of the time, whatever their text names."""
_FIELDS = ("loc", "param", "field", "path", "pointer")
"""Where an error says which field it is about."""
_PARTS = ("error", "errors", "detail", "details", "message")
"""Where it has its parts; what it quotes of the request stands elsewhere."""
_TAKEN = re.compile(
    r"\b(?:supported|allowed|accepted|valid|permitted|known) (?:parameter|field|argument|key|option|name)s?\b[^.;\n]*"
    r"|\bexpected one of\b.*",
    re.I,
)
"""What an endpoint says that it would take."""
_RANGE = re.compile(
    r"too (?:large|high|big|small)|at (?:most|least)|less than|greater than|exceed|maximum|between", re.I
)
"""How a number is refused that is out of range, which another field would not mend."""
_UNKNOWN = re.compile(
    r"unsupported param|not supported (?:with|by|for) th|unrecogni[sz]ed|unknown|extra inputs|deprecated|instead", re.I
)
"""How a field is refused that is none, whatever is said of its range."""
_NAMES: Mapping[Part, re.Pattern[str]] = {
    Part.FORMAT: re.compile(
        r"response[ _]?(?:format|schema)|json[ _]?schema|json[ _]?object|structured[ _]output|json mode|grammar"
        r"|guided[ _](?:json|decoding)",
        re.I,
    ),
    Part.MOST: re.compile(r"max[ _]?(?:completion|new|output)?[ _]?tokens", re.I),
    Part.TEMPERATURE: re.compile(r"temperature", re.I),
    Part.SYSTEM: re.compile(
        r"(?:system|developer)[ _]?(?:role|message|prompt|instruction)|role\W{0,4}system|['\"]system['\"]"
        r"|roles must alternate|messages\W{0,3}\d*\W{0,3}role",
        re.I,
    ),
}
_TOOLS = re.compile(r"tool|function[ _]?call|grammar", re.I)


def refused_part(status: int, body: bytes, *, sent: frozenset[Part], format: Format) -> Part | None:  # noqa: A002
    """What an endpoint refuses of what was sent, by what it says; None where it fails for something else.

    The field that its error is about is meant, else the part that its text names first: behind it may stand what it
    would take instead.

    Args:
        status: Of the answer, which is an error.
        body: Of the answer.
        sent: The parts that the request had.
        format: How it told the schema.
    """
    if status in _OTHERWISE or not sent:
        return None
    names = {**_NAMES, Part.FORMAT: _TOOLS} if format is Format.TOOL else _NAMES
    text = said(body, most=_ABOUT)
    for told in (*_fields(body), _TAKEN.sub("", text)):
        found = {part: named.start() for part in sent if (named := names[part].search(told))}
        if found:
            part = min(found, key=lambda one: found[one])
            in_range = part is Part.MOST and _RANGE.search(text) and not _UNKNOWN.search(text)
            return None if in_range else part
    return None


def _fields(body: bytes) -> Iterator[str]:
    """The fields that an error says it is about."""
    if len(body) > _WHOLE:
        return
    try:
        yield from _fields_in(json.loads(body), _DEEP)
    except (ValueError, RecursionError):
        return


def _fields_in(value: Any, depth: int) -> Iterator[str]:
    if depth == 0:
        return
    if isinstance(value, list):
        for one in value:
            yield from _fields_in(one, depth - 1)
    if not isinstance(value, dict):
        return
    for name in _FIELDS:
        where = value.get(name)
        if isinstance(where, list):
            where = ".".join(str(one) for one in where if isinstance(one, (str, int)))
        if isinstance(where, str):
            yield where
    for name in _PARTS:
        yield from _fields_in(value.get(name), depth - 1)
