"""Templates of a request that several records share: lists that repeat for each record, and values joined by commas.

A template here is filled with a sequence of values for each column, one value for each record, all of one length.
How a single value is written is the business of `template`.

    "{x}" in json, within a list of one template     the list holds that template once for each record
    ["{x}"] in params                                 the parameter is repeated
    "{x}" or "a:{x}" in params or in the path         the values joined by commas: `1,2,3`, `a:1,2,3`

The outermost list of one template is the one that repeats. A value that is empty or holds a comma cannot be joined.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dataflow.errors import DeclarationError
from dataflow.services.braces import cut
from dataflow.services.template import Template, read_json, read_params, read_url

Records = Mapping[str, Sequence[Any]]
Make = Callable[[Records], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """What one request is made of.

    Attributes:
        url: The whole URL.
        params: The query, or None.
        json: The body, or None.
        typed: Columns whose values a batch's body holds as they are, so that their types reach the provider.
    """

    url: Template[str]
    params: Template[Any] | None
    json: Template[Any] | None
    typed: frozenset[str] = frozenset()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names in them, each once, in order."""
        named = [one.columns for one in (self.url, self.params, self.json) if one is not None]
        return tuple(dict.fromkeys(name for columns in named for name in columns))


def read_templates(url: str, params: Any, json: Any, *, where: str) -> Templates:
    """The templates of a batch.

    Args:
        url: The whole URL.
        params: The query, or None.
        json: The body, or None.
        where: Who says so, for the error: "`company`".

    Raises:
        DeclarationError: One cannot be understood, none can carry several records, or some would be repeated in
            lists and others joined by commas.
    """
    found = Templates(
        url=_read_url(url, where=f"{where}: path"),
        params=None if params is None else _read_params(params, where=f"{where}: params"),
        json=None if json is None else _read_json(json, where=f"{where}: json"),
        typed=frozenset(_typed(json)),
    )
    listed = () if found.json is None else found.json.columns
    joined = found.url.columns
    for key, value in (params or {}).items():
        columns = read_params({key: value}, where=where).columns
        listed, joined = (listed + columns, joined) if _is_list(value) else (listed, joined + columns)
    if listed and joined:
        raise DeclarationError(
            f"{where}: batch= repeats {{{listed[0]}}} in a list for each record, but {{{joined[0]}}} is outside "
            "of one, where all values would be joined by commas; put it into the list too, or leave batch= out"
        )
    return found


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _typed(value: Any) -> set[str]:
    """The columns that fill a whole text somewhere in a body."""
    if isinstance(value, Mapping):
        return {name for one in value.values() for name in _typed(one)}
    if _is_list(value):
        return {name for one in value for name in _typed(one)}
    name = cut(value).only if isinstance(value, str) else None
    return set() if name is None else {name}


def _read_url(text: str, *, where: str) -> Template[str]:
    template = read_url(text, where=where, many=True)
    if any(len(cut(segment).names) > 1 for segment in re.split("[/?&]", text)):
        raise _two_columns(where)
    return template


def _read_params(mapping: Any, *, where: str) -> Template[list[tuple[str, str]]]:
    whole = read_params(mapping, where=where)
    entries = [_parameter(key, value, where=where) for key, value in mapping.items()]
    return _made(whole, lambda records: [pair for make in entries for pair in make(records)])


def _read_json(value: Any, *, where: str) -> Template[Any]:
    whole = read_json(value, where=where)
    return _made(whole, _body(value, where=where))


def _made(whole: Template[Any], make: Make) -> Template[Any]:
    columns = whole.columns
    return replace(whole, write=lambda values: make(dict(zip(columns, values, strict=True))))


def _body(value: Any, *, where: str) -> Make:
    """What fills a part of a body; only within a list that repeats may it name columns."""
    if isinstance(value, Mapping):
        entries = [(key, _body(one, where=where)) for key, one in value.items()]
        return lambda records: {key: make(records) for key, make in entries}
    if _is_list(value):
        if len(value) == 1 and (one := read_json(value[0], where=where)).columns:
            return lambda records: [one.fill(row) for row in _rows(one, records)]
        makes = [_body(one, where=where) for one in value]
        return lambda records: [make(records) for make in makes]
    whole = read_json(value, where=where)
    if whole.columns:
        name = whole.columns[0]
        raise DeclarationError(
            f"{where}: batch= repeats a list of one template for each record, but {{{name}}} is in none; "
            f'write ["{{{name}}}"]'
        )
    constant = whole.fill([])
    return lambda records: constant


def _parameter(key: str, value: Any, *, where: str) -> Callable[[Records], list[tuple[str, str]]]:
    """What fills one parameter: repeated, joined, or the same for all."""
    whole = read_params({key: value}, where=where)
    if not whole.columns:
        constant = whole.fill([])
        return lambda records: constant
    if not _is_list(value):
        return _joined(key, value, where=f"{where} `{key}`")
    if len(value) != 1:
        raise DeclarationError(
            f"{where} `{key}`: batch= repeats a list of one template for each record; this one has {len(value)}"
        )
    return lambda records: [_single(whole, row) for row in _rows(whole, records)]


def _joined(key: str, text: str, *, where: str) -> Callable[[Records], list[tuple[str, str]]]:
    pieces = cut(text)
    if len(pieces.names) > 1:
        raise _two_columns(where)
    (name,), (before, after) = pieces.names, pieces.literals
    one = read_params({key: f"{{{name}}}"}, where=where)

    def make(records: Records) -> list[tuple[str, str]]:
        texts = [_single(one, row)[1] for row in _rows(one, records)]
        if not all(texts) or any("," in text for text in texts):
            raise ValueError(f"`{name}`: is empty or holds a comma, and commas join the values of a batch")
        return [(key, before + ",".join(texts) + after)]

    return make


def _single(template: Template[list[tuple[str, str]]], row: Sequence[Any]) -> tuple[str, str]:
    """The only parameter that a record gives."""
    pairs = template.fill(row)
    if len(pairs) != 1 or any(_is_list(value) for value in row):
        raise ValueError(f"`{template.columns[0]}`: a list cannot be written as one parameter of a batch")
    return pairs[0]


def _rows(template: Template[Any], records: Records) -> zip[tuple[Any, ...]]:
    return zip(*(records[name] for name in template.columns), strict=True)


def _two_columns(where: str) -> DeclarationError:
    return DeclarationError(
        f"{where}: batch= joins the values of a column by commas, so a text holds one column only; "
        "make one column of them in a transformation before"
    )
