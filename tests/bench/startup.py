"""What starting costs: `dataflow --help`, `import dataflow`, and the heavy modules that a process imports.

python tests/bench/startup.py
"""

from __future__ import annotations

import json
import sys
from functools import partial

from measuring import DATAFLOW, HERE, Line, arguments, cost, emptied, ended, report, started, taking_turns

HEAVY = ("pandas", "dask.dataframe", "distributed", "bokeh", "pyarrow.dataset", "pyarrow", "numpy", "duckdb", "dask")
LIST_IMPORTS = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.__stdout__))
"""


def heavy(code: str) -> str:
    """The heavy modules that are there when the code has run."""
    printed = ended(started([sys.executable, "-c", LIST_IMPORTS + code]))
    modules = json.loads(printed.splitlines()[-1])
    return ", ".join(name for name in HEAVY if name in modules) or "none"


def cli(*words: object) -> str:
    """Code that does what the command line does with these words."""
    return f"sys.argv = {['dataflow', *map(str, words)]!r}\nfrom dataflow.faces.cli import main\nmain()"


def main() -> None:
    """Measure and report."""
    given = arguments(__doc__, turns=5)
    sides = {
        "help": partial(cost, [*DATAFLOW, "--help"]),
        "import": partial(cost, [sys.executable, "-c", "import dataflow"]),
        "python": partial(cost, [sys.executable, "-c", "pass"]),
        "imports": partial(cost, [sys.executable, "-c", "import distributed, pyarrow"]),
    }
    took = taking_turns(sides, turns=given.turns)
    lines = [
        Line(what="dataflow --help, to 0.3 s", measured=took["help"].wall, reference=0.3, target=1),
        Line(what="import dataflow, to a bare Python", measured=took["import"].wall, reference=took["python"].wall),
        Line(
            what="dataflow --help, to import distributed, pyarrow",
            measured=took["help"].wall,
            reference=took["imports"].wall,
        ),
    ]
    report("Starting", lines)
    run = cli("run", HERE / "small_job.py", "--catalog", emptied(given.data / "catalog"), "--no-progress")
    for what, code in (("import dataflow", "import dataflow"), ("--help", cli("--help")), ("run on threads", run)):
        print(f"heavy modules after {what}: {heavy(code)}")


if __name__ == "__main__":
    main()
