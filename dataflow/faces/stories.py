"""The story of one record as a terminal and as a notebook show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataflow.faces.markup import WEAK, dot, facts, faint, folded, marked, named, plain, sentences, table_of_markup
from dataflow.faces.plots import STATUS_COLOURS
from dataflow.faces.texts import cell, duration, money, printable, shorten
from dataflow.outcomes import Status
from dataflow.wiring.story import Chapter, Story

_WIDEST = 100


def story_text(story: Story) -> str:
    """A record in some lines: where it ended, then each service, then what cannot be told."""
    key = _key(story)
    if story.ended == "nowhere":
        return _nowhere(story)
    lines = [f"{key} in {story.dataset}: {_ended(story)}", *_origin(story), ""]
    lines += [line for chapter in story.chapters for line in _chapter(chapter)]
    if story.ended == "output":
        lines += ["", *_record(story.record)]
    return "\n".join([*lines, *(f"note: {printable(note)}" for note in story.notes)])


def story_html(story: Story) -> str:
    """A record on a page: where it ended, where it comes from, and for each service how it went and what it wrote."""
    if story.ended == "nowhere":
        return f"<div>{plain(_nowhere(story))}</div>"
    rows = [
        [_light(chapter), f"<b>{plain(chapter.service)}</b>", _outcome(chapter), _written(chapter.wrote)]
        for chapter in story.chapters
    ]
    record = facts((name, cell(value) or "null") for name, value in story.record.items())
    return (
        named(_key(story), [f"in {story.dataset}", _ended(story)])
        + table_of_markup(["", "service", "outcome", "wrote"], rows)
        + (folded("the record", record) if story.ended == "output" else "")
        + folded("where it comes from", "".join(f"<div>{plain(line)}</div>" for line in _origin(story)))
        + sentences("note", story.notes)
    )


def _light(chapter: Chapter) -> str:
    """A dot in the colour of what has happened: a verdict against the record is no failure of the service."""
    if chapter.status is None:
        return ""
    return dot(WEAK if chapter.verdict else STATUS_COLOURS[Status(chapter.status)])


def _outcome(chapter: Chapter) -> str:
    told = plain(_told(chapter))
    return f"{told}<br>{faint(plain(chapter.error))}" if chapter.error else told


def _written(values: Mapping[str, Any]) -> str:
    return "<br>".join(f"{faint(plain(name))} {marked(value, _WIDEST)}" for name, value in values.items())


def _key(story: Story) -> str:
    return printable(", ".join(f"{name}={value}" for name, value in story.key.items()))


def _nowhere(story: Story) -> str:
    near = f"; did you mean {' or '.join(map(printable, story.near))}?" if story.near else ""
    return f"there is no record {_key(story)} in {story.dataset}{near}"


def _ended(story: Story) -> str:
    if story.rejected is None:
        return "in the output"
    told = story.rejected
    error = f" ({printable(told['error'])})" if told.get("error") else ""
    return f"rejected by {told['service']}: {told['reason']}{error}"


def _origin(story: Story) -> list[str]:
    made = f"run: {story.run}"
    if story.version is not None:
        made += f", version {story.version}"
        made += "" if story.dataset.endswith(f"@v{story.version}") else ", carried over since"
    lines = [made]
    if story.source_file is not None:
        lines.append(f"source: {printable(story.source_file)}, row {story.source_row}")
    lines.append(f"file: {printable(str(story.part))}, row {story.part_row}")
    if story.count > 1:
        lines.append(
            f"{story.count:,} records have this key; this is the first, name another by FILE:ROW of the source"
        )
    return lines


def _told(chapter: Chapter) -> str:
    """How it went, in one line."""
    parts = [chapter.status or "?"]
    parts += [chapter.reason] if chapter.reason else []
    if chapter.http_status is not None and f"HTTP {chapter.http_status}" != chapter.reason:
        parts.append(f"HTTP {chapter.http_status}")
    if chapter.attempts is not None and chapter.attempts != 1:
        parts.append(f"{chapter.attempts} attempts")
    if chapter.duration:
        parts.append(duration(chapter.duration))
    if chapter.cost:
        parts.append(f"cost {money(chapter.cost)}")
    if chapter.age is not None:
        parts.append(f"answer of {chapter.answered}, {_age(chapter.age)} old")
    if chapter.answer_cost:
        parts.append(f"paid {money(chapter.answer_cost)}")
    if chapter.verdict is not None:
        parts.append("valid" if not chapter.verdict else f"invalid: {'; '.join(chapter.verdict) or 'false'}")
    return ", ".join(parts)


def _chapter(chapter: Chapter) -> list[str]:
    lines = [f"{chapter.service}: {printable(_told(chapter))}"]
    lines += [f"    error: {printable(chapter.error)}"] if chapter.error else []
    return lines + [f"    {line}" for line in _record(chapter.wrote)]


def _record(record: Mapping[str, Any]) -> list[str]:
    return [shorten(f"{printable(name)} = {cell(value) or 'null'}", _WIDEST) for name, value in record.items()]


def _age(seconds: float) -> str:
    return f"{seconds / 86400:,.0f} d" if seconds >= 2 * 86400 else duration(seconds)
