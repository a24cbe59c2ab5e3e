from __future__ import annotations

import pytest

from dataflow.faces.layout import DETAIL_CELL, NAME_CELL, lay_out
from dataflow.faces.texts import cells

SEEDS = range(8)


def test_levels_stand_from_left_to_right(leads):
    boxes = {box.line.name: box for box in lay_out(leads).boxes}
    assert boxes["email"].x == boxes["name_given"].x
    assert boxes["email"].x + boxes["email"].width < boxes["domain"].x
    assert boxes["domain"].x == boxes["email_syntax"].x < boxes["company"].x


@pytest.mark.parametrize("seed", SEEDS)
def test_boxes_do_not_overlap(seed, random_plan):
    boxes = lay_out(random_plan(seed)).boxes
    for at, one in enumerate(boxes):
        for other in boxes[at + 1 :]:
            beside = one.x + one.width < other.x or other.x + other.width < one.x
            assert beside or abs(one.y - other.y) >= one.height


@pytest.mark.parametrize("seed", SEEDS)
def test_lines_run_past_boxes_and_not_through_them(seed, random_plan):
    layout = lay_out(random_plan(seed))
    for line in layout.segments:
        assert not [box for box in layout.boxes if line.start[0] < box.x + box.width and box.x < line.end[0]]
        if line.straight:
            beside = [box for box in layout.boxes if box.x == line.end[0]]
            assert all(not box.y <= line.end[1] <= box.y + box.height for box in beside)


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_is_inside_the_picture(seed, random_plan):
    layout = lay_out(random_plan(seed))
    assert min(box.x for box in layout.boxes) == 0
    assert min(box.y for box in layout.boxes) >= -1e-6
    assert max(box.x + box.width for box in layout.boxes) <= layout.width
    assert max(box.y + box.height for box in layout.boxes) <= layout.height
    assert all(-1e-6 <= y <= layout.height for line in layout.segments for y in (line.start[1], line.end[1]))


@pytest.mark.parametrize("seed", SEEDS)
def test_long_names_fit_their_boxes(seed, random_plan):
    for box in lay_out(random_plan(seed)).boxes:
        assert cells(box.name) * NAME_CELL < box.width
        assert cells(box.detail) * DETAIL_CELL < box.width


@pytest.mark.parametrize("seed", SEEDS)
def test_every_dependency_is_told_by_some_line(seed, random_plan):
    plan = random_plan(seed)
    told = "\n".join(reason for line in lay_out(plan).segments for reason in line.reasons)
    for line in plan.lines:
        for name, why in zip(line.after, line.why, strict=True):
            assert f"{line.name} after {name}: {why}" in told


def test_services_that_wait_for_the_same_verdicts_meet_in_a_joint(leads):
    layout = lay_out(leads)
    waiting = [line for line in layout.segments if not line.reads]
    assert len(layout.joints) == 1
    assert len([line for line in waiting if line.arrow]) == 2
    assert len([line for line in waiting if line.end == layout.joints[0]]) == 2


def test_a_line_to_several_later_levels_is_drawn_once(leads):
    lines = [(line.start, line.end) for line in lay_out(leads).segments]
    assert len(lines) == len(set(lines))


def test_the_same_plan_gives_the_same_layout(random_plan):
    assert lay_out(random_plan(3)) == lay_out(random_plan(3))


def test_a_single_service_has_a_layout(leads):
    layout = lay_out(type(leads)(name="one", lines=leads.lines[:1], columns=(), notes=()))
    assert (len(layout.boxes), layout.segments, layout.joints) == (1, (), ())
