"""What a check has found, in words, and what a command ends with. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

LOAD, UNREACHABLE = 2, 75
"""Exit codes of a job that does not load and of a cluster that does not answer, as a run would end."""
_CODES = (LOAD, UNREACHABLE, 1)
"""The first of these counts: a run, too, looks for its job before it looks for a cluster."""

_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3), ("B", 1))


class Level(StrEnum):
    """How much it matters."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line for a person.

    Attributes:
        level: `problem` for what a run fails at, `warning` for what may harm it, `ok` for what is as it should be.
        subject: What it is about.
        fact: What was found.
        advice: What to do; empty where there is nothing to do.
        code: The exit code where it is a problem.
    """

    level: Level
    subject: str
    fact: str
    advice: str = ""
    code: int = 1

    def __str__(self) -> str:
        return f"{self.level:<7}  {self.subject}: {self.fact}{'; ' if self.advice else ''}{self.advice}"

    def to_dict(self) -> dict[str, str]:
        """As `--json` prints it."""
        return {"level": str(self.level), "subject": self.subject, "fact": self.fact, "advice": self.advice}


def ok(subject: str, fact: str, *, advice: str = "") -> Finding:
    """Something that is as it should be."""
    return Finding(level=Level.OK, subject=subject, fact=fact, advice=advice)


def warning(subject: str, fact: str, *, advice: str) -> Finding:
    """Something that may harm a run."""
    return Finding(level=Level.WARNING, subject=subject, fact=fact, advice=advice)


def problem(subject: str, fact: str, *, advice: str = "", code: int = 1) -> Finding:
    """Something that a run fails at."""
    return Finding(level=Level.PROBLEM, subject=subject, fact=fact, advice=advice, code=code)


def exit_code(findings: Iterable[Finding]) -> int:
    """0 without a problem, else that of the problem which a run would meet first."""
    codes = {one.code for one in findings if one.level is Level.PROBLEM}
    return next((code for code in _CODES if code in codes), 0)


def some(places: Sequence[str]) -> str:
    """Places for a sentence: the first one, and how many more."""
    return places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"


def room(count: int) -> str:
    """Bytes for people: `1.3 MB`, `83 GB`."""
    unit, size = next((one for one in _UNITS if count >= one[1]), _UNITS[-1])
    return f"{count / size:.3g} {unit}"
