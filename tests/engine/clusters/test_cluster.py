"""Partitions on real Dask processes: our own workers, and clusters of somebody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dataflow.engine.cluster import Cluster, connect
from dataflow.engine.drive import Report, drive
from dataflow.engine.plugin import Assignment
from dataflow.engine.program import pack_file
from dataflow.errors import ClusterError, DeclarationError
from dataflow.plan.partitions import PartitionSpec

WriteJob = Callable[..., Path]
Until = Callable[..., None]


def specs(count: int) -> Iterator[PartitionSpec]:
    return (PartitionSpec(index=i, path=f"/data/{i}", fingerprint="f", start=0, stop=-1) for i in range(count))


def begin(cluster: Cluster, job: Path, *, count: int, factory: str, **setup: Any) -> Iterator[Report]:
    engine = cluster.engine(Assignment(program=pack_file(job), setup=setup, factory=factory))
    try:
        yield from drive(engine, specs(count))
    finally:
        engine.close()


def rows(reports: list[Report]) -> set[int]:
    return {report.completion.rows for report in reports if report.completion}


def indexes(reports: list[Report], *, kind: str) -> list[int]:
    return sorted(report.spec.index for report in reports if report.kind == kind)


def start_script(folder: Path, text: str) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(text))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=env)


@pytest.fixture(scope="module")
def own(factory: str) -> Iterator[Cluster]:
    with connect(workers=2) as cluster:
        yield cluster


def test_partitions_run_once_each_in_worker_processes_of_our_own(
    own: Cluster, write_job: WriteJob, factory: str
) -> None:
    job = write_job("time.sleep(0.01)", "return os.getpid()", top="import os, time")
    reports = list(begin(own, job, count=100, factory=factory))
    assert indexes(reports, kind="done") == list(range(100))
    assert len(rows(reports)) == 2
    assert os.getpid() not in rows(reports)


def test_a_job_is_loaded_once_per_worker_with_what_the_run_gives_it(
    own: Cluster, write_job: WriteJob, factory: str
) -> None:
    job = write_job("loads.append(1)", "return setup['base'] + made", top="loads = []\nmade = len(loads)")
    assert rows(list(begin(own, job, count=20, factory=factory, base=5))) == {5}


def test_two_runs_with_two_versions_of_a_job_share_the_workers(own: Cluster, write_job: WriteJob, factory: str) -> None:
    first = begin(own, write_job("return 1"), count=70, factory=factory)
    seen = [next(first)]
    second = list(begin(own, write_job("return 2"), count=70, factory=factory))
    assert (rows(seen + list(first)), rows(second)) == ({1}, {2})


def test_workers_know_neither_pandas_nor_the_plugins_of_ended_runs(
    own: Cluster, write_job: WriteJob, factory: str
) -> None:
    list(begin(own, write_job("return 1"), count=2, factory=factory))
    assert set(own.on_every_worker(_modules_of_pandas).values()) == {0}
    assert set(own.on_every_worker(_assignments).values()) == {0}


def test_a_failing_partition_is_reported_with_its_error(own: Cluster, write_job: WriteJob, factory: str) -> None:
    job = write_job("if spec.index == 3:", "    raise ValueError('three')", "return 1")
    reports = list(begin(own, job, count=10, factory=factory))
    assert indexes(reports, kind="failed") == [3]
    assert next(report.problem for report in reports if report.kind == "failed") == "ValueError: three"


def test_a_job_that_does_not_load_on_a_worker_is_an_error_before_any_partition(
    own: Cluster, write_job: WriteJob, factory: str
) -> None:
    own.on_every_worker(os.getpid)
    job = write_job("return 1", top="x = 1\n1 / 0")
    with pytest.raises(DeclarationError, match=r"a_job\.py, line 2: ZeroDivisionError"):
        next(begin(own, job, count=10, factory=factory))


def test_a_factory_that_fails_on_a_worker_is_a_cluster_error_with_its_reason(own: Cluster, write_job: WriteJob) -> None:
    own.on_every_worker(os.getpid)
    with pytest.raises(ClusterError, match=r"cannot be made ready.*FileNotFoundError.*/no/such/folder/file"):
        next(begin(own, write_job("return 1"), count=1, factory="partition_factory:prepare_in_vain"))


def test_an_interrupt_that_the_terminal_sends_to_all_leaves_the_workers_alone(
    own: Cluster, write_job: WriteJob, factory: str
) -> None:
    before = set(own.on_every_worker(os.getpid).values())
    for pid in before:
        os.kill(pid, signal.SIGINT)
    reports = list(begin(own, write_job("return os.getpid()"), count=50, factory=factory))
    assert rows(reports) <= before


def test_workers_have_the_environment_of_the_moment_they_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAID_LATE", "yes")
    with connect(workers=1) as cluster:
        assert set(cluster.on_every_worker(os.getenv, "SAID_LATE").values()) == {"yes"}


def test_a_killed_worker_is_replaced_and_the_run_goes_on(own: Cluster, write_job: WriteJob, factory: str) -> None:
    job = write_job("time.sleep(0.02)", "return os.getpid()", top="import os, time")
    reports = []
    for report in begin(own, job, count=150, factory=factory):
        reports.append(report)
        if len(reports) == 20 and report.completion:
            os.kill(report.completion.rows, signal.SIGKILL)
    assert indexes(reports, kind="done") == list(range(150))
    assert len(rows(reports)) == 3


@pytest.mark.slow
def test_a_partition_that_kills_its_workers_is_reported_and_all_others_are_done(
    own: Cluster, write_job: WriteJob, factory: str
) -> None:
    job = write_job("if spec.index == 7:", "    os.kill(os.getpid(), 9)", "return 1")
    reports = list(begin(own, job, count=30, factory=factory))
    assert indexes(reports, kind="killed") == [7]
    assert indexes(reports, kind="done") == [index for index in range(30) if index != 7]


@pytest.mark.slow
@pytest.mark.parametrize("deadly", [(0,), (0, 1)])
def test_partitions_that_kill_workers_which_are_just_starting_are_reported_too(
    write_job: WriteJob, factory: str, deadly: tuple[int, ...]
) -> None:
    job = write_job(f"if spec.index in {deadly}:", "    os.kill(os.getpid(), 9)", "return 1")
    with connect(workers=2) as cluster:
        reports = list(begin(cluster, job, count=20, factory=factory))
    assert indexes(reports, kind="killed") == list(deadly)
    assert indexes(reports, kind="done") == [index for index in range(20) if index not in deadly]


@pytest.mark.slow
def test_a_worker_whose_nanny_has_given_up_is_started_again(write_job: WriteJob, factory: str, until: Until) -> None:
    with connect(workers=2) as cluster:
        before = set(cluster.on_every_worker(os.getpid).values())
        assert cluster.workers is not None
        local = cluster.workers._cluster
        for nanny in list(local.workers.values()):
            local.sync(nanny.close)
        reports = list(begin(cluster, write_job("return os.getpid()"), count=20, factory=factory))
        until(lambda: len(cluster.client.nthreads()) == 2)
    assert indexes(reports, kind="done") == list(range(20))
    assert not rows(reports) & before


def test_a_given_client_is_used_and_stays_open(own: Cluster, write_job: WriteJob, factory: str) -> None:
    with connect(own.client) as cluster:
        assert rows(list(begin(cluster, write_job("return 1"), count=3, factory=factory))) == {1}
    assert own.client.status == "running"


def test_a_closed_client_is_refused() -> None:
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster:
        client = Client(cluster, set_as_default=False)
        client.close()
        with pytest.raises(ClusterError, match="not connected"):
            connect(client)


def test_the_current_client_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import Client, LocalCluster

    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:1")
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as there,
        Client(there) as current,
        connect() as cluster,
    ):
        assert cluster.client is current


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ClusterError, match="nowhere://1 does not answer"):
        connect(scheduler="nowhere://1", timeout=0.5)


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_a_scheduler_that_does_not_answer_is_named(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "tcp://127.0.0.1:1"
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
    with pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:1 does not answer") as caught:
        connect(scheduler=address if way == "argument" else None, timeout=0.5)
    assert caught.value.exit_code == 75


def test_a_scheduler_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"absent\.json is no scheduler file"):
        connect(scheduler_file=tmp_path / "absent.json")


def test_workers_that_cannot_start_end_the_run_with_an_error(write_job: WriteJob, factory: str) -> None:
    import dask

    with (
        dask.config.set({"distributed.worker.preload": ["no_such_module_at_all"]}),
        connect(workers=1) as cluster,
        pytest.raises(ClusterError, match="worker processes could not be started"),
    ):
        list(begin(cluster, write_job("return 1"), count=3, factory=factory))


@pytest.mark.slow
def test_a_cluster_without_dataflow_gets_the_package_and_the_job_and_so_do_workers_that_join_later(
    foreign: Any, write_job: WriteJob, until: Until
) -> None:
    job = write_job("time.sleep(0.05)", "return os.getpid()", top="import os, time")
    with connect(scheduler_file=foreign.file) as cluster:
        reports = []
        for report in begin(cluster, job, count=400, factory="partition_factory:prepare"):
            reports.append(report)
            if len(reports) == 1:
                foreign.start_worker("second")
            if len(rows(reports)) == 2:
                break
        assert {report.kind for report in reports} == {"done"}
        known = cluster.client.run_on_scheduler(lambda: list(__import__("sys").modules))
    assert "dataflow.engine.plugin" in known
    assert not {"dataflow.engine.program", "dataflow.plan.partitions", "a_job"} & set(known)


@pytest.mark.slow
def test_a_killed_scheduler_is_an_error_that_says_how_to_go_on(foreign: Any, write_job: WriteJob) -> None:
    job = write_job("time.sleep(0.05)", "return 1", top="import time")
    with connect(scheduler=foreign.address) as cluster:
        reports = begin(cluster, job, count=1000, factory="partition_factory:prepare")
        next(reports)
        foreign.running[0].kill()
        with pytest.raises(ClusterError, match="run the same command again"):
            list(reports)


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_not_run_again_by_its_workers(tmp_path: Path) -> None:
    (tmp_path / "partition_factory.py").write_text(
        "from dataflow.engine.result import Completion\n"
        "from dataflow.telemetry.statistics import Statistics\n"
        "def prepare(job, setup, worker):\n"
        "    return lambda spec: Completion(\n"
        "        identity='', index=spec.index, rows=job(spec), rejected=0, statistics=Statistics())\n"
    )
    process = start_script(
        tmp_path,
        """
        import os
        from dataflow.engine.cluster import connect
        from dataflow.engine.drive import drive
        from dataflow.engine.plugin import Assignment
        from dataflow.engine.program import pack_object
        from dataflow.plan.partitions import PartitionSpec

        print("script", flush=True)

        class Job:
            def __call__(self, spec):
                return os.getpid()

        with connect(workers=2) as cluster:
            assignment = Assignment(program=pack_object(Job()), setup={}, factory="partition_factory:prepare")
            engine = cluster.engine(assignment)
            plan = [PartitionSpec(index=i, path="", fingerprint="", start=i, stop=-1) for i in range(8)]
            reports = list(drive(engine, plan))
            engine.close()
        print(len(reports), os.getpid() in {report.completion.rows for report in reports})
        """,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.read().split("\n") == ["script", "8 False", ""]
    assert process.returncode == 0


@pytest.mark.slow
def test_a_killed_driver_leaves_no_process_behind(tmp_path: Path, until: Until) -> None:
    process = start_script(
        tmp_path,
        """
        import os, time
        from dataflow.engine.cluster import connect

        with connect(workers=2) as cluster:
            print(*cluster.on_every_worker(os.getpid).values(), flush=True)
            time.sleep(60)
        """,
    )
    with process:
        assert process.stdout is not None
        workers = [int(pid) for pid in process.stdout.readline().split()]
        family = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        assert len(workers) == 2
        assert set(workers) <= set(family)
        process.kill()
        until(lambda: not any(psutil.pid_exists(pid) for pid in family))


def _modules_of_pandas() -> int:
    return len([name for name in sys.modules if name.partition(".")[0] == "pandas"])


def _assignments() -> int:
    from dataflow.engine import plugin

    return len(plugin._assignments) + len(plugin._works)
