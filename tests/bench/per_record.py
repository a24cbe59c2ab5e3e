"""Plain Python functions on 2 million leads, against hand-written pools that call the same functions.

    python tests/bench/per_record.py

Three transformations, three validations and one lookup in a dict. The pool that the target is about works on
lists of columns, the fastest way that we know; the other works on a dict for each record, as most people do.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from leads import Data, make
from measuring import DATAFLOW, HERE, Line, arguments, check_same, emptied, report, seconds, taking_turns


def library(data: Data, work: Path) -> float:
    """Seconds of a run with two worker processes."""
    options = ("--catalog", emptied(work / "catalog"), "--workers", "2", "--no-progress")
    return seconds([*DATAFLOW, "run", HERE / "leads_per_record_job.py", "--set", f"leads={data.leads}", *options])


def reference(data: Data, work: Path, *, style: str) -> float:
    """Seconds of the hand-written pool in one of its styles."""
    script, output = HERE / "reference_per_record.py", emptied(work / "reference")
    return seconds([sys.executable, script, data.leads, output, "--style", style])


def main() -> None:
    """Measure and report."""
    given = arguments(__doc__, turns=3)
    data = make(given.data, files=16, rows_in_file=125_000)
    sides = {
        "library": partial(library, data, given.data),
        "columns": partial(reference, data, given.data, style="columns"),
        "rows": partial(reference, data, given.data, style="rows"),
    }
    took = taking_turns(sides, turns=given.turns)
    check_same(given.data)
    lines = [
        Line(what="against lists of columns", measured=took["library"], reference=took["columns"], target=1.3),
        Line(what="against a dict for each record", measured=took["library"], reference=took["rows"]),
    ]
    report(f"Plain functions on {data.rows:,} leads against hand-written pools of two processes", lines)


if __name__ == "__main__":
    main()
