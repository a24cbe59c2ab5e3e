"""The story of one record as a terminal shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataflow.faces.texts import cell, duration, printable, shorten
from dataflow.wiring.story import Chapter, Story

_WIDEST = 100


def story_text(story: Story) -> str:
    """A record in some lines: where it ended, then each service, then what cannot be told."""
    key = printable(", ".join(f"{name}={value}" for name, value in story.key.items()))
    if story.ended == "nowhere":
        near = f"; did you mean {' or '.join(map(printable, story.near))}?" if story.near else ""
        return f"there is no record {key} in {story.dataset}{near}"
    lines = [f"{key} in {story.dataset}: {_ended(story)}", *_origin(story), ""]
    lines += [line for chapter in story.chapters for line in _chapter(chapter)]
    if story.ended == "output":
        lines += ["", *_record(story.record)]
    return "\n".join([*lines, *(f"note: {printable(note)}" for note in story.notes)])


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


def _chapter(chapter: Chapter) -> list[str]:
    facts = [chapter.status or "?"]
    facts += [chapter.reason] if chapter.reason else []
    if chapter.http_status is not None and f"HTTP {chapter.http_status}" != chapter.reason:
        facts.append(f"HTTP {chapter.http_status}")
    if chapter.attempts is not None and chapter.attempts != 1:
        facts.append(f"{chapter.attempts} attempts")
    if chapter.duration:
        facts.append(duration(chapter.duration))
    if chapter.cost:
        facts.append(f"cost {chapter.cost:g}")
    if chapter.age is not None:
        facts.append(f"answer of {chapter.answered}, {_age(chapter.age)} old")
    if chapter.answer_cost:
        facts.append(f"paid {chapter.answer_cost:g}")
    if chapter.verdict is not None:
        facts.append("valid" if not chapter.verdict else f"invalid: {'; '.join(chapter.verdict) or 'false'}")
    lines = [f"{chapter.service}: {printable(', '.join(facts))}"]
    return lines + [f"    {line}" for line in _record(chapter.wrote)]


def _record(record: Mapping[str, Any]) -> list[str]:
    return [shorten(f"{printable(name)} = {cell(value) or 'null'}", _WIDEST) for name, value in record.items()]


def _age(seconds: float) -> str:
    return f"{seconds / 86400:,.0f} d" if seconds >= 2 * 86400 else duration(seconds)
