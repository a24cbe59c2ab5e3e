"""Plain Python functions on 2 million leads, against hand-written pools that call the same functions.

    python tests/bench/per_record.py

Three transformations, three validations and one lookup in a dict. The pool that the target is about works on
lists of columns, the fastest way that we know; the other works on a dict for each record, as most people do.
Takes the best of the turns.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from leads import Data, make
from measuring import DATAFLOW, HERE, Cost, Line, arguments, check_same, cost, emptied, report, taking_turns


def library(data: Data, work: Path) -> Cost:
    """What a run with two worker processes costs."""
    options = ("--catalog", emptied(work / "catalog"), "--workers", "2", "--no-progress")
    return cost([*DATAFLOW, "run", HERE / "leads_per_record_job.py", "--set", f"leads={data.leads}", *options])


def reference(data: Data, work: Path, *, style: str) -> Cost:
    """What the hand-written pool costs in one of its styles."""
    script, output = HERE / "reference_per_record.py", emptied(work / "reference")
    return cost([sys.executable, script, data.leads, output, "--style", style])


def main() -> None:
    """Measure and report."""
    given = arguments(__doc__, turns=3)
    data = make(given.data, files=16, rows_in_file=125_000)
    sides = {
        "library": partial(library, data, given.data),
        "columns": partial(reference, data, given.data, style="columns"),
        "rows": partial(reference, data, given.data, style="rows"),
    }
    took = taking_turns(sides, turns=given.turns, of=min)
    check_same(given.data)
    ours, columns, rows = took["library"], took["columns"], took["rows"]
    lines = [
        Line(what="against lists of columns", measured=ours.wall, reference=columns.wall, target=1.3),
        Line(what="against a dict for each record", measured=ours.wall, reference=rows.wall),
        Line(what="against lists of columns, CPU", measured=ours.cpu, reference=columns.cpu),
        Line(what="against a dict for each record, CPU", measured=ours.cpu, reference=rows.cpu),
    ]
    report(f"Plain functions on {data.rows:,} leads against hand-written pools of two processes", lines)


if __name__ == "__main__":
    main()
