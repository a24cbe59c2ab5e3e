"""Draws the graph of an explanation as SVG, from the places that `layout` has found.

Colours are presentation attributes and text takes the colour of its surroundings, so that the picture is as
legible in a dark notebook as in a light one, and survives pages that drop style sheets. Every text from a
pipeline is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import NamedTuple

from dataflow.faces.layout import Box, Layout, Segment, lay_out
from dataflow.faces.texts import counted, printable
from dataflow.outcomes import Kind
from dataflow.plan.explain import Explanation, StepLine

COLOURS = {Kind.TRANSFORMATION: "#3f87d9", Kind.VALIDATION: "#c77a17", Kind.ENRICHMENT: "#259b6f"}
"""Blue, orange and green that eyes of every kind tell apart, each legible on white and on near black."""

LIGHT, DARK = ("#ffffff", "#1f2328"), ("#0d1117", "#e6edf3")
"""Paper and ink of a picture that stands alone."""

LINE = "#848d97"
"""A grey with the same contrast on white and on near black."""

_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_MARGIN, _HEAD, _FOOT = 16.0, 30.0, 44.0
_LEGEND_CELL = 6.7


class _Frame(NamedTuple):
    """Where the drawing stands in the picture."""

    layout: Layout
    width: float
    height: float


def explanation_svg(explanation: Explanation, *, opaque: bool = False) -> str:
    """The graph as an SVG file of its own.

    It follows the reader's preference for a light or a dark page where it is shown as an image.

    Args:
        explanation: What to draw.
        opaque: Paint the background too, for pages whose colour may differ from the reader's preference.
    """
    style = (
        f"<style>svg{{color:{LIGHT[1]}}}.paper{{fill:{LIGHT[0]}}}"
        f"@media(prefers-color-scheme:dark){{svg{{color:{DARK[1]}}}.paper{{fill:{DARK[0]}}}}}</style>"
    )
    frame = _frame(explanation)
    paper = f'<rect class="paper" width="{frame.width:g}" height="{frame.height:g}" rx="8"/>' if opaque else ""
    return _svg(explanation, frame, before=style + paper, attributes=' xmlns="http://www.w3.org/2000/svg"')


def inline_svg(explanation: Explanation) -> str:
    """The graph as an element of a page, in the page's own colour of text."""
    frame = _frame(explanation)
    style = f' style="display:block;max-width:100%;min-width:{0.7 * frame.width:.0f}px;height:auto"'
    return _svg(explanation, frame, before="", attributes=style)


def live_svg(explanation: Explanation) -> str:
    """The graph as an element of a page that is filled in again and again.

    Of each service, `<!--tN-->` stands for a line of text and `<!--bN-->` for what fills a bar of 100 by 3 units, where
    N is its place among all services, those inside others counted. No escaped text can look like that.
    """
    places: dict[str, int] = {}
    for line in explanation.lines:
        for one in (line, *line.inside):
            places[one.name] = len(places)
    frame = _frame(explanation)
    style = f' style="display:block;max-width:100%;min-width:{0.6 * frame.width:.0f}px;height:auto"'
    return _svg(explanation, frame, before="", attributes=style, places=places)


def _frame(explanation: Explanation) -> _Frame:
    layout = lay_out(explanation)
    legend = max(at + width for at, width, _ in _legend_places(explanation))
    return _Frame(
        layout=layout,
        width=max(layout.width, legend) + 2 * _MARGIN,
        height=layout.height + _HEAD + _FOOT + _MARGIN,
    )


def _svg(
    explanation: Explanation, frame: _Frame, *, before: str, attributes: str, places: Mapping[str, int] | None = None
) -> str:
    services, levels = counted(len(explanation.lines), "service"), counted(len(frame.layout.levels), "level")
    label = f"{explanation.name}: {services} in {levels}"
    drawn = "".join(_drawn(explanation, frame.layout, places))
    return (
        f'<svg{attributes} role="img" aria-label="{_safe(label)}" width="{frame.width:g}" height="{frame.height:g}" '
        f'viewBox="0 0 {frame.width:g} {frame.height:g}" font-family="{escape(_FONT)}">{before}'
        f'<g transform="translate({_MARGIN:g} {_HEAD:g})">{drawn}</g></svg>'
    )


def _drawn(explanation: Explanation, layout: Layout, places: Mapping[str, int] | None) -> Iterator[str]:
    for number, x in enumerate(layout.levels, start=1):
        yield _text(x, -12, f"level {number}", anchor="middle", faint=True)
    yield from (_segment(one) for one in sorted(layout.segments, key=lambda one: one.reads))
    for x, y in layout.joints:
        yield f'<circle cx="{x:g}" cy="{y:.1f}" r="4" fill="{LINE}"/>'
    yield from (_box(one, None if places is None else places[one.line.name]) for one in layout.boxes)
    yield from _legend(explanation, layout.height + _FOOT - 12)


def _segment(segment: Segment) -> str:
    (x, y), (to_x, to_y) = segment.start, segment.end
    tip = to_x - 1.5 if segment.arrow else to_x
    bend = (to_x - x) / 2
    path = f"M{x:g} {y:.1f}C{x + bend:g} {y:.1f} {tip - bend:g} {to_y:.1f} {tip:g} {to_y:.1f}"
    if segment.straight:
        path += f"h{segment.straight:g}"
    dashes = "" if segment.reads else ' stroke-dasharray="4 3"'
    head = f'<path d="M{tip - 6:g} {to_y - 4:.1f}l6 4l-6 4"/>' if segment.arrow else ""
    reasons = escape("\n".join(map(printable, segment.reasons)))
    return (
        f'<g fill="none" stroke="{LINE}" stroke-width="1.4"><title>{reasons}</title>'
        f'<path d="{path}" stroke-opacity="0" stroke-width="9"/><path d="{path}"{dashes}/>{head}</g>'
    )


def _box(box: Box, place: int | None) -> str:
    """A service; at a place among those that are filled in, numbers stand in for its details."""
    colour = COLOURS[box.line.kind]
    text = box.x + 14
    return (
        f"<g><title>{escape(describe(box.line))}</title>"
        f'<rect x="{box.x:g}" y="{box.y:.1f}" width="{box.width:g}" height="{box.height:g}" rx="6" '
        f'fill="{colour}" fill-opacity=".13" stroke="{colour}" stroke-width="1.3"/>'
        f'<rect x="{box.x:g}" y="{box.y:.1f}" width="5" height="{box.height:g}" rx="2.5" fill="{colour}"/>'
        f"{_text(text, box.y + 18.5, _safe(box.name), size=13, bold=True)}"
        f"{_text(text, box.y + 34, _safe(box.detail), faint=True) if place is None else _blank(box, place)}</g>"
    )


def _blank(box: Box, place: int) -> str:
    bar = f'x="{box.x + 14:g}" y="{box.y + box.height - 6:.1f}" width="{box.width - 24:g}" height="3"'
    return (
        f"{_text(box.x + 14, box.y + 33, f'<!--t{place}-->', faint=True)}"
        f'<svg {bar} viewBox="0 0 100 3" preserveAspectRatio="none"><!--b{place}--></svg>'
    )


def describe(line: StepLine) -> str:
    """All that the explanation says about a service, in lines: the tooltip of its box."""
    lines = [line.name, f"{line.kind}, {line.form} form, {line.priority}", f"reads {', '.join(line.reads)}"]
    if line.writes:
        lines.append(f"writes {', '.join(line.writes)}")
    if line.when:
        lines.append(f"when {line.when}")
    if line.batch > 1:
        lines.append(f"{line.batch:,} records a call")
    lines += [f"after {name}: {why}" for name, why in zip(line.after, line.why, strict=True)]
    return "\n".join(map(printable, lines))


def _text(x: float, y: float, html: str, *, size: int = 11, anchor: str = "start", **look: bool) -> str:
    extra = ' font-weight="600"' if look.get("bold") else ""
    extra += ' fill-opacity=".72"' if look.get("faint") else ""
    extra += f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:g}" y="{y:.1f}" font-size="{size}" fill="currentColor"{extra}>{html}</text>'


def _legend_places(explanation: Explanation) -> list[tuple[float, float, str]]:
    """For each entry of the legend, its left edge, its width and its text."""
    kinds = [kind.value for kind in Kind if any(line.kind is kind for line in explanation.lines)]
    reasons = [reason for line in explanation.lines for reason in line.why]
    texts = [*kinds]
    texts += ["reads what it wrote"] if any(one.startswith("reads ") for one in reasons) else []
    texts += ["waits for its outcome"] if any(not one.startswith("reads ") for one in reasons) else []
    places, at = [], 0.0
    for text in texts:
        width = len(text) * _LEGEND_CELL + (18 if text in kinds else 34)
        places.append((at, width, text))
        at += width + 22
    return places


def _legend(explanation: Explanation, y: float) -> Iterator[str]:
    for x, _, text in _legend_places(explanation):
        if text in list(Kind):
            yield f'<rect x="{x:g}" y="{y - 9:.1f}" width="11" height="11" rx="2.5" fill="{COLOURS[Kind(text)]}"/>'
            yield _text(x + 18, y, text, faint=True)
        else:
            dashes = "" if text.startswith("reads") else ' stroke-dasharray="4 3"'
            yield f'<path d="M{x:g} {y - 4:.1f}h26" stroke="{LINE}" stroke-width="1.4"{dashes}/>'
            yield _text(x + 34, y, text, faint=True)


def _safe(text: str) -> str:
    return escape(printable(text))
