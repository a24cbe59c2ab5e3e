"""What the hand-written references share: a pool of two forked processes, one file a task, pandas kept out."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Callable
from functools import partial
from importlib.abc import MetaPathFinder
from pathlib import Path

import pyarrow as pa


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ImportError("pyarrow works without it, and starts much faster")


def keep_pandas_out() -> None:
    """Let pyarrow settle that it works without pandas, which it would import for the first list it converts."""
    sys.meta_path.insert(0, _NoPandas())
    pa.array([1])


def options() -> argparse.ArgumentParser:
    """What every reference takes: where the leads are and where the output goes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("leads", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--compression", default="zstd")
    return parser


def run(task: Callable[..., dict[str, int]], leads: Path, output: Path, **arguments: object) -> None:
    """Run the task for every file, two at a time, and write the sums of the counts that it returns."""
    output.mkdir(parents=True, exist_ok=True)
    pa.set_cpu_count(1)
    with multiprocessing.get_context("fork").Pool(2) as workers:
        files = sorted(leads.glob("*.parquet"))
        counts = list(workers.imap_unordered(partial(task, output=output, **arguments), files))
    totals = {name: sum(count[name] for count in counts) for name in counts[0]}
    (output / "statistics.json").write_text(json.dumps(totals))
    print(json.dumps(totals))
