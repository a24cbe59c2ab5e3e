"""What braces mean in a text that an author writes: columns, and names that are sent with their braces. Pure.

    {name}       the value of a column
    {{name}}     is sent as {name}, and reads no column
    any other    stays as it is: {}, {{, }}, { name }, {"a": 1}

A name is a letter or `_`, then letters, digits, `_`, `-`, `.` and single spaces. So every text can be sent: by doubling
the braces around each name in it. What looks like an attribute, a format or a conversion (`{a[0]}`, `{a:.2f}`, `{a!r}`)
is found here and refused by whoever reads the text. Values are not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = r"[^\W\d](?:[\w.\-]| (?=[\w.\-]))*"
_NAMED = re.compile(r"\{(?:\{(?P<sent>" + _NAME + r")\}|(?P<column>" + _NAME + r"))\}")
_FORMAT = r":(?:%[^{}]*|(?:[^{}]?[<>=^])?[+\-]?z?#?0?\d*[_,]?(?:\.\d+)?[bcdeEfFgGnosxX%]?)"
_NOT_UNDERSTOOD = re.compile(r"\{" + _NAME + r"(?:\[[^{}]*\][^{}]*|![rsa](?::[^{}]*)?|" + _FORMAT + r")\}")

# What GraphQL reads over, and how its documents begin.
_IGNORED = r"(?>[\s,\ufeff]+|\#[^\n\r]*)*"
_OPERATION = rf"(?:query|mutation|subscription)\b(?:{_IGNORED}[A-Za-z_]\w*)?{_IGNORED}[({{@]"
_FRAGMENT = rf"fragment\b{_IGNORED}[A-Za-z_]\w*{_IGNORED}on\b"
_GRAPHQL = re.compile(rf"{_IGNORED}(?P<start>\{{|{_OPERATION}|{_FRAGMENT})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """A text, cut where it names columns.

    Attributes:
        literals: What is sent before, between and after the columns; one more than there are names.
        names: The columns, in order, each as often as it is named.
        sends_names: Whether there are names that are sent with their braces.
    """

    literals: tuple[str, ...]
    names: tuple[str, ...]
    sends_names: bool

    @property
    def only(self) -> str | None:
        """The column that is the whole text, or None."""
        return self.names[0] if self.literals == ("", "") else None


def cut(text: str) -> Pieces:
    """Cut a text where it names columns."""
    literals, names, sends_names, end = [""], [], False, 0
    for found in _NAMED.finditer(text):
        literals[-1] += text[end : found.start()]
        end = found.end()
        if found["column"] is not None:
            names.append(found["column"])
            literals.append("")
        else:
            literals[-1] += f"{{{found['sent']}}}"
            sends_names = True
    literals[-1] += text[end:]
    return Pieces(literals=tuple(literals), names=tuple(names), sends_names=sends_names)


def without_names(text: str) -> str:
    """The text without the names in braces that it holds, be they columns or sent."""
    return _NAMED.sub("", text)


def not_understood(text: str) -> str | None:
    """The first part of a text that looks like a format, a conversion or an attribute of a column; None for none."""
    found = _NOT_UNDERSTOOD.search(text)
    return None if found is None else found[0]


def is_graphql(text: str) -> bool:
    """Whether a text is GraphQL, told by how it begins; one that begins with a column is not, since it may be a word.

    `{...}`, `query {...}`, `query Name {...}`, `query($d: ID) {...}`, with mutation and subscription as with query, and
    `fragment Name on Type`; blanks, commas and comments before them do not count.
    """
    found = _GRAPHQL.match(text)
    if found is None:
        return False
    named = _NAMED.match(text, found.start("start"))
    return named is None or named["column"] is None
