"""Performs checks side by side, each within a time limit; one that fails or hangs is a finding, never a crash."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dataflow.errors import ClusterError, DataflowError
from dataflow.wiring.doctor.findings import UNREACHABLE, Finding, problem, warning

PATIENCE = 15.0
"""Seconds for one check: longer than any of the waits inside it, short for a person who looks on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to look at.

    Attributes:
        subject: What it is about, for where it fails.
        look: Looks and gives what it found.
        code: The exit code where it raises an error of ours.
    """

    subject: str
    look: Callable[[], Sequence[Finding]]
    code: int = 1


@dataclass(slots=True, kw_only=True)
class _Looking:
    check: Check
    found: list[Finding] = field(default_factory=list)

    def __call__(self) -> None:
        self.found = attempt(self.check)


def perform(checks: Sequence[Check], *, seconds: float = PATIENCE) -> list[Finding]:
    """The findings of all checks, in their order."""
    looking = [_Looking(check=check) for check in checks]
    # A check that hangs must not keep the process from ending.
    threads = [threading.Thread(target=one, name=f"check-{one.check.subject}", daemon=True) for one in looking]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = [thread.is_alive() for thread in threads]
    return [
        finding
        for one, is_late in zip(looking, late, strict=True)
        for finding in ([_late(one.check, seconds)] if is_late else one.found)
    ]


def attempt(check: Check) -> list[Finding]:
    """What a check finds, also where it fails."""
    try:
        return list(check.look())
    except DataflowError as error:
        code = UNREACHABLE if isinstance(error, ClusterError) else check.code
        return [problem(check.subject, str(error), code=code)]
    except BaseException as error:
        # What a foreign error says may hold anything, such as a secret.
        return [
            warning(check.subject, f"could not be looked at ({type(error).__name__})", advice="the rest was looked at")
        ]


def _late(check: Check, seconds: float) -> Finding:
    return problem(
        check.subject, f"no answer within {seconds:g} s", advice="look at what it waits for", code=check.code
    )
