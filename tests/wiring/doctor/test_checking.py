"""A check that fails or hangs is a finding, and hides no other one."""

from __future__ import annotations

import threading

from dataflow.errors import SourceError
from dataflow.wiring.doctor.checking import Check, perform
from dataflow.wiring.doctor.findings import Finding, Level, ok


def failing(error: BaseException) -> Check:
    def look() -> list[Finding]:
        raise error

    return Check(subject="source", look=look, code=2)


def test_findings_come_in_the_order_of_the_checks() -> None:
    first_may_end = threading.Event()

    def first() -> list[Finding]:
        first_may_end.wait()
        return [ok("first", "ends last")]

    def second() -> list[Finding]:
        first_may_end.set()
        return [ok("second", "ends first")]

    found = perform([Check(subject="first", look=first), Check(subject="second", look=second)])
    assert [one.subject for one in found] == ["first", "second"]


def test_an_error_of_ours_is_a_problem_with_its_words() -> None:
    (found,) = perform([failing(SourceError("no file is there; mend the path"))])
    assert (found.level, found.subject, found.code) == (Level.PROBLEM, "source", 2)
    assert found.fact == "no file is there; mend the path"


def test_what_a_foreign_error_says_is_not_told() -> None:
    found = perform([failing(RuntimeError("canary-4711")), failing(SystemExit("canary-4711"))])
    assert [one.level for one in found] == [Level.WARNING, Level.WARNING]
    assert "RuntimeError" in found[0].fact
    assert "canary" not in f"{found[0]}{found[1]}"


def test_a_check_that_hangs_is_a_finding_and_the_others_are_told() -> None:
    over = threading.Event()

    def hang() -> list[Finding]:
        over.wait()
        return []

    checks = [Check(subject="cluster", look=hang, code=75), Check(subject="disk", look=lambda: [ok("disk", "large")])]
    late, fine = perform(checks, seconds=0.2)
    over.set()
    assert (late.level, late.code) == (Level.PROBLEM, 75)
    assert "no answer within 0.2 s" in late.fact
    assert fine.fact == "large"
