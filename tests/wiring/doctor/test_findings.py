"""What a finding says, and the exit code that findings ask for."""

from __future__ import annotations

import pytest

from dataflow.wiring.doctor.findings import Finding, exit_code, ok, problem, room, some, warning

LOST = problem("cluster", "gone", code=75)
BROKEN = problem("job", "does not load", code=2)
HARMLESS = warning("disk", "small", advice="make room")


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], 0),
        ([ok("a", "fine"), HARMLESS], 0),
        ([HARMLESS, problem("a", "wrong")], 1),
        ([problem("a", "wrong"), LOST], 75),
        ([LOST, problem("a", "wrong"), BROKEN], 2),
    ],
)
def test_the_problem_that_a_run_meets_first_gives_the_exit_code(findings: list[Finding], code: int) -> None:
    assert exit_code(findings) == code


def test_a_finding_is_one_line_of_fact_and_advice() -> None:
    assert str(HARMLESS) == "warning  disk: small; make room"
    assert str(ok("disk", "large")) == "ok       disk: large"
    assert BROKEN.to_dict() == {"level": "problem", "subject": "job", "fact": "does not load", "advice": ""}


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1_300_000, "1.3 MB"), (83 * 10**9, "83 GB")])
def test_bytes_for_people(count: int, text: str) -> None:
    assert room(count) == text


def test_places_are_named_by_the_first_of_them() -> None:
    assert (some(["a"]), some(["a", "b", "c"])) == ("a", "a and 2 more")
