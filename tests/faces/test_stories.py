"""The story of one record: how each service went is seen at once, and no value becomes markup."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataflow.faces.markup import GOOD, WEAK, WRONG
from dataflow.faces.stories import story_html, story_text
from dataflow.wiring.story import Chapter, Story

EVIL = "<script>alert(1)</script>"
STORY = Story(
    dataset="leads@v3",
    key={"lead_id": "L-1"},
    ended="output",
    run="r1",
    version=3,
    source_file="leads.csv",
    source_row=7,
    part="part-0.parquet",
    part_row=6,
    record={"email": "a@x", "note": None},
    chapters=(
        Chapter(service="email", status="succeeded", wrote={"email": "a@x"}),
        Chapter(service="syntax", status="succeeded", verdict=("no address",)),
        Chapter(service="company", status="failed", reason="HTTP 500", attempts=3, duration=0.2, wrote={"firm": None}),
        Chapter(service="later"),
    ),
    notes=("mind the gap",),
)


def test_a_page_tells_what_the_text_tells() -> None:
    page, text = story_html(STORY), story_text(STORY)
    for told in ("lead_id=L-1", "leads@v3", "failed, HTTP 500, 3 attempts, 200 ms", "leads.csv, row 7", "mind the gap"):
        assert told in page
        assert told in text


@pytest.mark.parametrize(("at", "colour"), [(0, GOOD), (1, WEAK), (2, WRONG)])
def test_a_service_has_the_colour_of_how_it_went(at: int, colour: str) -> None:
    assert colour in story_html(replace(STORY, chapters=STORY.chapters[at : at + 1]))


def test_why_a_record_was_rejected_stands_first() -> None:
    rejected = replace(STORY, ended="rejects", rejected={"service": "email", "reason": "KeyError", "error": EVIL})
    assert "rejected by email: KeyError (&lt;script&gt;" in story_html(rejected)


def test_a_record_that_is_not_there_is_a_sentence() -> None:
    page = story_html(Story(dataset="leads@v3", key={"lead_id": EVIL}, ended="nowhere", near=("L-1", "L-2")))
    assert "there is no record lead_id=&lt;script&gt;" in page
    assert "did you mean L-1 or L-2?" in page


def test_values_are_text(tags: type) -> None:
    hostile = Chapter(service=EVIL, status="succeeded", reason=EVIL, wrote={EVIL: EVIL + "x" * 10_000, "a": "שלום 🚀"})
    page = story_html(replace(STORY, key={EVIL: EVIL}, record={EVIL: EVIL}, chapters=(hostile,), notes=(EVIL,)))
    assert len(page) < 6_000
    read = tags(page)
    assert "script" not in read.seen
    assert read.open == []


def test_a_story_shows_itself_in_a_notebook() -> None:
    assert STORY._repr_html_() == story_html(STORY)
