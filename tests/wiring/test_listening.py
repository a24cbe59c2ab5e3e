"""Whatever a run starts is reached from this machine only: every socket that listens is one of the loopback."""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.slow


def listening(processes: list[psutil.Process]) -> Iterator[tuple[str, str]]:
    """What each process is, and the addresses at which it listens."""
    for process in processes:
        try:
            for one in process.net_connections(kind="inet"):
                is_bound_datagram = not one.raddr and one.type.name == "SOCK_DGRAM"
                if one.status == psutil.CONN_LISTEN or is_bound_datagram:
                    yield " ".join(process.cmdline()[:4]), one.laddr.ip
        except psutil.NoSuchProcess:
            continue


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def test_a_run_with_worker_processes_listens_on_the_loopback_only(bench: Any) -> None:
    process = bench.start("--workers", "2")
    bench.wait_for_commits(1)
    found = list(listening(family(process)))
    # The scheduler, and of each worker itself and its nanny.
    assert len(found) >= 5
    assert [one for one in found if not ipaddress.ip_address(one[1]).is_loopback] == []


def test_a_run_on_threads_opens_no_port(bench: Any) -> None:
    process = bench.start("--threads", "1")
    bench.wait_for_commits(1)
    assert list(listening(family(process))) == []
