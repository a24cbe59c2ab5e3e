"""Whatever is killed in the middle, the same command ends with every record exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_a_run_on_threads_goes_on_after_its_process_was_killed(bench: Any) -> None:
    process = bench.start("--threads", "1")
    bench.wait_for_commits(3)
    process.kill()
    process.wait()
    assert 3 <= bench.commits() < 20
    bench.run("--threads", "1")
    bench.check()


def test_a_run_on_worker_processes_goes_on_after_the_client_was_killed(bench: Any) -> None:
    process = bench.start("--workers", "2")
    bench.wait_for_commits(3)
    process.kill()
    process.wait()
    assert bench.commits() < 20
    bench.run("--workers", "2")
    bench.check()


def test_a_run_survives_a_killed_worker_process_without_help(bench: Any) -> None:
    process = bench.start("--workers", "2")
    bench.wait_for_commits(3)
    os.kill(bench.workers()[0], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    bench.check()


def test_a_killed_scheduler_ends_the_run_with_75_and_a_new_cluster_goes_on(bench: Any, cluster: Any) -> None:
    address, processes = cluster()
    process = bench.start("--scheduler", address)
    bench.wait_for_commits(3)
    processes["scheduler"].kill()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err.decode()
    assert "run the same command again" in err.decode()
    address, _ = cluster()
    bench.run("--scheduler", address)
    bench.check()


def test_the_first_interrupt_ends_a_run_with_5_and_the_same_command_goes_on(bench: Any) -> None:
    process = bench.start("--threads", "1")
    bench.wait_for_commits(2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 5, err.decode()
    bench.run("--threads", "1")
    bench.check()


def test_a_second_run_refuses_with_6_and_names_the_first(bench: Any) -> None:
    first = bench.start("--threads", "1")
    bench.wait_for_commits(1)
    refused = bench.run("--threads", "1", code=6)
    assert str(first.pid) in refused["stderr"]
    first.send_signal(signal.SIGKILL)
    first.wait()
    bench.run("--threads", "1")
    bench.check()


def test_nothing_of_a_killed_client_keeps_running(bench: Any) -> None:
    process = bench.start("--workers", "2")
    bench.wait_for_commits(2)
    workers = bench.workers()
    process.kill()
    process.wait()
    for worker in workers:
        subprocess.run(["tail", f"--pid={worker}", "-f", "/dev/null"], timeout=30, check=True)
