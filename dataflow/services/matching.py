"""Matching: which item of an answer belongs to which record of a request. Pure; nothing is decoded or sent here.

A key is compared as it was sent: a value in a JSON body with its type (`7` is not `"7"`), one in a url as text. Text,
whole numbers, bools and what is written as text (dates, Decimals) can be keys. A float cannot: no provider repeats
it digit for digit. Where an answer is an object, its names are text, and so are the keys.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dataflow.services.records import MISSING
from dataflow.services.selection import Path, UnexpectedAnswer, follow
from dataflow.services.template import Template, read_text
from dataflow.services.types import kind_of

Key = tuple[tuple[type, Any], ...]
"""The values that name a record, each with its type, since True equals 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyColumn:
    """A column by which items are matched.

    Attributes:
        name: As the templates name it.
        place: Among the columns that the service reads.
        path: Where an item repeats it.
        write: Its value as it is sent.
        typed: Whether it is sent with its type, or as text.
    """

    name: str
    place: int
    path: Path
    write: Template[Any]
    typed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How items find their records.

    Attributes:
        keys: The columns that an item repeats; empty where order decides.
        name: Name and place of the one column that the names of an object stand for, or None where there are several.
    """

    keys: tuple[KeyColumn, ...]
    name: tuple[str, int] | None

    def key(self, values: Sequence[Any]) -> Key:
        """What names a record; empty where order decides.

        Raises:
            ValueError: A value is of a type that no answer repeats exactly.
        """
        return tuple(_key(values[one.place], one) for one in self.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """What an answer holds for the records of a request, by their places in it.

    Attributes:
        found: The item for each record that has one.
        wrong: Why nothing can be said about a record; those in neither are not in the answer.
    """

    found: Mapping[int, Any]
    wrong: Mapping[int, str]


def cut(places: Sequence[int], keys: Sequence[Hashable], *, size: int) -> list[list[int]]:
    """Requests of at most `size` records each, none with two records of one key, which no answer could tell apart.

    Args:
        places: The records.
        keys: The key of each.
        size: Records of a request at most.
    """
    turns: dict[Hashable, int] = {}
    rounds: list[list[int]] = []
    for place, key in zip(places, keys, strict=True):
        turn = turns[key] = turns.get(key, -1) + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(place)
    return [one[start : start + size] for one in rounds for start in range(0, len(one), size)]


def match_items(items: Any, rows: Sequence[Sequence[Any]], match: Match) -> Matched:
    """Match the items of an answer to the records that were asked for, in whatever order and number they came.

    Of items with one key the first counts, items that nobody asked for are left out, and so are nulls of a list.

    Args:
        items: The parsed list, or an object whose names are the keys; None for no item at all.
        rows: The values of each record, in the order of the request, no two with one key.
        match: How they are matched.

    Raises:
        UnexpectedAnswer: It is neither, or the order cannot be trusted because the numbers differ.
    """
    if items is None:
        return Matched(found={}, wrong={})
    if isinstance(items, dict):
        return _match_names(items, rows, match)
    if not isinstance(items, list):
        raise UnexpectedAnswer(f"expected a list of items, got {kind_of(items)}; items= says where it is")
    if match.keys:
        asked = {match.key(row): at for at, row in enumerate(rows)}
        return _match([(_key_of(item, match.keys, at=at), item) for at, item in enumerate(items)], asked)
    if len(items) != len(rows):
        raise UnexpectedAnswer(f"expected {len(rows)} items, got {len(items)}; match= says which key an item repeats")
    return Matched(found=dict(enumerate(items)), wrong={})


def _match_names(items: Mapping[str, Any], rows: Sequence[Sequence[Any]], match: Match) -> Matched:
    if match.name is None:
        raise UnexpectedAnswer("expected a list of items, got an object, whose names stand for one column only")
    name, place = match.name
    write = read_text(f"{{{name}}}", where="")
    asked: dict[Key, int] = {((str, write.fill([row[place]])),): at for at, row in enumerate(rows)}
    return _match([(((str, key),), item) for key, item in items.items()], asked)


def _match(items: Iterable[tuple[Key | str | None, Any]], asked: Mapping[Key, int]) -> Matched:
    """The items by the keys that were found in them: a key, why there is none, or None for an item to pass over."""
    found: dict[int, Any] = {}
    strangers: list[Key] = []
    keyless = ""
    for key, item in items:
        if isinstance(key, str):
            keyless = keyless or key
        elif key is not None and key in asked:
            found.setdefault(asked[key], item)
        elif key is not None:
            strangers.append(key)
    near = {_near(key) for key in strangers}
    wrong: dict[int, str] = {}
    for key, at in asked.items():
        if at in found:
            continue
        if _near(key) in near:
            wrong[at] = "its item has a key of another type or spelling than was sent; send it as the provider has it"
        elif keyless:
            wrong[at] = keyless
        elif strangers and not found:
            wrong[at] = "none of the items has a key that was asked for; see items= and match="
    return Matched(found=found, wrong=wrong)


def _key(value: Any, column: KeyColumn) -> tuple[type, Any]:
    if value is None or isinstance(value, (float, list, tuple, Mapping)):
        kind = kind_of(value)
        raise ValueError(
            f"`{column.name}`: {kind} is no key that an answer repeats exactly; match= takes another column"
        )
    sent = column.write.fill([value])
    return type(sent), sent


def _key_of(item: Any, columns: Sequence[KeyColumn], *, at: int) -> Key | str | None:
    """The key that an item repeats, why it has none, or None for an item that is null."""
    if item is None:
        return None
    key: list[tuple[type, Any]] = []
    for column in columns:
        try:
            found = follow(column.path, item)
        except UnexpectedAnswer as error:
            return f"item {at}: {error}"
        if found is MISSING or found is None or isinstance(found, (dict, list)):
            return f"item {at}: `{column.path.text}`: holds no key"
        key.append((type(found), found) if column.typed else _as_text(found))
    return tuple(key)


def _as_text(value: Any) -> tuple[type, Any]:
    if isinstance(value, bool):
        return str, "true" if value else "false"
    return (str, str(value)) if isinstance(value, int) else (type(value), value)


def _near(key: Key) -> tuple[str, ...]:
    """The key without what providers change in it: types, cases, blanks around, the `.0` of a whole number."""
    return tuple(_plain(value) for _, value in key)


def _plain(value: Any) -> str:
    if isinstance(value, (float, Decimal)) and value == value // 1:
        value = int(value)
    return str(value).strip().casefold()
