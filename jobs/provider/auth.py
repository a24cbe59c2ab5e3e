"""Who may call: what is wrong with the credentials of a call, and the tokens that were given out. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

USER = "demo"
"""The name of the only user and client."""
CHALLENGES = {"bearer": "Bearer", "basic": 'Basic realm="provider"', "api-key": "ApiKey", "oauth2": "Bearer"}


class Tokens:
    """Access tokens that were given out, and when they end."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}

    def give(self, *, ends: float) -> str:
        """A new token, unlike all before, that is good until a time."""
        token = f"token-{len(self._ends) + 1}"
        self._ends[token] = ends
        return token

    def good(self, token: str, now: float) -> bool:
        """Whether a token was given out and has not ended."""
        return now < self._ends.get(token, now)


def permitted(auth: str, headers: Mapping[str, str], *, secret: str, tokens: Tokens, now: float) -> bool:
    """Whether a call shows what it must."""
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    match auth:
        case "none":
            return True
        case "api-key":
            return headers.get("x-api-key") == secret
        case "basic":
            return scheme.lower() == "basic" and basic_pair(shown) == (USER, secret)
        case "bearer":
            return scheme.lower() == "bearer" and shown == secret
    return scheme.lower() == "bearer" and tokens.good(shown, now)


def basic_pair(shown: str) -> tuple[str, str]:
    """User and password out of a Basic header; two empty texts where it is damaged."""
    try:
        user, _, password = base64.b64decode(shown, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


def token_problem(fields: Mapping[str, str], headers: Mapping[str, str], *, secret: str) -> str | None:
    """Why the token endpoint refuses, in the words of RFC 6749 section 5.2; None where it does not."""
    if fields.get("grant_type") != "client_credentials":
        return "unsupported_grant_type"
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    pair = basic_pair(shown) if scheme.lower() == "basic" else (fields.get("client_id"), fields.get("client_secret"))
    return None if pair == (USER, secret) else "invalid_client"
