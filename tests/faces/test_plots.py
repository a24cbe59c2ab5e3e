"""Small pictures of numbers: what is there is seen, in proportion, and legible on every page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from dataflow.faces import plots
from dataflow.faces.picture import DARK, LIGHT
from dataflow.faces.plots import Axis, Part, axis_of, duration_marks, outcome_parts, share_bar, stacked_bar
from dataflow.outcomes import Status


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def widths(svg: str) -> list[float]:
    return [float(rect.get("width", "")) for rect in ElementTree.fromstring(svg).iter("rect")]


def part(amount: int, name: str = "n") -> Part:
    return Part(name=name, amount=amount, colour="#259b6f")


@pytest.mark.parametrize("colour", sorted({*plots.STATUS_COLOURS.values(), *plots.RECORD_COLOURS.values()}))
@pytest.mark.parametrize("paper", [LIGHT[0], DARK[0]])
def test_every_colour_is_legible_on_light_and_on_dark(colour: str, paper: str) -> None:
    darker, lighter = sorted([luminance(colour), luminance(paper)])
    assert (lighter + 0.05) / (darker + 0.05) >= 3


def test_every_status_has_a_part_of_its_own() -> None:
    parts = outcome_parts({status.value: 1 for status in Status})
    assert len({(one.colour, one.opacity) for one in parts}) == len(Status)


def test_what_is_zero_has_no_part() -> None:
    assert [one.name for one in outcome_parts({"succeeded": 3, "failed": 0, "not_found": 1})] == [
        "succeeded",
        "not found",
    ]


def test_parts_fill_the_bar_in_proportion() -> None:
    assert widths(stacked_bar([part(30), part(10)], width=100)) == [75, 25]


def test_three_among_a_million_are_seen() -> None:
    wide, small = widths(stacked_bar([part(1_000_000), part(3)], width=100))
    assert small == 2
    assert wide + small == 100


def test_a_bar_of_nothing_is_empty() -> None:
    assert widths(stacked_bar([])) == []
    assert 'aria-label="nothing"' in stacked_bar([])


def test_a_bar_says_its_counts_without_a_mouse() -> None:
    assert 'aria-label="succeeded 1,200, failed 3"' in stacked_bar([part(1200, "succeeded"), part(3, "failed")])


@pytest.mark.parametrize(("share", "wide"), [(-1, 0), (0, 0), (0.25, 20), (1, 80), (2, 80)])
def test_a_share_fills_its_bar(share: float, wide: float) -> None:
    assert widths(share_bar(share))[1] == wide


def test_an_axis_holds_all_durations_between_powers_of_ten() -> None:
    axis = axis_of([{"p50": 0.02, "p95": None, "max": 0.3}, {"p50": None, "max": 4.0}, {}])
    assert axis == Axis(low=-2, high=1)
    assert axis.label == "10 ms .. 10 s"


@pytest.mark.parametrize(
    "durations", [[], [{}], [{"p50": None, "max": None}], [{"p50": 0.0}], [{"p50": 1e-9, "max": 1e-9}]]
)
def test_without_durations_there_is_no_axis(durations: list[dict[str, float | None]]) -> None:
    assert axis_of(durations) is None


def test_an_axis_of_one_duration_has_two_ends() -> None:
    assert axis_of([{"p50": 1.0, "max": 1.0}]) == Axis(low=0, high=1)


def test_longer_calls_are_further_right() -> None:
    axis = Axis(low=-3, high=1)
    assert axis.place(0.0) == 0 == axis.place(0.0001)
    assert axis.place(0.1) == 0.5
    assert axis.place(1000) == 1


def test_marks_tell_their_durations() -> None:
    svg = duration_marks({"p50": 0.08, "p95": 0.12, "max": 1.2}, Axis(low=-2, high=1))
    assert "<title>p50 80 ms, p95 120 ms, max 1.2 s</title>" in svg
    assert len(re.findall("<circle", svg)) == 2


def test_a_service_that_was_not_called_has_no_marks() -> None:
    assert duration_marks({"p50": None, "p95": None, "max": None}, Axis(low=0, high=1)) == ""


def test_names_are_text() -> None:
    svg = stacked_bar([part(1, '"><script>')]) + plots.legend([part(1, "<script>")])
    assert "<script" not in svg
