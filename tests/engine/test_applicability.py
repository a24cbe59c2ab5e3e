"""Which records a service is called for, and the reason of a skip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.engine.http.settings import CallSettings
from dataflow.engine.result import PartitionResult

Run = Callable[..., PartitionResult]


@flow.transformation
def why(outcomes: flow.Outcomes) -> list[str]:
    """The status and reason of every service before."""
    return [f"{name} {one.status}: {one.reason}" for name, one in outcomes.items() if one.reason]


@flow.transformation(priority="optional")
def company(domain: str) -> str:
    if domain == "down":
        raise ConnectionError("no answer")
    if domain == "none":
        raise flow.NotFound
    return domain.upper()


@flow.validation(priority="important")
def domain_ok(domain: str) -> bool:
    if domain == "odd":
        raise ValueError("odd")
    return domain != "bad"


@flow.enrichment(overwrite="always")
def phone(domain: str) -> str:
    return f"of {domain}"


def reasons(run: Run, services: list[flow.Service], table: Any) -> list[list[str]]:
    return run([*services, why], table).output["why"].to_pylist()


def test_a_null_input_is_skipped_and_gives_null(run: Run) -> None:
    table = {"domain": ["a", None]}
    assert reasons(run, [company, phone], table)[1] == [
        "company skipped: missing input",
        "phone skipped: missing input",
    ]
    result = run([company, phone], table)
    assert result.output.select(["company", "phone"]).to_pylist()[1] == {"company": None, "phone": None}


def test_a_transformation_gives_null_for_null_even_over_its_own_column(run: Run) -> None:
    @flow.transformation
    def name(name: str, title: str) -> str:
        return f"{title} {name}"

    result = run([name], {"name": ["a", "b", None], "title": ["Dr", None, "Dr"]})
    assert result.output["name"].to_pylist() == ["Dr a", None, None]


def test_a_nullable_input_says_that_the_service_handles_null(run: Run) -> None:
    @flow.transformation
    def size(domain: str | None, more: str) -> int:
        return len(domain or "")

    result = run([size], {"domain": ["abc", None, None], "more": ["x", "x", None]})
    assert result.output["size"].to_pylist() == [3, 0, None]


def test_a_validation_does_not_judge_null_unless_the_input_is_required(run: Run) -> None:
    table = {"domain": ["a", None, "bad"]}
    lax = run([domain_ok], table)
    assert lax.output["is_valid"].to_pylist() == [True, True, False]
    assert [len(cell) for cell in lax.output["validations"].to_pylist()] == [1, 0, 1]
    strict = run([domain_ok.with_(required=True)], table)
    assert strict.output["is_valid"].to_pylist() == [True, False, False]
    assert strict.output["validations"].to_pylist()[1][0]["errors"] == ["missing input"]
    assert strict.statistics.services["domain_ok"].skipped == 0
    nothing = run([domain_ok.with_(required=True)], {"domain": pa.array([None, None], pa.string())})
    assert nothing.output["is_valid"].to_pylist() == [False, False]


@pytest.mark.parametrize("service", [company, phone])
def test_a_missing_required_input_rejects_the_record(run: Run, service: flow.Service) -> None:
    result = run([service.with_(required=True)], {"domain": ["a", None]})
    assert result.output["domain"].to_pylist() == ["a"]
    assert result.rejects.select(["service", "reason", "error"]).to_pylist() == [
        {"service": service.name, "reason": "rejected", "error": "missing input"}
    ]


def test_a_null_that_another_failure_left_names_the_failed_service(run: Run) -> None:
    shout = flow.transformation(name="shout", columns={"text": "company"})(_shout)
    again = flow.transformation(name="again", columns={"text": "shout"})(_shout)
    table = {"domain": ["a", "down", "none", None]}
    assert reasons(run, [company, shout, again], table) == [
        [],
        ["company failed: ConnectionError", "shout skipped: company failed", "again skipped: company failed"],
        ["company not_found: not found", "shout skipped: missing input", "again skipped: missing input"],
        ["company skipped: missing input", "shout skipped: missing input", "again skipped: missing input"],
    ]


def _shout(text: str) -> str:
    return f"{text}!"


def test_a_default_heals_the_failure_for_those_who_read_it(run: Run) -> None:
    shout = flow.transformation(name="shout", columns={"text": "company"})(_shout)
    result = run([company.with_(default="?"), shout], {"domain": ["a", "down", "none"]})
    assert result.output["shout"].to_pylist() == ["A!", "?!", None]


def test_when_valid_waits_for_no_invalid_verdict_and_no_failure_before_it(run: Run) -> None:
    table = {"domain": ["a", "bad", "odd", None]}
    later = domain_ok.with_(name="later")
    service = phone.with_(when="valid")
    assert reasons(run, [domain_ok, service, later], table) == [
        [],
        ["phone skipped: when valid"],
        ["domain_ok failed: ValueError", "phone skipped: when valid", "later failed: ValueError"],
        ["domain_ok skipped: missing input", "phone skipped: missing input", "later skipped: missing input"],
    ]


@pytest.mark.parametrize(
    ("when", "called"),
    [
        ("flag", [True, False, False]),
        ("note is null", [False, True, False]),
        ("note is not null", [True, False, True]),
        ("  note  is  not  null ", [True, False, True]),
    ],
)
@pytest.mark.parametrize("kind", ["record", "async", "column"])
def test_when_looks_at_a_column(run: Run, when: str, called: list[bool], kind: str) -> None:
    async def waiting(domain: str) -> str:
        return "new"

    def column(domain: pa.Array) -> pa.Array:
        return pa.array(["new"] * len(domain))

    functions: dict[str, Any] = {"record": lambda domain: "new", "async": waiting, "column": column}
    service = flow.enrichment(name="phone", returns=str, when=when, overwrite="always")(functions[kind])
    table = {"domain": ["a", "b", "c"], "phone": ["old", "old", None]}
    table |= {"flag": [True, False, None], "note": ["x", None, "y"]}
    result = run([service], table)
    assert result.output["phone"].to_pylist() == [
        "new" if one else before for one, before in zip(called, table["phone"], strict=True)
    ]
    counted = result.statistics.services["phone"]
    assert (counted.succeeded, counted.skipped) == (sum(called), 3 - sum(called))


def test_when_keeps_the_earlier_value_in_the_type_of_the_output(run: Run) -> None:
    @flow.transformation(when="flag")
    def name(name: str) -> str:
        return name.upper()

    for kind in (pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        result = run([name], {"name": pa.array(["a", "b"], pa.string()).cast(kind), "flag": [True, False]})
        assert result.output["name"].to_pylist() == ["A", "b"]


def test_when_sees_the_version_of_the_column_at_its_place_in_the_list(run: Run) -> None:
    @flow.transformation
    def flag(flag: bool) -> bool:
        return not flag

    result = run([phone.with_(when="flag"), flag], {"domain": ["a", "b"], "flag": [True, False]})
    assert result.output["phone"].to_pylist() == ["of a", None]
    result = run([flag, phone.with_(when="flag")], {"domain": ["a", "b"], "flag": [True, False]})
    assert result.output["phone"].to_pylist() == [None, "of b"]


def test_overwrite_nulls_calls_only_where_an_output_is_null(run: Run) -> None:
    seen = []

    def about(domain: str) -> dict[str, Any]:
        seen.append(domain)
        return {"phone": "new", "size": 5}

    service = flow.enrichment(returns={"phone": str, "size": int}, overwrite="nulls")(about)
    table = {"domain": list("abcd"), "phone": ["x", None, "x", None], "size": [1, 1, None, None]}
    result = run([service], table)
    assert seen == ["b", "c", "d"]
    assert result.output.select(["phone", "size"]).to_pylist() == [
        {"phone": "x", "size": 1},
        {"phone": "new", "size": 1},
        {"phone": "x", "size": 5},
        {"phone": "new", "size": 5},
    ]
    assert result.output["completeness"].to_pylist() == [None, 1.0, 1.0, 1.0]
    seen.clear()
    del table["size"]
    assert run([service], table).output["size"].to_pylist() == [5, 5, 5, 5]
    assert seen == list("abcd")


def test_overwrite_nulls_keeps_what_was_there_when_it_fails_or_finds_nothing(run: Run) -> None:
    service = company.with_(into="phone", overwrite="nulls", default="?")
    table = {"domain": ["down", "none", "down"], "phone": [None, None, "x"]}
    assert run([service], table).output["phone"].to_pylist() == ["?", None, "x"]


def test_always_overwrites_also_with_null(run: Run) -> None:
    service = company.with_(into="phone", overwrite="always")
    table = {"domain": ["a", "down", "none", None], "phone": ["x", "x", "x", "x"]}
    assert run([service], table).output["phone"].to_pylist() == ["A", None, None, None]


@pytest.mark.parametrize("invalid", ["keep", "reject"])
def test_a_service_that_calls_out_is_not_started_for_a_record_that_was_rejected(run: Run, invalid: str) -> None:
    asked = []

    async def ask(domain: str) -> str:
        asked.append(domain)
        return domain

    critical = company.with_(priority="critical")
    services = [critical, domain_ok, flow.enrichment(ask), flow.transformation(name="local", returns=str)(_same)]
    told: list[list[str]] = []

    def tell(domain: str, outcomes: flow.Outcomes) -> str:
        told.append([one.reason for one in outcomes.values() if one.reason])
        return domain

    result = run([*services, flow.transformation(tell)], {"domain": ["a", "down", "bad"]}, invalid=invalid)
    assert told == [[], ["ConnectionError", "rejected"], [] if invalid == "keep" else ["rejected"]]
    assert sorted(asked) == (["a", "bad"] if invalid == "keep" else ["a"])
    assert result.statistics.services["ask"].skipped == 3 - len(asked)
    assert result.statistics.services["local"].succeeded == 3


def _same(domain: str) -> str:
    return domain


def test_an_important_failure_does_not_keep_a_service_from_calling_out(run: Run) -> None:
    asked = []

    async def ask(domain: str) -> str:
        asked.append(domain)
        return domain

    run([company.with_(priority="important"), flow.enrichment(ask)], {"domain": ["down"]})
    assert asked == ["down"]


def test_a_column_that_changes_its_type_holds_nothing_for_a_record_that_was_rejected_before(run: Run) -> None:
    async def count(domain: str) -> int:
        return len(domain)

    critical = company.with_(priority="critical")
    result = run([critical, flow.transformation(into="domain")(count)], {"domain": ["abc", "down"]})
    assert result.output["domain"].to_pylist() == [3]
    assert result.rejects["service"].to_pylist() == ["company"]


def test_a_null_of_what_was_not_attempted_is_not_told_as_a_failure(run: Run) -> None:
    api = flow.API("acme", "https://acme.example")
    company = api.get("company", "/{domain}", returns=str)
    shout = flow.enrichment(name="shout", columns={"text": "company"})(_shout)
    loud = flow.enrichment(name="loud", columns={"text": "shout"})(_shout)
    result = run([company, shout, loud, why], {"domain": ["a"]}, settings=CallSettings(may_call=False))
    assert result.output["why"].to_pylist() == [
        [
            "company not_attempted: run stopped",
            "shout skipped: company not attempted",
            "loud skipped: company not attempted",
        ]
    ]
    assert result.statistics.not_attempted_records == 1
