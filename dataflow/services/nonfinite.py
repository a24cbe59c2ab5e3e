"""NaN and the infinities in answers: JSON does not have them, and many a provider writes them. Pure.

They are looked for only in a body that is no JSON. What is allowed of them is said by whoever reads the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from dataflow.services.selection import NotFinite

_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|-?\b(?:nan|inf(?:inity)?)\b', re.DOTALL | re.IGNORECASE)
_WORDS = re.compile(rb"nan|inf", re.IGNORECASE)
_NAME = re.compile(r'[^.\[\]"]+')


def decode_nonfinite(body: bytes, decode: Callable[[bytes], Any], *, allowed: bool) -> Any:
    """What a body says that the decoder of JSON refuses, as far as NaN and infinities are the only reason.

    Args:
        body: It.
        decode: Decodes JSON; raises ValueError where it is none.
        allowed: Whether they are taken as floats.

    Raises:
        NotFinite: It holds one, and that is not allowed.
        ValueError: It is no JSON for another reason.
    """
    if _WORDS.search(body) is None:
        raise ValueError("it holds none")
    mark = _unused(body)
    held: dict[str, str] = {}

    def replace(found: re.Match[bytes]) -> bytes:
        token = found[0]
        if token[:1] == b'"':
            return token
        written = token.decode()
        held[f"{mark}{written}"] = written
        return f'"{mark}{written}"'.encode()

    parsed = decode(_TOKENS.sub(replace, body))
    found = _find(parsed, held)
    if found is None:
        raise ValueError("it holds none where a value may be")
    if not allowed:
        name, path = found
        raise NotFinite(f"holds {name} at `{_written(path)}`" if path else f"is {name}")
    return _taken(parsed, held)


def _unused(body: bytes) -> str:
    """A text that the body does not hold."""
    mark = "~"
    while mark.encode() in body:
        mark += "~"
    return mark


def _find(value: Any, held: dict[str, str]) -> tuple[str, tuple[str, ...]] | None:
    """The first one, and the names and places that lead to it."""
    if isinstance(value, str):
        return (held[value], ()) if value in held else None
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        if (found := _find(one, held)) is not None:
            return found[0], (str(name), *found[1])
    return None


def _taken(value: Any, held: dict[str, str]) -> Any:
    if isinstance(value, str):
        return float(held[value]) if value in held else value
    if isinstance(value, dict):
        return {name: _taken(one, held) for name, one in value.items()}
    return [_taken(one, held) for one in value] if isinstance(value, list) else value


def _written(path: tuple[str, ...]) -> str:
    """The path as `select=` writes it."""
    out = ""
    for name in path:
        plain = _NAME.fullmatch(name) is not None
        out += (f".{name}" if out else name) if plain else f'["{name}"]'
    return out
