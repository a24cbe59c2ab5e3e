"""One API in one process: its connections, its secrets, its gate and its caller, all on one event loop."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from dataflow.engine.http.attempts import NO_SECRET, Answer, AttemptError, Request
from dataflow.engine.http.bodies import legible
from dataflow.engine.http.caller import Caller
from dataflow.engine.http.credentials import Credentials
from dataflow.engine.http.manners import PROCESS, Endpoints
from dataflow.engine.http.offline import SESSIONS, Session
from dataflow.engine.http.till import LEAVING
from dataflow.engine.http.transport import Transport
from dataflow.errors import ServiceError
from dataflow.policies.retry import Attempt
from dataflow.services.template import with_query

if TYPE_CHECKING:
    from dataflow.engine.control.gate import Gate
    from dataflow.services.api import API


class Provider:
    """Where all calls of one API in this process go out; made and used on one event loop.

    Args:
        api: As declared.
        gate: Its share of the limits.
        secret: Gives the value of a secret by its name.
        session: What answers in place of the provider, also after its block has ended; None for the network.
        warn: Called with a sentence about how it wants to be asked; default: a Python warning.
    """

    def __init__(
        self,
        api: API,
        *,
        gate: Gate,
        secret: Callable[[str], str],
        session: Session | None = None,
        warn: Callable[[str], object] = warnings.warn,
    ) -> None:
        self._session = session
        self.endpoints = Endpoints(PROCESS if session is None else {}, warn=warn)
        self.api = api
        self.gate = gate
        self.caller = Caller(gate)
        self.transport = Transport(api)
        self._credentials = Credentials(api.auth, secret=secret)
        place = None if api.auth is None else api.auth.header
        self._place = None if place is None else place.lower()

    async def send(self, request: Request, *, as_text: bool = False) -> Answer:
        """Send a request with the secrets of the API; a token that is refused is renewed once.

        One that has a header of its own in their place, as only a function can make it, is sent as it is.

        Args:
            request: What is sent.
            as_text: Whether the body of the answer is a text, given in UTF-8 however it was packed and written.

        Raises:
            AttemptError: No whole answer came, or it cannot be read.
        """
        session = self._session or SESSIONS.current
        if session is not None:
            answer = await session.answer(self.api, request)
        elif self._place in request.headers:
            answer = await self._send(request, {}, query="")
        else:
            headers, query = await self._secrets()
            answer = await self._send(request, headers, query=query)
            if answer.status == 401 and self._credentials.forget(headers):
                headers, query = await self._secrets()
                answer = await self._send(request, headers, query=query)
        return legible(answer, most=self.api.max_answer) if as_text else answer

    async def _secrets(self) -> tuple[dict[str, str], str]:
        try:
            return await self._credentials.headers(self.transport), self._credentials.query()
        except ServiceError as error:
            raise AttemptError(NO_SECRET, str(error), attempt=Attempt.ABANDONED, status=401) from error

    async def _send(self, request: Request, headers: dict[str, str], *, query: str) -> Answer:
        leave = LEAVING.get()
        if not headers and not query:
            return await self.transport.send(request, leave=leave)
        return await self.transport.send(
            Request(
                method=request.method,
                url=with_query(request.url, query),
                headers={**request.headers, **headers},
                body=request.body,
            ),
            leave=leave,
        )

    async def close(self) -> None:
        """Give back what the gate holds, then close the connections."""
        await self.gate.close()
        await self.transport.close()
