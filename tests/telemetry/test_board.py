"""The board of a run: committed and under way together, as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "faces"))

from boards import STARTED, board, line, status, worker

from dataflow.telemetry.board import FORM, Head, Rejects, Snapshot, make_board
from dataflow.telemetry.statistics import Statistics

HEAD = Head(run="r", dataset="d", catalog="c", pipeline="p", started=STARTED, services=[line("a"), line("b")])


def made(**given):
    snapshot = Snapshot(**{"status": "running", "counts": Statistics(), **given.pop("snapshot", {})})
    return make_board(HEAD, snapshot, **{"rejects": Rejects(), "apis": {}, "now": STARTED, **given})


def test_a_board_is_json():
    values = board(["a", "b", "c"])
    assert json.loads(json.dumps(values)) == values
    assert values["form"] == FORM


def test_a_run_that_has_done_nothing_has_every_service_with_zeros():
    values = made()
    assert [one["name"] for one in values["services"]] == ["a", "b"]
    assert {one["records"] for one in values["services"]} == {0}
    assert (values["records"]["done"], values["cost"], values["stage"]) == (0, 0, None)


def test_what_is_under_way_is_added_to_what_is_committed():
    idle, busy = board(["a", "b", "c"], status_word="stopped"), board(["a", "b", "c"])
    assert busy["services"][2]["succeeded"] == idle["services"][2]["succeeded"] + 40
    assert (idle["partitions"]["running"], busy["partitions"]["running"]) == (0, 3)


def test_the_cost_of_calls_under_way_counts():
    assert made(under_way=[{"partitions": 0, "services": {"a": {"cost": 0.25}}}])["cost"] == 0.25


def test_a_service_that_nobody_has_listed_is_left_out():
    values = made(under_way=[{"partitions": 1, "services": {"strange": {"records": 1}}}])
    assert [one["name"] for one in values["services"]] == ["a", "b"]


def test_a_stage_is_told_with_its_title():
    assert made(snapshot={"stage": ("keys", 2, 5)})["stage"] == {"title": "keys", "done": 2, "planned": 5}


@pytest.mark.parametrize(
    ("breaker", "word"),
    [
        ({"state": "open", "held": None, "rest": 3.0}, "open"),
        ({"state": "closed", "held": "open", "rest": 0.0}, "held"),
        ({"state": "open", "held": "closed", "rest": 0.0}, "closed"),
    ],
)
def test_a_breaker_that_is_held_says_so(breaker, word):
    assert board(["a"], apis={"acme": status(breaker=breaker)})["apis"][0]["breaker"] == word


def test_leases_of_apis_of_other_runs_are_left_out():
    (one,) = made(workers=[worker(0, api="foreign")])["workers"]
    assert one["leases"] == {}


def test_only_so_many_workers_warnings_and_reasons_are_told():
    rejects = Rejects()
    for at in range(30):
        rejects.add("a", f"r{at:02d}", at, [])
    given = {"warnings": [str(at) for at in range(99)]}
    values = made(snapshot=given, workers=[worker(at) for at in range(300)], rejects=rejects)
    assert (len(values["workers"]), len(values["warnings"]), len(values["rejects"])) == (200, 20, 12)
    assert (values["warnings"][-1], values["rejects"][0]["reason"]) == ("98", "r29")


def test_the_newest_examples_of_a_reason_stay():
    rejects = Rejects()
    rejects.add("a", "r", 2, [("2", "e"), ("1", "e")])
    rejects.add("a", "r", 2, [("4", "e"), ("3", "e")])
    (one,) = rejects.report()
    assert (one["records"], [example["record"] for example in one["examples"]]) == (4, ["4", "3", "2"])
