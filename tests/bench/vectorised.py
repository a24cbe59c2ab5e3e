"""Column services on 5 million leads, against a hand-written pool that uses the same kernels.

    python tests/bench/vectorised.py

Measures whole processes with their start-up, and the margin: what the second half of the leads costs. Takes the
best of the turns, since a difference of two medians would be mostly noise.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from leads import Data, make
from measuring import DATAFLOW, HERE, Cost, Line, arguments, check_same, cost, emptied, report, taking_turns


def library(data: Data, work: Path) -> Cost:
    """What a run with two worker processes costs."""
    paths = ("--set", f"leads={data.leads}", "--set", f"domains={data.domains}")
    options = ("--catalog", emptied(work / "catalog"), "--workers", "2", "--no-progress")
    return cost([*DATAFLOW, "run", HERE / "leads_vectorised_job.py", *paths, *options])


def reference(data: Data, work: Path) -> Cost:
    """What the hand-written pool costs."""
    script, output = HERE / "reference_vectorised.py", emptied(work / "reference")
    return cost([sys.executable, script, data.leads, output, "--domains", data.domains])


def main() -> None:
    """Measure and report."""
    given = arguments(__doc__, turns=3)
    half, whole = make(given.data, files=8), make(given.data, files=16)
    sides = {
        f"{side.__name__} {size}": partial(side, data, given.data)
        for size, data in (("half", half), ("whole", whole))
        for side in (library, reference)
    }
    took = taking_turns(sides, turns=given.turns, of=min)
    check_same(given.data)
    ours, theirs = took["library whole"], took["reference whole"]
    our_half, their_half = took["library half"], took["reference half"]
    margin = f"from {half.rows:,} to {whole.rows:,}"
    lines = [
        Line(what="whole process", measured=ours.wall, reference=theirs.wall, target=1.6),
        Line(what=margin, measured=ours.wall - our_half.wall, reference=theirs.wall - their_half.wall, target=1.2),
        Line(what="whole process, CPU", measured=ours.cpu, reference=theirs.cpu),
        Line(what=f"{margin}, CPU", measured=ours.cpu - our_half.cpu, reference=theirs.cpu - their_half.cpu),
    ]
    report(f"Column services on {whole.rows:,} leads against a hand-written pool of two processes", lines)


if __name__ == "__main__":
    main()
