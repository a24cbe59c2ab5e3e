"""Pieces of HTML that every page of a notebook is made of: tables, titles, sentences, cards.

Every text that comes from data or from a pipeline is escaped here on its way out, and long ones are shortened. Colours
are legible on light and on dark, and text takes the colour of its surroundings. What is shown is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import Any

from dataflow.faces.texts import cell, printable, shorten

LONGEST = 400
"""Characters of one value in a notebook."""

_SENTENCE = 2000
"""Characters of one sentence, or of one list of names."""

GOOD, WRONG, WEAK = "#259b6f", "#d1584a", "#c77a17"
"""What is as it should be, what has failed, and what deserves a look."""

_CELL = "padding:2px 12px 2px 0;vertical-align:top"


def plain(text: str, most: int = _SENTENCE) -> str:
    """A text, escaped and in one line."""
    return escape(shorten(printable(text), most))


def marked(value: Any, most: int = LONGEST) -> str:
    """A value as escaped text: null is faint, a long one is shortened; `<bdi>` keeps other directions inside."""
    if value is None:
        return '<span style="opacity:.6">null</span>'
    # The beginning of a very long value is enough to be made printable.
    text = cell(value[: most + 1] if isinstance(value, str) else value)
    shown = escape(shorten(text, most))
    return shown if shown.isascii() else f"<bdi>{shown}</bdi>"


def faint(markup: str) -> str:
    """Markup that stands back."""
    return f'<span style="opacity:.75">{markup}</span>'


def unbroken(markup: str) -> str:
    """Markup in one line, however narrow the page is."""
    return f'<span style="white-space:nowrap">{markup}</span>'


def dot(colour: str) -> str:
    """A dot in a colour."""
    return f'<span style="color:{colour}">●</span>'


def table_html(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Collection[int] = ()) -> str:
    """Rows as an HTML table, escaped; `right` names the columns, by position, that stand flush right."""
    listed = [[marked(value) for value in row] for row in rows]
    return table_of_markup([plain(header) for header in headers], listed, right=right)


def table_of_markup(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> str:
    """A table of cells that are escaped already."""
    sides = ["right" if at in right else "left" for at in range(max(len(headers), *map(len, rows), 0))]
    head = "".join(
        f'<th style="{_CELL};text-align:{side}">{text}</th>' for side, text in zip(sides, headers, strict=False)
    )
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{_CELL};text-align:{side}">{text}</td>' for side, text in zip(sides, row, strict=False))
        + "</tr>"
        for row in rows
    )
    top = f"<thead><tr>{head}</tr></thead>" if headers else ""
    return (
        f'<div style="overflow-x:auto"><table style="border-collapse:collapse;margin:6px 0">{top}'
        f"<tbody>{body}</tbody></table></div>"
    )


def named(title: str, phrases: Iterable[str]) -> str:
    """A title in bold and phrases behind it."""
    return f"<div><b>{plain(title)}</b> {faint(plain(' · '.join(phrases)))}</div>"


def sentences(label: str, texts: Iterable[str]) -> str:
    """Sentences, each behind a label."""
    return "".join(f"<div>{faint(f'{label}:')} {plain(one)}</div>" for one in texts)


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what they are, one below the other; what is empty is left out."""
    return table_of_markup((), [[faint(plain(name)), plain(text)] for name, text in pairs if text])


def folded(summary: str, markup: str) -> str:
    """Markup that is shown when it is asked for."""
    return f'<details><summary style="cursor:pointer">{faint(plain(summary))}</summary>{markup}</details>'
