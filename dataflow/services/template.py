"""Templates: urls, parameters, JSON bodies and prompts with columns in them.

Only `{column}` is replaced, literally, and `{{column}}` is sent as `{column}`; every other brace stays as it is, so
that a prompt can show JSON. `braces` says what a column is, `writing` how a value is written in each of them. Nothing
is sent here, and which columns exist is not known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, unquote

from dataflow.errors import DeclarationError
from dataflow.services.braces import cut, is_graphql, not_understood, without_names
from dataflow.services.writing import write_json, write_scalar, write_text

T = TypeVar("T")
Values = Sequence[Any]
Write = Callable[[Any, str], str]
Fill = Callable[[Values], Any]

_GRAPHQL = "query"
"""The member of a body, or the parameter, that holds the text of a GraphQL request."""
_URL = re.compile(r"(?:(?P<scheme>https?)://(?P<host>[^/?]*))?(?P<path>(?:/[^?]*)?)(?P<query>(?:\?.*)?)", re.DOTALL)
_NAMED_HOST = re.compile(r"(?P<name>[^:\[\]@]+)(?P<port>(?::\d{1,5})?)")
_HOST = re.compile(r"(?!-)[a-z0-9\-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9\-]{1,63}(?<!-))*")
_ALLOWED_HOST = re.compile(r"(?:\*\.)?" + _HOST.pattern)
_KEPT = "".join(chr(at) for at in range(33, 127) if chr(at) not in '"<>\\^`{|}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Template(Generic[T]):
    """Something to send, with columns in it; made once by one of the `read_` functions.

    Attributes:
        source: As the author wrote it.
        columns: The names that it reads, each once, in the order they first appear.
        write: What fills it, from the values of the columns in their order.
        sends_names: Whether it holds names that are sent with their braces.
    """

    source: Any
    columns: tuple[str, ...]
    write: Fill = field(repr=False, compare=False)
    sends_names: bool = False

    @property
    def meaning(self) -> Any:
        """Its source, as a value that is another one where something else is sent.

        Answers are kept under it, also those of the time when a name in doubled braces was a column all the same.
        """
        return [self.source, "sends names"] if self.sends_names else self.source

    def fill(self, values: Mapping[str, Any] | Sequence[Any]) -> T:
        """What is sent for one record.

        Args:
            values: By column, or in the order of `columns`.

        Raises:
            ValueError: A value cannot be written there; the text names the column, never the value.
        """
        if isinstance(values, Mapping):
            values = [values[column] for column in self.columns]
        elif len(values) != len(self.columns):
            raise ValueError(f"{len(values)} values for {len(self.columns)} columns")
        filled: T = self.write(values)
        return filled


UrlTemplate = Template[str]
ParamsTemplate = Template[list[tuple[str, str]]]
JsonTemplate = Template[Any]
TextTemplate = Template[str]


class _Columns(list[str]):
    """The columns met so far, each in its place from where it is met first; and whether a name was met that is sent."""

    sends_names = False

    def place(self, name: str) -> int:
        if name not in self:
            self.append(name)
        return self.index(name)


def read_url(text: str, *, where: str, allow_hosts: Sequence[str] | None = None, many: bool = False) -> UrlTemplate:
    """A url: a path from `/`, or a whole one with http or https.

    In the path a value is percent-encoded completely and stays within its segment: an empty one, `.` and `..` are
    refused, because clients fold them even when they are encoded (RFC 3986, section 5.2.4). In the query it may be
    empty.

    Args:
        text: The template.
        where: Who says so, for the error: "`company`: path".
        allow_hosts: Hosts that may be called, `api.example.com` or `*.example.com` (at any depth below it, not
            itself). Needed for columns in the host, checked for every whole url, of no concern to paths.
        many: Whether path and query take a sequence of values for each column, which commas join.

    Raises:
        DeclarationError: It is no such url, or a column could change the host.
    """
    _check_text(text, where=where)
    rest = without_names(text)
    parts = _URL.fullmatch(text)
    whole = parts is not None and (parts["host"] if parts["scheme"] else parts["path"])
    if parts is None or not whole or parts["path"].startswith("//"):
        raise DeclarationError(f"{where} is no url; it begins with one / or with https://host, spelled out")
    if re.search(r"[\x00-\x20\x7f\\#{}]", rest):
        raise DeclarationError(
            f"{where} holds a blank, a control character, a backslash, # or a brace; write it as %.."
        )
    if re.search(r"%(?![0-9a-fA-F]{2})", text):
        raise DeclarationError(f"{where} holds a % that begins no escape such as %20; write %25 for the sign itself")
    if any(unquote(segment) in (".", "..") for segment in parts["path"].split("/")):
        raise DeclarationError(f"{where} holds a segment . or .., which clients fold; write the path without it")
    columns = _Columns()
    host = _host(parts["host"], allow_hosts, columns, where=where) if parts["host"] else None
    in_path, in_query = (_several(_path_value), _several(_query_value)) if many else (_path_value, _query_value)
    path = _joined(parts["path"], columns, write=in_path, literal=_literal)
    query = _joined(parts["query"], columns, write=in_query, literal=_literal)
    start = f"{parts['scheme']}://" if host is not None else ""
    if callable(host):
        at_host = host
        return _made(text, columns, lambda values: start + at_host(values) + path(values) + query(values))
    start += host or ""
    return _made(text, columns, lambda values: start + path(values) + query(values))


def read_params(mapping: Mapping[str, Any], *, where: str) -> ParamsTemplate:
    """The parameters of a query or a form: filled, pairs of texts that are still to be encoded.

    A list repeats its parameter, a null drops it, keys are not replaced.

    Raises:
        DeclarationError: A key is no text, or a value cannot be written as a parameter.
    """
    if not isinstance(mapping, Mapping) or not all(isinstance(key, str) for key in mapping):
        raise DeclarationError(f"{where} takes a mapping with text keys: {{name: value}}")
    columns = _Columns()
    entries = [(key, _parameter(value, columns, key=key, where=f"{where} `{key}`")) for key, value in mapping.items()]

    def fill(values: Values) -> list[tuple[str, str]]:
        return [(key, one) for key, make in entries for one in make(values)]

    return _made(mapping, columns, fill)


def read_json(value: Any, *, where: str) -> JsonTemplate:
    """A JSON body: filled, plain values for the encoder; keys are not replaced.

    A text that is exactly `"{x}"` becomes the typed value, every other text stays one.

    Raises:
        DeclarationError: Something in it is no JSON.
    """
    columns = _Columns()
    return _made(value, columns, _json(value, columns, where=where))


def read_text(text: str, *, where: str) -> TextTemplate:
    """A text such as a prompt.

    Raises:
        DeclarationError: It is no text, or holds a format or an attribute.
    """
    _check_text(text, where=where)
    columns = _Columns()
    return _made(text, columns, _joined(text, columns, write=write_text))


def _made(source: Any, columns: _Columns, write: Fill) -> Template[Any]:
    return Template(source=source, columns=tuple(columns), write=write, sends_names=columns.sends_names)


def _check_text(text: Any, *, where: str) -> None:
    if not isinstance(text, str):
        raise DeclarationError(f"{where} takes a text, not {type(text).__name__}")
    if (found := not_understood(text)) is not None:
        raise DeclarationError(
            f"{where} holds {found}, but only {{column}} is replaced, without attributes or formats; "
            "shape the value in a transformation before it"
        )


def _check_member(text: str, *, key: str | None, where: str) -> None:
    """Refuse a text that a template cannot be; GraphQL has braces everywhere, and takes its data beside it."""
    if key != _GRAPHQL or not is_graphql(text):
        _check_text(text, where=where)
    elif names := dict.fromkeys(cut(text).names):
        listed, first = ", ".join(f"{{{name}}}" for name in names), next(iter(names))
        raise DeclarationError(
            f"{where} holds GraphQL in `{key}`, and {listed} would put values of a record into its text; give them in "
            f"`variables` beside it, and write {{{{{first}}}}} where {{{first}}} itself is to be sent"
        )


def _literal(text: str) -> str:
    return quote(text, safe=_KEPT)


def _joined(text: str, columns: _Columns, *, write: Write, literal: Callable[[str], str] = str) -> Fill:
    """What fills a text."""
    pieces = cut(text)
    columns.sends_names |= pieces.sends_names
    start, *ends = map(literal, pieces.literals)
    if not ends:
        return lambda values: start
    holes = [(columns.place(name), name, end) for name, end in zip(pieces.names, ends, strict=True)]

    def fill(values: Values) -> str:
        filled = [start]
        for at, name, end in holes:
            filled += (write(values[at], name), end)
        return "".join(filled)

    return fill


def _host(host: str, allow_hosts: Sequence[str] | None, columns: _Columns, *, where: str) -> str | Fill:
    """The host of a whole url, or what fills and checks it."""
    allowed = None if allow_hosts is None else read_hosts(allow_hosts, where=where)
    parts = _NAMED_HOST.fullmatch(host)
    named = cut(host)
    if named.sends_names:
        raise DeclarationError(f"{where} has a brace in its host, which no host has")
    if not named.names:
        if "@" in host or (allowed is not None and not (parts and is_allowed(parts["name"].lower(), allowed))):
            raise DeclarationError(f"{where} names a host with a user, or one that allow_hosts= does not list")
        return host
    if allowed is None:
        raise DeclarationError(
            f"{where} has a column in its host, so a record could send secrets anywhere; "
            'say which hosts are meant with allow_hosts=["*.example.com"]'
        )
    if parts is None:
        raise DeclarationError(
            f"{where} has a column in its host beside a user, or in its port; only the name may vary"
        )
    port, before = parts["port"], len(columns)
    fill = _joined(parts["name"], columns, write=_host_value, literal=str.lower)
    told = ", ".join(f"`{name}`" for name in columns[before:])

    def checked(values: Values) -> str:
        filled: str = fill(values)
        if not _HOST.fullmatch(filled) or not is_allowed(filled, allowed):
            raise ValueError(f"{told}: gives a host that allow_hosts= does not list")
        return filled + port

    return checked


def read_hosts(hosts: str | Sequence[str], *, where: str) -> tuple[str, ...]:
    """The hosts that may be called, in small letters: `api.example.com`, or `*.example.com` for all below it.

    Raises:
        DeclarationError: One is no such name.
    """
    listed = (hosts,) if isinstance(hosts, str) else tuple(hosts)
    for one in listed:
        if not isinstance(one, str) or not _ALLOWED_HOST.fullmatch(one.lower()):
            raise DeclarationError(f"{where}: allow_hosts= takes names such as api.example.com or *.example.com")
    return tuple(one.lower() for one in listed)


def is_allowed(host: str, allowed: Sequence[str]) -> bool:
    """Whether a host, in small letters, is among those that `read_hosts` gave."""
    return any(host.endswith(one[1:]) and host != one[1:] if one.startswith("*") else host == one for one in allowed)


def _parameter(value: Any, columns: _Columns, *, key: str, where: str) -> Callable[[Values], Sequence[str]]:
    if isinstance(value, (list, tuple)):
        makes = [_parameter(one, columns, key=key, where=where) for one in value]
        return lambda values: [one for make in makes for one in make(values)]
    if not isinstance(value, str):
        try:
            constant = _parameter_values(value, where)
        except ValueError as error:
            raise DeclarationError(str(error)) from None
        return lambda values: constant
    _check_member(value, key=key, where=where)
    if (name := cut(value).only) is not None:
        at = columns.place(name)
        return lambda values: _parameter_values(values[at], name)
    fill = _joined(value, columns, write=write_text)
    return lambda values: (fill(values),)


def _json(value: Any, columns: _Columns, *, where: str, key: str | None = None) -> Fill:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise DeclarationError(f"{where} has a key that is no text; JSON has none")
        entries = [(key, _json(one, columns, where=where, key=key)) for key, one in value.items()]
        return lambda values: {key: make(values) for key, make in entries}
    if isinstance(value, (list, tuple)):
        makes = [_json(one, columns, where=where) for one in value]
        return lambda values: [make(values) for make in makes]
    if not isinstance(value, str):
        try:
            constant = write_json(value, where)
        except ValueError as error:
            raise DeclarationError(str(error)) from None
        return lambda values: constant
    _check_member(value, key=key, where=where)
    if (name := cut(value).only) is not None:
        at = columns.place(name)
        return lambda values: write_json(values[at], name)
    return _joined(value, columns, write=write_text)


def _path_value(value: Any, name: str) -> str:
    text = write_scalar(value, name)
    if text in ("", ".", ".."):
        raise ValueError(f"`{name}`: is empty, . or .., which the path of a url cannot hold")
    return quote(text, safe="")


def _query_value(value: Any, name: str) -> str:
    return quote(write_scalar(value, name), safe="")


def _several(write: Write) -> Write:
    def joined(values: Any, name: str) -> str:
        texts = [write(value, name) for value in values]
        if not all(texts) or any("%2C" in text for text in texts):
            raise ValueError(f"`{name}`: is empty or holds a comma, and commas join the values of a batch")
        return ",".join(texts)

    return joined


def _host_value(value: Any, name: str) -> str:
    return write_scalar(value, name).lower()


def _parameter_values(value: Any, name: str) -> Sequence[str]:
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        return [write_scalar(one, name) for one in value if one is not None]
    return (write_scalar(value, name),)


def with_query(url: str, query: str) -> str:
    """The URL with more parameters."""
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{query}"
