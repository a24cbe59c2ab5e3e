"""10,000 calls of 50 ms under a cap of 100 over two worker processes, against the ideal and against bare aiohttp.

    python tests/bench/calling.py

The phase of calling is measured at the server: from the first call that arrives to the last one. Server, scheduler
and workers share the machine.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from measuring import DATAFLOW, HERE, ROOT, Line, arguments, emptied, report

sys.path.insert(0, str(ROOT))

from jobs.provider.serve import serve

CALLS, LATENCY, CAP = 10_000, 0.05, 100
IDEAL = CALLS * LATENCY / CAP


def make_source(folder: Path) -> Path:
    """A table of distinct domains."""
    path = folder / f"domains-{CALLS}.parquet"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"domain": [f"company-{at}.example" for at in range(CALLS)]}), path)
    return path


def phase(log: list[list[Any]]) -> float:
    """Seconds from the first arrival to the last one, and the latency of that."""
    times = [entry[0] for entry in log]
    return max(times) - min(times) + LATENCY


def library(provider: Any, source: Path, work: Path, *, service: str) -> tuple[float, int]:
    """The seconds of calling over two worker processes, and the most calls in flight."""
    provider.reset()
    run(provider.url, source, work, "--workers", "2", service=service)
    counts = provider.counts()
    assert counts["calls"] == CALLS, counts["calls"]
    return phase(provider.log()), counts["max_in_flight"]


def processor(provider: Any, source: Path, work: Path, *, service: str) -> float:
    """CPU seconds of one process that makes all calls, without those of a run that makes a hundredth of them."""
    few = run(provider.url, source, work, "--limit", str(CALLS // 100), service=service)
    return (run(provider.url, source, work, service=service) - few) * 100 / 99


def run(url: str, source: Path, work: Path, *options: str, service: str) -> float:
    """Run the job; the CPU seconds of its process."""
    names = ("--set", f"service={service}", "--set", f"source={source}")
    where = ("--catalog", emptied(work / "catalog"), "--no-progress")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [*DATAFLOW, "run", HERE / "calling_job.py", *names, *where, *options]
    subprocess.run(command, check=True, env={**os.environ, "BENCH_URL": url}, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and report."""
    given = arguments(__doc__, turns=3)
    source = make_source(given.data)
    lines = []
    with serve(latency=LATENCY) as provider:
        command = [sys.executable, HERE / "reference_calling.py", source, provider.url]
        runs = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(given.turns)]
        bare = min((json.loads(run.stdout) for run in runs), key=lambda one: one["cpu"])
        lines.append(Line(what="bare aiohttp, one process", measured=bare["wall"], reference=IDEAL))
        for service, target, limit in (("declared", 1.3, True), ("injected", 1.7, False)):
            took, most = min(library(provider, source, given.data, service=service) for _ in range(given.turns))
            cpu = min(processor(provider, source, given.data, service=service) for _ in range(given.turns))
            lines += [
                Line(what=f"{service}, calling", measured=took, reference=IDEAL, target=target),
                Line(what=f"{service}, most in flight", measured=most, reference=CAP, target=1.0, unit="calls"),
                Line(what=f"{service}, CPU", measured=cpu, reference=bare["cpu"], target=1.5 if limit else None),
            ]
    report(f"{CALLS:,} calls of {LATENCY * 1000:.0f} ms, {CAP} at a time", lines)


if __name__ == "__main__":
    main()
