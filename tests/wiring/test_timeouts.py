"""`timeout=` of plain functions, wherever they are called, and what a run that is stopped waits for."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import CriticalServiceFailed

NEVER = 60
SOON = 20
SAID = r"`slow` takes longer than its timeout of 0\.3 s; its threads are left to end in the background"


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What slow functions wait for, so that they end with their test."""
    event = threading.Event()
    yield event
    event.set()


def slow_service(gate: threading.Event, **options: Any) -> flow.Service:
    @flow.enrichment(timeout=0.3, **options)
    def slow(x: int) -> int:
        if x == 3:
            gate.wait(NEVER)
        return x

    return slow


def fate(result: Any, service: str = "slow") -> tuple[str, str]:
    failure = next(one for one in result.metadata.failures if one.service == service)
    return str(failure.status), failure.error


@pytest.mark.filterwarnings("ignore:`slow` takes longer")
@pytest.mark.parametrize("options", [{}, {"threads": 4}, {"into": "found"}, {"constants": {}}])
def test_one_record_has_timed_out_however_it_is_called(gate: threading.Event, options: Any) -> None:
    pipeline = flow.Pipeline("p", [slow_service(gate, **options)])
    began = time.monotonic()
    late = ("timed_out", "no answer within 0.3 s")
    assert fate(pipeline.call({"x": 3})) == late
    assert fate(asyncio.run(pipeline.acall({"x": 3}))) == late
    good, bad = pipeline.call_many([{"x": 1}, {"x": 3}])
    assert (good.metadata.failure_count, fate(bad)) == (0, late)
    assert time.monotonic() - began < SOON


def test_a_critical_service_that_takes_too_long_is_told_as_such(gate: threading.Event) -> None:
    pipeline = flow.Pipeline("p", [slow_service(gate, priority="critical")])
    with pytest.warns(UserWarning, match=SAID), pytest.raises(CriticalServiceFailed, match="slow"):
        pipeline.call({"x": 3})


def test_a_table_and_a_sample_go_on_without_the_record(gate: threading.Event) -> None:
    pipeline = flow.Pipeline("p", [slow_service(gate)])
    table = pa.table({"x": [1, 2, 3, 4]})
    with pytest.warns(UserWarning, match=SAID):
        found = pipeline.apply(table)
    assert found["slow"].to_pylist() == [1, 2, None, 4]
    sampled = pipeline.sample(table, 4)
    fates = sorted(str(one["slow"].status) for one in sampled.fates)
    assert fates == ["succeeded", "succeeded", "succeeded", "timed_out"]


@pytest.mark.filterwarnings("ignore:`.*slow.*` takes longer")
def test_members_of_composite_services_have_their_own_timeout(gate: threading.Event) -> None:
    @flow.enrichment
    def other(x: int) -> int:
        return -x

    first = flow.waterfall("first", [slow_service(gate), other])
    assert flow.Pipeline("p", [first]).call({"x": 3}).data["first"] == -3

    @flow.enrichment(timeout=0.3)
    def slow_item(item: int) -> int:
        if item == 3:
            gate.wait(NEVER)
        return item

    each = flow.for_each("items", [slow_item], into="found")
    found = flow.Pipeline("p", [each]).apply(pa.table({"items": [[1, 3, 5], [7]]}))
    assert [[one["slow_item"] for one in row] for row in found["found"].to_pylist()] == [[1, None, 5], [7]]


@pytest.mark.filterwarnings("ignore:`slow` takes longer")
def test_a_class_whose_instance_is_busy_is_set_up_again(gate: threading.Event) -> None:
    made: list[int] = []

    @flow.enrichment(timeout=0.3)
    class slow:
        def __init__(self) -> None:
            made.append(len(made))
            self.number = made[-1]

        def __call__(self, x: int) -> int:
            if x == 3:
                gate.wait(NEVER)
            return self.number

    pipeline = flow.Pipeline("p", [slow])
    assert pipeline.apply(pa.table({"x": [1, 3, 4]}))["slow"].to_pylist() == [0, None, 1]
    assert pipeline.apply(pa.table({"x": [5]}))["slow"].to_pylist() == [1]


@pytest.mark.filterwarnings("ignore:`slow` takes longer")
def test_a_column_form_has_a_timeout_only_if_it_says_so(gate: threading.Event) -> None:
    @flow.enrichment(timeout=0.3, returns=int)
    def slow(x: pa.Array) -> pa.Array:
        gate.wait(NEVER)
        return x

    began = time.monotonic()
    result = flow.Pipeline("p", [slow]).call({"x": 3})
    assert fate(result) == ("timed_out", "no answer within 0.3 s")
    assert time.monotonic() - began < SOON


@pytest.mark.filterwarnings("ignore:`quick` takes longer")
def test_the_default_is_for_records_and_not_for_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflow.engine.resources.TIMEOUT", 0.3)

    @flow.enrichment(returns=int)
    def whole(x: pa.Array) -> pa.Array:
        time.sleep(1)
        return x

    @flow.enrichment
    def quick(x: int) -> int:
        time.sleep(1)
        return x

    result = flow.Pipeline("p", [whole, quick]).call({"x": 3})
    assert (result.data["whole"], fate(result, "quick")) == (3, ("timed_out", "no answer within 0.3 s"))


def test_a_validation_that_takes_too_long_judges_nothing(tmp_path: Path, gate: threading.Event) -> None:
    @flow.validation(timeout=0.3)
    def slow(x: int) -> bool:
        if x == 3:
            gate.wait(NEVER)
        return True

    run = flow.Pipeline("p", [slow]).run(
        pa.table({"x": [1, 2, 3]}), "out", key="x", catalog=str(tmp_path), max_failures=100
    )
    (rejected,) = run.rejects().to_pylist()
    assert (rejected["x"], rejected["error"]) == (3, "no answer within 0.3 s")
    counts = run.statistics["services"]["slow"]
    assert (counts["succeeded"], counts["timed_out"]) == (2, 1)


JOB = """
import time
import dataflow as flow

@flow.transformation(priority="optional"{options})
def slow(x: int) -> int:
    time.sleep({seconds} if x % {each} == 0 else 0)
    return x

job = flow.Job(flow.Pipeline("p", [slow]), source="x.csv", output="out", max_failures="100%")
"""


class Command:
    """A job in a folder of its own, and the command that runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "DATAFLOW_JOURNAL": str(folder / "journal")}

    def write(self, records: int, *, seconds: float, each: int = 1, options: str = "") -> None:
        (self.folder / "x.csv").write_text("x\n" + "".join(f"{x}\n" for x in range(records)))
        (self.folder / "job.py").write_text(JOB.format(options=options, seconds=seconds, each=each))

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dataflow", "run", "job.py", "--json", "--partition-size", "64MiB", *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **pipes)

    def run(self, *options: str) -> tuple[int, str, float]:
        began = time.monotonic()
        process = self.start(*options)
        out, err = process.communicate(timeout=120)
        return process.returncode, out + err, time.monotonic() - began


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_a_run_and_its_process_end_though_some_calls_never_do(command: Command, options: tuple[str, ...]) -> None:
    command.write(40, seconds=300, each=10, options=", timeout=0.3")
    code, said, seconds = command.run(*options)
    assert (code, seconds < 60) == (0, True)
    answer = json.loads(said[said.index("{") : said.rindex("}") + 1])
    counts = answer["statistics"]["services"]["slow"]
    assert (counts["succeeded"], counts["timed_out"]) == (36, 4)


@pytest.mark.slow
def test_a_deadline_is_not_held_up_by_slow_functions(command: Command) -> None:
    command.write(13, seconds=8, options=', timeout="1h"')
    code, said, seconds = command.run("--deadline", "3s")
    assert code == 4, said
    assert seconds < 3 + 8


@pytest.mark.slow
def test_the_first_interruption_is_not_held_up_by_slow_functions(command: Command) -> None:
    command.write(100, seconds=30)
    process = command.start()
    deadline = time.monotonic() + 60
    while not list(command.folder.glob("datasets/out/_runs/*/plan.json")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(3)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 5, out + err
    assert time.monotonic() - began < 12


@pytest.mark.slow
def test_the_default_is_half_a_minute(gate: threading.Event) -> None:
    @flow.enrichment
    def slow(x: int) -> int:
        gate.wait(NEVER)
        return x

    began = time.monotonic()
    with pytest.warns(UserWarning, match="takes longer than its timeout of 30 s"):
        result = flow.Pipeline("p", [slow]).call({"x": 3})
    assert fate(result) == ("timed_out", "no answer within 30 s")
    assert time.monotonic() - began < NEVER - 10
