"""Secrets are sent in the form that was declared; tokens are fetched once, kept, and renewed in time."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from typing import Any
from urllib.parse import parse_qs

import pytest

import dataflow as flow
from dataflow.engine.http.attempts import Answer, AttemptError, Request
from dataflow.engine.http.credentials import EARLY, Credentials
from dataflow.errors import ServiceError
from dataflow.policies.retry import Attempt
from dataflow.services.auth import Auth
from dataflow.testing import SettableClock

SECRETS = {"KEY": "k/1", "USER": "me", "PASSWORD": "pä:ss"}
OAUTH = flow.oauth2_client("USER", "PASSWORD", token_url="https://login.example/token", scope="read")


class TokenEndpoint:
    """A transport that gives one token after the other."""

    def __init__(self, body: bytes | None = None, *, status: int = 200, lifetime: float = 600) -> None:
        self.body, self.status, self.lifetime = body, status, lifetime
        self.asked: list[Request] = []

    async def send(self, request: Request) -> Answer:
        self.asked.append(request)
        await asyncio.sleep(0)
        number = len(self.asked)
        body = self.body or b'{"access_token": "t%d", "expires_in": %d}' % (number, self.lifetime)
        return Answer(status=self.status, headers={}, body=body)


def credentials(auth: Auth | None, clock: Any = None) -> Credentials:
    return Credentials(auth, secret=SECRETS.__getitem__, clock=clock or SettableClock())


@pytest.mark.parametrize(
    ("auth", "headers", "query"),
    [
        (None, {}, ""),
        (flow.bearer("KEY"), {"Authorization": "Bearer k/1"}, ""),
        (flow.api_key("KEY", header="X-API-Key"), {"X-API-Key": "k/1"}, ""),
        (flow.api_key("KEY", query="key"), {}, "key=k%2F1"),
    ],
)
def test_each_scheme_has_its_form(auth: Auth | None, headers: dict[str, str], query: str) -> None:
    one = credentials(auth)
    assert asyncio.run(one.headers(TokenEndpoint())) == headers  # type: ignore[arg-type]
    assert one.query() == query
    assert not one.forget(headers)


def test_basic_takes_text_that_is_no_ascii() -> None:
    headers = asyncio.run(credentials(flow.basic("USER", "PASSWORD")).headers(TokenEndpoint()))  # type: ignore[arg-type]
    assert b64decode(headers["Authorization"].removeprefix("Basic ")).decode() == "me:pä:ss"


def test_a_secret_is_looked_up_when_it_is_needed_and_its_absence_is_said() -> None:
    def missing(name: str) -> str:
        raise ServiceError(f"the secret {name} is not set")

    one = Credentials(flow.bearer("KEY"), secret=missing)
    with pytest.raises(ServiceError, match="KEY is not set"):
        asyncio.run(one.headers(TokenEndpoint()))  # type: ignore[arg-type]


def test_a_token_is_asked_for_with_the_secrets_of_the_client() -> None:
    endpoint = TokenEndpoint()
    headers = asyncio.run(credentials(OAUTH).headers(endpoint))  # type: ignore[arg-type]
    assert headers == {"Authorization": "Bearer t1"}
    (request,) = endpoint.asked
    assert (request.method, request.url) == ("POST", "https://login.example/token")
    assert parse_qs((request.body or b"").decode()) == {"grant_type": ["client_credentials"], "scope": ["read"]}
    assert b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode().startswith("me:")


def test_many_callers_share_one_token() -> None:
    endpoint, found = TokenEndpoint(), []

    async def many() -> None:
        one = credentials(OAUTH)
        found.extend(await asyncio.gather(*(one.headers(endpoint) for _ in range(100))))  # type: ignore[arg-type]

    asyncio.run(many())
    assert len(endpoint.asked) == 1
    assert {one["Authorization"] for one in found} == {"Bearer t1"}


@pytest.mark.parametrize(("lifetime", "kept"), [(600, 600 - EARLY), (40, 20), (3600, 3600 - EARLY)])
def test_a_token_is_renewed_before_its_end_and_a_short_one_at_half_of_its_life(lifetime: int, kept: float) -> None:
    endpoint, clock = TokenEndpoint(lifetime=lifetime), SettableClock(1000.0)

    async def over_time() -> list[str]:
        one, found = credentials(OAUTH, clock), []
        for wait in (0, kept - 1, 1):
            clock.advance(wait)
            found.append((await one.headers(endpoint))["Authorization"])  # type: ignore[arg-type]
        return found

    assert asyncio.run(over_time()) == ["Bearer t1", "Bearer t1", "Bearer t2"]


def test_a_token_that_was_refused_is_dropped_once_for_all_who_used_it() -> None:
    endpoint = TokenEndpoint()

    async def refused() -> list[str]:
        one = credentials(OAUTH)
        first = await one.headers(endpoint)  # type: ignore[arg-type]
        assert one.forget(first)
        second = await one.headers(endpoint)  # type: ignore[arg-type]
        assert one.forget(first)
        third = await one.headers(endpoint)  # type: ignore[arg-type]
        return [first["Authorization"], second["Authorization"], third["Authorization"]]

    assert asyncio.run(refused()) == ["Bearer t1", "Bearer t2", "Bearer t2"]


@pytest.mark.parametrize(
    ("body", "status", "attempt", "again"),
    [
        (b"{}", 401, Attempt.REFUSED, "never"),
        (b"{}", 400, Attempt.REFUSED, "never"),
        (b"{}", 503, Attempt.FAILED, "always"),
        (b"<html>", 200, Attempt.FAILED, "always"),
        (b"[]", 200, Attempt.FAILED, "always"),
        (b'{"token": 1}', 200, Attempt.FAILED, "always"),
    ],
)
def test_an_endpoint_without_a_token_is_an_attempt_that_failed(
    body: bytes, status: int, attempt: Attempt, again: str
) -> None:
    with pytest.raises(AttemptError) as caught:
        asyncio.run(credentials(OAUTH).headers(TokenEndpoint(body, status=status)))  # type: ignore[arg-type]
    assert (caught.value.attempt, caught.value.again) == (attempt, again)
    assert not any(secret in caught.value.error for secret in SECRETS.values())
