"""One definition of the options serves every constructor; what is unknown or misspelt is refused."""

from __future__ import annotations

from typing import Any

import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind, Priority
from dataflow.services.options import Options, Policy, read_condition, read_policy


def policy(kind: Kind = Kind.TRANSFORMATION, **options: Any) -> Policy:
    return read_policy(options, kind=kind, name="s")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "priority", "overwrite"),
    [
        (Kind.TRANSFORMATION, Priority.CRITICAL, "always"),
        (Kind.VALIDATION, Priority.CRITICAL, "never"),
        (Kind.ENRICHMENT, Priority.IMPORTANT, "never"),
    ],
)
def test_the_defaults_of_each_kind(kind: Kind, priority: Priority, overwrite: str) -> None:
    found = policy(kind)
    assert (found.priority, found.overwrite) == (priority, overwrite)
    assert (found.timeout, found.threads, found.rowwise, found.version) == (None, 1, True, "1")


def test_options_are_read_into_plain_values() -> None:
    found = policy(timeout="2min", threads=3, version=2, priority="optional", setup={"a": 1})
    assert (found.timeout, found.threads, found.version, found.priority) == (120.0, 3, "2", Priority.OPTIONAL)
    with pytest.raises(TypeError):
        found.setup["a"] = 2  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("valid", ("valid", "")),
        ("is_company", ("flag", "is_company")),
        ("e-mail", ("flag", "e-mail")),
        ("phone is null", ("null", "phone")),
        ("phone is not null", ("not_null", "phone")),
        ("  e-mail   is  not   null ", ("not_null", "e-mail")),
        ("first name is null", ("null", "first name")),
        ("is is null", ("null", "is")),
        ("not is null", ("null", "not")),
    ],
)
def test_conditions(text: str, expected: tuple[str, str]) -> None:
    found = read_condition(text, name="s")
    assert (found.test, found.column, found.text) == (*expected, text)


@pytest.mark.parametrize("text", ["", "a > 3", "a = 3", "a and b", "not a", "phone is empty", 5, ["valid"]])
def test_a_condition_that_is_none_of_the_four_forms_is_refused(text: Any) -> None:
    with pytest.raises(DeclarationError, match="when"):
        read_condition(text, name="s")


def echo(x: str) -> str:
    return x


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"whne": "valid"}, "`echo` has no option whne; the options are api, "),
        ({"priority": "high"}, "`echo`: priority takes 'critical', 'important', 'optional', not 'high'"),
        ({"overwrite": True}, "`echo`: overwrite takes 'never', 'always', 'nulls'"),
        ({"dtypes": "pandas"}, "`echo`: dtypes takes 'arrow', 'numpy'"),
        ({"threads": 0}, "`echo`: threads takes a whole number from 1"),
        ({"threads": 1.5}, "`echo`: threads takes a whole number from 1"),
        ({"threads": True}, "`echo`: threads takes a whole number from 1"),
        ({"timeout": "soon"}, "`echo`: timeout takes seconds"),
        ({"columns": ["x"]}, "`echo`: columns takes a mapping"),
        ({"constants": "x"}, "`echo`: constants takes a mapping"),
        ({"setup": [1]}, "`echo`: setup takes a mapping"),
        ({"columns": {"x": 5}}, "take names of columns, which are texts"),
        ({"reads": [5]}, "take names of columns, which are texts"),
        ({"into": 5}, "take names of columns, which are texts"),
        ({"columns": {"y": "z"}}, "`echo` has no parameter or output `y`, which columns= names; it has `echo`, `x`"),
        ({"constants": {"y": 1}}, "`echo` has no parameter `y`, which constants= names; it has `x`"),
        ({"constants": {"x": 1}}, "`echo` reads no column"),
        ({"default": 5}, "`echo` has a default= that it could not return: expected str, got int"),
        ({"returns": {"a": int}, "default": {"b": 1}}, "could not return: field `b` is not declared"),
        ({"returns": {"a": int}, "default": {"a": "1"}}, "could not return: field `a`: expected int, got str"),
        ({"returns": {"a": int}, "default": 1}, "could not return: expected dict, got int"),
        ({"returns": {"a": int, "b": int}, "columns": {"a": "c", "b": "c"}}, "`echo` writes `c` twice"),
    ],
)
def test_an_option_that_does_not_fit_is_refused_while_declaring(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        flow.transformation(**options)(echo)
    assert message in str(caught.value)


def test_a_lookup_takes_the_same_options() -> None:
    with pytest.raises(DeclarationError, match="`ref` has no option whne"):
        flow.lookup("ref", table="t", on="x", whne="valid")  # type: ignore[call-arg]
    assert flow.lookup("ref", table="t", on="x", priority="critical").policy.priority is Priority.CRITICAL


def test_every_option_is_documented() -> None:
    assert all(f"{name}:" in str(Options.__doc__) for name in Options.__annotations__)


def test_a_default_of_none_and_a_partial_record_are_fine() -> None:
    assert flow.transformation(default=None)(echo).policy.default is None
    partial = flow.transformation(returns={"a": int, "b": str}, default={"a": 1, "b": None})(echo)
    assert partial.policy.default == {"a": 1, "b": None}
