"""The boards on a scheduler: who is told, found, cancelled and forgotten."""

from __future__ import annotations

from dataflow.engine.live.boards import KEPT, LINES, Boards, under_way

BUSY = {"partitions": 1, "services": {}}


def told(boards: Boards, run: str, **given):
    return boards.tell(run, **{"board": b"{}", "now": 1.0, **given})


def test_the_newest_run_stands_first_and_is_the_latest():
    boards = Boards()
    for run in ("20260102", "20260103", "20260101"):
        told(boards, run)
    assert list(boards.told()) == ["20260103", "20260102", "20260101"]
    assert boards.find("latest") is boards.runs["20260103"]


def test_a_run_is_found_by_its_other_names():
    boards = Boards()
    entry = told(boards, "r", names=["submitted"])
    assert boards.find("submitted") is entry
    assert boards.find("other") is None
    assert Boards().find("latest") is None


def test_an_empty_board_leaves_what_was_told_before():
    boards = Boards()
    told(boards, "r", board=b"old")
    assert told(boards, "r", board=b"").board == b"old"
    told(boards, "s", board=b"")
    assert list(boards.told()) == ["r"]


def test_what_a_worker_tells_before_the_driver_is_kept_for_it():
    boards = Boards()
    boards.hear("r", worker="w", told=BUSY, now=1.0)
    assert boards.told() == {}
    assert under_way(told(boards, "r"), now=2.0) == [BUSY]


def test_what_a_worker_told_ends_with_its_silence_or_its_death():
    boards = Boards()
    boards.hear("r", worker="w", told=BUSY, now=0.0)
    entry = boards.runs["r"]
    assert (under_way(entry, now=3.9), under_way(entry, now=4.0)) == ([BUSY], [])
    boards.forget_worker("w")
    assert under_way(entry, now=1.0) == []


def test_many_workers_tell_less_often():
    boards = Boards()
    intervals = [boards.hear("r", worker=str(at), told=BUSY, now=0.0) for at in range(200)]
    assert (intervals[0], intervals[-1]) == (1.0, 4.0)


def test_runs_and_lines_beyond_their_number_are_forgotten_whoever_speaks_of_them():
    boards = Boards()
    for at in range(KEPT):
        told(boards, f"{at:03d}", lines=["line"] * (LINES + 5))
    told(boards, "000")
    for at in range(KEPT):
        boards.hear(f"h{at}", worker="w", told=BUSY, now=1.0)
        boards.cancel(f"c{at}")
    assert len(boards.runs) == KEPT
    assert len(told(boards, "c49", lines=["line"] * (LINES + 5)).lines) == LINES


def test_a_cancel_reaches_the_driver_of_a_known_run():
    boards = Boards()
    told(boards, "r", names=["s"])
    assert [boards.cancel(name) for name in ("s", "other")] == [True, False]
    assert told(boards, "r", names=["s"]).cancelled


def test_a_cancel_may_come_before_the_run_has_an_id():
    boards = Boards()
    assert not boards.cancel("submitted")
    assert told(boards, "r", names=["submitted"]).cancelled
    assert list(boards.told()) == ["r"]


def test_to_cancel_the_latest_run_makes_no_other_run_of_it():
    boards = Boards()
    assert not boards.cancel("latest")
    told(boards, "r")
    assert boards.cancel("latest")
    assert list(boards.told()) == ["r"]


def test_a_cancel_stops_only_the_stretch_it_was_meant_for():
    boards = Boards()
    told(boards, "r", stretch=1)
    boards.cancel("r")
    assert told(boards, "r", stretch=1).cancelled
    assert not told(boards, "r", stretch=2).cancelled


def test_a_submission_that_was_cancelled_stays_so_whoever_begins_it_anew():
    boards = Boards()
    assert [boards.attempt("submitted") for _ in range(2)] == [1, 2]
    boards.cancel("submitted")
    assert told(boards, "r", names=["submitted"], stretch=1).cancelled
    assert told(boards, "r", names=["submitted"], stretch=2).cancelled
