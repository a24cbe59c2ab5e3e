"""Partitions on threads of this process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dataflow.engine.drive import drive
from dataflow.engine.local import LocalEngine, available_processors
from dataflow.engine.result import Completion
from dataflow.plan.partitions import PartitionSpec
from dataflow.telemetry.statistics import Statistics


def spec(index: int) -> PartitionSpec:
    return PartitionSpec(index=index, path=f"/data/{index}.csv", fingerprint="f", start=0, stop=-1)


def complete(spec: PartitionSpec) -> Completion:
    return Completion(identity=spec.identity, index=spec.index, rows=1, rejected=0, statistics=Statistics())


def fail_on_three(spec: PartitionSpec) -> Completion:
    if spec.index == 3:
        raise ValueError("three")
    return complete(spec)


def test_all_partitions_run_and_a_failing_one_is_reported_with_its_error() -> None:
    engine = LocalEngine(fail_on_three, threads=2)
    reports = {report.spec.index: report for report in drive(engine, map(spec, range(200)))}
    engine.close()
    assert sorted(reports) == list(range(200))
    assert (reports[3].kind, reports[3].problem) == ("failed", "ValueError: three")
    assert reports[4].completion == complete(spec(4))


def test_as_many_partitions_run_at_the_same_time_as_there_are_threads() -> None:
    together = threading.Barrier(3, timeout=5)

    def meet(spec: PartitionSpec) -> Completion:
        together.wait()
        return complete(spec)

    engine = LocalEngine(meet, threads=3)
    assert {report.kind for report in drive(engine, map(spec, range(6)))} == {"done"}
    engine.close()


def test_a_stop_lets_what_has_begun_end_and_drops_the_rest_after_the_grace() -> None:
    stop, release, begun = threading.Event(), threading.Event(), []

    def wait(spec: PartitionSpec) -> Completion:
        begun.append(spec.index)
        release.wait(10)
        return complete(spec)

    engine = LocalEngine(wait, threads=1)
    stop.set()
    assert list(drive(engine, map(spec, range(10)), stop=stop, grace=0.3)) == []
    release.set()
    engine.close()
    assert begun == [0]


def test_an_idle_engine_gives_empty_batches_so_that_the_caller_can_look_around() -> None:
    release = threading.Event()
    engine = LocalEngine(lambda spec: release.wait(10) and complete(spec), threads=1)
    engine.submit([spec(0)])
    batches = engine.completed()
    assert next(batches) == []
    release.set()
    assert [report.kind for batch in batches for report in batch] == ["done"]
    engine.close()


def test_the_default_is_a_thread_for_each_processor_allowed() -> None:
    engine = LocalEngine(complete)
    assert engine.threads == available_processors() >= 1
    engine.close()


def test_nothing_of_dask_or_pandas_is_imported(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from dataflow.engine.drive import drive\n"
        "from dataflow.engine.local import LocalEngine\n"
        "from dataflow.engine.result import Completion\n"
        "from dataflow.plan.partitions import PartitionSpec\n"
        "from dataflow.telemetry.statistics import Statistics\n"
        "def work(spec):\n"
        "    return Completion(identity=spec.identity, index=0, rows=1, rejected=0, statistics=Statistics())\n"
        "engine = LocalEngine(work)\n"
        "spec = PartitionSpec(index=0, path='a', fingerprint='f', start=0, stop=-1)\n"
        "assert [report.kind for report in drive(engine, [spec])] == ['done']\n"
        "engine.close()\n"
        "print(sorted({'distributed', 'dask', 'pandas', 'bokeh'} & set(sys.modules)))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, env=env)
    assert ran.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_first_interrupt_stops_handing_out_and_what_has_begun_is_finished(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import time\n"
        "from dataflow.engine.drive import drive, stop_on_signal\n"
        "from dataflow.engine.local import LocalEngine\n"
        "from dataflow.engine.result import Completion\n"
        "from dataflow.plan.partitions import PartitionSpec\n"
        "from dataflow.telemetry.statistics import Statistics\n"
        "def work(spec):\n"
        "    time.sleep(0.02)\n"
        "    return Completion(identity=spec.identity, index=0, rows=1, rejected=0, statistics=Statistics())\n"
        "plan = [PartitionSpec(index=i, path=str(i), fingerprint='f', start=0, stop=-1) for i in range(5000)]\n"
        "engine = LocalEngine(work, threads=1)\n"
        "with stop_on_signal() as stop:\n"
        "    print('ready', flush=True)\n"
        "    ended = [report.kind for report in drive(engine, plan, stop=stop)]\n"
        "engine.close()\n"
        "print(set(ended), len(ended) < 5000, stop.is_set())\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(2)
        assert process.stdout.read().strip() == "{'done'} True True"
    assert process.returncode == 0
