"""Adds the secrets of an API to its requests; OAuth 2 tokens are fetched, kept and renewed here.

Secrets are looked up when the first request is made, kept in memory only, and never in a message.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec

from dataflow.engine.http.attempts import Answer, AttemptError, Request
from dataflow.engine.http.statuses import said_in_answer
from dataflow.policies.retry import Attempt
from dataflow.services.auth import Auth, Scheme

if TYPE_CHECKING:
    from dataflow.engine.http.transport import Transport

EARLY = 30.0
"""Seconds before its end at which a token is renewed, so that none ends on its way."""

_LIFETIME = 3600.0


class Credentials:
    """The secrets of one API, as its requests carry them.

    Args:
        auth: How they are sent, or None.
        secret: Gives the value of a secret by its name.
        clock: Seconds that only grow.
    """

    def __init__(
        self, auth: Auth | None, *, secret: Callable[[str], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._auth = auth
        self._secret = secret
        self._clock = clock
        self._fixed: dict[str, str] | None = None
        self._token: tuple[str, float] | None = None
        self._lock = asyncio.Lock()

    async def headers(self, transport: Transport) -> dict[str, str]:
        """The headers that a request needs."""
        if self._auth is None:
            return {}
        if self._auth.scheme is Scheme.OAUTH2:
            return {"Authorization": f"Bearer {await self._current(transport, self._auth)}"}
        if self._fixed is None:
            self._fixed = self._written(self._auth)
        return self._fixed

    def query(self) -> str:
        """What is added to the query of a URL; empty for most."""
        if self._auth is None or self._auth.scheme is not Scheme.QUERY:
            return ""
        return urlencode({self._auth.place: self._secret(self._auth.secrets[0])}, quote_via=quote)

    def forget(self, refused: Mapping[str, str]) -> bool:
        """Drop the token of a refused request, unless another call has renewed it; True where there is a new one."""
        if self._auth is None or self._auth.scheme is not Scheme.OAUTH2:
            return False
        if self._token is not None and refused["Authorization"] == f"Bearer {self._token[0]}":
            self._token = None
        return True

    def _written(self, auth: Auth) -> dict[str, str]:
        values = [self._secret(name) for name in auth.secrets]
        if auth.scheme is Scheme.BEARER:
            return {"Authorization": f"Bearer {values[0]}"}
        if auth.scheme is Scheme.BASIC:
            return {"Authorization": _basic(*values)}
        return {auth.place: values[0]} if auth.scheme is Scheme.HEADER else {}

    async def _current(self, transport: Transport, auth: Auth) -> str:
        async with self._lock:
            if self._token is None or self._token[1] <= self._clock():
                self._token = await self._fetch(transport, auth)
            return self._token[0]

    async def _fetch(self, transport: Transport, auth: Auth) -> tuple[str, float]:
        form = {"grant_type": "client_credentials", **({"scope": auth.scope} if auth.scope else {})}
        headers = {
            "Authorization": _basic(*(self._secret(name) for name in auth.secrets)),
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        request = Request(method="POST", url=auth.token_url, headers=headers, body=urlencode(form).encode())
        try:
            answer = await transport.send(request)
        except AttemptError as error:
            # The call itself has not been sent, so it may be made again whatever it does.
            error.again = "always" if error.again == "repeatable" else error.again
            raise
        token, lifetime = _read_token(answer)
        return token, self._clock() + max(lifetime - EARLY, lifetime / 2)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _read_token(answer: Answer) -> tuple[str, float]:
    if answer.status in (400, 401, 403):
        raise AttemptError(
            f"HTTP {answer.status}",
            "the token endpoint refuses the client; check the secrets",
            attempt=Attempt.REFUSED,
            status=answer.status,
            said=said_in_answer(answer),
        )
    try:
        values = msgspec.json.decode(answer.body)
        return str(values["access_token"]), float(values.get("expires_in") or _LIFETIME)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise AttemptError(
            "no token", f"the token endpoint answered {answer.status} without a token", again="always"
        ) from error
