"""Auth names secrets and where they go; a secret itself is never written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.services.auth import Auth, Scheme

TOKEN = "https://login.example/token"


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (flow.bearer("KEY"), Auth(scheme=Scheme.BEARER, secrets=("KEY",))),
        (flow.basic("USER", "PASSWORD"), Auth(scheme=Scheme.BASIC, secrets=("USER", "PASSWORD"))),
        (flow.api_key("KEY", header="X-Key"), Auth(scheme=Scheme.HEADER, secrets=("KEY",), place="X-Key")),
        (flow.api_key("KEY", query="key"), Auth(scheme=Scheme.QUERY, secrets=("KEY",), place="key")),
        (
            flow.oauth2_client("ID", "SECRET", token_url=TOKEN, scope="read"),
            Auth(scheme=Scheme.OAUTH2, secrets=("ID", "SECRET"), token_url=TOKEN, scope="read"),
        ),
    ],
)
def test_each_form_is_a_value_that_travels(auth: Auth, expected: Auth) -> None:
    assert auth == expected
    assert cloudpickle.loads(cloudpickle.dumps(auth)) == auth


@pytest.mark.parametrize("written", ["sk-live-123", "Bearer abc", "", "a.b.c", 3, None])
@pytest.mark.parametrize(
    "declare",
    [
        flow.bearer,
        lambda secret: flow.basic("USER", secret),
        lambda secret: flow.api_key(secret, header="X-Key"),
        lambda secret: flow.oauth2_client("ID", secret, token_url=TOKEN),
    ],
)
def test_what_looks_like_the_secret_itself_is_refused_and_not_repeated(
    declare: Callable[[Any], Auth], written: Any
) -> None:
    with pytest.raises(DeclarationError, match="a secret is named, never written") as caught:
        declare(written)
    assert not written or str(written) not in str(caught.value)


@pytest.mark.parametrize("places", [{}, {"header": "A", "query": "b"}])
def test_an_api_key_has_one_place(places: dict[str, str]) -> None:
    with pytest.raises(DeclarationError, match="api_key takes one place"):
        flow.api_key("KEY", **places)


def test_a_token_url_is_a_whole_one() -> None:
    with pytest.raises(DeclarationError, match="takes the whole token_url, with https://"):
        flow.oauth2_client("ID", "SECRET", token_url="login.example/token")
