"""A refused access ends a run at its first calls, and is a failure of its record after that."""

from __future__ import annotations

from typing import Any

import pytest

import dataflow as flow
from dataflow.engine.http.access import AccessCheck, status_of
from dataflow.engine.http.attempts import CallError
from dataflow.errors import GuardrailReached
from dataflow.services.auth import Auth


def check(auth: Auth | None = None, *, strict: bool = True) -> AccessCheck:
    acme = flow.API("acme", "https://acme.example", auth=auth)
    return AccessCheck(acme.get("company", "/c/{x}", returns=str), strict=strict)


def refused(status: int) -> CallError:
    return CallError(f"HTTP {status}", "no", status=status)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_the_first_calls_ends_the_run_and_names_the_secrets(status: int) -> None:
    with pytest.raises(GuardrailReached, match=rf"`company`: acme refuses access \({status}\).*check the secrets A, B"):
        check(flow.basic("A", "B"))(refused(status))


def test_without_auth_the_advice_is_to_declare_it() -> None:
    with pytest.raises(GuardrailReached, match=r"acme.* is declared without auth="):
        check()(refused(401))


def test_a_refusal_after_one_call_was_let_in_concerns_its_record() -> None:
    one = check()
    one(None)
    one(refused(403))


def test_other_errors_neither_end_the_run_nor_prove_access() -> None:
    one = check()
    one(refused(500))
    one(KeyError("x"))
    with pytest.raises(GuardrailReached):
        one(refused(401))


def test_for_a_single_record_a_refusal_is_a_failure() -> None:
    check(strict=False)(refused(401))


class _Library(Exception):
    def __init__(self, status_code: Any) -> None:
        self.response = type("Response", (), {"status_code": status_code})()


@pytest.mark.parametrize(
    ("error", "status"),
    [(refused(401), 401), (_Library(403), 403), (_Library("403"), None), (KeyError("x"), None)],
)
def test_the_status_is_found_in_our_errors_and_in_those_of_libraries(error: Exception, status: int | None) -> None:
    assert status_of(error) == status
