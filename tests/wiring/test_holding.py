"""Who holds an output: whoever is refused is told of a run that can be looked after, also while it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import Interrupted
from dataflow.store.catalog import Catalog
from dataflow.wiring import running
from dataflow.wiring.planning import Planned


@pytest.mark.slow
def test_a_second_process_is_told_of_the_run_that_goes_on_and_can_look_after_it(bench: Any) -> None:
    job = bench.folder / "numbers_job.py"
    job.write_text(job.read_text().replace("time.sleep(0.001)", "time.sleep(0.01)"))
    process = bench.start("--threads", "1")
    bench.wait_for_commits(1)
    process.kill()
    process.wait()
    (stopped,) = Catalog(bench.catalog).runs("numbers")
    before = bench.commits()
    process = bench.start("--threads", "1")
    bench.wait_for_commits(before + 1)
    refused = bench.run("--threads", "1", code=6)
    assert f"run {stopped.id} holds this dataset" in refused["stderr"]
    told = json.loads(bench.command("status", stopped.id, "--once", "--json", "--catalog", str(bench.catalog)))
    assert (told["run"], told["status"]) == (stopped.id, "running")
    bench.command("cancel", stopped.id, "--catalog", str(bench.catalog))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 5, err.decode()
    assert bench.run("--threads", "1")["run"] == stopped.id
    bench.check()


class Desk:
    """A job that stops where a file is missing, and a look at who holds its output while it is planned and run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.catalog = Catalog(folder / "datasets")
        self.held: list[str] = []
        plan_job = running.plan_job

        def planned(*arguments: Any, **options: Any) -> Planned:
            self.look()
            return plan_job(*arguments, **options)

        monkeypatch.setattr(running, "plan_job", planned)

    def look(self) -> None:
        owner = self.catalog.lock("out", run="nobody").holder()
        assert owner is not None
        self.held.append(owner.run)

    def run(self, factor: int = 1, **settings: Any) -> Any:
        @flow.transformation
        def times(number: int) -> int:
            self.look()
            return factor * number

        self.held.clear()
        pipeline = flow.Pipeline("p", [times])
        return pipeline.run(pa.table({"number": [1]}), "out", catalog=self.catalog.root, threads=1, **settings)

    def stop(self) -> str:
        with pytest.raises(Interrupted) as caught:
            self.run(on_event=_stop)
        return str(caught.value.run.id)  # type: ignore[attr-defined]


def _stop(event: Any) -> None:
    if event.kind == "planned":
        raise Interrupted("the test ends the run here")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_a_new_run_holds_its_output_under_its_own_id(desk: Desk) -> None:
    done = desk.run()
    assert desk.held == [done.id, done.id]


def test_a_run_that_goes_on_holds_its_output_under_its_id_from_planning_on(desk: Desk) -> None:
    stopped = desk.stop()
    done = desk.run()
    assert done.id == stopped
    assert desk.held == [stopped, stopped]


def test_a_run_that_takes_the_place_of_another_holds_the_output_under_its_own_id(desk: Desk) -> None:
    stopped = desk.stop()
    done = desk.run(factor=2)
    assert desk.held == [stopped, done.id]
    assert done.id != stopped
    stopped = desk.stop()
    anew = desk.run(resume=False)
    assert desk.held == [anew.id, anew.id]
