"""Answers become exactly what was declared, or one of the documented errors that name no value."""

from __future__ import annotations

import datetime
import math
import pickle
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

import msgspec
import pyarrow as pa
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.errors import DeclarationError, NotFound, RetryLater
from dataflow.services.annotations import declare, declare_fields
from dataflow.services.answers import AnswerReader, is_deep, read_answer
from dataflow.services.selection import (
    EmptyAnswer,
    MalformedAnswer,
    NotFinite,
    RefusedAnswer,
    UnexpectedAnswer,
    read_path,
    read_select,
)


class Company(TypedDict):
    company_name: str
    employees: int | None
    note: NotRequired[str]


@dataclass
class Office:
    city: str
    size: int | None
    opened: datetime.date = datetime.date(2000, 1, 1)


class Point(NamedTuple):
    x: float
    y: float = 0.0


class Price(pydantic.BaseModel):
    amount: Decimal
    count: int = pydantic.Field(default=1, gt=0)


class Nested(TypedDict):
    offices: list[Office]
    owner: Company
    rates: dict[str, Decimal]


def read(body: Any, hint: Any, *, select: Any = None, accept: Any = None) -> Any:
    returns = declare_fields(hint, where="") if isinstance(hint, dict) else declare(hint, where="returns")
    chosen = None if select is None else read_select(select, returns, where="`s`: select")
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return read_answer(raw, AnswerReader(returns=returns, select=chosen, accept=accept))


UTC = pa.timestamp("us", "UTC")
MOMENT = datetime.datetime(2024, 5, 1, 10, 30)


@pytest.mark.parametrize(
    ("body", "hint", "value"),
    [
        (b'"a"', str, "a"),
        (b"7", int, 7),
        (b"-9223372036854775808", int, -(2**63)),
        (b"1", float, 1.0),
        (b"1.5", float, 1.5),
        (b"true", bool, True),
        (b"null", int | None, None),
        (b" \n", int | None, None),
        (b"", int | None, None),
        (b"\xef\xbb\xbf7", int, 7),
        (b'"b"', Literal["a", "b"], "b"),
        (b'"2024-05-01"', datetime.date, datetime.date(2024, 5, 1)),
        (b'"2024-05-01T10:30:00"', datetime.datetime, MOMENT),
        (b'"2024-05-01 10:30"', datetime.datetime, MOMENT),
        (b'"2024-05-01T10:30:00.0000000"', datetime.datetime, MOMENT),
        (b'"2024-05-01T10:30:00Z"', UTC, MOMENT.replace(tzinfo=datetime.UTC)),
        (b'"10:30"', datetime.time, datetime.time(10, 30)),
        (b"0.1000000000000000055", float, 0.1),
        (b"0.100000001", Decimal, Decimal("0.100000001")),
        (b"12", Decimal, Decimal(12)),
        (b'"12.50"', Decimal, Decimal("12.50")),
        (b"[1,2]", list[int], [1, 2]),
        (b"[1,null,2.5]", list[float | None], [1.0, None, 2.5]),
        (b'{"a":1,"b":2}', dict[str, int], {"a": 1, "b": 2}),
        (b'{"a":[1.1]}', {"a": list[Decimal]}, {"a": [Decimal("1.1")]}),
        (b'{"a":{"k":1}}', {"a": dict[str, float]}, {"a": {"k": 1.0}}),
        (b'{"a":1,"b":2}', pa.struct({"a": pa.int64()}), {"a": 1}),
        (b'{"a":[1.5]}', Any, {"a": [1.5]}),
        (b'{"company_name":"A"}', Company, {"company_name": "A", "employees": None}),
        (
            b'{"company_name":"A","employees":3,"note":"n","extra":[]}',
            Company,
            {"company_name": "A", "employees": 3, "note": "n"},
        ),
        (b'{"company_name":"A","company_name":"B","note":null}', Company, {"company_name": "B", "employees": None}),
        (b'{"city":"B"}', Office, Office("B", None)),
        (b'{"city":"B","size":1,"opened":"2024-05-01"}', Office, Office("B", 1, datetime.date(2024, 5, 1))),
        (b'{"x":1}', Point, Point(1.0)),
        (b'{"amount":1.10}', Price, Price(amount=Decimal("1.10"))),
        (b'[{"x":1,"y":2}]', list[Point], [Point(1.0, 2.0)]),
        (
            b'{"offices":[{"city":"B","size":2}],"owner":{"company_name":"A"},"rates":{"a":0.1}}',
            Nested,
            {
                "offices": [Office("B", 2)],
                "owner": {"company_name": "A", "employees": None},
                "rates": {"a": Decimal("0.1")},
            },
        ),
    ],
)
def test_an_answer_becomes_the_declared_value(body: bytes, hint: Any, value: Any) -> None:
    found = read(body, hint)
    assert found == value
    assert type(found) is type(value)
    returns = declare_fields(hint, where="") if isinstance(hint, dict) else declare(hint, where="")
    assert returns.mismatch(found) is None


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (b'"7"', int),
        (b"1.5", int),
        (b"7.0", int),
        (b"1e3", int),
        (b"true", int),
        (b"9223372036854775808", int),
        (b"1" * 5000, int),
        (b"1e999", float),
        (b"9007199254740993", float),
        (b'"1.5"', float),
        (b"true", float),
        (b"1", bool),
        (b"7", str),
        (b'"c"', Literal["a", "b"]),
        (b"5", pa.string()),
        (b"300", pa.int8()),
        (b'"2024-05-01T00:00:00"', datetime.date),
        (b'"20240501"', datetime.date),
        (b'"2024-02-30"', datetime.date),
        (b'"2024-W01-1"', datetime.date),
        (b"1714550000", datetime.datetime),
        (b'"2024-05-01"', datetime.datetime),
        (b'"2024-05-01T24:00:00"', datetime.datetime),
        (b'"2024-05-01T10:30:00Z"', datetime.datetime),
        (b'"2024-05-01T10:30:00.1234567"', datetime.datetime),
        (b'"2024-05-01T10:30:00"', UTC),
        (b'"10:30:00Z"', datetime.time),
        (b'"1_000"', Decimal),
        (b'"NaN"', Decimal),
        (b"true", Decimal),
        (b"0.1234567891", Decimal),
        (b"1E400000000", Decimal),
        (b"1E99999999999999999999999", Decimal),
        (b'{"a":1}', list[int]),
        (b'[1,"2"]', list[int]),
        (b"[null]", list[int]),
        (b"[]", Company),
        (b'{"employees":1}', Company),
        (b'{"company_name":null}', Company),
        (b'{"company_name":"A","employees":"7"}', Company),
        (b'{"company_name":"A","note":7}', Company),
        (b'{"size":1}', Office),
        (b'{"city":"B","opened":null}', Office),
        (b'{"amount":"1","count":"7"}', Price),
        (b'{"amount":"1","count":-7777}', Price),
        (b'[{"amount":"1","count":"7"}]', list[Price]),
        (b'[{"city":"B","size":true}]', list[Office]),
        (b'[{"company_name":"B"},{}]', list[Company]),
        (b'{"a":"x"}', dict[str, int]),
        (b"[1]", {"a": int}),
        (b"[" * 20_000 + b"]" * 20_000, Any),
        (b'{"a":' * 201 + b"1" + b"}" * 201, Any),
        (b"[" * 20_000, Any),
    ],
)
def test_json_of_another_type_is_unexpected_and_no_value_is_told(body: bytes, hint: Any) -> None:
    with pytest.raises(UnexpectedAnswer) as caught:
        read(body, hint)
    text = str(caught.value)
    assert all(word not in text for word in ("7777", "1_000", "2024-0", "900719", "1234567", '"'))
    assert caught.value.__cause__ is None
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (UnexpectedAnswer, text)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":',
        b'[{"a":1},',
        b'"abc',
        b"<!doctype html><p>secret</p>",
        b"secret",
        b'{"a":1} {"a":2}',
        b"[1,]",
        b"01",
        b"{'a':1}",
        b'"\xff"',
        b'{"\xff":1}',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'"\\udc00secret"',
        b'"a\x00"',
        b"\x00",
        b"\xff\xfe{\x00}\x00",
        b"\x1f\x8b\x08\x00",
        b"\xef\xbb\xbf",
        b'{"a":1},' * 300,
    ],
)
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedAnswer) as caught:
        read(body, Any)
    assert "secret" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("body", [b"", b" \r\n", b"null", b" null "])
@pytest.mark.parametrize("hint", [int, Company, list[str]])
def test_an_answer_of_nothing_is_not_found(body: bytes, hint: Any) -> None:
    with pytest.raises(NotFound):
        read(body, hint, accept=lambda parsed: False)


@pytest.mark.parametrize(("body", "empty"), [(b"", True), (b" \r\n", True), (b"null", False)])
def test_an_answer_without_bytes_is_told_from_one_that_says_nothing(body: bytes, empty: bool) -> None:
    with pytest.raises(NotFound) as caught:
        read(body, int)
    assert isinstance(caught.value, EmptyAnswer) is empty


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"ratio": NaN}', "holds NaN at `ratio`"),
        (b'{"a": "NaN", "b": [1, {"c.d": -Infinity}]}', 'holds -Infinity at `b.1["c.d"]`'),
        (b"nan", "is nan"),
        (b'["~", Infinity]', "holds Infinity at `1`"),
    ],
)
def test_a_number_that_json_does_not_have_is_refused_by_name(body: bytes, said: str) -> None:
    with pytest.raises(NotFinite) as caught:
        read(body, Any)
    assert str(caught.value) == said


@pytest.mark.parametrize("body", [b'{"ratio": NaN', b'{"a": nano}', b"{NaN: 1}", b'{"a": "NaN"', b"<p>NaN</p>"])
def test_what_is_no_json_beside_a_nan_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        read(body, Any)


def test_nan_is_a_float_where_it_is_allowed() -> None:
    reader = AnswerReader(returns=declare(dict[str, float], where=""), allow_nan=True)
    found = dict(read_answer(b'{"a": NaN, "b": -Infinity, "c": 1, "d": 1.5}', reader))
    assert math.isnan(found.pop("a"))
    assert found == {"b": -math.inf, "c": 1.0, "d": 1.5}
    with pytest.raises(UnexpectedAnswer):
        read_answer(b"NaN", AnswerReader(returns=declare(int, where=""), allow_nan=True))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "company_name", "employees", "note", "owner"]), inner, max_size=4)
    ),
    max_leaves=8,
)
HINTS = [int, float, Decimal, Any, Company, list[Office], Price, Nested, dict[str, float], UTC, list[Price] | None]


@given(body=st.binary(max_size=40) | st.text(max_size=40).map(str.encode), hint=st.sampled_from(HINTS))
def test_any_bytes_give_a_fitting_value_or_a_documented_error(body: bytes, hint: Any) -> None:
    returns = declare(hint, where="")
    try:
        value = read_answer(body, AnswerReader(returns=returns))
    except (MalformedAnswer, UnexpectedAnswer, NotFound):
        return
    assert returns.mismatch(value) is None


@given(value=json_values, hint=st.sampled_from(HINTS))
def test_any_json_gives_a_fitting_value_or_a_documented_error(value: Any, hint: Any) -> None:
    returns = declare(hint, where="")
    try:
        found = read_answer(msgspec.json.encode(value) if _fits(value) else b"{}", AnswerReader(returns=returns))
    except (UnexpectedAnswer, NotFound):
        return
    assert returns.mismatch(found) is None


def _fits(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except (OverflowError, UnicodeEncodeError):
        return False
    return True


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        (b"[" * 200 + b"]" * 200, False),
        (b"[" * 201 + b"]" * 201, True),
        (b'[{"a":[{}]},[]' + b',{"a":[{}]}' * 5000 + b"]", False),
        (b'["' + b"[" * 5000 + b'"]', False),
        (b'["\\"' + b"[" * 5000 + b'"]', False),
        (b'["\\\\"' + b",[" * 5000, True),
        (b'[{"a":1},' * 201, True),
        (b'["' + b'\\"' * 1_000_000 + b"[" * 300, False),
    ],
)
def test_depth_is_counted_outside_texts_only(body: bytes, deep: bool) -> None:
    assert is_deep(body) is deep


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.metrics.count", 5),
        ("data.items.1.name", 2),
        ('data["a.b"].c', 3),
        ('["top level"]', 4),
        ("top level", 4),
        ("data.metrics.0", 6),
    ],
)
def test_a_path_leads_through_objects_and_lists(path: str, value: int) -> None:
    body = {
        "data": {"metrics": {"count": 5, "0": 6}, "items": [{"name": 1}, {"name": 2}], "a.b": {"c": 3}},
        "top level": 4,
    }
    assert read(body, int, select=path) == value


@pytest.mark.parametrize("path", ["", ".a", "a.", "a..b", "$.a", "a[0]", "a['b']", 'a["b', 'a["b"]c', 7, None, ["a"]])
def test_what_is_no_path_is_refused_while_declaring(path: Any) -> None:
    with pytest.raises(DeclarationError, match="`s`: select"):
        read_path(path, where="`s`: select")


@pytest.mark.parametrize("body", [{}, {"a": None}, {"a": {}}, {"a": {"b": []}}])
def test_missing_on_the_way_is_null_where_that_is_declared(body: Any) -> None:
    assert read(body, int | None, select="a.b.0") is None
    with pytest.raises(UnexpectedAnswer, match=r"`a\.b\.0`: missing"):
        read(body, int, select="a.b.0")


def test_a_null_at_the_end_of_the_path_is_not_found_and_another_shape_a_misfit() -> None:
    with pytest.raises(NotFound):
        read({"a": None}, int, select="a")
    for body in ({"a": "text"}, {"a": [1]}, [1]):
        with pytest.raises(UnexpectedAnswer, match=r"`a\.b`: expected an object"):
            read(body, int | None, select="a.b")


def test_fields_are_selected_one_by_one_and_the_rest_by_name() -> None:
    select = {"employees": "data.metrics.count"}
    body = {"company_name": "A", "data": {"metrics": {"count": 3}}, "employees": "ignored"}
    assert read(body, Company, select=select) == {"company_name": "A", "employees": 3}
    assert read({"company_name": "A"}, Company, select=select)["employees"] is None
    with pytest.raises(UnexpectedAnswer, match=r"field `employees` \(`data.metrics.count`\): expected int, got str"):
        read({**body, "data": {"metrics": {"count": "3"}}}, Company, select=select)
    assert read({"data": [{"company_name": "A"}]}, Company, select="data.0")["company_name"] == "A"


def test_a_selection_is_checked_against_the_declared_fields() -> None:
    with pytest.raises(DeclarationError, match="did you mean `employees`"):
        read({}, Company, select={"employes": "a"})
    with pytest.raises(DeclarationError, match="give one path"):
        read({}, list[int], select={"a": "b"})
    for hint in (bytes, {"a": list[datetime.timedelta]}):
        with pytest.raises(DeclarationError, match="JSON"):
            read({}, hint)


def test_accept_judges_the_parsed_answer_before_it_is_read() -> None:
    assert read(b"7", int, accept=lambda parsed: parsed == 7) == 7
    with pytest.raises(RefusedAnswer, match="quota exceeded"):
        read(b'{"error":1}', int, accept=lambda parsed: "quota exceeded")
    for verdict in (False, ""):
        with pytest.raises(RefusedAnswer, match="accept="):
            read(b"7", int, accept=lambda parsed, verdict=verdict: verdict)
    with pytest.raises(RetryLater):
        read(b"7", int, accept=lambda parsed: RetryLater("busy", after=3))
    with pytest.raises(TypeError, match="True, False or the text"):
        read(b"7", int, accept=lambda parsed: None)
