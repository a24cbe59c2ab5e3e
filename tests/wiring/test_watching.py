"""A run as others see it: told now and then, waited for never, harmed by nobody."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dataflow.engine.live.sight import Sight
from dataflow.outcomes import Event
from dataflow.store.catalog import Catalog
from dataflow.store.live import ask_to_stop, read_board, read_lines
from dataflow.store.schemas import Schemas
from dataflow.telemetry.board import Head
from dataflow.wiring.run import Run
from dataflow.wiring.watching import EVERY, Watching

EMPTY = pa.schema([("id", pa.int64())])


class Engine:
    """Remembers what it was told, and fails where it shall."""

    def __init__(self, *, broken: bool = False) -> None:
        self.told: list[dict[str, Any]] = []
        self.broken = broken

    def tell(self, board: bytes, **given: Any) -> Future[Sight]:
        if self.broken:
            raise RuntimeError("lost")
        self.told.append({"board": json.loads(board) if board else None, **given})
        answer: Future[Sight] = Future()
        answer.set_result(Sight())
        return answer


class Stand:
    """A run in a folder that is watched, with a clock of its own."""

    def __init__(self, path: Path, engine: Engine, *, listener: Any = None, names: tuple[str, ...] = ()) -> None:
        schemas = Schemas(output=EMPTY, rejects=EMPTY, failures=EMPTY)
        self.folder = Catalog(path).start("out", run_id="r", plan={"specs": []}, schemas=schemas, key=["id"])
        self.run = Run(id="r", output="out", catalog=str(path))
        self.now = 0.0
        self.watching = Watching(
            self.run,
            tell=listener or (lambda event: None),
            traffic=True,
            live=True,
            names=names,
            clock=lambda: self.now,
            wall=lambda: 1_790_000_000.0 + self.now,
        )
        self.watching.attach(engine)  # type: ignore[arg-type]
        self.begin(self.folder)

    def begin(self, folder: Any) -> None:
        head = Head(run="r", dataset="out", catalog="c", pipeline="p", started=0.0)
        self.watching.begin(folder, apis=(), head=lambda: head)

    def look(self, *, after: float = EVERY) -> bool:
        self.now += after
        self.watching.look()
        return self.watching.look()

    @property
    def shown(self) -> dict[str, Any]:
        board = read_board(self.folder)
        return {} if board is None else json.loads(board)


def event(kind: Any, **given: Any) -> Event:
    return Event(kind=kind, run="r", **given)


def broken(*arguments: Any, **given: Any) -> None:
    raise OSError(28, "no space left")


def test_a_short_run_shows_its_end_only(tmp_path: Path) -> None:
    stand = Stand(tmp_path, engine := Engine())
    stand.look(after=0.0)
    assert (engine.told[0]["board"], stand.shown) == (None, {})
    stand.run.status = "published"
    stand.watching.close()
    assert engine.told[-1]["board"]["status"] == stand.shown["status"] == "published"


def test_who_has_submitted_a_run_sees_it_at_once(tmp_path: Path) -> None:
    stand = Stand(tmp_path, engine := Engine(), names=("submitted",))
    stand.look(after=0.0)
    assert engine.told[0]["board"]["run"] == "r"
    assert engine.told[0]["names"] == ("submitted",)


def test_it_is_told_once_a_second(tmp_path: Path) -> None:
    stand = Stand(tmp_path, engine := Engine())
    for _ in range(8):
        stand.look(after=EVERY / 2)
    assert len(engine.told) == 4


def test_a_run_that_stops_says_so(tmp_path: Path) -> None:
    stand = Stand(tmp_path, Engine())
    stand.watching.hear(event("stopping"))
    stand.look()
    assert (stand.shown["status"], stand.shown["left"]) == ("stopping", None)


def test_an_engine_that_fails_harms_nothing(tmp_path: Path) -> None:
    stand = Stand(tmp_path, engine := Engine(broken=True))
    assert not stand.look()
    engine.broken = False
    stand.look()
    assert engine.told
    engine.broken = True
    stand.run.status = "published"
    stand.watching.close()
    assert stand.shown["status"] == "published"


def test_a_folder_that_fails_harms_nothing_and_hides_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(tmp_path, engine := Engine())
    monkeypatch.setattr("dataflow.wiring.watching.keep_board", broken)
    stand.look()
    stand.run.status = "published"
    stand.watching.close()
    assert [one["board"]["status"] for one in engine.told] == ["running", "published"]


def test_a_listener_that_fails_does_not_hide_how_a_run_has_ended(tmp_path: Path) -> None:
    stand = Stand(tmp_path, engine := Engine(), listener=broken)
    stand.watching._busy = True
    stand.run.status = "failed"
    stand.watching.close()
    assert engine.told[-1]["board"]["status"] == "failed"


def test_a_head_that_cannot_be_made_harms_nothing(tmp_path: Path) -> None:
    stand = Stand(tmp_path, engine := Engine())
    stand.watching.begin(stand.folder, apis=(), head=broken)  # type: ignore[arg-type]
    assert not stand.look()
    stand.watching.close()
    assert [one["board"] for one in engine.told] == [None]


@pytest.mark.parametrize("full", [False, True])
def test_a_wish_to_stop_in_the_folder_is_seen_even_where_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    stand = Stand(tmp_path, Engine())
    if full:
        monkeypatch.setattr("dataflow.wiring.watching.keep_board", broken)
    ask_to_stop(stand.folder)
    stand.look()
    assert stand.run._stop.is_set()


def test_a_wish_to_stop_ends_only_the_stretch_it_was_meant_for(tmp_path: Path) -> None:
    stand = Stand(tmp_path, Engine())
    ask_to_stop(stand.folder)
    stand.begin(stand.folder.resume())
    stand.look()
    assert not stand.run._stop.is_set()


def test_the_log_says_what_happened_when(tmp_path: Path) -> None:
    stand = Stand(tmp_path, engine := Engine())
    hear = stand.watching.hear
    hear(event("planned", partitions=3, records=30))
    for _ in range(2):
        hear(event("committed", partitions=1, records=10))
    hear(event("calling"))
    hear(event("warned", message="a\nb"))
    stand.look()
    lines = [json.loads(line) for line in read_lines(stand.folder)]
    assert [line["event"] for line in lines] == ["planned", "committed", "warned"]
    assert lines[1]["message"] == "1 of 3 partitions, 10 records"
    assert (lines[2]["level"], lines[2]["message"]) == ("warning", "a\nb")
    assert lines[0]["at"].endswith("+00:00")
    assert len(engine.told[0]["lines"]) == 3


def test_the_cluster_is_told_each_line_once(tmp_path: Path) -> None:
    stand = Stand(tmp_path, engine := Engine())
    for at in range(3):
        stand.watching.hear(event("warned", message=str(at)))
        stand.look()
    assert [[json.loads(line)["message"] for line in one["lines"]] for one in engine.told] == [["0"], ["1"], ["2"]]
