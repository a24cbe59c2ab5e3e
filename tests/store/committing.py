"""A run that is small enough to be done hundreds of times: two partitions of three records, one reject each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

import dataflow
from dataflow.engine.arrow import keep_pandas_out
from dataflow.engine.result import PartitionResult
from dataflow.plan.partitions import PartitionSpec
from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder
from dataflow.store.dataset import Dataset
from dataflow.store.schemas import Schemas
from dataflow.telemetry.statistics import Statistics

keep_pandas_out()

SCHEMAS = Schemas(
    output=pa.schema([("id", pa.int64()), ("name", pa.string())]),
    rejects=pa.schema([("id", pa.int64()), ("error", pa.string())]),
    failures=pa.schema([("id", pa.int64()), ("status", pa.string())]),
)
PLAN = {"fingerprints": {"pipeline": "p1"}}
OPERATIONS = ("open", "write", "fsync", "link", "rename", "replace", "unlink", "rmdir", "mkdir", "symlink", "pwrite")


def spec_of(index: int, *, fingerprint: str = "f") -> PartitionSpec:
    return PartitionSpec(index=index, path="leads.csv", fingerprint=fingerprint, start=index, stop=index + 1)


SPECS = (spec_of(0), spec_of(1))


def result_of(
    index: int, *, names: Sequence[str] = ("ann", "bob", "eve"), schemas: Schemas = SCHEMAS
) -> PartitionResult:
    ids = [index * 10 + number for number in range(len(names))]
    return PartitionResult(
        output=pa.table({"id": ids, "name": list(names)}, schema=schemas.output),
        rejects=pa.table({"id": [index * 10 + 9], "error": ["no"]}, schema=schemas.rejects),
        failures=schemas.failures.empty_table(),
        statistics=Statistics(
            total_records=len(ids) + 1, valid_records=len(ids), rejected_records=1, batches_processed=1
        ),
    )


def started(catalog: Catalog, run_id: str = "r1", specs: Sequence[PartitionSpec] = SPECS) -> RunFolder:
    plan = {**PLAN, "specs": [spec.to_dict() for spec in specs]}
    return catalog.start("leads", run_id=run_id, plan=plan, schemas=SCHEMAS, key=["id"])


def published(catalog: Catalog, run_id: str = "r1", specs: Sequence[PartitionSpec] = SPECS) -> Dataset:
    run = started(catalog, run_id, specs)
    for spec in specs:
        run.commit(spec, result_of(spec.index))
    return run.publish(specs, duration=1.0)


def run_job(catalog: Catalog, specs: Sequence[PartitionSpec] = SPECS) -> Dataset:
    """What a job does with its output: go on with an unfinished run, or begin one, and carry over what it can."""
    with catalog.lock("leads", run="job"):
        before = catalog.open("leads") if catalog.has("leads") else None
        run = catalog.unfinished("leads")
        if run is None and before is not None and len(before.manifest["parts"]) == len(specs):
            return before
        run = run.resume() if run else started(catalog, f"r{len(catalog.runs('leads')) + 1}", specs)
        missing = [spec for spec in specs if spec.identity not in run.committed()]
        carried = run.carry_over(missing, before) if before else {}
        for spec in missing:
            if spec.identity not in carried:
                run.commit(spec, result_of(spec.index))
        return run.publish(specs)


@contextmanager
def broken_at(number: int, break_it: Callable[[], Any], *, for_good: bool = False) -> Iterator[Callable[[], int]]:
    """Call `break_it` before the `number`-th operation on files, and before all later ones where it is for good."""
    count = 0
    originals = {name: getattr(os, name) for name in OPERATIONS}

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == number or (for_good and count > number):
                break_it()
            return original(*args, **options)

        return operation

    for name, original in originals.items():
        setattr(os, name, wrapped(original))
    try:
        yield lambda: count
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that runs `code` with this module at hand and prints what it has to say."""
    path = os.pathsep.join([str(Path(dataflow.__file__).parents[1]), str(Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
