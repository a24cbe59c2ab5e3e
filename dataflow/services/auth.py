"""How a provider knows its caller: which secret goes where, by the names of the secrets.

Values of secrets are never here: they are looked up by the process that calls. Sending is done elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import urlsplit

from dataflow.errors import DeclarationError


class Scheme(StrEnum):
    """In which form the secrets are sent."""

    BEARER = "bearer"
    BASIC = "basic"
    HEADER = "header"
    QUERY = "query"
    OAUTH2 = "oauth2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """The secrets of one account and how they are sent.

    Attributes:
        scheme: The form.
        secrets: Names of the secrets, in the order that the form takes.
        place: The name of the header or query parameter of an API key; empty for the other forms.
        token_url: Where OAuth 2 gives tokens.
        scope: What is asked for there, or None.
    """

    scheme: Scheme
    secrets: tuple[str, ...]
    place: str = ""
    token_url: str = ""
    scope: str | None = None

    @property
    def header(self) -> str | None:
        """The header that it sends, or None for a query parameter."""
        return {Scheme.HEADER: self.place, Scheme.QUERY: None}.get(self.scheme, "Authorization")


def bearer(secret: str) -> Auth:
    """`Authorization: Bearer`, with the value of the secret of this name.

    Raises:
        DeclarationError: It is no name of a secret.
    """
    return Auth(scheme=Scheme.BEARER, secrets=_names(secret))


def basic(user: str, password: str) -> Auth:
    """`Authorization: Basic`, with the values of the two secrets of these names.

    Raises:
        DeclarationError: One of them is no name of a secret.
    """
    return Auth(scheme=Scheme.BASIC, secrets=_names(user, password))


def api_key(secret: str, *, header: str | None = None, query: str | None = None) -> Auth:
    """The value of a secret in a header or in a query parameter of this name.

    A header is the better place where the provider takes both: queries end up in the logs of servers.

    Raises:
        DeclarationError: Not exactly one place is named.
    """
    if (header is None) == (query is None):
        raise DeclarationError('api_key takes one place: header="X-API-Key" or query="key"')
    scheme = Scheme.HEADER if header is not None else Scheme.QUERY
    return Auth(scheme=scheme, secrets=_names(secret), place=header or query or "")


def oauth2_client(client_id: str, client_secret: str, *, token_url: str, scope: str | None = None) -> Auth:
    """OAuth 2 client credentials (RFC 6749, section 4.4); a token is renewed before it ends, or after a 401.

    Args:
        client_id: The name of the secret that holds the id of the client.
        client_secret: The name of the secret that holds its secret.
        token_url: Where tokens are given; https, but on this machine.
        scope: What is asked for.

    Raises:
        DeclarationError: A name is no name of a secret, or the URL is none.
    """
    if not (token_url.startswith("https://") or is_loopback(urlsplit(token_url).hostname)):
        raise DeclarationError("oauth2_client takes the whole token_url, with https://: secrets are sent there")
    return Auth(scheme=Scheme.OAUTH2, secrets=_names(client_id, client_secret), token_url=token_url, scope=scope)


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine, so that nobody else listens; a name that only begins like it is not."""
    if host is None or host == "localhost":
        return host is not None
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _names(*secrets: str) -> tuple[str, ...]:
    for secret in secrets:
        if not isinstance(secret, str) or not secret.isidentifier():
            raise DeclarationError(
                "a secret is named, never written: give the name of an environment variable such as ACME_KEY"
            )
    return secrets
