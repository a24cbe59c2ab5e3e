"""A limit of 500 calls a second over four worker processes that call nothing but note when they would.

    python tests/bench/control.py

For 10 s, and again with one worker killed in the middle. All processes are on one machine, so that their send times
are on one clock. Also what a pass costs where nothing has to wait.
"""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import tempfile
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, get_worker
from measuring import ROOT, Line, report

from dataflow.engine.control.gate import Gate
from dataflow.engine.control.home import LocalLine
from dataflow.engine.control.limits import Limits
from dataflow.engine.control.plane import Plane
from dataflow.engine.control.scheduler import WorkerLine, install, read_status
from dataflow.policies.rate import read_rates
from dataflow.policies.retry import Attempt

LIMIT = 500
SECONDS = 10.0
WORKERS = 4
CALLERS = 32
PASSES = 200_000


def send(file: str, *, begin: float, end: float) -> None:
    """Pass the gate of a worker for some seconds and note each time."""
    worker = get_worker()
    asyncio.run(_send(worker, Path(file), begin=begin, end=end))


async def _send(worker: Any, file: Path, *, begin: float, end: float) -> None:
    limits = Limits(rates=read_rates(LIMIT, where="bench"), concurrency=None)
    gate = Gate("bench", limits=limits, line=WorkerLine(worker))
    await asyncio.sleep(begin - time.monotonic())
    with file.open("wb", buffering=0) as notes:

        async def caller() -> None:
            while time.monotonic() < end:
                given = await gate.enter()
                notes.write(struct.pack("d", time.monotonic()))
                gate.leave(given, Attempt.SUCCEEDED)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    await gate.close()


def measure(client: Client, *, folder: Path, kill: bool) -> tuple[list[float], float]:
    """Send times of all workers, ascending, and exchanges in a second."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    begin = time.monotonic() + 2
    futures = [
        client.submit(send, str(folder / str(at)), begin=begin, end=begin + SECONDS, workers=[worker], pure=False)
        for at, worker in enumerate(workers)
    ]
    if kill:
        pids = client.run(os.getpid)
        time.sleep(max(0.0, begin + SECONDS / 2 - time.monotonic()))
        os.kill(pids[next(iter(workers))], signal.SIGKILL)
        futures.pop(0)
    client.gather(futures)
    exchanges = read_status(client)["bench"]["exchanges"]
    texts = [(folder / str(at)).read_bytes() for at in range(len(workers))]
    times = sorted(at for text in texts for (at,) in struct.iter_unpack("d", text[: len(text) // 8 * 8]))
    return times, exchanges / SECONDS


def worst_second(times: Sequence[float]) -> int:
    """The most sends in any sliding second."""
    return max(bisect_left(times, at + 1.0) - index for index, at in enumerate(times))


def on_cluster(*, kill: bool) -> list[Line]:
    """Measure on a cluster of its own; the worker that replaces a killed one calls nothing."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "bench")])
    with (
        dask.config.set({"distributed.worker.profile.enabled": False}),
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        install(client)
        times, exchanges = measure(client, folder=Path(folder), kill=kill)
    what = ", one worker killed" if kill else ""
    used = len(times) / ((times[-1] - times[0]) * LIMIT)
    return [
        Line(what=f"worst sliding second{what}", measured=worst_second(times), reference=LIMIT, target=1.0, unit=""),
        Line(what=f"limit used, to get 97 %{what}", measured=0.97, reference=used, target=1.0, unit=""),
        Line(what=f"exchanges in a second{what}", measured=exchanges, reference=50, target=1.0, unit="/s"),
    ]


async def cost_of_a_pass() -> float:
    """CPU microseconds of `enter` and `leave` where neither waits."""
    gate = Gate("bench", limits=Limits(), line=LocalLine(Plane()))
    gate.leave(await gate.enter(), Attempt.SUCCEEDED)
    before = time.process_time()
    for at in range(PASSES):
        gate.leave(await gate.enter(), Attempt.SUCCEEDED)
        if at % 100 == 0:
            await asyncio.sleep(0)
    cost = (time.process_time() - before) / PASSES
    await gate.close()
    return cost * 1e6


def main() -> None:
    """Measure and report."""
    lines = [Line(what="enter and leave", measured=asyncio.run(cost_of_a_pass()), reference=15, target=1.0, unit="us")]
    for kill in (False, True):
        lines += on_cluster(kill=kill)
    report(f"{LIMIT} calls a second over {WORKERS} workers, {SECONDS:g} s", lines)


if __name__ == "__main__":
    main()
