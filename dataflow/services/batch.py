"""A batch as the author declares it: how many records share a request, and where in its answer their items are.

Inert: requests are cut, sent and read elsewhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dataflow.errors import DeclarationError
from dataflow.services.batch_template import Templates
from dataflow.services.matching import KeyColumn, Match
from dataflow.services.selection import ROOT, Path, read_path
from dataflow.services.template import read_json, read_text


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """What the author wrote.

    Attributes:
        size: Records that one request may carry, None for one request each.
        items: The path to the items in the answer, None for the whole answer.
        match: The path of the key in an item, or {column: path}; None for items in the order of the request.
    """

    size: Any = None
    items: Any = None
    match: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How records share requests.

    Attributes:
        size: Records of one request at most.
        items: Where in the answer the items are.
        match: How they find their records.
    """

    size: int
    items: Path
    match: Match

    @property
    def meaning(self) -> list[Any]:
        """What decides how an answer is understood, as plain values; the size does not."""
        return [self.items.text, [[one.name, one.path.text] for one in self.match.keys]]


def check_batch(options: BatchOptions, *, where: str) -> bool:
    """Whether records share requests.

    Args:
        options: As the author wrote them.
        where: Who says so, for the error: "`company`".

    Raises:
        DeclarationError: The size is none, or options are there that only a batch has.
    """
    size = options.size
    if size is None:
        if options.items is not None or options.match is not None:
            raise DeclarationError(f"{where}: items= and match= belong to batch=, the records that share a request")
        return False
    if not isinstance(size, int) or isinstance(size, bool) or size < 2:
        raise DeclarationError(f"{where}: batch takes the records that may share a request, a whole number from 2")
    return True


def read_batch(options: BatchOptions, templates: Templates, *, where: str) -> Batch:
    """Read the options of a batch.

    Args:
        options: As the author wrote them.
        templates: Of its request.
        where: Who says so, for the error: "`company`".

    Raises:
        DeclarationError: Nothing in the request can carry records, or a path or a column cannot be understood.
    """
    columns = templates.columns
    if not columns:
        raise DeclarationError(
            f"{where}: batch= needs a place for several records: a list in json or params such as "
            '["{column}"], or {column} in path or params, where commas join the values'
        )
    items = ROOT if options.items is None else read_path(options.items, where=f"{where}: items")
    paths = _read_match(options.match, columns, where=f"{where}: match")
    named = tuple(paths) or columns
    match = Match(
        keys=tuple(_key_column(name, path, templates) for name, path in paths.items()),
        name=(named[0], columns.index(named[0])) if len(named) == 1 else None,
    )
    return Batch(size=options.size, items=items, match=match)


def _key_column(name: str, path: Path, templates: Templates) -> KeyColumn:
    typed, text = name in templates.typed, f"{{{name}}}"
    write = read_json(text, where="") if typed else read_text(text, where="")
    return KeyColumn(name=name, place=templates.columns.index(name), path=path, write=write, typed=typed)


def _read_match(value: Any, columns: tuple[str, ...], *, where: str) -> dict[str, Path]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        if len(columns) > 1:
            raise DeclarationError(f"{where} takes {{column: path}}, since it reads {', '.join(columns)}")
        return {columns[0]: read_path(value, where=where)}
    if not value:
        raise DeclarationError(f"{where} names no column; leave it out where items come in the order of the request")
    for name in value:
        if name not in columns:
            near = difflib.get_close_matches(str(name), columns, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(columns)}"
            raise DeclarationError(f"{where} names `{name}`, which no template of the request holds; {hint}")
    return {name: read_path(path, where=f"{where} `{name}`") for name, path in value.items()}
