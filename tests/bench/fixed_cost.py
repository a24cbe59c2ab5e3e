"""What a run costs before it has done anything: from the command to its first commit record.

    python tests/bench/fixed_cost.py

As a ratio to a Python that only imports what a run with worker processes cannot do without.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from measuring import DATAFLOW, HERE, ROOT, Cost, Line, arguments, cost, emptied, report, taking_turns

LEADS_JOB = ROOT / "jobs" / "data_processing.py"


def to_first_commit(work: Path, *, job: Path, options: tuple[str, ...] = ()) -> Cost:
    """What it costs until the run has committed a partition; the run then ends by itself."""
    catalog = emptied(work / "catalog")
    command = [*DATAFLOW, "run", job, "--catalog", catalog, "--no-progress", *options]
    return cost(command, until=lambda: any(catalog.glob("*/_runs/*/commits/*")) or any(catalog.glob("*/v1")))


def imports(modules: str) -> Cost:
    """What a Python costs that imports the modules and ends."""
    return cost([sys.executable, "-c", f"import {modules}"])


def main() -> None:
    """Measure and report."""
    given = arguments(__doc__, turns=7)
    plain, with_pandas = HERE / "small_job.py", HERE / "small_pandas_job.py"
    processes = ("--workers", "2")
    runs = {
        "threads": partial(to_first_commit, given.data, job=plain),
        "processes": partial(to_first_commit, given.data, job=plain, options=processes),
        "threads, pandas": partial(to_first_commit, given.data, job=with_pandas),
        "processes, pandas": partial(to_first_commit, given.data, job=with_pandas, options=processes),
        "leads": partial(to_first_commit, given.data, job=LEADS_JOB),
    }
    bare = {
        "imports": partial(imports, "distributed, pyarrow"),
        "imports, pandas": partial(imports, "distributed, pyarrow, pandas"),
    }
    took = taking_turns(runs | bare, turns=given.turns)
    table = (
        ("thread pool", "threads", "imports", 0.8),
        ("two worker processes", "processes", "imports", 1.8),
        ("thread pool, a job with pandas", "threads, pandas", "imports, pandas", 0.8),
        ("two worker processes, a job with pandas", "processes, pandas", "imports, pandas", 1.8),
        ("jobs/data_processing.py, thread pool", "leads", "imports", None),
    )
    lines = [
        Line(what=what, measured=took[run].wall, reference=took[base].wall, target=target)
        for what, run, base, target in table
    ]
    report("From the command to the first commit, against `import distributed, pyarrow`", lines)


if __name__ == "__main__":
    main()
