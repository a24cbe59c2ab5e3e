"""Charsets: the text of a body in UTF-8, whatever its Content-Type says that it is in. Pure.

What is packed is unpacked before; what the text means is not known here.
"""

from __future__ import annotations

import codecs
import json
import re
from functools import lru_cache

_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?\s*([^\s;\"',]+)", re.IGNORECASE)
_KNOWN = re.compile(r"[A-Za-z0-9_.:\-]{1,40}")
_JSON = re.compile(r"\s*(?:[^;/\s]+/(?:[^;\s]+\+)?json)\s*(?:;|$)", re.IGNORECASE)
_WIDE = ("utf-16", "utf-32")


class BadCharset(Exception):
    """The text is not in the charset that is declared, or that is not known."""


@lru_cache(maxsize=256)
def charset_of(content_type: str | None) -> str | None:
    """The charset that a Content-Type declares; None for UTF-8, and where it declares none."""
    found = None if content_type is None else _CHARSET.search(content_type)
    if found is None:
        return None
    try:
        return None if codecs.lookup(found[1]).name in ("utf-8", "utf-8-sig") else found[1]
    except (LookupError, ValueError):
        return found[1]


@lru_cache(maxsize=256)
def is_json(content_type: str | None) -> bool:
    """Whether a Content-Type is one of JSON: application/json, or any that ends in +json."""
    return content_type is not None and _JSON.match(content_type) is not None


def is_wide(body: bytes) -> bool:
    """Whether a text that declares nothing begins like UTF-16 or UTF-32, as no JSON in UTF-8 does."""
    return body[:1] in (b"\xff", b"\xfe", b"\0") or body[1:2] == b"\0"


def in_utf8(body: bytes, charset: str | None) -> bytes:
    """The text in UTF-8.

    Args:
        body: The text.
        charset: What is declared, or None.

    Raises:
        BadCharset: It is not in that charset, which may not be known, and is plainly in no other.
    """
    if charset is None:
        return _decoded(body, json.detect_encoding(body), said="UTF-16 or UTF-32") if is_wide(body) else body
    codec = _codec(charset)
    if codec is None or codec == "ascii":
        # What every charset has in common is read whatever the name is.
        if body.isascii() and not is_wide(body):
            return body
        if codec is None:
            raise BadCharset(f"the answer is declared as charset `{charset[:40]}`, which is not known here")
    if codec is not None and codec.startswith(_WIDE):
        # The order of the bytes shows in the text, also where its mark is missing.
        codec = json.detect_encoding(body)
    return _decoded(body, codec or "ascii", said=f"charset `{charset[:40]}`")


def _codec(charset: str) -> str | None:
    """The name of the codec of a charset, or None where it is none of a text."""
    if _KNOWN.fullmatch(charset) is None:
        return None
    try:
        found = codecs.lookup(charset)
    except (LookupError, ValueError):
        return None
    return found.name if getattr(found, "_is_text_encoding", False) else None


def _decoded(body: bytes, codec: str, *, said: str) -> bytes:
    try:
        return body.decode(codec).encode()
    except UnicodeError:
        pass
    try:
        body.decode()
    except UnicodeError:
        raise BadCharset(f"the answer is declared as {said} and is not") from None
    return body
