"""The control plane on a real scheduler: one for all processes, and what a killed worker held comes back."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from dataflow.engine.control.gate import Gate
from dataflow.engine.control.limits import Limits
from dataflow.engine.control.plane import PROTOCOL
from dataflow.engine.control.scheduler import ClientLine, ask, hold_breaker, install, read_status
from dataflow.errors import ClusterError
from dataflow.policies.retry import Attempt

pytestmark = pytest.mark.slow


def _of_clusters() -> Any:
    """The fixtures of the neighbouring folder, which start processes that know nothing of dataflow."""
    file = Path(__file__).parents[1] / "clusters" / "conftest.py"
    spec = importlib.util.spec_from_file_location("conftest_of_clusters", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


foreign = _of_clusters().foreign


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    root = str(Path(__file__).parents[3])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))))
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def wait_until(condition: Any, *, seconds: float = 15.0) -> float:
    """Seconds until something is so."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() < begin + seconds
        time.sleep(0.02)
    return time.monotonic() - begin


def calls(seconds: float, *, timeout: float) -> Any:
    """A task that calls two APIs all the time: one with a rate, and one with a cap on calls that never end."""

    def task() -> None:
        import asyncio
        import time

        from distributed import get_worker

        from dataflow.engine.control.gate import Gate
        from dataflow.engine.control.limits import Limits
        from dataflow.engine.control.scheduler import WorkerLine
        from dataflow.policies.rate import read_rates
        from dataflow.policies.retry import Attempt

        async def paced(gate: Gate, end: float) -> None:
            while time.monotonic() < end:
                gate.leave(await gate.enter(), Attempt.SUCCEEDED)

        async def held(gate: Gate, end: float) -> None:
            pass_ = await gate.enter()
            await asyncio.sleep(max(0.0, end - time.monotonic()))
            gate.leave(pass_, Attempt.SUCCEEDED)

        async def main() -> None:
            line, end = WorkerLine(worker), time.monotonic() + seconds
            rated = Gate("rated", limits=Limits(rates=read_rates("100/s", where="test"), concurrency=None), line=line)
            capped = Gate("capped", limits=Limits(concurrency=4, timeout=timeout), line=line)
            tasks = [asyncio.create_task(paced(rated, end)) for _ in range(20)]
            tasks += [asyncio.create_task(held(capped, end)) for _ in range(4)]
            await asyncio.wait(tasks, timeout=seconds + 1)
            for one in tasks:
                one.cancel()
            await rated.close()
            await capped.close()

        worker = get_worker()
        asyncio.run(main())

    return task


def test_a_killed_worker_gives_its_rate_back_at_once_and_its_concurrency_after_a_timeout(client: Client) -> None:
    install(client)
    first, second = client.scheduler_info()["workers"]
    pids = client.run(os.getpid)
    doomed = client.submit(calls(60, timeout=2.0), workers=[first], pure=False)
    wait_until(lambda: read_status(client).get("capped", {}).get("in_flight") == 4)
    other = client.submit(calls(9, timeout=2.0), workers=[second], pure=False)
    wait_until(lambda: read_status(client)["rated"]["holders"] == 2)
    assert read_status(client)["capped"]["waiting"] == 4

    os.kill(pids[first], signal.SIGKILL)
    gone = wait_until(lambda: read_status(client)["rated"]["holders"] == 1, seconds=5)
    assert read_status(client)["capped"]["held_back"] == 4
    back = wait_until(lambda: read_status(client)["capped"]["in_flight"] == 4)
    assert 1.5 < gone + back < 6
    doomed.cancel()
    # More than its half of the rate.
    assert 60 < read_status(client)["rated"]["rate"] < 105
    other.result(timeout=30)


def test_a_client_reads_the_status_and_holds_a_breaker_and_may_call_itself(client: Client) -> None:
    with pytest.raises(ClusterError, match="no control plane"):
        read_status(client)
    install(client)
    install(client)
    hold_breaker(client, "acme", state="open")
    assert read_status(client)["acme"]["breaker"]["held"] == "open"
    hold_breaker(client, "acme", state=None)

    async def call() -> None:
        gate = Gate("acme", limits=Limits(), line=ClientLine(client))
        gate.leave(await gate.enter(), Attempt.SUCCEEDED)
        await gate.close()

    asyncio.run(call())
    assert read_status(client)["acme"]["exchanges"] >= 1
    with pytest.raises(ClusterError, match="KeyError"):
        ask(client, "nonsense")


def test_a_scheduler_that_lacks_the_package_gets_it_with_the_plane(foreign: Any) -> None:
    from dataflow.engine.cluster import connect

    with connect(scheduler_file=foreign.file) as cluster:
        install(cluster.client)
        future = cluster.client.submit(calls(0.3, timeout=2.0), pure=False)
        future.result(timeout=30)
        assert set(read_status(cluster.client)) == {"rated", "capped"}
        known = cluster.client.run_on_scheduler(lambda: list(__import__("sys").modules))
        loaded = {name for name in known if name.startswith("dataflow.")}
        assert {name.split(".")[1] for name in loaded} <= {"engine", "errors", "policies"}
        assert "pyarrow" not in known


def test_a_budget_of_more_than_sixty_four_bits_reaches_the_plane_and_comes_back(client: Client) -> None:
    install(client)
    purse = {"authorised": 10**22, "limit": 10**22, "portion": 10**20}
    assert ask(client, "authorise", run="large", purses={"run": purse})["run"]["spent"] == 0
    request = {
        "protocol": PROTOCOL,
        "holder": "one",
        "run": "large",
        "purses": {"run": {"asked": 10**20, "least": 10**19, "spent": 0, "returned": 0, "out": 0}},
    }
    assert ask(client, "exchange", request=request)["purses"]["run"]["granted"] == 10**20
    assert ask(client, "close_run", run="large")["run"]["held"] == 10**20
