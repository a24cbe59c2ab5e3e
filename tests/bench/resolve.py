"""What it takes to find the distinct keys of a dataset before anything is called.

    python tests/bench/resolve.py

Two processes collect the keys of every partition, their sketches are merged as a run does it, and the keys of every
bucket are read back and united. The promise is 5 s for 2 million rows with 20,000 distinct keys, 25 s with 1.8 million,
and less than 300 MiB of growth in each process.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import HERE, Line, arguments, report

ROWS, FILES = 2_000_000, 20
CASES = {20_000: 5.0, 1_800_000: 25.0}
"""Distinct keys, and the seconds that finding them may take."""
GROWTH = 300.0

_passes: Any = None
_start = 0.0


def make(folder: Path, distinct: int) -> Path:
    """A source of 2 million rows in 20 files, each key about as often as any other, in random order."""
    rng = np.random.default_rng(distinct)
    keys = np.concatenate([np.arange(distinct), rng.integers(0, distinct, ROWS - distinct)])
    rng.shuffle(keys)
    folder.mkdir(parents=True)
    size = ROWS // FILES
    for at in range(FILES):
        part = keys[at * size : (at + 1) * size]
        domains = pa.array([f"company-{key}.example" for key in part.tolist()])
        pq.write_table(
            pa.table({"id": np.arange(at * size, (at + 1) * size), "domain": domains}), folder / f"{at}.parquet"
        )
    return folder


def open_process(job: str, setup: dict[str, Any]) -> None:
    """Prepare a process as a worker is."""
    global _passes, _start  # noqa: PLW0603 - what an initialiser of a pool can do
    from dataflow.engine.program import load, pack_file
    from dataflow.wiring.worker import prepare

    _passes = prepare(load(pack_file(job, "pipeline")), setup)
    _start = peak()


def collect(task: Any) -> Any:
    """The keys of one partition, counted."""
    return _passes(task).keys


def unite(task: Any) -> tuple[int, float]:
    """The distinct keys of one bucket, and how much this process has grown."""
    from dataflow.store.resolve import ResolveFiles

    keys = ResolveFiles(_passes._folder).keys_of(task, "company")
    return (0 if keys is None else keys.num_rows), peak() - _start


def peak() -> float:
    """MiB that this process has had at most; getrusage would count what its parent had before."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(source: Path, catalog: Path) -> tuple[float, float, int]:
    """Seconds, MiB of growth, distinct keys found."""
    from dataflow.engine.program import load, pack_file
    from dataflow.plan.resolve import BucketTask, KeyTask
    from dataflow.store.catalog import Catalog
    from dataflow.wiring.planning import plan_job, plan_values, schemas_of
    from dataflow.wiring.resolving import _counted
    from dataflow.wiring.worker import make_setup

    file = str(HERE / "resolve_job.py")
    job = load(pack_file(file, "job", parameters={"source": str(source)}))
    planned = plan_job(job, Catalog(catalog))
    values = plan_values(planned, reference=None)
    folder = Catalog(catalog).start("companies", run_id="bench", plan=values, schemas=schemas_of(planned), key=("id",))
    setup = make_setup(
        folder,
        options=planned.source.options,
        schema=planned.source.schema,
        key=("id",),
        catalog=str(catalog),
        parameters={},
        profile=False,
        may_call=False,
        limits={},
    )
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=open_process, initargs=(file, setup)) as pool:
        warm = BucketTask(index=0, buckets=1, folder="none", services=("company",))
        list(pool.map(unite, [warm] * 8))
        began = time.perf_counter()
        tasks = [KeyTask(spec=spec, folder="0", services=("company",), answered={}) for spec in planned.source.specs]
        counts = _counted([found["company"] for found in pool.map(collect, tasks)])
        buckets = max(1, -(-counts.distinct // 20_000))
        parts = [BucketTask(index=at, buckets=buckets, folder="0", services=("company",)) for at in range(buckets)]
        found = list(pool.map(unite, parts))
        took = time.perf_counter() - began
    return took, max(growth for _, growth in found), sum(size for size, _ in found)


def main() -> None:
    """Measure both cases and print what they took."""
    arguments(__doc__, turns=1)
    lines = []
    with tempfile.TemporaryDirectory(prefix="dataflow-bench-") as folder:
        for distinct, allowed in CASES.items():
            source = make(Path(folder) / f"source-{distinct}", distinct)
            took, growth, found = measure(source, Path(folder) / f"catalog-{distinct}")
            assert found == distinct, f"{found} of {distinct} keys were found"
            lines.append(Line(what=f"{distinct:,} distinct keys", measured=took, reference=allowed, target=1.0))
            lines.append(Line(what="growth of a process", measured=growth, reference=GROWTH, target=1.0, unit="MiB"))
            shutil.rmtree(source)
    report("Finding distinct keys among 2 million rows, two processes", lines)


if __name__ == "__main__":
    main()
