"""Every value of every type that a service may return is kept and comes back, or it is said why not."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
from decimal import Decimal
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.services.annotations import declare, declare_fields
from dataflow.services.kept import KeptForm, NotKept
from dataflow.services.types import Declared

TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)
NAMES = st.sampled_from(["name", "size", "born", "part", "of"])
OFFSETS = st.integers(-1400, 1400).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
ZONES = st.timezones() | OFFSETS

Typed = tuple[Any, st.SearchStrategy[Any]]
"""A type that `returns=` takes, and its values."""


def moments(low: int = 1700, **options: Any) -> st.SearchStrategy[dt.datetime]:
    return st.datetimes(dt.datetime(low, 1, 1), dt.datetime(2200, 1, 1), allow_imaginary=False, **options)


SCALARS: list[Typed] = [
    (str, TEXTS),
    (int, st.integers(-(2**63), 2**63 - 1)),
    (int, st.integers(-(2**63), 2**63 - 1).map(np.int64)),
    (float, st.floats() | st.integers(-(2**53), 2**53)),
    (float, st.floats(width=32).map(np.float32)),
    (bool, st.booleans()),
    (bytes, st.binary(max_size=4)),
    (dt.date, st.dates()),
    (dt.datetime, moments(1)),
    (dt.time, st.times()),
    (dt.timedelta, st.timedeltas(dt.timedelta(days=-100_000), dt.timedelta(days=100_000))),
    (Decimal, st.decimals(-(10**20), 10**20, places=9) | st.integers(0, 9).map(Decimal)),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (Literal[1, 2], st.sampled_from([1, 2])),
    (pa.timestamp("us", "Europe/Berlin"), moments(timezones=ZONES)),
    (pa.timestamp("s"), moments().map(lambda one: one.replace(microsecond=0))),
    (pa.decimal256(60, 20), st.decimals(-(10**30), 10**30, places=20)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), st.floats(width=32)),
    (pa.duration("us"), st.timedeltas(dt.timedelta(days=-9), dt.timedelta(days=9))),
    (pa.large_binary(), st.binary(max_size=4)),
    (pa.binary(2), st.binary(min_size=2, max_size=2)),
    (pa.dictionary(pa.int32(), pa.string()), TEXTS),
    (pa.map_(pa.int64(), pa.string()), st.lists(st.tuples(st.integers(0, 9), TEXTS | st.none()), max_size=3)),
    (pa.struct({"a": pa.list_(pa.date32())}), st.fixed_dictionaries({"a": st.lists(st.dates(), max_size=2)})),
]


def lists(inner: Typed) -> Typed:
    return list[inner[0]], st.lists(inner[1], max_size=3)  # type: ignore[name-defined]


def tuples(inner: Typed) -> Typed:
    return tuple[inner[0], ...], st.lists(inner[1], max_size=3).map(tuple)  # type: ignore[name-defined]


def dicts(inner: Typed) -> Typed:
    return dict[str, inner[0]], st.dictionaries(TEXTS, inner[1], max_size=3)  # type: ignore[name-defined]


def optional(inner: Typed) -> Typed:
    kind = inner[0]
    return (kind | None, st.none() | inner[1]) if not isinstance(kind, pa.DataType) else inner


def typed_dict(fields: dict[str, Typed], left_out: bool) -> Typed:
    first = next(iter(fields))
    hints = {name: NotRequired[one[0]] if left_out and name == first else one[0] for name, one in fields.items()}
    known = {name: one[1] for name, one in fields.items() if not (left_out and name == first)}
    more = {first: fields[first][1]} if left_out else {}
    return TypedDict("Record", hints), st.fixed_dictionaries(known, optional=more)  # type: ignore[operator]


def dataclass(fields: dict[str, Typed], frozen: bool) -> Typed:
    made = dataclasses.make_dataclass("Record", [(name, one[0]) for name, one in fields.items()], frozen=frozen)
    return made, st.builds(made, **{name: one[1] for name, one in fields.items()})


def model(fields: dict[str, Typed], _: bool) -> Typed:
    made: Any = pydantic.create_model(
        "Record", __config__={"arbitrary_types_allowed": True}, **dict.fromkeys(fields, (Any, ...))
    )
    for name, one in fields.items():
        made.__annotations__[name] = one[0]
    return made, st.fixed_dictionaries({name: one[1] for name, one in fields.items()}).map(
        lambda values: made.model_construct(**values)
    )


def named_tuple(fields: dict[str, Typed], _: bool) -> Typed:
    made: Any = NamedTuple("Record", [(name, one[0]) for name, one in fields.items()])  # type: ignore[misc]
    return made, st.builds(made, **{name: one[1] for name, one in fields.items()})


def records(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    kinds = st.sampled_from([typed_dict, dataclass, model, named_tuple])
    fields = st.dictionaries(NAMES, inner.filter(lambda one: not isinstance(one[0], pa.DataType)), min_size=1)
    return st.builds(lambda kind, given, flag: kind(given, flag), kinds, fields, st.booleans())


TYPES = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.one_of(
        inner.filter(lambda one: not isinstance(one[0], pa.DataType)).map(lists),
        inner.filter(lambda one: not isinstance(one[0], pa.DataType)).map(tuples),
        inner.filter(lambda one: not isinstance(one[0], pa.DataType)).map(dicts),
        inner.map(optional),
        records(inner),
    ),
    max_leaves=5,
)


def columns_of(declared: Declared, value: Any) -> str:
    """What Arrow makes of a value, where NaN is NaN."""
    plain = value if declared.plain is None or value is None else declared.plain(value)
    return repr(pa.array([plain], declared.arrow).to_pylist())


def is_plain_json(value: Any) -> bool:
    """Whether an answer read as JSON could hold it, so that its texts and numbers are Python's own."""
    if isinstance(value, (list, tuple, dict)):
        return all(map(is_plain_json, [*value, *(value.values() if isinstance(value, dict) else ())]))
    if isinstance(value, float):
        return type(value) is float and math.isfinite(value)
    return not isinstance(value, (np.generic, bytes, dt.timedelta))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_value_of_every_type_comes_back_as_it_was(data: st.DataObject) -> None:
    kind, values = data.draw(TYPES)
    declared, value = declare(kind, where="returns"), data.draw(values)
    assert declared.mismatch(value) is None
    form = KeptForm(declared, from_json=data.draw(st.booleans()) and is_plain_json(value))
    back = form.read(form.write(value))
    assert columns_of(declared, back) == columns_of(declared, value)
    if declared.model is not None:
        assert type(back) is type(value)


class Word(enum.StrEnum):
    A = "a"


class Made(pydantic.BaseModel):
    name: str = pydantic.Field(alias="Name")
    price: int

    @pydantic.field_validator("price")
    @classmethod
    def in_cents(cls, value: int) -> int:
        return value * 100


@dataclasses.dataclass(frozen=True, slots=True)
class Raised:
    price: int
    label: str = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "price", self.price * 100)
        object.__setattr__(self, "label", f"{self.price}")


def test_a_class_that_changes_what_it_is_given_is_not_asked_a_second_time() -> None:
    for value in (Made(Name="x", price=1), Raised(1)):
        form = KeptForm(declare(type(value), where=""))
        assert form.read(form.write(value)) == value
        assert value.price == 100


class Stubborn:
    """Its instances know more than their fields."""

    def __new__(cls, *given: Any) -> Stubborn:
        if not given:
            raise TypeError("needs something")
        return super().__new__(cls)


@dataclasses.dataclass
class Kin(Stubborn):
    name: str


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        (pa.timestamp("ns"), pd.Timestamp("2024-01-01T00:00:00.000000001"), "finer than a microsecond"),
        (pa.duration("ns"), pd.Timedelta(1), "finer than a microsecond"),
        (pa.month_day_nano_interval(), pa.MonthDayNano([1, 2, 3]), "no form in which it could be kept"),
        (str, "\ud800", "cannot be written"),
        (Kin, Kin("x"), "it is not Kin"),
    ],
)
def test_what_would_come_back_as_something_else_is_refused_with_the_reason(kind: Any, value: Any, why: str) -> None:
    with pytest.raises(NotKept, match=why):
        KeptForm(declare(kind, where="")).write(value)


def test_members_of_an_enum_of_texts_are_texts() -> None:
    form = KeptForm(declare(str, where=""))
    assert form.read(form.write(Word.A)) == "a"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (int, b'"7"'),
        (int, b"true"),
        (float, b"true"),
        (float, b'"none"'),
        (str, b"7"),
        (str, b"null"),
        (str, b""),
        (str, b"no json"),
        (bytes, b'"?"'),
        (dt.date, b'"yesterday"'),
        (list[int], b'{"a": 1}'),
        (list[int], b"[null]"),
        (dict[str, int], b"[[1, 1]]"),
        (dict[str, int], b'{"a": 1}'),
        (Literal["a"], b'"b"'),
        (Raised, b'{"price": 1}'),
        (Raised, b"[1]"),
        (TypedDict("T", {"a": int}), b'{"b": 1}'),
    ],
)
def test_what_was_kept_of_another_type_is_refused(kind: Any, data: bytes) -> None:
    with pytest.raises(NotKept):
        KeptForm(declare(kind, where="")).read(data)


def test_a_record_without_a_class_comes_back_too() -> None:
    form = KeptForm(declare_fields({"at": list[dt.date], "size": float}, where=""))
    value = {"at": [dt.date(2024, 2, 29)], "size": math.inf}
    assert form.read(form.write(value)) == value
