"""The `httpx.AsyncClient` that a function is given: every request it makes goes out under the policies of its API.

httpx is imported when the first client is made. Its own transport is not used: see `transport`.
"""

from __future__ import annotations

from dataclasses import replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import httpx

from dataflow.engine.control.gate import Impatient
from dataflow.engine.http.attempts import OUT_OF_QUOTA, UNREACHED, Answer, Call, CallError, Request
from dataflow.engine.http.bodies import UNREADABLE, legible
from dataflow.engine.http.calls import current_call
from dataflow.engine.http.charsets import is_json
from dataflow.engine.http.settings import Halted
from dataflow.engine.http.statuses import status_error
from dataflow.policies.deadline import Deadline
from dataflow.policies.retry import Attempt
from dataflow.services.template import is_allowed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflow.engine.http.attempts import Terms
    from dataflow.engine.http.provider import Provider

_OWN_HEADERS = {"host", "connection", "content-length", "transfer-encoding"}
"""Headers that belong to a connection, which is not httpx's."""
_SAID_BY_HTTPX = ("accept", "accept-encoding", "connection", "user-agent")
"""Headers that it adds to each request by itself, in place of those of the API; the transport adds its own."""


class PolicyTransport(httpx.AsyncBaseTransport):
    """Sends the requests of an httpx client through a provider.

    Args:
        provider: Of the API.
        terms: For requests that are made outside of a call.
        clock: Seconds that only grow.
        wall: Seconds since 1970, for a Retry-After that is a date.
    """

    def __init__(
        self, provider: Provider, *, terms: Terms, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._provider = provider
        self._terms = terms
        self._clock = clock
        self._wall = wall

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer to a request, whatever its status, after the attempts that the policies allow."""
        self._check_host(request)
        body = await request.aread()
        headers = {name: value for name, value in request.headers.items() if name not in _OWN_HEADERS}
        sent = Request(method=request.method, url=str(request.url), headers=headers, body=body or None)
        whole = current_call.get(None) or self._apart()
        call = whole.request(terms=_terms_of(sent, request, whole.terms))
        last: list[Answer] = []

        async def attempt() -> Answer:
            whole.take_over(call)
            return await self._attempt(sent, call, last)

        try:
            answer = await self._provider.caller.perform(attempt, call)
        except CallError as error:
            if error.reason == OUT_OF_QUOTA:
                # Whatever the function makes of it: no later record will be answered either.
                whole.refused = error
            if not last:
                raise _as_httpx(error, request) from error
            answer = last[0]
        except (Impatient, Halted) as error:
            whole.refused = error
            raise
        finally:
            whole.add(call)
        return _response(answer, request)

    def _apart(self) -> Call:
        """What a request outside of a call belongs to."""
        deadline = Deadline(started=self._clock(), limit=self._terms.record_limit)
        return Call(terms=self._terms, deadline=deadline)

    async def _attempt(self, sent: Request, call: Call, last: list[Answer]) -> Answer:
        last.clear()
        answer = call.got(await self._provider.send(sent))
        if answer.status >= 400:
            error = status_error(answer, now_wall=self._wall(), later=self._provider.api.later)
            if error.attempt is not Attempt.REFUSED or error.again != "never" or error.reason == OUT_OF_QUOTA:
                last.append(answer)
                raise error
        # Anything but JSON is the function's to read, by what its headers say.
        return self._legible(answer) if is_json(answer.headers.get("Content-Type")) else answer

    def _legible(self, answer: Answer) -> Answer:
        found = legible(answer, most=self._provider.api.max_answer)
        if found is answer:
            return answer
        headers = answer.headers.copy()
        headers["Content-Type"] = headers["Content-Type"].partition(";")[0].strip()
        return replace(found, headers=headers)

    def _check_host(self, request: httpx.Request) -> None:
        """The secrets of an API go to its own host only, and to those that it allows."""
        api, url = self._provider.api, request.url
        own = httpx.URL(api.url)
        known = url.host == own.host or is_allowed(url.host.lower(), api.allow_hosts)
        if not known or (url.scheme, url.port) != (own.scheme, own.port):
            raise httpx.UnsupportedProtocol(
                f"the client of API `{api.name}` calls {', '.join([own.host, *api.allow_hosts])} only, with the scheme "
                "and port of its url; another host is another flow.API, or one of its allow_hosts=",
                request=request,
            )


def _terms_of(sent: Request, request: httpx.Request, terms: Terms) -> Terms:
    """Under which terms one request is sent; a timeout of its own counts where it is the shorter one."""
    own = request.extensions.get("timeout", {}).get("read")
    timeout = min(own, terms.timeout) if own else terms.timeout
    return replace(terms, repeatable=terms.repeats_posts or sent.is_repeatable, timeout=timeout)


def _as_httpx(error: CallError, request: httpx.Request) -> httpx.RequestError:
    kind: type[httpx.RequestError] = httpx.ReadError
    if error.timed_out:
        kind = httpx.ReadTimeout
    elif error.reason in UNREACHED:
        kind = httpx.ConnectError
    elif error.reason == UNREADABLE:
        kind = httpx.DecodingError
    made: Any = kind(f"{error.reason}: {error}", request=request)
    made.status, made.timed_out, made.call_error = error.status, error.timed_out, error
    found: httpx.RequestError = made
    return found


def _response(answer: Answer, request: httpx.Request) -> httpx.Response:
    # The body is unpacked already; without one its length is what a HEAD asks for.
    sizes = {"content-encoding", "content-length"} if answer.body else {"content-encoding"}
    headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in sizes]
    return httpx.Response(answer.status, headers=headers, content=answer.body, request=request)


def make_client(
    provider: Provider, *, terms: Terms, clock: Callable[[], float], wall: Callable[[], float]
) -> httpx.AsyncClient:
    """The client of an API for functions; redirects are not followed, and the environment is not looked at."""
    transport = PolicyTransport(provider, terms=terms, clock=clock, wall=wall)
    # What one record is given must not be sent for the next one.
    no_cookies = CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
    client = httpx.AsyncClient(
        base_url=provider.api.url, transport=transport, timeout=None, trust_env=False, cookies=no_cookies
    )
    for name in _SAID_BY_HTTPX:
        del client.headers[name]
    # Among its own, so that what it says of a body goes behind what the API says.
    client.headers.update(provider.api.headers)
    return client
