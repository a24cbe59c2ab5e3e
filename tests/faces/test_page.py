"""The live page: every state has its words, and no text of a run is ever more than text."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from boards import board

from dataflow.faces import page as pages
from dataflow.faces.panels import draw
from dataflow.faces.picture import live_svg
from dataflow.telemetry.board import Rejects

NAMES = ["tidy", "valid", "company"]
EVIL = [
    "<script>window.hit=1</script>",
    "\" onmouseover='x' x=\"",
    "' onfocus='x",
    "x" * 10_000,
    "a" + "\u0301" * 10_000,
    "\u202eevil\u2066",
    "\u0645\u0631\u062d\u0628\u0627",
    "a\x00\x1b[31m\nb",
    "%%t0%%",
    "<!--t0-->",
    "]]></svg>",
]
TAGS = {"script", "img", "iframe", "object", "embed", "link", "form", "a", "base", "meta"}


class Read(HTMLParser):
    """The elements, attributes and texts of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def told(values: dict[str, Any], *, run: str = "r", ago: float = 0.2) -> dict[str, tuple[bytes, float]]:
    return {run: (json.dumps(values).encode(), ago)}


def words(values: dict[str, Any], **given: Any) -> str:
    return "".join(Read("".join(draw(values, **given).values())).texts)


def hostile(text: str) -> dict[str, Any]:
    """A board whose every text is this one."""
    rejects = Rejects()
    rejects.add(text, text, 3, [(text, text)])
    names = [f"{text}{at}" for at in range(3)]
    made = board(names, apis={text: {}}, rejects=rejects, warnings=(text,), pipeline=text, dataset=text)
    made |= {"run": text, "status": text, "currency": text, "reason": text, "notes": [text]}
    made["stage"] = {"title": text, "done": 1, "planned": 2}
    for one in made["services"]:
        one |= {"member_of": text, "errors": {text: 3}, "kind": text, "waited": {text: 1e6}}
    for one in made["apis"]:
        one |= {"rates": [text], "waiting": {text: 3}}
    for one in made["workers"]:
        one["address"] = text
    return made


def harmless(html: str) -> None:
    read = Read(html)
    assert not read.tags & TAGS
    assert not [name for name in read.attributes if name.startswith("on") or name in ("src", "href")]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "12 of 40 partitions"),
        ({"done": 0}, "0 of 40 partitions"),
        ({"status_word": "stopping"}, "no new calls begin"),
        ({"status_word": "published", "done": 40}, "Published after 1 min 24 s: 12,000 records."),
        ({"status_word": "unchanged", "done": 40}, "Nothing has changed"),
        ({"status_word": "stopped"}, "Stopped: by hand. What is committed is kept"),
        ({"status_word": "stopped", "reason": "the deadline"}, "Stopped: the deadline."),
        ({"status_word": "failed", "reason": "401"}, "Failed: 401"),
        ({"status_word": "failed"}, "Failed: for no known reason"),
        ({"status_word": "strange"}, "strange"),
    ],
)
def test_every_state_has_its_words(given: dict[str, Any], said: str) -> None:
    assert said in words(board(NAMES, **given))


def test_a_driver_that_is_silent_is_missed_while_its_run_goes_on_only() -> None:
    assert "Its driver has not been heard for 34.0 s" in words(board(NAMES), heard_ago=34.0)
    assert "not been heard" not in words(board(NAMES), heard_ago=9.0)
    assert "not been heard" not in words(board(NAMES, status_word="stopped"), heard_ago=34.0)


def test_a_board_of_another_form_is_not_guessed_at() -> None:
    assert "does not know such a board" in pages.page(told({"form": 99}), nonce="n")


def test_without_a_run_the_page_says_how_to_begin_one() -> None:
    assert "No run yet" in pages.page({}, nonce="n")
    assert pages.panels({})["seen"] == pages.seen({}) == "none"


def test_a_run_without_services_records_or_workers_is_drawn() -> None:
    bare = {**board(NAMES), "services": [], "apis": [], "workers": [], "rejects": [], "budgets": [], "notes": []}
    assert set(draw(bare)) == {"head", "progress", "tiles"}


def test_a_run_is_chosen_by_its_id_and_the_newest_else() -> None:
    boards = {**told(board(NAMES, pipeline="new"), run="b"), **told(board(NAMES, pipeline="old"), run="a")}
    assert "old" in pages.panels(boards, run="a")["panels"]["head"]
    for run in (None, "gone", "<script>"):
        assert "new" in pages.panels(boards, run=run)["panels"]["head"]
    assert 'href="?run=a" class=here' in pages.panels(boards, run="a")["panels"]["runs"]


def test_a_state_is_seen_once_and_a_missed_driver_each_second() -> None:
    values = board(NAMES)
    assert pages.seen(told(values, ago=1.0)) == pages.seen(told(values, ago=9.0))
    assert pages.seen(told(values, ago=11.0)) != pages.seen(told(values, ago=12.0))
    assert pages.seen(told(values)) != pages.seen(told({**values, "at": 1}))
    assert pages.panels(told(values))["seen"] == pages.seen(told(values))


def test_only_the_script_of_the_page_may_run() -> None:
    html, policy = pages.page(told(board(NAMES)), nonce="abc"), pages.policy("abc")
    assert html.count("<script") == 1
    assert '<script nonce="abc">' in html
    assert "default-src 'none'" in policy
    assert "script-src 'nonce-abc'" in policy


@pytest.mark.parametrize("text", EVIL)
def test_hostile_texts_stay_texts(text: str) -> None:
    values = hostile(text)
    harmless("".join(draw(values).values()))
    html = pages.page({text: told(values)["r"], "other": told(values)["r"]}, nonce="n")
    assert html.count("<script") == 1
    assert len(html) < 200_000
    assert "\u202e" not in html


@given(
    st.text(alphabet=st.sampled_from("<>&\"'a-!%t0/= \x00\u202e\u0301"), min_size=1, max_size=40)
    | st.text(min_size=1, max_size=40)
)
def test_no_text_of_a_board_reaches_the_page_unescaped(text: str) -> None:
    plain, drawn = draw(hostile("x")), draw(hostile(text))
    assert set(plain) == set(drawn)
    for name in plain:
        assert Read(drawn[name]).tags == Read(plain[name]).tags
        assert drawn[name].count("<") == plain[name].count("<")
    harmless("".join(drawn.values()))


def test_a_name_that_looks_like_a_place_in_the_picture_is_a_name(leads: Any) -> None:
    evil = zip(leads.lines, ("%%b1%%", "<!--b0-->"), strict=False)
    lines = [replace(line, name=name, after=(), why=()) for line, name in evil]
    graph = live_svg(replace(leads, name="<!--b0-->", lines=tuple(lines)))
    drawn = draw(board([one.name for one in lines], graph=graph))["graph"]
    assert "<title>%%b1%%" in drawn
    assert "&lt;!--b0--&gt;" in drawn
    assert "<!--" not in drawn


def test_a_picture_with_more_places_than_services_is_drawn() -> None:
    assert "waiting" in draw(board(NAMES, graph="<svg><!--t99--><!--b99--></svg>"))["graph"]
