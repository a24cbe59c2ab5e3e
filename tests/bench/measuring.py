"""How the benchmarks measure and report: whole processes that take turns, medians, ratios within one run.

Seconds depend on the machine and on who else uses it; a ratio of two commands that took turns does so much less,
and a ratio of CPU seconds hardly at all. Works on Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from leads import DEFAULT_FOLDER
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATAFLOW = (sys.executable, "-m", "dataflow")
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a command cost.

    Attributes:
        wall: Seconds from its start to its end, or to what was waited for.
        cpu: CPU seconds of all its processes to their ends.
    """

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a report.

    Attributes:
        what: What was measured.
        measured: On our side.
        reference: On the other side, in the same unit; or the most that is allowed.
        target: The greatest ratio that is good enough, or None for a line that only informs.
        unit: Of both values.
    """

    what: str
    measured: float
    reference: float
    target: float | None = None
    unit: str = "s"

    @property
    def ratio(self) -> float:
        """How many times the reference was measured."""
        return self.measured / self.reference

    @property
    def verdict(self) -> str:
        """The target and whether it is met."""
        if self.target is None:
            return ""
        return f"{self.target:g} met" if self.ratio <= self.target else f"{self.target:g} MISSED"


def started(command: Sequence[str | Path]) -> subprocess.Popen[str]:
    """The command as a process that sees this checkout; what it prints is kept for its end."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    # Where no bytecode is kept, each start compiles the package anew, and only ours is large.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen([str(word) for word in command], env=environment, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    """What the process printed until its end.

    Raises:
        SystemExit: It failed; its own words are on stderr.
    """
    text, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, process.args))} ended with {process.returncode}")
    return text


def cost(command: Sequence[str | Path], *, until: Callable[[], bool] | None = None) -> Cost:
    """What the command costs to its end, or until something is so; it runs to its end in any case."""
    before = _cpu_of_children()
    start = time.perf_counter()
    process = started(command)
    while until is not None and process.poll() is None and not until():
        time.sleep(0.002)
    reached = time.perf_counter()
    ended(process)
    wall = (time.perf_counter() if until is None else reached) - start
    _bury_orphans()
    return Cost(wall=wall, cpu=_cpu_of_children() - before)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _bury_orphans() -> None:
    """Wait for what the command has left behind, such as a fork server, whose CPU seconds count too."""
    with suppress(ChildProcessError):
        while True:
            os.wait()


def taking_turns(
    sides: Mapping[str, Callable[[], Cost]], *, turns: int, of: Callable[[Sequence[float]], float] = statistics.median
) -> dict[str, Cost]:
    """What each side costs: the median of its turns, or `of` them; a first turn warms the caches and does not count."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    found: dict[str, list[Cost]] = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, measure in sides.items():
            one = measure()
            print(f"turn {turn}: {name}: {one.wall:.2f} s, {one.cpu:.2f} CPU s", file=sys.stderr)
            found[name] += [one] if turn else []
    return {
        name: Cost(wall=of([one.wall for one in costs]), cpu=of([one.cpu for one in costs]))
        for name, costs in found.items()
    }


def report(title: str, lines: Sequence[Line]) -> None:
    """Print the table of a benchmark."""
    table = Table("", "measured", "reference", "ratio", "target", title=title, title_justify="left")
    for line in lines:
        sides = (f"{value:.3g} {line.unit}" for value in (line.measured, line.reference))
        table.add_row(line.what, *sides, f"{line.ratio:.2f}", line.verdict)
    Console(width=110).print(table)


def emptied(folder: Path) -> Path:
    """The folder, without what an earlier measurement left there."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def check_same(work: Path) -> None:
    """Refuse to compare a catalog and a reference output that do not say the same.

    Raises:
        SystemExit: They count other records or other valid ones.
    """
    ours = json.loads((work / "catalog" / "leads" / "_meta" / "v1" / "statistics.json").read_text())
    theirs = json.loads((work / "reference" / "statistics.json").read_text())
    if (ours["total_records"], ours["valid_records"]) != (theirs["rows"], theirs["valid"]):
        raise SystemExit(f"the sides differ: {ours['total_records']}, {ours['valid_records']} against {theirs}")


def arguments(text: str | None, *, turns: int) -> argparse.Namespace:
    """What every benchmark takes: where its data are kept, and how often each side is measured."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="keeps the data here (%(default)s)")
    parser.add_argument("--turns", type=int, default=turns, help="measures each side so often (%(default)s)")
    return parser.parse_args()
