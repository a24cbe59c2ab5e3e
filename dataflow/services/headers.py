"""Headers as an author declares them: what is refused, and which of several wins. Pure; values are sent as they are.

A name is the same in capitals and small letters. What a request says goes before what its API says, and this before
what the package sends by itself, such as Accept and User-Agent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from dataflow.errors import DeclarationError
from dataflow.services.auth import Auth

CONTENT_TYPE = "Content-Type"
IDEMPOTENCY_KEY = "Idempotency-Key"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_OF_THE_BODY = frozenset({"content-length", "transfer-encoding"})


def read_headers(given: Mapping[str, str] | None, *, auth: Auth | None, where: str) -> Mapping[str, str]:
    """The headers of an API or of one of its services, as they were written.

    Args:
        given: Texts by name.
        auth: What the API sends its secrets with.
        where: Who says so, for the error: "API `acme`".

    Raises:
        DeclarationError: One cannot be sent, is said twice, or is said by `auth=` too.
    """
    if not isinstance(given or {}, Mapping):
        raise DeclarationError(f"{where}: headers takes a mapping of texts: {{name: value}}")
    known: dict[str, str] = {}
    for name, value in (given or {}).items():
        _check(name, value, where=where)
        if (before := known.setdefault(name.lower(), name)) != name:
            raise DeclarationError(f"{where}: headers holds {before} and {name}, which is one header; leave one out")
    if auth is not None and auth.header is not None and auth.header.lower() in known:
        raise DeclarationError(
            f"{where}: headers holds {known[auth.header.lower()]}, which auth= of the API sends; leave one out, or "
            "declare another flow.API for other credentials"
        )
    return MappingProxyType(dict(given or {}))


def _check(name: Any, value: Any, *, where: str) -> None:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise DeclarationError(f"{where}: headers holds {name!r}, which is no name of a header")
    if name.lower() in _OF_THE_BODY:
        raise DeclarationError(f"{where}: headers holds {name}, which is said by whoever sends the body")
    if not isinstance(value, str) or _UNSENDABLE.search(value):
        raise DeclarationError(f"{where}: headers holds a value of {name} that is no text of one line")


def holds(headers: Mapping[str, str], name: str) -> bool:
    """Whether a header is among them."""
    return any(one.lower() == name.lower() for one in headers)


def joined(*groups: Mapping[str, str]) -> dict[str, str]:
    """Headers of several origins, each once; the later group wins, and its way of writing the name."""
    found = {name.lower(): (name, value) for group in groups for name, value in group.items()}
    return dict(found.values())


def of_json(headers: Mapping[str, str], api: Mapping[str, str]) -> dict[str, str]:
    """Those of a request with a JSON body, which says so unless the author has said what it is.

    Args:
        headers: Of the request.
        api: Of its API, which are sent with every request.
    """
    said = holds(headers, CONTENT_TYPE) or holds(api, CONTENT_TYPE)
    return {**headers} if said else {**headers, CONTENT_TYPE: "application/json"}
