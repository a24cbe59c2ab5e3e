"""A run that calls asks the control plane what its calls wait for, now and then, and never waits for the answer."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.engine.control.limits import Limits
from dataflow.engine.control.plane import PROTOCOL, Plane
from dataflow.engine.live.sight import Sight
from dataflow.outcomes import Event, Traffic
from dataflow.telemetry.board import Head
from dataflow.wiring.run import Run
from dataflow.wiring.traffic import traffic_of
from dataflow.wiring.watching import EVERY, Watching

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import serve

NAMES = (f"traffic{at}" for at in itertools.count())
"""Limits belong to names, so that each test needs its own."""


class Asked:
    """An engine of which only the plane matters; its answers are given by the test."""

    def __init__(self) -> None:
        self.answers: list[Future[Any] | None] = []
        self.silent = False

    def tell(self, board: bytes, **given: Any) -> Future[Any] | None:
        self.answers.append(None if self.silent else Future())
        return self.answers[-1]


def status(**given: Any) -> dict[str, dict[str, Any]]:
    """The status of a plane that one holder has asked once."""
    plane = Plane()
    request = {"protocol": PROTOCOL, "holder": "h", "api": "acme", "number": 1, "limits": Limits().to_dict()}
    counts = {"wanted": 0, "waiting": 0, "reason": None, "in_flight": 0, "share": 0, "in_hand": 0}
    past: dict[str, Any] = {"outcomes": "", "probes": "", "throttled": [], "unused": [], "planned": [], "tokens": []}
    counts |= {"usual": 0, "fresh": 0, "patient": True, "failed_by": None}
    plane.exchange({**request, **counts, **past, **given}, now=1.0)
    return plane.status(1.0)


def watching(engine: Any, now: list[float]) -> tuple[Watching, list[tuple[Traffic, ...]]]:
    told: list[tuple[Traffic, ...]] = []
    run = Run(id="r", output="out", catalog="catalog")
    watch = Watching(run, tell=lambda event: told.append(event.traffic), traffic=True, live=False, clock=lambda: now[0])
    watch.begin(None, apis={"acme"}, head=Head)  # type: ignore[arg-type]
    watch.attach(engine)
    return watch, told


def test_traffic_is_what_the_plane_says_of_the_apis_of_the_run() -> None:
    given = status(wanted=5, waiting=5, reason="concurrency", in_flight=16)
    (one,) = traffic_of(given, apis={"acme", "other"})
    assert (one.api, one.in_flight, one.concurrency, one.waiting) == ("acme", 16, 16, {"concurrency": 5})
    assert (one.allowed, one.breaker, one.rest, one.pause) == (None, "closed", 0.0, 0.0)
    assert traffic_of(given, apis={"other"}) == ()


def test_an_api_that_rests_is_left_out_unless_its_breaker_is_open() -> None:
    assert traffic_of(status(), apis={"acme"}) == ()
    (one,) = traffic_of(status(outcomes="fffff"), apis={"acme"})
    assert (one.breaker, one.rest) == ("open", 1.0)


def test_a_plane_is_asked_once_a_second_and_not_again_before_it_has_answered() -> None:
    engine, now = Asked(), [0.0]
    watch, told = watching(engine, now)
    for _ in range(5):
        watch.look()
    now[0] += 10 * EVERY
    watch.look()
    assert (len(engine.answers), told) == (1, [])
    engine.answers[0].set_result(Sight(apis=status(in_flight=2)))
    watch.look()
    watch.look()
    assert (len(engine.answers), len(told)) == (2, 1)


@pytest.mark.parametrize("ending", ["fails", "cancelled", "silent"])
def test_a_plane_that_is_lost_is_no_error_and_no_news(ending: str) -> None:
    engine, now = Asked(), [0.0]
    watch, told = watching(engine, now)
    engine.silent = ending == "silent"
    watch.look()
    if ending == "fails":
        engine.answers[0].set_exception(OSError("gone"))
    if ending == "cancelled":
        engine.answers[0].cancel()
    watch.look()
    now[0] += EVERY
    watch.look()
    watch.close()
    assert (len(engine.answers), told) == (2, [])


def test_that_calls_rest_is_told_once() -> None:
    engine, now = Asked(), [0.0]
    watch, told = watching(engine, now)
    for in_flight in (1, 0, 0):
        watch.look()
        engine.answers[-1].set_result(Sight(apis=status(in_flight=in_flight)))
        watch.look()
        now[0] += EVERY
    watch.close()
    assert [len(traffic) for traffic in told] == [1, 0]


def calling(api: flow.API, folder: Path, *, keys: int, **settings: Any) -> list[Event]:
    company = api.get("company", "/v2/companies/{key}", returns={"title": str}, select={"title": "name"})
    events: list[Event] = []
    source = pa.table({"key": [f"k{at}.example" for at in range(keys)]})
    pipeline = flow.Pipeline("traffic", [company])
    pipeline.run(source, output="out", catalog=str(folder), on_event=events.append, **settings)
    return [event for event in events if event.kind == "calling"]


@pytest.mark.parametrize("workers", [None, pytest.param(1, marks=pytest.mark.slow)])
def test_whoever_listens_hears_while_a_partition_is_under_way_what_calls_wait_for(
    tmp_path: Path, workers: int | None
) -> None:
    with serve(latency=0.02) as server:
        api = flow.API(next(NAMES), server.url, rate="20/s", concurrency=8)
        events = calling(api, tmp_path, keys=60, workers=workers)
    busy = [one for event in events for one in event.traffic]
    assert {one.api for one in busy} == {api.name}
    assert max(one.waiting.get("rate", 0) for one in busy) > 2
    assert {round(one.allowed or 0) for one in busy} == {20}
    assert events[-1].traffic == ()


def test_a_cap_is_named_as_the_reason_where_it_is_one(tmp_path: Path) -> None:
    with serve(latency=0.2) as server:
        api = flow.API(next(NAMES), server.url, concurrency=3)
        services = [
            api.get(name, f"/v2/{path}/{{key}}", returns=str, select="domain")
            for name, path in (("one", "companies"), ("other", "tech"))
        ]
        events: list[Event] = []
        source = pa.table({"key": [f"k{at}.example" for at in range(20)]})
        flow.Pipeline("capped", services).run(source, "out", catalog=str(tmp_path), on_event=events.append)
    busy = [one for event in events for one in event.traffic]
    assert max(one.in_flight for one in busy) == 3
    assert max(one.waiting.get("concurrency", 0) for one in busy) > 0


def test_a_listener_may_do_without(tmp_path: Path) -> None:
    with serve(latency=0.02) as server:
        api = flow.API(next(NAMES), server.url, rate="20/s")
        assert calling(api, tmp_path, keys=30, traffic=False) == []


def test_a_partition_that_was_put_off_because_of_a_breaker_is_noted(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("dataflow.wiring.worker.PATIENCE", 0.1)
    with serve(outage=1.5) as server:
        breaker = flow.Breaker(threshold=2, reset=1)
        api = flow.API(next(NAMES), server.url, breaker=breaker, retry=flow.Retry(attempts=1), concurrency=2)
        company = api.get("company", "/v2/companies/{key}", returns={"title": str}, select={"title": "name"})
        source = pa.table({"key": [f"k{at}.example" for at in range(10)]})
        events: list[Event] = []
        run = flow.Pipeline("p", [company]).run(source, "out", catalog=str(tmp_path), on_event=events.append)
    assert [note for note in run.notes if "put off for up to" in note]
    assert {one.breaker for event in events for one in event.traffic} >= {"open"}


def test_the_command_tells_a_log_and_is_silent_with_json_and_no_progress(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "import os\n"
        "import dataflow as flow\n"
        "from dataflow.faces import traffic\n"
        "traffic.FIRST = 0.0\n"
        "api = flow.API('logged', os.environ['SERVER'], rate='20/s')\n"
        "title = api.get('title', '/v2/companies/{key}', returns=str, select='name')\n"
        "job = flow.Job(flow.Pipeline('p', [title]), source='source.csv', output='out')\n"
    )
    (tmp_path / "source.csv").write_text("key\n" + "".join(f"k{at}.example\n" for at in range(40)))
    told = {}
    with serve(latency=0.02) as server:
        for options in ((), ("--json",), ("--no-progress",)):
            command = [sys.executable, "-m", "dataflow", "run", "job.py", "--no-resume", *options]
            environment = {"SERVER": server.url, "DATAFLOW_JOURNAL": str(tmp_path / f"journal{len(told)}")}
            done = subprocess.run(
                command, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True, check=True
            )
            told[options] = done.stderr
    assert "0 of 1 partition; logged: " in told[()]
    assert " wait for the rate, " in told[()]
    assert "logged: " not in told["--json",] + told["--no-progress",]
