"""The contract is the signature: columns, form, containers, injected parameters."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, TypedDict

import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.services.signature import REQUIRED, Binding, Container, Form, Injected, Signature, read_signature


def read(function: Any, **said: Any) -> Signature:
    options = {"columns": {}, "reads": None, "constants": {}, **said}
    return read_signature(function, Binding(**options), name="service")


class Lead(TypedDict):
    name: str
    phone: str | None


@dataclasses.dataclass
class Address:
    street: str
    city: str = "Berlin"
    tags: list[str] = dataclasses.field(default_factory=list)


class Order(pydantic.BaseModel):
    amount: float
    lines: list[str] = pydantic.Field(default_factory=list)


def test_parameters_are_columns_and_their_annotations_say_what_is_expected() -> None:
    def service(name: str, size: int | None, /, note: str = "", *, flag: bool) -> str: ...

    found = read(service, columns={"name": "full name"})
    assert found.form is Form.RECORD
    assert [(one.name, one.columns) for one in found.parameters] == [
        ("name", ("full name",)),
        ("size", ("size",)),
        ("note", ("note",)),
        ("flag", ("flag",)),
    ]
    assert [one.declared.nullable for one in found.parameters] == [False, True, False, False]
    assert [one.default for one in found.parameters] == [REQUIRED, REQUIRED, "", REQUIRED]
    assert [one.keyword for one in found.parameters] == [False, False, False, True]
    assert found.returns is str


def test_a_literal_is_a_record_form() -> None:
    def service(x: Literal["a", "b"]) -> str: ...

    assert read(service).form is Form.RECORD


def test_a_parameter_without_an_annotation_takes_anything() -> None:
    (parameter,) = read(lambda x: x).parameters
    assert (parameter.declared.arrow, parameter.declared.nullable) == (None, True)


@pytest.mark.parametrize(
    ("model", "columns", "defaults"),
    [
        (Lead, ("name", "phone"), {}),
        (Address, ("street", "town", "tags"), {"town": "Berlin", "tags": []}),
        (Order, ("amount", "lines"), {"lines": []}),
    ],
)
def test_a_record_type_reads_exactly_its_fields(model: Any, columns: tuple[str, ...], defaults: dict[str, Any]) -> None:
    def service(record: Any) -> str: ...

    service.__annotations__["record"] = model
    (parameter,) = read(service, columns={"city": "town"} if model is Address else {}).parameters
    assert (parameter.columns, parameter.is_record) == (columns, True)
    assert parameter.field_defaults() == defaults


def test_a_record_type_bound_to_a_column_reads_that_one() -> None:
    def service(address: Address) -> str: ...

    (parameter,) = read(service, columns={"address": "home"}).parameters
    assert (parameter.columns, parameter.is_record, parameter.field_defaults()) == (("home",), False, {})


@pytest.mark.parametrize(
    ("hint", "container"),
    [
        (pd.Series, Container.SERIES),
        (pa.Array, Container.ARRAY),
        (pa.StringArray, Container.ARRAY),
        (pa.ChunkedArray, Container.CHUNKED),
        (np.ndarray, Container.NUMPY),
        (np.typing.NDArray[np.float64], Container.NUMPY),
        (pd.DataFrame, Container.DATAFRAME),
        (pa.Table, Container.TABLE),
    ],
)
def test_a_container_makes_it_a_column_form(hint: Any, container: Container) -> None:
    def service(x: Any) -> Any: ...

    service.__annotations__["x"] = hint
    found = read(service, reads=["a", "b"])
    assert found.form is Form.COLUMN
    assert found.parameters[0].container is container
    frame = container in (Container.DATAFRAME, Container.TABLE)
    assert found.parameters[0].columns == (("a", "b") if frame else ("x",))


def test_a_frame_may_read_everything() -> None:
    def service(frame: pa.Table) -> pa.Array: ...

    assert read(service, reads=flow.ALL).parameters[0].columns == (flow.ALL,)


def test_context_and_outcomes_are_injected_by_annotation() -> None:
    def service(x: str, told: flow.Outcomes, context: flow.Context) -> str: ...

    assert [one.injected for one in read(service).parameters] == [None, Injected.OUTCOMES, Injected.CONTEXT]


def test_outcomes_alone_are_enough_to_read_and_the_context_is_not() -> None:
    def told(outcomes: flow.Outcomes) -> str: ...

    def lonely(context: flow.Context) -> str: ...

    assert read(told).parameters[0].columns == ()
    with pytest.raises(DeclarationError, match="reads no column"):
        read(lonely)


def test_constants_are_no_columns() -> None:
    def service(x: str, times: int) -> str: ...

    assert [one.name for one in read(service, constants={"times": 2}).parameters] == ["x"]


def test_the_form_is_read_off_the_signature() -> None:
    async def waiting(x: str) -> str: ...

    class Called:
        def __call__(self, x: str) -> str: ...

    class Waiting(Called):
        async def __call__(self, x: str) -> str: ...

    assert [read(one).form for one in (waiting, Called, Waiting)] == [Form.ASYNC, Form.RECORD, Form.ASYNC]
    assert [one.name for one in read(Called).parameters] == ["x"]


def test_wrappers_that_keep_the_signature_are_seen_through() -> None:
    @functools.lru_cache
    def cached(x: str) -> int: ...

    @functools.wraps(cached)
    def wrapped(*args: Any) -> Any: ...

    for function in (cached, wrapped):
        found = read(function)
        assert ([one.name for one in found.parameters], found.returns) == (["x"], int)


def variadic(*args: str) -> str: ...


def keywords(**kwargs: str) -> str: ...


def generator(x: str) -> Iterator[str]:
    yield x


async def stream(x: str) -> AsyncIterator[str]:
    yield x


async def waiting_column(x: pa.Array) -> pa.Array: ...


def mixed(x: pa.Array, sign: str) -> pa.Array: ...


def mixed_outcomes(x: pa.Array, told: flow.Outcomes) -> pa.Array: ...


def frame(x: pd.DataFrame) -> pd.DataFrame: ...


def nothing() -> str: ...


def unknown(x: Missing) -> str: ...  # type: ignore[name-defined]  # noqa: F821


class NotCallable: ...


class Generating:
    def __call__(self, x: str) -> Iterator[str]:
        yield x


class Method:
    def method(self, x: str) -> str: ...

    def __call__(self, x: str) -> str: ...


REFUSED = [
    (variadic, r"`service` takes \*args; name each column it reads, or read a record type"),
    (keywords, r"`service` takes \*kwargs"),
    (generator, "`service` is a generator; return one value for each record, or a list"),
    (stream, "is a generator"),
    (Generating, "is a generator"),
    (waiting_column, "is async and reads whole columns; an async service reads one record"),
    (mixed, r"reads `sign` by record and the rest by column; .* a value with constants=\{...\}"),
    (mixed_outcomes, "reads `told` by record and the rest by column"),
    (frame, r"reads a whole frame as `x`; say which columns with reads=\[...\], or reads=flow.ALL"),
    (nothing, "reads no column; a service's parameters are the columns it reads"),
    (unknown, "names a type called `Missing` that cannot be found"),
    (NotCallable, "is a class without __call__"),
    (Method.method, "is a method; declare a function, or a class with __call__"),
    (Method(), "is a Method, which does not say what it reads and returns; wrap it in a function"),
    (functools.partial(variadic, "x"), "is a partial, which does not say"),
    (max, "is a builtin_function_or_method, which does not say"),
    (len, "is a builtin_function_or_method, which does not say"),
    (str.upper, "is a method_descriptor, which does not say"),
    (np.sin, "is a ufunc, which does not say"),
    (int, "is a class without __call__"),
]


@pytest.mark.parametrize(("function", "message"), REFUSED, ids=lambda one: getattr(one, "__name__", "")[:20])
def test_a_signature_that_is_no_contract_is_refused(function: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        read(function)


class Reach(TypedDict):
    phone: str


def test_a_record_that_may_be_null_is_one_column() -> None:
    def whole(reach: Reach | None) -> str: ...

    def parts(reach: Reach) -> str: ...

    assert flow.transformation(whole).parameters[0].columns == ("reach",)
    assert flow.transformation(parts).parameters[0].columns == ("phone",)
