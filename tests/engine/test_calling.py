"""The record form: every value is checked, every exception stays with its record."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

import numpy as np
import pyarrow as pa
import pydantic
import pytest

import dataflow as flow
from dataflow.engine.computing import call_each
from dataflow.engine.result import PartitionResult

Run = Callable[..., PartitionResult]
UTC = datetime.UTC
DAY = datetime.datetime(2024, 2, 29, 12)
SURROGATE = "\ud800"


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Text(str):
    """A subclass that Arrow takes for what it is."""


def returning(values: Sequence[Any], hint: Any, **options: Any) -> flow.Service:
    """A service that answers record i with the i-th value, whatever it promised."""

    def answer(i: int) -> Any:
        return values[i]

    declare = options.pop("declare", flow.transformation)
    return declare(**{"name": "out", "returns": hint, "priority": "optional", **options})(answer)


def outcome(run: Run, values: Sequence[Any], hint: Any, **options: Any) -> tuple[list[Any], list[int]]:
    """The column that came out, and the places of the failures."""
    result = run([returning(values, hint, **options)], {"i": pa.array(range(len(values)), pa.int64())})
    return result.output["out"].to_pylist(), [row - 1 for row in result.failures["source_row"].to_pylist()]


FITTING = [
    (str, ["", "a", "ä\x00", Text("t"), Colour.RED, np.str_("n")], ["", "a", "ä\x00", "t", "red", "n"]),
    (int, [0, -(2**63), 2**63 - 1, np.int64(7), np.uint8(8), Size.BIG], [0, -(2**63), 2**63 - 1, 7, 8, 3]),
    (float, [0.5, 1, 2**53, np.float32(0.5), np.float16(2), float("inf")], [0.5, 1, 2**53, 0.5, 2, float("inf")]),
    (bool, [True, False], [True, False]),
    (bytes, [b"", b"\x00\xff"], [b"", b"\x00\xff"]),
    (datetime.datetime, [DAY], [DAY]),
    (datetime.date, [DAY.date()], [DAY.date()]),
    (datetime.time, [datetime.time(23, 59, 59, 999999)], [datetime.time(23, 59, 59, 999999)]),
    (datetime.timedelta, [datetime.timedelta(days=-1)], [datetime.timedelta(days=-1)]),
    (Decimal, [Decimal("1.000000001"), Decimal(0)], [Decimal("1.000000001"), Decimal(0)]),
    (list[str], [[], ["a"], ("b",)], [[], ["a"], ["b"]]),
    (list[int | None], [[1, None]], [[1, None]]),
    (dict[str, int], [{}, {"a": 1}], [[], [("a", 1)]]),
    (Literal["a", "b"], ["a", "b"], ["a", "b"]),
    (int | float, [1, 1.5], [1.0, 1.5]),
    (pa.int32(), [1, -(2**31)], [1, -(2**31)]),
    (pa.float32(), [0.1, 1.5], [float(np.float32(0.1)), 1.5]),
    (pa.timestamp("us", "UTC"), [DAY.replace(tzinfo=UTC)], [DAY.replace(tzinfo=UTC)]),
    (pa.decimal128(5, 2), [Decimal("1.5")], [Decimal("1.50")]),
    (pa.dictionary(pa.int32(), pa.string()), ["a", "a"], ["a", "a"]),
    (pa.list_(pa.int8()), [[1], (2,)], [[1], [2]]),
    (pa.struct({"x": pa.float64()}), [{"x": float("inf")}, {}], [{"x": float("inf")}, {"x": None}]),
]


@pytest.mark.parametrize(("hint", "values", "expected"), FITTING, ids=lambda one: str(one)[:30])
def test_a_value_of_the_declared_type_comes_out_as_it_is(
    run: Run, hint: Any, values: list[Any], expected: list[Any]
) -> None:
    assert outcome(run, values, hint) == (expected, [])


MISFITS = [
    (str, [1, b"a", None, ["a"], SURROGATE, uuid.UUID(int=0)]),
    (int, [1.5, 1.0, "7", True, np.bool_(True), np.float64(1), 2**63, -(2**63) - 1, None, float("nan")]),
    (float, ["1", True, Decimal(1), 2**53 + 1, None, complex(1)]),
    (bool, [1, 0, "true", None, np.bool_(True)]),
    (bytes, ["a", bytearray(b"a"), memoryview(b"a"), None]),
    (datetime.datetime, [DAY.replace(tzinfo=UTC), DAY.date(), "2024-02-29", 0, None]),
    (datetime.date, [DAY, "2024-02-29", None]),
    (datetime.time, [datetime.time(1, tzinfo=UTC), DAY, None]),
    (datetime.timedelta, [datetime.timedelta.max, 1, None]),
    (Decimal, [1, 1.5, Decimal("nan"), Decimal("inf"), Decimal("1e40"), Decimal("1e-10"), None]),
    (list[str], ["ab", [1], [None], [SURROGATE], {"a"}, None]),
    (dict[str, int], [{1: 1}, {"a": 1.5}, [("a", 1)], {"a": None}, None]),
    (Literal["a", "b"], ["c", 1, None]),
    (Literal[1, 2], [3, True, 1.0, "1", None]),
    (pa.int32(), [2**31, 1.5, "7", True, None]),
    (pa.string(), [1, None]),
    (pa.large_string(), [1, None]),
    (pa.timestamp("us", "UTC"), [DAY, 0, None]),
    (pa.decimal128(5, 2), [Decimal("1.555"), Decimal("10000"), None]),
    (pa.list_(pa.int8()), [[1.5], ["1"], [True], [300], "a", None]),
    (pa.struct({"x": pa.int64()}), [{"x": 1.5}, {"y": 1}, {"x": 1, "y": 1}, {"x": True}, None]),
]


@pytest.mark.parametrize(("hint", "values"), MISFITS, ids=lambda one: str(one)[:30])
def test_a_value_of_another_type_is_a_failure_of_its_record_only(run: Run, hint: Any, values: list[Any]) -> None:
    column, failed = outcome(run, values, hint)
    assert column == [None] * len(values)
    assert failed == list(range(len(values)))


def test_a_misfit_among_good_values_leaves_them_alone(run: Run) -> None:
    assert outcome(run, [1, "7", 2, 1.5, 3], int) == ([1, None, 2, None, 3], [1, 3])
    assert outcome(run, ["a", SURROGATE, "b"], str) == (["a", None, "b"], [1])


@pytest.mark.parametrize("form", ["record", "async", "threads"])
def test_every_record_form_checks_alike(run: Run, form: str) -> None:
    values = [1, "7", None, 2**63, 5]

    async def waiting(i: int) -> Any:
        return values[i]

    def plain(i: int) -> Any:
        return values[i]

    options = {"threads": 2} if form == "threads" else {}
    service = flow.transformation(name="out", returns=int, priority="optional", **options)(
        waiting if form == "async" else plain
    )
    result = run([service], {"i": list(range(5))})
    assert result.output["out"].to_pylist() == [1, None, None, None, 5]
    assert result.failures["reason"].to_pylist() == ["TypeError"] * 3


def test_a_wrong_type_is_named_in_the_rejects_without_the_value(run: Run) -> None:
    result = run([returning(["s3cret"], int, priority="critical")], {"i": [0]})
    (reject,) = result.rejects.to_pylist()
    assert (reject["reason"], reject["error"]) == ("TypeError", "returned a wrong type: expected int, got str")


def test_a_numpy_bool_is_told_apart_from_a_python_one(run: Run) -> None:
    result = run([returning([np.bool_(True)], bool, priority="critical")], {"i": [0]})
    assert result.rejects["error"].to_pylist() == ["returned a wrong type: expected bool, got numpy.bool"]


def test_a_nullable_return_takes_none(run: Run) -> None:
    assert outcome(run, [1, None, "7", 2], int | None) == ([1, None, None, 2], [2])
    assert outcome(run, [None, None], str | None) == ([None, None], [])


def test_none_is_a_failure_of_a_transformation_and_nothing_found_by_an_enrichment(run: Run) -> None:
    assert outcome(run, [1, None], int) == ([1, None], [1])
    result = run([returning([1, None, "x"], int, declare=flow.enrichment)], {"i": [0, 1, 2]})
    counted = result.statistics.services["out"]
    assert (counted.succeeded, counted.not_found, counted.failed) == (1, 1, 1)


class Fields(TypedDict):
    name: str
    size: int | None
    tags: NotRequired[list[str]]


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Pair(NamedTuple):
    name: str
    point: Point


class Model(pydantic.BaseModel):
    name: str
    size: int = 3

    @pydantic.field_validator("size")
    @classmethod
    def positive(cls, size: int) -> int:
        if size < 0:
            raise ValueError("negative")
        return size


@pytest.mark.parametrize(
    "value",
    [
        {"name": "a", "size": "7"},
        {"name": "a"} | {"size": 1.5},
        {"size": 1},
        {"name": None, "size": 1},
        {"name": "a", "size": 1, "more": 1},
        {"name": "a", "size": 1, "tags": [1]},
        {"name": SURROGATE, "size": 1},
        ["a", 1],
        None,
    ],
)
def test_a_wrong_field_of_a_typed_dict_is_a_failure_of_its_record(run: Run, value: Any) -> None:
    service = returning([{"name": "a", "size": None}, value, {"name": "b", "size": 2, "tags": ["t"]}], Fields)
    result = run([service], {"i": [0, 1, 2]})
    assert result.output.select(["name", "size", "tags"]).to_pylist() == [
        {"name": "a", "size": None, "tags": None},
        {"name": None, "size": None, "tags": None},
        {"name": "b", "size": 2, "tags": ["t"]},
    ]
    assert result.failures["source_row"].to_pylist() == [2]


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Point, Point(1, 2)),
        ({"x": int, "y": int}, {"x": 1, "y": 2}),
        (pydantic.create_model("Other", x=(int, ...), y=(int, ...)), None),
    ],
    ids=["dataclass", "mapping", "pydantic"],
)
def test_a_record_fills_the_columns_of_its_fields_or_one_struct_column(run: Run, hint: Any, value: Any) -> None:
    value = hint(x=1, y=2) if value is None else value
    flat = run([returning([value], hint)], {"i": [0]})
    assert flat.output.select(["x", "y"]).to_pylist() == [{"x": 1, "y": 2}]
    whole = run([returning([value], hint, into="point")], {"i": [0]})
    assert whole.output["point"].to_pylist() == [{"x": 1, "y": 2}]
    renamed = run([returning([value], hint, columns={"x": "longitude"})], {"i": [0]})
    assert renamed.output.select(["longitude", "y"]).to_pylist() == [{"longitude": 1, "y": 2}]


def test_nested_records_go_in_and_come_out_as_what_they_are_declared(run: Run) -> None:
    @flow.transformation(columns={"name": "name"})
    def pair(name: str) -> Pair:
        return Pair(name, Point(len(name)))

    @flow.transformation(columns={"pair": "pair"})
    def moved(pair: Pair) -> Pair:
        assert isinstance(pair, Pair)
        assert isinstance(pair.point, Point)
        return Pair(pair.name, Point(pair.point.x, 5))

    result = run([pair.with_(into="pair"), moved.with_(into="pair")], {"name": ["ab", None]})
    assert result.output["pair"].to_pylist() == [{"name": "ab", "point": {"x": 2, "y": 5}}, None]


@pytest.mark.parametrize("model", [Point, pydantic.create_model("Made", x=(int, ...), y=(int, 0))])
def test_a_record_parameter_reads_exactly_its_fields(run: Run, model: Any) -> None:
    def total(point: Any) -> int:
        return int(point.x + point.y)

    total.__annotations__["point"] = model
    service = flow.transformation(total)
    assert [column for one in service.parameters for column in one.columns] == ["x", "y"]
    result = run([service], {"x": [1, 2, None], "y": [10, None, 1], "z": [0, 0, 0]})
    assert result.output["total"].to_pylist() == [11, None, None]
    assert run([service], {"x": [1]}).output["total"].to_pylist() == [1]


def test_an_optional_field_of_a_typed_dict_without_a_column_is_left_out(run: Run) -> None:
    @flow.transformation
    def keys(fields: Fields) -> list[str]:
        return sorted(fields)

    without = run([keys], {"name": ["a"], "size": pa.array([None], pa.int64())})
    assert without.output["keys"].to_pylist() == [["name", "size"]]
    assert "keys" not in without.failures["service"].to_pylist()
    full = run([keys], {"name": ["a"], "size": [1], "tags": [["t"]]})
    assert full.output["keys"].to_pylist() == [["name", "size", "tags"]]


def test_a_pydantic_model_that_refuses_a_record_fails_that_record_only(run: Run) -> None:
    @flow.transformation(priority="optional")
    def label(model: Model) -> str:
        return f"{model.name}{model.size}"

    result = run([label], {"name": ["a", "b", "c"], "size": [1, -1, 3]})
    assert result.output["label"].to_pylist() == ["a1", None, "c3"]
    assert result.failures["reason"].to_pylist() == ["ValidationError"]


def test_a_struct_column_is_read_as_one_value(run: Run) -> None:
    @flow.transformation(columns={"point": "point"})
    def x(point: Point | None) -> int | None:
        return None if point is None else point.x

    assert run([x], {"point": [{"x": 1, "y": 2}, None]}).output["x"].to_pylist() == [1, None]


def test_a_list_of_records_and_a_map_are_read_as_declared(run: Run) -> None:
    @flow.transformation
    def total(points: list[Point], sizes: dict[str, int]) -> int:
        return sum(point.x for point in points) + sizes["a"]

    table = pa.table(
        {
            "points": pa.array([[{"x": 1, "y": 0}, {"x": 2, "y": 0}]]),
            "sizes": pa.array([[("a", 10)]], pa.map_(pa.string(), pa.int64())),
        }
    )
    assert run([total], table).output["total"].to_pylist() == [13]


def test_what_a_service_does_to_a_list_is_not_seen_by_the_next(run: Run) -> None:
    def size(tags: list[str]) -> int:
        tags.append("more")
        return len(tags)

    services = [flow.transformation(name=name)(size) for name in ("first", "second")]
    result = run(services, {"tags": [["a"], []]})
    assert result.output.to_pydict() == {
        "tags": [["a"], []],
        "first": [2, 1],
        "second": [2, 1],
        "is_valid": [True, True],
    }


RAISED = {"a": flow.Skip, "b": flow.NotFound, "c": flow.Reject("no"), "d": flow.RetryLater("busy"), "e": flow.Invalid}


def raising(name: str) -> str:
    if name in RAISED:
        raise RAISED[name]
    return name


@pytest.mark.parametrize("declare", [flow.transformation, flow.enrichment])
def test_what_an_author_raises_in_a_service_that_writes(run: Run, declare: Any) -> None:
    service = declare(into="out", priority="important")(raising)
    result = run([service], {"name": list("abcdef")})
    counted = result.statistics.services["raising"]
    assert (counted.skipped, counted.not_found, counted.failed, counted.succeeded) == (1, 1, 2, 2)
    assert result.output["name"].to_pylist() == list("abdef")
    assert result.output["out"].to_pylist() == [None, None, None, None, "f"]
    assert result.failures["reason"].to_pylist() == ["RetryLater", "Invalid"]
    assert result.rejects.select(["service", "reason", "error"]).to_pylist() == [
        {"service": "raising", "reason": "rejected", "error": "no"}
    ]


def test_what_an_author_raises_in_a_validation(run: Run) -> None:
    @flow.validation(priority="important")
    def checked(name: str) -> bool:
        if name in RAISED:
            raise RAISED[name]
        return True

    result = run([checked], {"name": list("abcdef")})
    assert result.output.select(["name", "is_valid", "validations"]).to_pylist() == [
        {"name": "a", "is_valid": True, "validations": []},
        {"name": "b", "is_valid": True, "validations": []},
        {"name": "d", "is_valid": True, "validations": []},
        {"name": "e", "is_valid": False, "validations": [{"validator": "checked", "is_valid": False, "errors": []}]},
        {"name": "f", "is_valid": True, "validations": [{"validator": "checked", "is_valid": True, "errors": []}]},
    ]
    assert result.failures["reason"].to_pylist() == ["RetryLater"]


VERDICTS = [
    (bool, [True, False], [None, "", 1, "bad"], [[], []], 1),
    (str | None, [None, "bad"], [True, False, 1, ["bad"]], [[], ["bad"]], 1),
    (str, ["bad", "worse"], [None, True], [["bad"], ["worse"]], 2),
    (list[str], [[], ["bad", "worse"]], [None, "bad", True, [1]], [[], ["bad", "worse"]], 1),
]


@pytest.mark.parametrize(("hint", "fine", "wrong", "errors", "invalid"), VERDICTS)
def test_the_annotation_of_a_validation_decides_what_is_a_verdict(
    run: Run, hint: Any, fine: list[Any], wrong: list[Any], errors: list[Any], invalid: int
) -> None:
    service = returning([*fine, *wrong], hint, declare=flow.validation)
    result = run([service], {"i": list(range(len(fine) + len(wrong)))})
    lists = [[one["errors"] for one in cell] for cell in result.output["validations"].to_pylist()]
    assert lists == [[error] for error in errors] + [[] for _ in wrong]
    assert result.statistics.invalid_records == invalid
    assert result.failures["source_row"].to_pylist() == [len(fine) + 1 + at for at in range(len(wrong))]


def test_a_validation_that_returns_nothing_judges_by_raising(run: Run) -> None:
    @flow.validation(priority="optional")
    def checked(i: int) -> None:
        if i == 1:
            raise flow.Invalid("one", "uno", SURROGATE)
        return True if i == 2 else None  # type: ignore[return-value]

    result = run([checked], {"i": [0, 1, 2]})
    assert [[one["errors"] for one in cell] for cell in result.output["validations"].to_pylist()] == [
        [[]],
        [["one", "uno", "\\ud800"]],
        [],
    ]
    assert result.failures["source_row"].to_pylist() == [3]


@pytest.mark.parametrize(
    "error", [StopIteration, StopIteration(5), RecursionError, MemoryError, KeyError("k"), GeneratorExit]
)
def test_an_exception_stays_with_its_record_at_every_place(error: Any) -> None:
    for bad in range(5):

        def fails(x: int, bad: int = bad) -> int:
            if x == bad:
                raise error
            return x

        if error is GeneratorExit:
            with pytest.raises(GeneratorExit):
                call_each(fails, [range(5)], 5)
            continue
        answers = call_each(fails, [range(5)], 5)
        assert answers.values == [None if x == bad else x for x in range(5)]
        assert list(answers.raised) == [bad]


def test_an_exception_is_kept_without_the_frames_it_came_through() -> None:
    def fails(x: int) -> int:
        try:
            return 1 // x
        except ZeroDivisionError as error:
            raise ValueError("chained") from error

    (error,) = call_each(fails, [[0]], 1).raised.values()
    assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Unspeakable(), "Unspeakable"),
        (ValueError(), "ValueError"),
        (ValueError(SURROGATE), "ValueError: \\ud800"),
        (ValueError("x" * 5000), f"ValueError: {'x' * 499}…"),
    ],
)
def test_the_text_of_any_exception_can_be_written(run: Run, error: Exception, text: str) -> None:
    @flow.transformation
    def fails(i: int) -> int:
        raise error

    (found,) = run([fails], {"i": [1]}).rejects["error"].to_pylist()
    assert found.startswith(f"{text} (test_calling.py, line ")


def test_constants_keyword_only_parameters_and_defaults_reach_the_function(run: Run) -> None:
    @flow.transformation(constants={"times": 2})
    def text(word: str, times: int, *, end: str = "!", missing: str = "?") -> str:
        return word * times + end + missing

    assert run([text], {"word": ["a"]}).output["text"].to_pylist() == ["aa!?"]
    assert run([text], {"word": ["a", "b"], "end": [".", None]}).output["text"].to_pylist() == ["aa.?", None]
    more = text.with_(constants={"times": 3})
    assert run([more], {"word": ["a"], "missing": ["-"]}).output["text"].to_pylist() == ["aaa!-"]


def test_columns_bind_names_that_are_no_identifiers_and_the_output_of_the_same_name(run: Run) -> None:
    @flow.transformation(columns={"email": "e-mail"})
    def email(email: str) -> str:
        return email.lower()

    assert run([email], {"e-mail": ["A"]}).output.select([0]).to_pydict() == {"e-mail": ["a"]}


def test_context_and_outcomes_are_injected_by_annotation(run: Run) -> None:
    @flow.transformation(priority="important")
    def first(i: int) -> int:
        if i == 1:
            raise ValueError("one")
        return i

    @flow.transformation
    def told(i: int, outcomes: flow.Outcomes, *, context: flow.Context) -> str:
        one = outcomes["first"]
        error = one.error and one.error.partition(" (")[0]
        return f"{context.run} {context.parameters['n']} {list(outcomes)} {one.status} {one.reason} {error}"

    context = flow.Context(run="r1", parameters={"n": 5})
    result = run([first, told, first.with_(name="later")], {"i": [0, 1]}, context=context)
    assert result.output["told"].to_pylist() == [
        "r1 5 ['first'] succeeded None None",
        "r1 5 ['first'] failed ValueError ValueError: one",
    ]


def test_a_service_may_read_nothing_but_outcomes(run: Run) -> None:
    @flow.transformation
    def first(i: int) -> int:
        return i

    @flow.transformation
    def summary(outcomes: flow.Outcomes) -> str:
        return ", ".join(f"{name} {one.status}" for name, one in outcomes.items())

    result = run([first, summary], {"i": [0, None]})
    assert result.output["summary"].to_pylist() == ["first succeeded", "first skipped"]


def test_a_secret_comes_from_the_environment_and_its_absence_names_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    @flow.transformation(into="out")
    def key(i: int, context: flow.Context) -> str:
        return context.secret("ACME_KEY")

    monkeypatch.delenv("ACME_KEY", raising=False)
    (reject,) = run([key], {"i": [1]}).rejects.to_pylist()
    assert reject["reason"] == "ServiceError"
    assert "ACME_KEY" in reject["error"]
    monkeypatch.setenv("ACME_KEY", "k")
    assert run([key], {"i": [1]}).output["out"].to_pylist() == ["k"]


def test_nanoseconds_maps_and_zones_are_read_as_python_values(run: Run) -> None:
    @flow.transformation
    def text(at: datetime.datetime, took: datetime.timedelta, price: decimal.Decimal) -> str:
        return f"{at:%H:%M:%S.%f} {took} {price}"

    table = pa.table(
        {
            "at": pa.array([1_000, 1], pa.timestamp("ns")),
            "took": pa.array([1_000_000, 2_000_000], pa.duration("ns")),
            "price": pa.array([Decimal("1.5"), Decimal("2")], pa.decimal128(10, 1)),
        }
    )
    assert run([text], table).output["text"].to_pylist() == [
        "00:00:00.000001 0:00:00.001000 1.5",
        "00:00:00.000000 0:00:00.002000 2.0",
    ]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0, 2**60, 1], pa.timestamp("us")),
        pa.array([0, 10_000_000, 1], pa.date32()),
        pa.array([0, 2**62, 1], pa.duration("s")),
        pa.array([[0], [2**60], [1]], pa.list_(pa.timestamp("us"))),
        pa.array([[("a", 1)], [("a", 1), ("a", 2)], []], pa.map_(pa.string(), pa.int64())),
    ],
    ids=lambda one: str(one.type),
)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_value_that_python_cannot_hold_fails_its_record_only(run: Run, column: pa.Array, threads: int) -> None:
    hint = {
        "timestamp[us]": datetime.datetime,
        "date32[day]": datetime.date,
        "duration[s]": datetime.timedelta,
        "list<item: timestamp[us]>": list[datetime.datetime],
    }.get(str(column.type), dict[str, int])

    def text(x: Any) -> str:
        return "read"

    text.__annotations__["x"] = hint
    result = run([flow.transformation(priority="optional", threads=threads)(text)], {"x": column})
    assert result.output["text"].to_pylist() == ["read", None, "read"]
    assert result.failures["reason"].to_pylist() == ["ValueError"]
    assert result.output["x"].combine_chunks().equals(column)


def test_nanoseconds_inside_lists_and_structs_can_be_read(run: Run) -> None:
    @flow.transformation
    def count(x: list[datetime.datetime]) -> int:
        return len([one for one in x if one.microsecond == 0])

    column = pa.array([[1, 2], [1_000]], pa.list_(pa.timestamp("ns")))
    assert run([count], {"x": column}).output["count"].to_pylist() == [2, 0]
