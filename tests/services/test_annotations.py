"""From annotations to Arrow types; what has none is refused with what may be written instead."""

from __future__ import annotations

import dataclasses
import datetime
import typing
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypedDict,
    Union,
)

import pyarrow as pa
import pydantic
import pytest

from dataflow.errors import DeclarationError
from dataflow.services.annotations import declare, declare_fields, type_hints

Email = NewType("Email", str)


class Base(TypedDict):
    name: str
    size: int | None


class Partial(Base, total=False):
    tags: list[str]
    needed: Required[bool]


class Marked(TypedDict):
    name: str
    note: NotRequired[str]


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    _hidden: int = 0


class Pair(NamedTuple):
    one: str
    point: Point | None = None


class Model(pydantic.BaseModel):
    at: datetime.datetime
    price: Decimal = Decimal(0)


POINT = pa.struct({"x": pa.float64(), "y": pa.float64()})

TYPES: list[tuple[Any, pa.DataType, bool]] = [
    (str, pa.string(), False),
    (int, pa.int64(), False),
    (float, pa.float64(), False),
    (bool, pa.bool_(), False),
    (bytes, pa.binary(), False),
    (datetime.datetime, pa.timestamp("us"), False),
    (datetime.date, pa.date32(), False),
    (datetime.time, pa.time64("us"), False),
    (datetime.timedelta, pa.duration("us"), False),
    (Decimal, pa.decimal128(38, 9), False),
    (str | None, pa.string(), True),
    (Optional[int], pa.int64(), True),  # noqa: UP045
    (Union[None, int, float], pa.float64(), True),  # noqa: UP007
    (int | float, pa.float64(), False),
    (Literal["a", "b"], pa.string(), False),
    (Literal[1, 2] | None, pa.int64(), True),
    (Literal[True], pa.bool_(), False),
    (list[str], pa.list_(pa.string()), False),
    (list[int | None], pa.list_(pa.int64()), False),
    (Sequence[list[float]], pa.list_(pa.list_(pa.float64())), False),
    (tuple[int, ...], pa.list_(pa.int64()), False),
    (dict[str, int], pa.map_(pa.string(), pa.int64()), False),
    (Mapping[str, list[str]], pa.map_(pa.string(), pa.list_(pa.string())), False),
    (Annotated[int, "of people"], pa.int64(), False),
    (Email, pa.string(), False),
    (list[Email], pa.list_(pa.string()), False),
    (Base, pa.struct({"name": pa.string(), "size": pa.int64()}), False),
    (Point, POINT, False),
    (Pair | None, pa.struct({"one": pa.string(), "point": POINT}), True),
    (list[Point], pa.list_(POINT), False),
    (Model, pa.struct({"at": pa.timestamp("us"), "price": pa.decimal128(38, 9)}), False),
    (pa.decimal128(5, 2), pa.decimal128(5, 2), False),
    (pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int32(), pa.string()), False),
]


@pytest.mark.parametrize(("hint", "arrow", "nullable"), TYPES, ids=lambda one: str(one)[:40])
def test_each_annotation_has_its_arrow_type(hint: Any, arrow: pa.DataType, nullable: bool) -> None:
    found = declare(hint, where="`s` returns")
    assert (found.arrow, found.nullable) == (arrow, nullable)


REFUSED: list[tuple[Any, str]] = [
    (object, "`s` returns object, which has no Arrow type; use str, int, float"),
    (set[str], "has no Arrow type"),
    (complex, "has no Arrow type"),
    (Iterator[str], "has no Arrow type"),
    ("str", "has no Arrow type"),
    (5, "has no Arrow type"),
    (int | str, "a column has one type, so only `X | None` and `int | float` are unions"),
    (list, "`s` returns list without saying of what; write list[str]"),
    (tuple, "tuple without saying of what"),
    (dict, "dict without saying of what; write a TypedDict, or dict[str, int]"),
    (list[Any], "the items of a list need a type"),
    (dict[int, str], "keys must be str and values need a type"),
    (dict[str, Any], "keys must be str and values need a type"),
    (tuple[int, str], "has no Arrow type"),
    (Literal["a", 1], "the values of a Literal must all be str, int or bool"),
    (Literal[b"a"], "the values of a Literal must all be str, int or bool"),
    (list[set[int]], "set[int], which has no Arrow type"),
]


@pytest.mark.parametrize(("hint", "message"), REFUSED, ids=lambda one: str(one)[:40])
def test_an_annotation_without_an_arrow_type_is_refused(hint: Any, message: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        declare(hint, where="`s` returns")
    assert message in str(caught.value)


def test_a_field_without_a_type_is_named() -> None:
    wrong = TypedDict("wrong", {"name": str, "extra": Any})  # noqa: UP013
    with pytest.raises(DeclarationError, match="`s` returns wrong, whose fields need types: extra"):
        declare(wrong, where="`s` returns")
    deep = TypedDict("deep", {"inner": set[int]})  # noqa: UP013
    with pytest.raises(DeclarationError, match="deep, whose field `inner` is set"):
        declare(deep, where="`s` returns")
    for returns in ({}, {"a": Any}):
        with pytest.raises(DeclarationError, match="a record whose fields need types"):
            declare_fields(returns, where="`s` returns")


def test_optional_fields_are_found_also_where_annotations_are_texts() -> None:
    assert declare(Partial, where="").optional == {"tags"}
    assert declare(Marked, where="").optional == {"note"}
    assert declare(Base, where="").optional == frozenset()


@pytest.mark.parametrize(
    ("hint", "value", "wrong"),
    [
        (Marked, {"name": "a"}, None),
        (Marked, {"name": "a", "note": None}, None),
        (Marked, {"note": "x"}, "field `name`: missing"),
        (Marked, {"name": "a", "nope": 1}, "fields that are not declared"),
        (Marked, {"name": 1}, "field `name`: expected str, got int"),
        (Partial, {"name": "a", "size": None}, "field `needed`: missing"),
        (Point, Point(1.0), None),
        (Point, {"x": 1.0, "y": 1.0}, "expected Point, got dict"),
        (Point, Point("1"), "field `x`: expected float, got str"),  # type: ignore[arg-type]
        (Pair, Pair("a", Point(1.0, None)), "field `point`: field `y`: expected float, got NoneType"),  # type: ignore[arg-type]
        (list[Point], [Point(1.0), None], "item 1: expected Point, got NoneType"),
        (dict[str, list[int]], {"a": [1], "b": ["x"]}, "a value: item 0: expected int, got str"),
    ],
)
def test_a_mismatch_says_where_in_the_record_it_is_without_the_value(hint: Any, value: Any, wrong: str | None) -> None:
    assert declare(hint, where="").mismatch(value) == wrong


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Pair, Pair("a", Point(1.0, 2.0))),
        (Pair, Pair("a", None)),
        (Model, Model(at=datetime.datetime(2024, 1, 1), price=Decimal(1))),
        (list[Point], [Point(1.0), Point(2.0)]),
        (dict[str, Point], {"a": Point(1.0)}),
        (list[Point | None] | None, [None, Point(1.0)]),
        (dict[str, int] | None, None),
    ],
    ids=lambda one: str(one)[:30],
)
def test_a_value_survives_the_way_to_arrow_and_back(hint: Any, value: Any) -> None:
    declared = declare(hint, where="")
    assert declared.mismatch(value) is None
    plain, build = declared.plain, declared.build
    assert plain is not None
    assert build is not None
    (stored,) = pa.array([plain(value)], declared.arrow).to_pylist()
    assert (None if stored is None else build(stored)) == value


def test_types_that_only_exist_inside_a_function_are_refused_with_a_way_out() -> None:
    class Local(TypedDict):
        name: str

    def service(x: str) -> Local:
        return {"name": x}

    with pytest.raises(DeclarationError, match=r"a type called `Local` that cannot be found: .* move the type out"):
        type_hints(service, where="`service` names")


def test_an_annotation_that_is_no_type_is_refused() -> None:
    def service(x: str) -> str:
        return x

    for text in ("3 +", "datetime.Datetime"):
        service.__annotations__["x"] = text
        with pytest.raises(DeclarationError, match="`service` names an annotation that is no type"):
            type_hints(service, where="`service` names")


def test_a_type_alias_statement_counts_as_what_it_stands_for() -> None:
    alias = getattr(typing, "TypeAliasType", None)
    if alias is None:
        pytest.skip("type statements came with Python 3.12")
    assert declare(alias("Emails", list[str]), where="").arrow == pa.list_(pa.string())
