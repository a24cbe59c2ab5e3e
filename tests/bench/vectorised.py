"""Column services on 5 million leads, against a hand-written pool that uses the same kernels.

    python tests/bench/vectorised.py

Measures whole processes with their start-up, and the margin: what the second half of the leads costs.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from leads import Data, make
from measuring import DATAFLOW, HERE, Line, arguments, check_same, emptied, report, seconds, taking_turns


def library(data: Data, work: Path) -> float:
    """Seconds of a run with two worker processes."""
    paths = ("--set", f"leads={data.leads}", "--set", f"domains={data.domains}")
    options = ("--catalog", emptied(work / "catalog"), "--workers", "2", "--no-progress")
    return seconds([*DATAFLOW, "run", HERE / "leads_vectorised_job.py", *paths, *options])


def reference(data: Data, work: Path) -> float:
    """Seconds of the hand-written pool."""
    script, output = HERE / "reference_vectorised.py", emptied(work / "reference")
    return seconds([sys.executable, script, data.leads, output, "--domains", data.domains])


def main() -> None:
    """Measure and report."""
    given = arguments(__doc__, turns=3)
    half, whole = make(given.data, files=8), make(given.data, files=16)
    sides = {
        f"{side.__name__} {size}": partial(side, data, given.data)
        for size, data in (("half", half), ("whole", whole))
        for side in (library, reference)
    }
    took = taking_turns(sides, turns=given.turns)
    check_same(given.data)
    ours, theirs = (took[f"{side} whole"] for side in ("library", "reference"))
    lines = [
        Line(what=f"{whole.rows:,} leads, whole process", measured=ours, reference=theirs, target=1.6),
        Line(
            what=f"from {half.rows:,} to {whole.rows:,}",
            measured=ours - took["library half"],
            reference=theirs - took["reference half"],
            target=1.2,
        ),
    ]
    report("Column services against a hand-written pool of two processes", lines)


if __name__ == "__main__":
    main()
