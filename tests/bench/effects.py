"""Calls that may be made only once, against the same calls that may be repeated: what their notes cost.

    python tests/bench/effects.py

5,000 POSTs of 20 ms, 64 at a time, from one process. The phase of calling is measured at the server: from the first
call that arrives to the last one; both sides take turns. Beside it, how many files of notes are left.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from measuring import DATAFLOW, ROOT, Line, arguments, emptied, report

sys.path.insert(0, str(ROOT))

from jobs.provider.serve import serve

CALLS, LATENCY, CAP = 5_000, 0.02, 64

JOB = """
import os
import dataflow as flow

api = flow.API("bench", os.environ["BENCH_URL"], concurrency=64)

def job(source: str, once: bool) -> flow.Job:
    phone = api.post("phone", "/v2/phones/check", json={"phone": "{phone}"}, returns={"valid": bool},
                     idempotent=False if once else None)
    return flow.Job(flow.Pipeline("effects", [phone]), source=source, output="effects", key="phone")
"""


def run(provider: Any, work: Path, *, once: bool) -> float:
    """The seconds of calling."""
    provider.reset()
    (work / "effects_job.py").write_text(JOB)
    names = ("--set", f"once={str(once).lower()}", "--set", f"source={work / 'phones.parquet'}")
    command = [
        *DATAFLOW,
        "run",
        work / "effects_job.py",
        *names,
        "--catalog",
        emptied(work / "catalog"),
        "--threads",
        "1",
    ]
    environment = {**os.environ, "BENCH_URL": provider.url, "DATAFLOW_JOURNAL": str(emptied(work / "journal"))}
    subprocess.run([*command, "--no-progress"], check=True, env=environment, stdout=subprocess.DEVNULL)
    assert provider.counts()["calls"] == CALLS
    times = [entry[0] for entry in provider.log()]
    return float(max(times) - min(times) + LATENCY)


def main() -> None:
    """Measure and report."""
    given = arguments(__doc__, turns=3)
    work = given.data / "effects"
    work.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"phone": [f"+49{at}" for at in range(CALLS)]}), work / "phones.parquet")
    took: dict[bool, list[float]] = {True: [], False: []}
    files = 0
    with serve(latency=LATENCY) as provider:
        for _ in range(given.turns):
            for side, seconds in took.items():
                seconds.append(run(provider, work, once=side))
                files = max(files, len(list((work / "catalog").glob("effects/_effects/*/runs/*/*/*/*"))))
    once, again = (statistics.median(took[side]) for side in (True, False))
    lines = [
        Line(what="sent once, calling", measured=once, reference=again, target=1.5),
        Line(what="files of notes", measured=files, reference=130, target=1.0, unit="files"),
    ]
    report(f"{CALLS:,} effects of {LATENCY * 1000:.0f} ms, {CAP} at a time", lines)


if __name__ == "__main__":
    main()
