"""Whether nothing is called twice: distinct keys over a dataset, at any number of workers, and a second run.

The provider counts. A killed worker may repeat what it had in flight and what it was told in the last quarter of a
second; everything else is called once.
"""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from judging import Finding
from staging import JOB, Stage, stage

RECORDS, DISTINCT, PARTS = 200_000, 5_000, 20
CAP, LATENCY, SYNCED = 64, 0.02, 0.25
SLOW, FEW, LITTLE = 0.05, 6_000, 10
"""Seconds of a call, keys and cap of the run whose repetition is timed: calling dominates it."""
FASTER = 10.0


def check_keys() -> list[Finding]:
    """200,000 records with some 5,000 domains by a Zipf law: each is called once, at 1, 2 and 8 workers, and killed."""
    found = []
    for workers in (1, 2, 8):
        found += _counted(f"{workers} workers", workers=workers)
    return found + _counted("2 workers, one killed", workers=2, kill=True)


def check_again() -> list[Finding]:
    """The same job a second time: no call, and at least ten times as fast where calling dominates."""
    with stage(latency=SLOW) as on:
        on.write(limits=f"concurrency={LITTLE}, timeout=5", keys=FEW, parts=4)
        times, calls = [], []
        for _ in range(2):
            began = time.monotonic()
            on.finish(on.run("--threads", "2", "--no-resume"))
            times.append(time.monotonic() - began)
            calls.append(on.provider.counts(keys=False)["calls"])
    return [
        Finding(check="again", what="calls of the second run", figure=calls[1] - calls[0], limit=0),
        Finding(check="again", what="times as fast", figure=times[0] / times[1], limit=FASTER, bound="least"),
        Finding(check="again", what="seconds of the first run", figure=times[0], unit="s"),
        Finding(check="again", what="seconds of the second run", figure=times[1], unit="s"),
    ]


def _counted(what: str, *, workers: int, kill: bool = False) -> list[Finding]:
    with stage(latency=LATENCY) as on:
        on.write(
            limits=f"concurrency={CAP}, timeout=5", keys=0, parts=0, job=JOB.replace('key="domain"', 'key="number"')
        )
        distinct = write_domains(on)
        process = on.run("--workers", str(workers))
        if kill:
            on.wait_for_calls(distinct // 2, process=process)
            on.kill_worker(process)
        output = on.finish(process)
        calls = Counter(entry[2] for entry in on.settled() if entry[1].startswith("/v2/companies"))
    extra = calls.total() - distinct
    repeated = CAP + CAP / LATENCY * SYNCED if kill else 0
    in_order = int(np.array_equal(output["number"].to_numpy(), np.arange(RECORDS)))
    return [
        Finding(
            check="keys", what=f"{what}: {distinct} distinct keys, calls beyond one each", figure=extra, limit=repeated
        ),
        Finding(check="keys", what=f"{what}: keys never called", figure=distinct - len(calls), limit=0),
        Finding(check="keys", what=f"{what}: rows in the order of the source", figure=in_order, limit=1, bound="least"),
    ]


def write_domains(on: Stage) -> int:
    """A source whose domains follow a Zipf law; how many distinct ones there are."""
    draw = np.random.default_rng(4)
    weights = 1 / np.arange(1, DISTINCT + 1)
    domains = draw.choice(DISTINCT, RECORDS, p=weights / weights.sum())
    for part in range(PARTS):
        rows = np.arange(part * RECORDS // PARTS, (part + 1) * RECORDS // PARTS)
        texts = [f"c{number}.example" for number in domains[rows].tolist()]
        pq.write_table(pa.table({"number": rows, "domain": texts}), on.folder / "source" / f"{part:02d}.parquet")
    return len(set(domains.tolist()))
