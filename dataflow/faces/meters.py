"""The small pieces of a board: bars, meters, pills and isolated texts, as HTML. Pure, standard library only.

Every text that comes from data or from a pipeline goes through `text` on its way out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from dataflow.faces.texts import count, printable, share, shorten

LONGEST = 300
"""Columns of one value on a board."""
_MARKS = 4
"""Characters that one column takes at most: a letter with its marks."""

OUTCOMES = {
    "succeeded": "#259b6f",
    "cached": "#63b99a",
    "not_found": "#8b97a8",
    "failed": "#d1584a",
    "timed_out": "#e0913c",
    "skipped": "#b9c0ca",
    "not_attempted": "#8468b8",
}
"""The colour of each outcome, legible on white and on near black."""

TONES = {"good": "#259b6f", "busy": "#3f87d9", "warn": "#c77a17", "bad": "#d1584a", "calm": "#848d97"}
"""The colours of what is well, at work, worth a look, wrong, and at rest."""


def text(value: object, most: int = LONGEST) -> str:
    """A text from elsewhere: in one line, shortened, escaped, and with a direction of writing of its own."""
    return f"<bdi>{attribute(value, most)}</bdi>"


def attribute(value: object, most: int = LONGEST) -> str:
    """The same for the value of an attribute in quotes."""
    # Marks that combine take no column each, so that columns alone would let any number of them pass.
    return escape(shorten(printable(str(value)[: _MARKS * most]), most))


def pill(label: str, tone: str, *, title: str = "") -> str:
    """A word in a coloured frame."""
    hint = f' title="{attribute(title)}"' if title else ""
    return f'<span class="pill" style="--tone:{TONES[tone]}"{hint}>{text(label)}</span>'


def meter(value: float, most: float | None, *, tone: str = "busy", label: str = "") -> str:
    """How much of a limit is used, as a bar below its label; without a limit the label stands alone."""
    if not most:
        return f'<span class="label">{label}</span>'
    width = 100 * min(1.0, max(0.0, value / most))
    bar = f'<i style="width:{width:.1f}%;background:{TONES[tone]}"></i>'
    return f'<span class="label">{label}</span><span class="meter">{bar}</span>'


def outcome_bar(counts: Mapping[str, int]) -> str:
    """The outcomes of a service side by side, each as wide as its share; the numbers are in the title."""
    total = sum(counts.get(name, 0) for name in OUTCOMES)
    if not total:
        return '<span class="stack empty"></span>'
    parts = "".join(
        f'<i style="flex:{counts[name] / total:.4f} 1 0;background:{colour}"></i>'
        for name, colour in OUTCOMES.items()
        if counts.get(name)
    )
    return f'<span class="stack" title="{attribute("; ".join(outcome_words(counts)))}">{parts}</span>'


def outcome_rects(counts: Mapping[str, int]) -> str:
    """The same as what fills a bar of 100 by 3 units within a picture."""
    total = sum(counts.get(name, 0) for name in OUTCOMES)
    at, parts = 0.0, []
    for name, colour in OUTCOMES.items():
        width = 100 * counts.get(name, 0) / total if total else 0.0
        if width:
            parts.append(f'<rect x="{at:.2f}" width="{width:.2f}" height="3" fill="{colour}"/>')
            at += width
    return "".join(parts)


def outcome_words(counts: Mapping[str, int]) -> list[str]:
    """Each outcome that there is, with its number."""
    return [f"{count(counts[name])} {name.replace('_', ' ')}" for name in OUTCOMES if counts.get(name)]


def outcome_legend(names: Iterable[str]) -> str:
    """What the colours of the bars mean, for those that are there."""
    there = set(names)
    shown = [name for name in OUTCOMES if name in there]
    entries = "".join(
        f'<span class="key"><i style="background:{OUTCOMES[name]}"></i>{name.replace("_", " ")}</span>'
        for name in shown
    )
    return f'<div class="legend">{entries}</div>' if shown else ""


def percentage(value: float | None) -> str:
    """A share, or nothing where there is none."""
    return "" if value is None else share(value)
