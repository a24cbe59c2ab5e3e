"""What it costs to show a run: CPU of the scheduler without and with a browser, seconds of the run, CPU of the calls.

    python tests/bench/live.py

A scheduler and two workers make 1,000 calls a second; the page is asked for once a second as a browser does. What the
scheduler spends on a run that is shown to nobody is taken off, since that is the control plane and Dask. Then 10,000
calls are made by one process with boards, metrics and a scrape each second, and without.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import HERE, ROOT, Line, arguments, emptied, report

sys.path.insert(0, str(ROOT))

from jobs.provider.serve import serve

CALLS, RATE, FILES = 20_000, 1_000, 4
MODES = ("off", "on", "browser")
JOB = HERE / "live_job.py"


def make_source(folder: Path) -> Path:
    """A folder of tables of distinct domains."""
    path = folder / f"live-{CALLS}"
    if not path.exists():
        path.mkdir(parents=True)
        for at in range(FILES):
            domains = [f"company-{at}-{number}.example" for number in range(CALLS // FILES)]
            pq.write_table(pa.table({"domain": domains}), path / f"part-{at}.parquet")
    return path


@contextmanager
def dask(work: Path) -> Iterator[tuple[Path, psutil.Process]]:
    """A scheduler with its dashboard, and two workers, on free ports of the loopback interface."""
    file = Path(emptied(work / "dask")) / "scheduler.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    place = ("--scheduler-file", file, "--host", "127.0.0.1")
    command = [sys.executable, "-m", "dask"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    board = ("--port", "0", "--dashboard-address", "127.0.0.1:0")
    started = [subprocess.Popen([*command, "scheduler", *place, *board], **quiet)]
    while not file.exists() or not file.read_text():
        time.sleep(0.1)
    worker = ("--nthreads", "1", "--no-dashboard", "--local-directory", file.parent)
    started += [subprocess.Popen([*command, "worker", *place, *worker], **quiet) for _ in range(2)]
    try:
        yield file, psutil.Process(started[0].pid)
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


@contextmanager
def browsing(page: str | None) -> Iterator[None]:
    """Ask for the panels once a second, as the script of the page does."""
    ended, seen = threading.Event(), ""

    def look() -> None:
        nonlocal seen
        while page is not None and not ended.wait(1.0):
            with urllib.request.urlopen(f"{page}/panels?seen={seen}") as answer:
                if answer.status == 200:
                    seen = json.loads(answer.read())["seen"]

    thread = threading.Thread(target=look)
    thread.start()
    yield
    ended.set()
    thread.join()


def shown(url: str, source: Path, work: Path, mode: str) -> dict[str, float]:
    """Milliseconds of scheduler CPU in a second, and seconds of the run."""
    with dask(work) as (file, scheduler):
        options = {"file": str(file), "catalog": str(emptied(work / "catalog")), "source": str(source)}
        call(url, live=mode != "off", limit=100, **options)
        before = sum(scheduler.cpu_times()[:2])
        page = call(url, live=True, limit=200, **options)["page"] if mode == "browser" else None
        before = sum(scheduler.cpu_times()[:2])
        with browsing(page):
            told = call(url, live=mode != "off", **options)
        spent = sum(scheduler.cpu_times()[:2]) - before
    return {"cpu": 1000 * spent / told["seconds"], "seconds": told["seconds"]}


def call(url: str, **given: Any) -> dict[str, Any]:
    """Run the job in a process of its own; what it says of the run, with the CPU seconds of the process."""
    command = [sys.executable, JOB, json.dumps(given)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=True, env={**os.environ, "BENCH_URL": url}, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**json.loads(done.stdout.splitlines()[-1]), "cpu": spent}


def main() -> None:
    """Measure and report."""
    given = arguments(__doc__, turns=3)
    source = make_source(given.data)
    found: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    pairs = []
    with serve(latency=0.02) as provider:
        for _ in range(given.turns):
            for mode in MODES:
                found[mode].append(shown(provider.url, source, given.data / "work", mode))
        for _ in range(max(5, given.turns)):
            alone = {
                "catalog": str(emptied(given.data / "work" / "catalog")),
                "source": str(source),
                "limit": 10_000,
                "rate": 0,
            }
            off = call(provider.url, live=False, **alone)["cpu"]
            alone["catalog"] = str(emptied(given.data / "work" / "catalog"))
            pairs.append((call(provider.url, live=True, scraped=True, **alone)["cpu"], off))
    cpu = {mode: median(one["cpu"] for one in runs) for mode, runs in found.items()}
    wall = {mode: median(one["seconds"] for one in runs) for mode, runs in found.items()}
    ratio = median(on / off for on, off in pairs)
    print(json.dumps({"scheduler": found, "pairs": pairs}))
    report(
        "What it costs to show a run",
        [
            Line(
                what="scheduler, nobody looks, ms of CPU in a second",
                measured=cpu["on"] - cpu["off"],
                reference=5.0,
                target=1.0,
                unit="ms",
            ),
            Line(
                what="scheduler, one browser, ms of CPU in a second",
                measured=cpu["browser"] - cpu["off"],
                reference=30.0,
                target=1.0,
                unit="ms",
            ),
            Line(
                what="run with one browser, against shown to nobody",
                measured=wall["browser"],
                reference=wall["off"],
                target=1.02,
                unit="s",
            ),
            Line(
                what="CPU with metrics and a scrape a second, against none",
                measured=ratio,
                reference=1.0,
                target=1.02,
                unit="",
            ),
        ],
    )


if __name__ == "__main__":
    main()
