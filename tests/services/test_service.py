"""Services are inert values around functions that stay what they were."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import pickle
from typing import Any, TypedDict

import cloudpickle
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind


class Company(TypedDict):
    company_name: str
    employees: int | None


@flow.transformation
def email(email: str, *, lower: bool = True) -> str:
    """Lower-case and strip."""
    return email.strip().lower() if lower else email


@flow.enrichment(when="valid")
async def company(domain: str) -> Company:
    """Ask."""
    return {"company_name": domain, "employees": None}


@flow.transformation(setup={"end": "!"})
class Shout:
    """Appends."""

    def __init__(self, end: str) -> None:
        self.end = end

    def __call__(self, word: str) -> str:
        return word + self.end


def columns(service: flow.Service) -> list[str]:
    return [output.column for output in service.outputs]


def test_a_decorated_function_is_still_the_plain_function() -> None:
    assert email("  A@B.C ") == "a@b.c"
    assert email(email=" A", lower=False) == " A"
    assert (email.__name__, email.__qualname__, email.__module__) == ("email", "email", __name__)
    assert email.__doc__ == inspect.getdoc(email) == "Lower-case and strip."
    assert str(inspect.signature(email)) == "(email: 'str', *, lower: 'bool' = True) -> 'str'"
    assert inspect.unwrap(email).__code__.co_name == "email"


def test_a_decorated_coroutine_function_is_still_awaited() -> None:
    assert asyncio.run(company("a")) == {"company_name": "a", "employees": None}


def test_a_decorated_class_is_called_like_one_of_its_instances() -> None:
    assert Shout("a") == "a!"
    assert (Shout.__name__, Shout.__doc__, Shout.is_class) == ("Shout", "Appends.", True)


def test_nothing_is_called_while_declaring() -> None:
    class Costly:
        def __init__(self) -> None:
            raise AssertionError("set up while declaring")

        def __call__(self, x: str) -> str:
            return x

    assert flow.transformation(Costly).with_(name="later").name == "later"


def test_a_repr_says_kind_columns_and_outputs() -> None:
    assert repr(email) == "<transformation email(email, lower) -> email>"
    assert repr(company) == "<enrichment company(domain) -> company_name, employees>"
    assert repr(flow.validation(name="ok", returns=bool)(lambda x: True)) == "<validation ok(x)>"


def test_a_service_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        email.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        email.constants["lower"] = False  # type: ignore[index]


def test_with_gives_a_variant_and_leaves_the_original() -> None:
    other = email.with_(name="mail", columns={"email": "e-mail"}, into="clean", timeout="2s")
    assert (other.name, columns(other), other.policy.timeout) == ("mail", ["clean"], 2.0)
    assert other.parameters[0].columns == ("e-mail",)
    assert (email.name, columns(email), email.parameters[0].columns) == ("email", ["email"], ("email",))
    again = other.with_(timeout=5)
    assert (again.name, columns(again), again.policy.timeout) == ("mail", ["clean"], 5.0)
    assert other("  A ") == "a"


def test_with_names_the_output_after_the_new_name() -> None:
    assert columns(email.with_(name="mail")) == ["mail"]
    assert columns(email.with_(columns={"email": "e-mail"})) == ["e-mail"]


def test_a_lookup_is_a_service_too_but_no_function() -> None:
    ref = flow.lookup("ref", table="t.parquet", on="x")
    assert ref.with_(name="other", priority="optional").name == "other"
    assert ref.with_(name="other").lookup is ref.lookup
    with pytest.raises(DeclarationError, match="`ref` is declared without a function; use it in a pipeline"):
        ref("a")


@pytest.mark.parametrize("service", [email, company, Shout, flow.lookup("ref", table="t.parquet", on="x")])
def test_a_service_travels_by_cloudpickle(service: flow.Service) -> None:
    again = pickle.loads(cloudpickle.dumps(service))
    assert (again.name, again.kind, again.form, columns(again)) == (
        service.name,
        service.kind,
        service.form,
        columns(service),
    )
    assert (again.policy.when, again.policy.timeout) == (service.policy.when, service.policy.timeout)


@pytest.mark.parametrize(
    ("returns", "options", "expected"),
    [
        (str, {}, ["made"]),
        (list[str], {"into": "tags"}, ["tags"]),
        (Company, {}, ["company_name", "employees"]),
        (Company, {"columns": {"employees": "staff"}}, ["company_name", "staff"]),
        (Company, {"into": "company"}, ["company"]),
        ({"a": str, "b": int}, {}, ["a", "b"]),
        ({"a": str, "b": int}, {"into": "both"}, ["both"]),
        (pa.decimal128(10, 2), {}, ["made"]),
    ],
)
def test_what_is_returned_says_which_columns_are_written(
    returns: Any, options: dict[str, Any], expected: list[str]
) -> None:
    made = flow.transformation(name="made", returns=returns, **options)(lambda x: x)
    assert columns(made) == expected


def test_returns_comes_before_the_annotation() -> None:
    assert email.with_(returns=int).returns.arrow == pa.int64()  # type: ignore[union-attr]


@pytest.mark.parametrize("returns", [bool, str | None, str, list[str], list[str] | None, None])
def test_a_validation_returns_a_verdict_and_writes_no_column(returns: Any) -> None:
    service = flow.validation(name="ok", returns=returns)(lambda x: None)
    assert (service.kind, service.outputs) == (Kind.VALIDATION, ())


def test_a_column_validation_need_not_say_what_it_returns() -> None:
    def ok(x: pa.Array) -> pa.Array: ...

    assert flow.validation(ok).returns.arrow == pa.bool_()  # type: ignore[union-attr]


def unannotated(x: str): ...


def to_any(x: str) -> Any: ...


def to_none(x: str) -> None: ...


def to_int(x: str) -> int: ...


def is_valid(x: str) -> bool: ...


def degraded(x: str) -> TypedDict("Reserved", {"degraded": str}): ...  # type: ignore[valid-type]


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (unannotated, {}, "`unannotated` does not say what it returns; annotate it, or give returns="),
    (to_none, {}, "`to_none` does not say what it returns"),
    (to_int, {"returns": None}, "`to_int` does not say what it returns"),
    (to_any, {}, "`to_any` returns Any; a column needs one type"),
    (to_int, {"name": ""}, "'' is no name for a service; give one with name=, of letters, digits, _ and -"),
    (to_int, {"name": "a/b"}, "'a/b' is no name for a service"),
    (to_int, {"name": "../x"}, "is no name for a service"),
    (to_int, {"name": "1st"}, "is no name for a service"),
    (to_int, {"name": 5}, "5 is no name for a service"),
    (lambda x: x, {"returns": int}, "'<lambda>' is no name for a service"),
    (is_valid, {"returns": str}, "`is_valid` is a column that every run writes; give the service another name="),
    (to_int, {"into": "rejected"}, "`to_int` writes `rejected`, which every run writes; choose another with into="),
    (degraded, {"name": "d"}, "`d` writes `degraded`, which every run writes"),
    (email, {}, "`email` is a service already; use with_(...) for a variant of it"),
    (5, {}, "a transformation is declared on a function or a class, not on int"),
    ("text", {}, "a transformation is declared on a function or a class, not on str"),
]


@pytest.mark.parametrize(("function", "options", "message"), REFUSED, ids=[case[2][:30] for case in REFUSED])
def test_what_cannot_be_a_service_is_refused_while_declaring(
    function: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        flow.transformation(**options)(function)
    assert message in str(caught.value)


@pytest.mark.parametrize("returns", [int, list[int], bool | None, Company, dict[str, str]])
def test_a_validation_that_returns_no_verdict_is_refused(returns: Any) -> None:
    with pytest.raises(DeclarationError, match=r"a verdict is bool, str \| None \(the error\) or list\[str\]"):
        flow.validation(name="ok", returns=returns)(lambda x: None)
    with pytest.raises(DeclarationError, match="`unannotated` does not say what it returns; annotate -> bool"):
        flow.validation(unannotated)


def test_decorators_take_options_with_and_without_a_call() -> None:
    assert flow.transformation(to_int).kind is Kind.TRANSFORMATION
    assert flow.transformation()(to_int).kind is Kind.TRANSFORMATION
    assert flow.enrichment(priority="optional")(to_int).policy.priority == "optional"
