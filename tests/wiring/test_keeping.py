"""A limit such as 50 a day holds over processes and clusters: what one counts, the next one finds in the catalog."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.engine.control.home import process_plane
from dataflow.engine.control.limits import Limits
from dataflow.engine.control.plane import PROTOCOL, Plane
from dataflow.errors import GuardrailReached, LimitReached
from dataflow.outcomes import Event
from dataflow.policies.rate import read_rates
from dataflow.store.files import files_at
from dataflow.testing import SettableClock, memory_catalog
from dataflow.wiring.keeping import CountKeeper

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import Running, serve


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    process_plane.cache_clear()
    with serve() as running:
        yield running


@pytest.fixture(params=["folder", "memory"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return memory_catalog() if request.param == "memory" else str(tmp_path / "catalog")


def run(api: flow.API, name: str, records: int, **settings: Any) -> flow.Run:
    company = api.get("company", "/v2/companies/{key}", returns={"title": str}, select={"title": "name"})
    table = pa.table({"key": [f"{name}{at}.example" for at in range(records)]})
    return flow.Pipeline("counting", [company]).run(table, output=name, key="key", **settings)


def test_a_fresh_process_makes_only_the_calls_that_are_left_of_the_day_and_says_what_it_waits_for(
    server: Running, catalog: str
) -> None:
    api = flow.API("Daily.1", server.url, rate="50/day")
    run(api, "first", 30, catalog=catalog)
    assert server.counts()["calls"] == 30
    process_plane.cache_clear()
    said: list[Event] = []
    with pytest.raises(LimitReached, match="deadline of 2s"):
        run(api, "second", 60, catalog=catalog, deadline="2s", on_event=said.append)
    assert server.counts()["calls"] == 50
    warned = [event.message for event in said if event.kind == "warned"]
    assert warned == ["`Daily.1`: 50/day is used up, next call in 25 h"]
    # The same process goes on where it was: nothing of it counts twice, and nothing is left.
    process_plane.cache_clear()
    with pytest.raises(LimitReached):
        run(api, "second", 60, catalog=catalog, deadline="1s")
    assert server.counts()["calls"] == 50


def test_a_run_that_fails_has_counted_its_calls_too(server: Running, tmp_path: Path) -> None:
    server.control(paths={"/v2/companies": "status:401"})
    catalog = str(tmp_path / "catalog")
    with pytest.raises(GuardrailReached):
        run(flow.API("denied", server.url, rate="1000/day"), "denied", 40, catalog=catalog)
    (file,) = (tmp_path / "catalog" / "_limits" / "denied").iterdir()
    ((_, amount),) = json.loads(file.read_text())["windows"][0][2]
    assert amount == server.counts()["calls"] > 0


def test_a_single_call_fails_at_once_where_its_limit_is_used_up(server: Running) -> None:
    api = flow.API("scarce", server.url, rate="1/day")
    company = api.get("company", "/v2/companies/{key}", returns={"title": str}, select={"title": "name"})
    pipeline = flow.Pipeline("single", [company])
    pipeline.call({"key": "c1.example"})
    (failure,) = pipeline.call({"key": "c2.example"}).metadata.failures
    assert failure.reason == "rate used up"
    assert "1/day is used up, next call in" in str(failure.error)


def ask(plane: Plane, clock: Callable[[], float]) -> Callable[..., Any]:
    return lambda do, **given: getattr(plane, do)(**given, now=clock())


def lease(plane: Plane, *, wanted: int, now: float, number: int = 1) -> int:
    """How many of so many wanted calls a plane lets start under 10 a day."""
    limits = Limits(rates=read_rates("10/day", where="test"), concurrency=None)
    reply = plane.exchange(
        {
            "protocol": PROTOCOL,
            "holder": "h",
            "api": "acme",
            "number": number,
            "limits": limits.to_dict(),
            "wanted": wanted,
            "waiting": wanted,
            "in_flight": 0,
            "usual": 0,
            "share": 0,
            "in_hand": 0,
            "outcomes": "",
            "probes": "",
            "throttled": [],
            "unused": [],
            "planned": [],
            "tokens": [],
            "fresh": wanted,
            "patient": True,
            "failed_by": None,
        },
        now=now,
    )
    return sum(int(count) for _, _, count in reply["slots"]["runs"])


def test_two_planes_on_one_catalog_learn_of_each_other_within_ten_seconds(catalog: str) -> None:
    clock, said = SettableClock(100.0), list[str]()
    planes = [Plane(), Plane()]
    keepers = [
        CountKeeper(catalog, apis=["acme"], warn=said.append, clock=clock, wall=lambda: 1e9 + clock()) for _ in planes
    ]
    for keeper, plane in zip(keepers, planes, strict=True):
        keeper.open(plane.id, ask(plane, clock))
    assert lease(planes[0], wanted=4, now=100.0) == 4
    for _ in range(2):
        clock.advance(10.0)
        for keeper in [*keepers, *keepers]:
            keeper.look()
    assert lease(planes[1], wanted=20, now=120.0) == 6
    clock.advance(10.0)
    for keeper in reversed(keepers):
        keeper.look()
    assert lease(planes[0], wanted=20, now=130.0, number=2) == 0
    assert [plane.kept(now=130.0)["acme"][0][2][0][1] for plane in planes] == [4, 6]
    assert len(files_at(catalog).sizes(f"{catalog}/_limits/acme")) == 2
    assert said == []


def test_nothing_is_written_before_it_is_time_or_where_nothing_was_counted(tmp_path: Path) -> None:
    clock, plane = SettableClock(), Plane()
    keeper = CountKeeper(str(tmp_path), apis=["acme"], warn=print, clock=clock, wall=lambda: 1e9)
    keeper.look()
    keeper.open(plane.id, ask(plane, clock))
    assert not (tmp_path / "_limits").exists()
    lease(plane, wanted=1, now=0.0)
    clock.advance(9.0)
    keeper.look()
    assert not (tmp_path / "_limits").exists()
    clock.advance(1.0)
    keeper.look()
    assert len(list((tmp_path / "_limits" / "acme").iterdir())) == 1


def test_a_catalog_that_cannot_be_written_or_read_ends_no_run_and_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "_limits").write_text("in the way")
    plane, said = Plane(), list[str]()
    lease(plane, wanted=1, now=0.0)
    keeper = CountKeeper(str(tmp_path), apis=["acme"], warn=said.append)
    keeper.open(plane.id, ask(plane, lambda: 0.0))
    keeper.keep()
    assert len(said) == 1
    assert "not kept in the catalog" in said[0]


JOB = """
import os
import dataflow as flow

api = flow.API("acme", os.environ["SERVER"], rate="50/day")
company = api.get("company", "/v2/companies/{domain}", returns={"title": str}, select={"title": "name"})

def job(source: str) -> flow.Job:
    return flow.Job(flow.Pipeline("calling", [company]), source=source, output=source[0], key="domain")
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", [(), ("--workers", "2")])
def test_a_daily_limit_holds_over_commands(engine: tuple[str, ...], server: Running, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(JOB)
    start = partial(
        subprocess.run, cwd=tmp_path, env={**os.environ, "SERVER": server.url}, capture_output=True, text=True
    )
    for name, records, code, calls in (("a", 30, 0, 30), ("b", 60, 4, 50)):
        (tmp_path / f"{name}.csv").write_text("domain\n" + "".join(f"{name}{at}.example\n" for at in range(records)))
        command = [sys.executable, "-m", "dataflow", "run", "job.py", "--set", f"source={name}.csv"]
        ended = start([*command, "--catalog", "catalog", "--deadline", "15s", *engine], timeout=120)
        assert ended.returncode == code, ended.stderr
        assert server.counts()["calls"] == calls
    assert ended.stderr.count("`acme`: 50/day is used up, next call in 25 h") == 1
