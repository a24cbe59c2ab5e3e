"""Answers in place of providers while a block of `flow.testing.offline` is on, and the count of what was asked.

Nothing is sent from here. Waiting, retrying and limits stay with the caller, on a control plane of the block's own.
"""

from __future__ import annotations

import difflib
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from dataflow.engine.http import attempts
from dataflow.engine.http.attempts import Answer, AttemptError
from dataflow.errors import DeclarationError
from dataflow.policies.retry import Attempt

if TYPE_CHECKING:
    from dataflow.engine.control.home import LocalLine
    from dataflow.services.api import API

_NOTHING: Any = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it would have been sent, without secrets.

    Attributes:
        api: The name of the API.
        method: In capitals.
        url: The whole URL with its query.
        path: What follows the URL of the API, decoded, as in `"/companies/a.example"`.
        params: The query; a parameter that is there several times is a list.
        headers: Found in capitals and small letters alike.
        body: Bytes, empty where there is none.
    """

    api: str
    method: str
    url: str
    path: str
    params: Mapping[str, Any]
    headers: Mapping[str, str]
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: It is none.
        """
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            raise ValueError(f"the body of the request to `{self.api}` is no JSON") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What a handler answers where a value alone does not say it.

    Attributes:
        status: 200 by default.
        json: What the body holds as JSON.
        body: The body as it is; text is encoded as UTF-8.
        headers: Such as `{"Retry-After": "1"}`.

    Raises:
        DeclarationError: Both bodies are given, or the status is none.
    """

    status: int = 200
    json: Any = _NOTHING
    body: bytes | str = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no provider could answer."""
        if self.json is not _NOTHING and self.body:
            raise DeclarationError("a Response takes json= or body=, not both")
        if not isinstance(self.status, int) or not 100 <= self.status <= 599:
            raise DeclarationError(
                "a Response takes a status from 100 to 599; a number as an answer is Response(json=...)"
            )


Handler = Callable[[Request], Any]
"""Plays the provider: gives a value, a status or a `Response`, or raises; it may be a coroutine function."""


class Calls:
    """The requests of one block, in the order they came; threads may share it.

    `calls["acme"]` lists those of one API, `calls.total` and `len(calls)` count all; attempts count, not records.
    """

    def __init__(self, apis: Mapping[str, Any]) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._apis = frozenset(apis)

    @property
    def total(self) -> int:
        """Requests in all."""
        return len(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        with self._lock:
            return iter(tuple(self._requests))

    def __getitem__(self, api: str) -> list[Request]:
        if api not in self._apis:
            raise KeyError(f"offline() has no handler for {api!r}; it has {', '.join(sorted(self._apis)) or 'none'}")
        return [one for one in self if one.api == api]

    def __repr__(self) -> str:
        each = ", ".join(f"{api}: {len(self[api])}" for api in sorted(self._apis))
        return f"<{self.total} calls ({each})>" if each else f"<{self.total} calls>"

    def note(self, request: Request) -> None:
        """Count one more."""
        with self._lock:
            self._requests.append(request)


class Session:
    """One block: its handlers, its calls, and limits that nothing outside of it shares.

    Args:
        handlers: By the name of the API.

    Raises:
        DeclarationError: A handler cannot be called.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        for name, handler in handlers.items():
            if not callable(handler):
                raise DeclarationError(
                    f"offline(): {name}= takes a function of the request, such as lambda request: {{...}}"
                )
        self._handlers = dict(handlers)
        self.calls = Calls(handlers)

    @cached_property
    def line(self) -> LocalLine:
        """The way to a control plane that is new: a breaker opened in one test is closed in the next."""
        from dataflow.engine.control.home import LocalLine
        from dataflow.engine.control.plane import Plane

        return LocalLine(Plane(now=time.monotonic()))

    async def answer(self, api: API, sent: attempts.Request) -> Answer:
        """What the handler of the API answers.

        Raises:
            AttemptError: It raised an OSError, which stands for a lost connection, or TimeoutError, for no answer.
            DeclarationError: There is no handler, or it gave or raised something else.
        """
        handler = self._handlers.get(api.name)
        if handler is None:
            raise DeclarationError(_missing(api.name, self._handlers))
        request = read_request(api, sent)
        self.calls.note(request)
        response = read_response(await _asked(handler, request), api=api.name)
        return _answer(response, api)


class Sessions:
    """The blocks that are on in this process; the innermost one answers, alone."""

    def __init__(self) -> None:
        self.current: Session | None = None
        self._open: list[Session] = []
        self._lock = threading.Lock()

    def begin(self, session: Session) -> None:
        """Nothing is sent from now on."""
        with self._lock:
            self._open.append(session)
            self.current = session

    def end(self, session: Session) -> None:
        """Back to the block around it, or to the network."""
        with self._lock:
            self._open.remove(session)
            self.current = self._open[-1] if self._open else None


SESSIONS = Sessions()
"""Those of this process; a worker process has its own, which are off."""


def refuse_processes() -> None:
    """Refuse work in other processes while a block is on, which cannot reach them.

    Raises:
        DeclarationError: One is on.
    """
    if SESSIONS.current is not None:
        raise DeclarationError(
            "offline() holds for this process only, and this run would call its APIs from worker processes; "
            "run it without client=, scheduler=, workers= and isolate=, and on less data"
        )


def read_request(api: API, sent: attempts.Request) -> Request:
    """The request as its handler sees it."""
    from multidict import CIMultiDict

    parts, own = urlsplit(sent.url), urlsplit(api.url)
    params: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        known = params.get(name)
        params[name] = value if known is None else [*known, value] if isinstance(known, list) else [known, value]
    headers = CIMultiDict(api.headers)
    headers.update(sent.headers)
    return Request(
        api=api.name,
        method=sent.method,
        url=sent.url,
        path=unquote(parts.path.removeprefix(own.path) if parts.netloc == own.netloc else parts.path),
        params=params,
        headers=headers,
        body=sent.body or b"",
    )


def read_response(value: Any, *, api: str) -> Response:
    """What the value that a handler returned says: a `Response`, a status, or else JSON with 200.

    Raises:
        DeclarationError: It is no JSON.
    """
    if isinstance(value, Response):
        found = value
    elif isinstance(value, int) and not isinstance(value, bool):
        found = Response(status=value)
    else:
        found = Response(json=value)
    if found.json is _NOTHING:
        return found
    try:
        body = msgspec.json.encode(found.json)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise DeclarationError(
            f"offline(): the handler of `{api}` gave a {type(value).__name__} that JSON cannot hold; "
            "flow.testing.Response(body=...) sends any bytes"
        ) from error
    return Response(status=found.status, body=body, headers={"Content-Type": "application/json", **found.headers})


async def _asked(handler: Handler, request: Request) -> Any:
    try:
        value = handler(request)
        return await _awaited(value) if inspect.isawaitable(value) else value
    except TimeoutError as error:
        raise AttemptError("timeout", "no answer came", again="repeatable") from error
    except ConnectionRefusedError as error:
        raise AttemptError("cannot connect", "no connection could be set up", again="always") from error
    except OSError as error:
        kind = type(error).__name__
        raise AttemptError("connection lost", f"the connection was lost ({kind})", again="repeatable") from error
    except Exception as error:
        raise DeclarationError(
            f"offline(): the handler of `{request.api}` raised {type(error).__name__}; "
            "a provider that fails is a status, an OSError or a TimeoutError"
        ) from error


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def _answer(response: Response, api: API) -> Answer:
    from multidict import CIMultiDict

    body = response.body.encode() if isinstance(response.body, str) else response.body
    if len(body) > api.max_answer:
        raise AttemptError(
            "answer too long", f"the answer is longer than {api.max_answer:,} bytes", attempt=Attempt.REFUSED
        )
    return Answer(status=response.status, headers=CIMultiDict(response.headers), body=body)


def _missing(name: str, handlers: Mapping[str, Handler]) -> str:
    written = f"{name}=handler" if name.isidentifier() else f'**{{"{name}": handler}}'
    near = difflib.get_close_matches(name, handlers, n=1)
    hint = f"; did you mean it by `{near[0]}`?" if near else ""
    return f"API `{name}` is called while offline, and nothing answers for it; add {written} to offline(){hint}"
