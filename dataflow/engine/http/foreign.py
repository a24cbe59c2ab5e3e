"""What the exceptions of other people's clients mean: the table of their classes, by name, and what they carry. Pure.

A function that makes its own requests tells of them by what it raises. No such library is imported for that: a class
is known by the root of its module and its name, an answer by the attributes that carry it.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from multidict import CIMultiDict

Reason = Literal[
    "cannot connect",
    "no such host",
    "certificate",
    "connection lost",
    "timeout",
    "answer cut off",
    "unreadable answer",
]
"""Reasons of attempts without an answer that can be read, as those of declared endpoints are counted."""

HEARD = "__dataflow_heard__"
"""Where the body of an answer is kept on an exception that had not read it."""

_DEEP = 6
_REFUSED_TEXT = re.compile(r"too many ([45]\d\d) error responses")
_UNREACHED_ERRNO = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})
_DEEPER = ("inside", "cannot connect")
_FINER = ("no such host", "certificate")
"""Why nothing could be connected to, as what an exception was made of may say."""

_Entry = Reason | Literal["inside", "ordinary"]
"""What a class says: its reason, or that what it holds says it, or that it is an exception as any other."""

_HTTPX: dict[str, _Entry] = {
    "ConnectError": "cannot connect",
    "ConnectTimeout": "cannot connect",
    "ProxyError": "cannot connect",
    "PoolTimeout": "cannot connect",
    "TimeoutException": "timeout",
    "NetworkError": "connection lost",
    "RemoteProtocolError": "connection lost",
    "DecodingError": "unreadable answer",
    "RequestError": "ordinary",
}
_SDK: dict[str, _Entry] = {"APIConnectionError": "inside", "APITimeoutError": "inside"}
"""Clients that are generated for a provider, such as `openai` and `anthropic`, name theirs so."""
_MODELS = frozenset({"openai", "anthropic"})

TABLE: Mapping[str, Mapping[str, _Entry]] = {
    "httpx": _HTTPX,
    "httpcore": _HTTPX,
    "requests": {
        "ConnectTimeout": "cannot connect",
        "ProxyError": "cannot connect",
        "Timeout": "timeout",
        "SSLError": "inside",
        "ConnectionError": "inside",
        "RetryError": "inside",
        "ChunkedEncodingError": "answer cut off",
        "ContentDecodingError": "unreadable answer",
        "RequestException": "ordinary",
    },
    "urllib3": {
        "NameResolutionError": "no such host",
        "NewConnectionError": "cannot connect",
        "ConnectTimeoutError": "cannot connect",
        "ProxyError": "cannot connect",
        "TimeoutError": "timeout",
        "IncompleteRead": "answer cut off",
        "InvalidChunkLength": "answer cut off",
        "DecodeError": "unreadable answer",
        "ProtocolError": "inside",
        "SSLError": "inside",
        "MaxRetryError": "inside",
        "HTTPError": "ordinary",
    },
    "aiohttp": {
        "ClientConnectorCertificateError": "certificate",
        "ClientConnectorSSLError": "certificate",
        "ServerFingerprintMismatch": "certificate",
        "ClientConnectorDNSError": "no such host",
        "ClientConnectorError": "cannot connect",
        "ConnectionTimeoutError": "cannot connect",
        "ServerTimeoutError": "timeout",
        "ClientConnectionError": "connection lost",
        "ClientPayloadError": "answer cut off",
        "ClientError": "ordinary",
    },
    "urllib": {"ContentTooShortError": "answer cut off", "URLError": "inside"},
    "http": {"IncompleteRead": "answer cut off", "BadStatusLine": "connection lost"},
    "asyncio": {"IncompleteReadError": "answer cut off"},
    "ssl": {"SSLCertVerificationError": "certificate", "SSLError": "connection lost"},
    "socket": {"gaierror": "no such host", "herror": "no such host"},
    "builtins": {
        "ConnectionRefusedError": "cannot connect",
        "ConnectionError": "connection lost",
        "TimeoutError": "timeout",
    },
}
"""What a class means, by the root of its module; the first class in the order of inheritance that is named decides."""

_OTHERWISE: Mapping[str, Reason | None] = {
    "APITimeoutError": "timeout",
    "URLError": None,
    "RetryError": None,
    "MaxRetryError": None,
}
"""What a class means that holds nothing known, where that is no lost connection; None for an exception as any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """The answer of a provider that an exception carries.

    Attributes:
        status: Its HTTP status.
        headers: By name, without regard to case.
        body: As far as it was read.
    """

    status: int
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    body: bytes = b""


def answer_in(error: BaseException) -> Carried | None:
    """The answer that an exception carries and that is no success, or None."""
    if _root(type(error)) == "dataflow":
        return None
    response = _get(error, "response")
    headers = _get(response, "headers") if response is not None else None
    headers = _get(error, "headers") if headers is None else headers
    status = next((one for one in _statuses(error, response, headers) if _is_status(one)), None)
    if status is None:
        return None
    return Carried(status=int(status), headers=_headers(headers), body=_body(error, response))


def reason_in(error: BaseException) -> Reason | int | None:
    """What an exception without an answer says became of a request; the status where only its text names one.

    None where it is an exception as any other.
    """
    return _reason(error, _DEEP)


def leaves_of(error: BaseException) -> list[BaseException]:
    """The exceptions of a group, however deep, or the only one."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in leaves_of(one)]
    return [error]


def is_own_pool(error: BaseException) -> bool:
    """Whether a client waited for one of its own connections, which says nothing of the provider."""
    return any(_root(one) in ("httpx", "httpcore") and one.__name__ == "PoolTimeout" for one in type(error).__mro__)


def is_of_model(error: BaseException) -> bool:
    """Whether a client of a model raised it, for which 404 means that there is no such model."""
    return any(_root(one) in _MODELS for one in type(error).__mro__)


def _reason(error: BaseException, depth: int) -> Reason | int | None:
    known = _entry(error)
    if known is None:
        return _of_system(error) if type(error) is OSError else None
    name, entry = known
    if entry == "ordinary":
        found = _REFUSED_TEXT.fullmatch(_text(error))
        return None if found is None else int(found[1])
    inner = [_reason(one, depth - 1) for one in _inside(error)] if depth and entry in _DEEPER else []
    if entry == "inside":
        return next((one for one in inner if one is not None), _OTHERWISE.get(name, "connection lost"))
    return next((one for one in inner if one in _FINER), entry)


def _entry(error: BaseException) -> tuple[str, _Entry] | None:
    for one in type(error).__mro__:
        entry = TABLE.get(_root(one), {}).get(one.__name__) or _SDK.get(one.__name__)
        if entry is not None:
            return one.__name__, entry
    return None


def _of_system(error: BaseException) -> Reason | None:
    """What an error of the system without a class of its own means: of a file it is an exception as any other."""
    number, file = _get(error, "errno"), _get(error, "filename")
    if number in _UNREACHED_ERRNO:
        return "cannot connect"
    return "connection lost" if number is None and file is None else None


def _inside(error: BaseException) -> Iterator[BaseException]:
    """The exceptions that one was made of; not what was handled when it was raised, which may be about anything."""
    held = (_get(error, "reason"), *error.args, error.__cause__)
    for one in held:
        if isinstance(one, BaseException) and one is not error:
            yield from leaves_of(one)


def _statuses(error: BaseException, response: Any, headers: Any) -> Iterator[Any]:
    yield _get(response, "status_code")
    yield _get(response, "status")
    yield _get(error, "status_code")
    yield _get(error, "http_status")
    if headers is not None:
        # Of what has no headers these may count anything.
        yield _get(error, "status")
        yield _get(error, "code")


def _is_status(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 300 <= value <= 599


def _headers(headers: Any) -> CIMultiDict[str]:
    try:
        return CIMultiDict((str(name), str(value)) for name, value in headers.items())
    except Exception:
        # What is no mapping says nothing.
        return CIMultiDict()


def _body(error: BaseException, response: Any) -> bytes:
    """What was read of the body; nothing is read here, since that may wait for the network."""
    for one in (_kept(response, "_content"), _kept(error, HEARD), _get(error, "body")):
        if isinstance(one, bytes) and one:
            return one
        if isinstance(one, str) and one:
            return one.encode("utf-8", "replace")
    return b""


def _kept(holder: Any, name: str) -> Any:
    return getattr(holder, "__dict__", {}).get(name)


def _get(holder: Any, name: str) -> Any:
    try:
        return getattr(holder, name, None)
    except Exception:
        # An attribute that raises, such as an answer that was not read, says nothing.
        return None


def _text(error: BaseException) -> str:
    return str(error.args[0]) if error.args else ""


def _root(kind: type) -> str:
    return kind.__module__.partition(".")[0]
