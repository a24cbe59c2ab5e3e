from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from dataflow.faces.picture import COLOURS, DARK, LIGHT, LINE, explanation_svg, inline_svg
from dataflow.outcomes import Kind

SVG = "{http://www.w3.org/2000/svg}"


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colour", [*COLOURS.values(), LINE])
@pytest.mark.parametrize("paper", [LIGHT[0], DARK[0]])
def test_every_colour_is_legible_on_light_and_on_dark(colour, paper):
    assert contrast(colour, paper) >= 3


def test_every_kind_has_a_colour_of_its_own():
    assert set(COLOURS) == set(Kind)
    assert len(set(COLOURS.values())) == len(Kind)


def test_the_file_is_well_formed_and_shows_every_service(leads):
    root = ElementTree.fromstring(explanation_svg(leads))
    texts = {one.text for one in root.iter(f"{SVG}text")}
    assert {line.name for line in leads.lines} <= texts
    assert root.get("aria-label") == "leads: 6 services in 3 levels"


def test_a_tooltip_tells_all_about_a_service(leads):
    titles = [one.text or "" for one in ElementTree.fromstring(explanation_svg(leads)).iter(f"{SVG}title")]
    company = next(one for one in titles if one.startswith("company\n"))
    assert "reads domain@1\nwrites company@1\nwhen valid\n" in company
    assert "after domain: reads domain@1" in company


def test_a_line_tells_its_reason(leads):
    titles = [one.text for one in ElementTree.fromstring(explanation_svg(leads)).iter(f"{SVG}title")]
    assert "domain after email: reads email@1" in titles


def test_names_are_text_and_never_markup(leads):
    evil = replace(leads.lines[0], name="<script>alert(1)</script>", reads=("<img onerror=x>@0",), why=(), after=())
    for draw in (explanation_svg, inline_svg):
        drawn = draw(replace(leads, name='"><script>', lines=(evil,)))
        assert "<script" not in drawn
        assert "<img" not in drawn
        assert ElementTree.fromstring(drawn) is not None


def test_control_characters_do_not_break_the_file(leads):
    line = replace(leads.lines[0], reads=("a\x00\x1b[31m\ud800@0",))
    assert ElementTree.fromstring(explanation_svg(replace(leads, lines=(line,)))) is not None


def test_a_file_follows_the_preference_for_dark_pages(leads):
    drawn = explanation_svg(leads)
    assert "prefers-color-scheme:dark" in drawn
    assert LIGHT[1] in drawn
    assert DARK[1] in drawn


def test_only_an_opaque_picture_paints_its_paper(leads):
    assert 'class="paper"' in explanation_svg(leads, opaque=True)
    assert 'class="paper"' not in explanation_svg(leads)


def test_a_picture_in_a_page_takes_the_colour_of_its_text(leads):
    drawn = inline_svg(leads)
    fills = set(re.findall(r'<text[^>]* fill="([^"]*)"', drawn))
    assert fills == {"currentColor"}
    assert "<style" not in drawn


def test_the_legend_names_what_is_drawn_and_nothing_else(leads):
    alone = replace(leads, lines=leads.lines[:1])
    texts = {one.text for one in ElementTree.fromstring(explanation_svg(alone)).iter(f"{SVG}text")}
    assert "transformation" in texts
    assert not {"validation", "enrichment", "reads what it wrote", "waits for its outcome"} & texts
