"""The column form: one call for all records, in the container it asks for, cast back and checked."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import dataflow as flow
from dataflow.engine.result import PartitionResult

Run = Callable[..., PartitionResult]
CONTAINERS = [pd.Series, pa.Array, pa.ChunkedArray, np.ndarray]
NUMBERS = pa.table({"x": pa.array([1, 2, None], pa.int64())})


def declared(function: Callable[[Any], Any], container: Any, **options: Any) -> flow.Service:
    """A column service `out` that reads x as the container."""

    def read(x: Any) -> Any:
        return function(x)

    read.__annotations__ = {"x": container, "return": container}
    declare = options.pop("declare", flow.transformation)
    return declare(**{"name": "out", "priority": "optional", **options})(read)


def column(result: PartitionResult) -> list[Any]:
    return result.output["out"].to_pylist()


def reasons(result: PartitionResult) -> list[str]:
    return result.failures["reason"].to_pylist()


def chunked(*chunks: list[Any]) -> pa.Table:
    return pa.table({"x": pa.chunked_array(list(chunks))})


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    ("table", "returns"),
    [
        (chunked(["a"], ["ä", None]), str),
        (chunked([1.5], [None]), float),
        (chunked([True], [False]), bool),
        (NUMBERS, int),
        (NUMBERS.slice(1), int),
        (NUMBERS.slice(0, 0), int),
        (pa.table({"x": pa.chunked_array([], pa.string())}), str),
        (chunked([datetime.datetime(2024, 1, 1)], [None]), datetime.datetime),
    ],
)
def test_each_container_gets_the_column_and_gives_it_back(
    run: Run, container: Any, table: pa.Table, returns: Any
) -> None:
    seen = []

    def same(x: Any) -> Any:
        seen.append((isinstance(x, container), len(x)))
        return x

    result = run([declared(same, container, returns=returns)], table)
    assert seen == [(True, table.num_rows)]
    assert column(result) == table["x"].to_pylist()
    assert result.failures.num_rows == 0


def test_series_keep_arrow_types_and_their_name(run: Run) -> None:
    seen = []

    def look(x: pd.Series) -> pd.Series:
        seen.append((str(x.dtype), x.name, type(x.index).__name__))
        return x

    run([declared(look, pd.Series, returns=int)], NUMBERS)
    run([declared(look, pd.Series, returns=int, dtypes="numpy")], NUMBERS)
    assert seen == [("int64[pyarrow]", "x", "RangeIndex"), ("float64", "x", "RangeIndex")]


@pytest.mark.parametrize("container", [pd.DataFrame, pa.Table])
def test_a_frame_names_what_it_reads(run: Run, container: Any) -> None:
    seen = []

    def look(frame: Any) -> Any:
        seen.append(list(frame.columns) if container is pd.DataFrame else frame.column_names)
        return frame

    look.__annotations__ = {"frame": container, "return": container}
    table = pa.table({"a": [1], "b": ["x"], "c": [None]})
    two = flow.transformation(name="two", reads=["b", "a"], returns={"a": int, "b": str})(look)
    everything = flow.transformation(name="all", reads=flow.ALL, returns={"a": int}, columns={"a": "a2"})(look)
    result = run([two, everything], table)
    assert seen == [["b", "a"], ["a", "b", "c"]]
    assert result.output.column_names == ["a", "b", "c", "a2", "is_valid"]
    assert result.output["a2"].to_pylist() == [1]


@pytest.mark.parametrize(
    "give",
    [
        lambda x: {"y": pc.add(x, 1), "z": x},
        lambda x: pa.table({"y": pc.add(x, 1), "z": x, "more": x}),
        lambda x: pa.record_batch({"y": pc.add(x, 1), "z": x}),
        lambda x: pd.DataFrame({"y": pc.add(x, 1), "z": x}, dtype=pd.ArrowDtype(pa.int64())),
        lambda x: pa.StructArray.from_arrays([x, pc.add(x, 1)], names=["z", "y"]),
        lambda x: pa.StructArray.from_arrays(
            [pa.concat_arrays([x, x]), pa.concat_arrays([x, pc.add(x, 1)])], names=["z", "y"]
        ).slice(len(x)),
    ],
    ids=["mapping", "table", "batch", "frame", "struct", "sliced struct"],
)
def test_several_columns_come_as_any_kind_of_frame(run: Run, give: Any) -> None:
    result = run([declared(give, pa.Array, returns={"y": int, "z": int})], NUMBERS)
    assert result.output.select(["y", "z"]).to_pydict() == {"y": [2, 3, None], "z": [1, 2, None]}


def test_a_frame_fills_one_struct_column_with_into(run: Run) -> None:
    returns = {"y": int, "z": str}
    forms = [
        lambda x: pa.array([{"y": 1, "z": "a"}] * len(x)),
        lambda x: pa.table({"z": ["a"] * len(x), "y": [1] * len(x)}),
        lambda x: pd.DataFrame({"y": [1] * len(x), "z": "a"}),
    ]
    for form in forms:
        give = declared(form, pa.Array, returns=returns, into="point")
        assert run([give], NUMBERS).output["point"].to_pylist() == [{"y": 1, "z": "a"}] * 3
    lacking = declared(lambda x: {"y": x}, pa.Array, returns=returns, into="point")
    assert reasons(run([lacking], NUMBERS)) == ["WrongShapeError"] * 3


def test_a_null_struct_gives_null_fields_whatever_lies_behind_it(run: Run) -> None:
    def masked(x: pa.Array) -> pa.Array:
        values = pa.array([1, 2, 3])
        return pa.StructArray.from_arrays([values, values], names=["y", "z"], mask=pa.array([False, True, False]))

    result = run([declared(masked, pa.Array, returns={"y": int, "z": int})], NUMBERS)
    assert result.output["y"].to_pylist() == [1, None, 3]


def test_a_column_form_that_overwrites_its_own_column_keeps_the_type(run: Run) -> None:
    kept = {
        "x": pa.array(["a", None], pa.large_string()),
        "d": pa.array(["a", "b"]).dictionary_encode(),
        "i": pa.array([1, 2], pa.int8()),
        "t": pa.array([1, 2], pa.timestamp("ns", "UTC")),
    }
    table = pa.table(kept)

    def same(x: pa.Array) -> pa.Array:
        return x

    def decoded(x: pa.Array) -> pa.Array:
        return x.dictionary_decode()

    services = [
        flow.transformation(name=name, columns={"x": name} if name != "x" else {})(decoded if name == "d" else same)
        for name in kept
    ]
    result = run(services, table)
    assert result.output.select(list(kept)).equals(table)
    assert result.output.schema.field("d").type == kept["d"].type


WRONG = [
    ("a list", lambda x: x.to_pylist(), int),
    ("None", lambda x: None, int),
    ("a scalar", pc.sum, int),
    ("too short", lambda x: x.slice(1), int),
    ("too long", lambda x: pa.concat_arrays([x, x]), int),
    ("text for int", lambda x: x.cast(pa.string()), int),
    ("float for int", lambda x: x.cast(pa.float64()), int),
    ("int for bool", lambda x: x, bool),
    ("int for text", lambda x: x, str),
    ("int for datetime", lambda x: x, datetime.datetime),
    ("lists of text for lists of int", lambda x: pa.array([["1"]] * len(x)), list[int]),
    ("a zone", lambda x: pa.nulls(len(x), pa.timestamp("us", "UTC")), datetime.datetime),
    ("no frame", lambda x: x, {"y": int, "z": int}),
    ("a frame without z", lambda x: {"y": x}, {"y": int, "z": int}),
    ("text in a struct of int", lambda x: pa.array([{"y": "1"}] * len(x)), {"y": int}),
]


@pytest.mark.parametrize(("give", "returns"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_result_of_another_shape_or_type_fails_every_record_after_one_call(run: Run, give: Any, returns: Any) -> None:
    result = run([declared(give, pa.Array, returns=returns, priority="critical")], NUMBERS)
    assert result.output.num_rows == 0
    assert reasons(result) == ["WrongShapeError"] * 3
    assert result.statistics.services["out"].calls == 1
    assert all(text.startswith("returned ") for text in result.rejects["error"].to_pylist())


def test_a_value_that_does_not_fit_the_declared_type_fails_its_record(run: Run) -> None:
    table = pa.table({"x": [1, 2**40, 3]})
    result = run([declared(lambda x: x, pa.Array, returns=pa.int32())], table)
    assert column(result) == [1, None, 3]
    assert reasons(result) == ["ArrowInvalid"]
    floats = pa.table({"x": [1, 2**53 + 1, None]})
    assert column(run([declared(lambda x: x, pa.Array, returns=float)], floats)) == [1.0, None, None]


@pytest.mark.parametrize("container", [np.ndarray, pd.Series])
def test_integers_beside_a_null_come_back_from_numpy_wherever_the_table_is_cut(run: Run, container: Any) -> None:
    same = declared(lambda x: x, container, returns=int, dtypes="numpy")
    table = pa.table({"x": [1, 2, None, 4]})
    cut = [run([same], table.slice(at, 2)) for at in (0, 2)]
    assert [value for part in cut for value in column(part)] == column(run([same], table)) == [1, 2, None, 4]


def test_numpy_floats_that_are_no_exact_integers_fail_their_records(run: Run) -> None:
    half = declared(lambda x: x / 2, np.ndarray, returns=int)
    assert column(run([half], {"x": [2, 3, None, 8]})) == [1, None, None, 4]
    same = declared(lambda x: x, np.ndarray, returns=int)
    assert column(run([same], {"x": [2**53 + 1, None]})) == [2**53 + 1, None]


def test_nan_is_a_value_of_arrow_and_a_null_of_numpy(run: Run) -> None:
    table = pa.table({"x": pa.array([1.5, float("nan"), None])})
    arrow = column(run([declared(lambda x: x, pa.Array, returns=float)], table))
    assert arrow[1] != arrow[1]
    assert arrow[2] is None
    assert column(run([declared(lambda x: x, np.ndarray, returns=float)], table)) == [1.5, None, None]


def test_the_error_for_an_ambiguous_null_names_the_option_for_classic_dtypes(run: Run) -> None:
    def size(x: pd.Series) -> pd.Series:
        return pd.Series([1 if one > 1 else 0 for one in x])

    result = run([declared(size, pd.Series, returns=int, priority="critical")], NUMBERS)
    assert result.output["out"].to_pylist() == [0, 1]
    assert 'dtypes="numpy"' in result.rejects["error"][0].as_py()
    classic = run([declared(size, pd.Series, returns=int, dtypes="numpy")], NUMBERS)
    assert column(classic) == [0, 1, 0]


def test_lists_that_are_all_empty_fit_any_list(run: Run) -> None:
    empty = declared(lambda x: pa.array([[]] * len(x)), pa.Array, returns=list[str])
    result = run([empty], NUMBERS)
    assert result.output.schema.field("out").type == pa.list_(pa.string())
    assert column(result) == [[], [], []]


def poisoned(x: pa.Array, bad: set[int]) -> None:
    if bad & set(x.to_pylist()):
        raise ValueError(f"{len(bad)} bad")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_poison_at_every_place_is_found_and_fails_alone(run: Run, size: int) -> None:
    table = pa.table({"x": list(range(size))})
    for bad in range(size):

        def add(x: pa.Array, bad: int = bad) -> pa.Array:
            poisoned(x, {bad})
            return pc.add(x, 10)

        result = run([declared(add, pa.Array, returns=int, priority="critical")], table)
        assert column(result) == [at + 10 for at in range(size) if at != bad]
        (rejected,) = result.rejects.to_pylist()
        assert (rejected["source_row"], rejected["reason"]) == (bad + 1, "ValueError")
        assert rejected["error"].startswith("ValueError: 1 bad (test_columns.py, line ")
        assert rejected["error"].count("ValueError") == 1


VERDICTS: list[tuple[Any, Callable[[int], Any], Any]] = [
    (bool, lambda at: at != 5, pa.bool_()),
    (str | None, lambda at: "five" if at == 5 else None, None),
    (list[str], lambda at: ["five", "cinq"] if at == 5 else [], None),
]


@pytest.mark.parametrize(("returns", "verdict", "kind"), VERDICTS, ids=["bool", "text", "texts"])
def test_a_poisoned_validation_judges_the_other_records(run: Run, returns: Any, verdict: Any, kind: Any) -> None:
    def judge(x: pa.Array) -> pa.Array:
        poisoned(x, {3, 6})
        return pa.array([verdict(at) for at in x.to_pylist()], kind)

    service = declared(judge, pa.Array, returns=returns, declare=flow.validation, priority="optional")
    result = run([service], {"x": list(range(8))})
    assert [len(cell) for cell in result.output["validations"].to_pylist()] == [1, 1, 1, 0, 1, 1, 0, 1]
    assert result.output["is_valid"].to_pylist() == [at != 5 for at in range(8)]
    assert result.failures["source_row"].to_pylist() == [4, 7]


def test_a_validation_without_a_single_good_record_judges_nothing(run: Run) -> None:
    service = declared(
        lambda x: poisoned(x, set(x.to_pylist())), pa.Array, declare=flow.validation, priority="optional"
    )
    result = run([service], {"x": [1, 2, 3]})
    assert result.output.select(["is_valid", "validations"]).to_pylist() == [
        {"is_valid": True, "validations": []} for _ in range(3)
    ]
    assert result.statistics.services["out"].failed == 3


def test_a_service_that_always_raises_costs_a_bounded_number_of_calls(run: Run) -> None:
    calls = []

    def fails(x: pa.Array) -> pa.Array:
        calls.append(len(x))
        raise ValueError

    result = run([declared(fails, pa.Array, returns=int)], {"x": pa.array(range(10_000))})
    assert result.statistics.services["out"].failed == 10_000
    assert result.statistics.services["out"].calls == len(calls) <= 2001


def test_rowwise_false_is_called_once_and_fails_whole(run: Run) -> None:
    calls = []

    def fails(x: pa.Array) -> pa.Array:
        calls.append(len(x))
        poisoned(x, {2})
        return x

    result = run([declared(fails, pa.Array, returns=int, rowwise=False)], NUMBERS)
    assert (calls, reasons(result)) == ([3], ["ValueError"] * 3)


@pytest.mark.parametrize(
    ("give", "lists"),
    [
        (lambda x: pc.greater(x, 1), [[("out", False, [])], [("out", True, [])], []]),
        (
            lambda x: pc.if_else(pc.equal(x, 1), "one", pa.scalar(None, pa.string())),
            [[("out", False, ["one"])], [("out", True, [])], [("out", True, [])]],
        ),
        (
            lambda x: pa.array([["a", "b"], [], None], pa.large_list(pa.large_string())),
            [[("out", False, ["a", "b"])], [("out", True, [])], [("out", True, [])]],
        ),
        (lambda x: pa.array([[], [], []]), [[("out", True, [])]] * 3),
        (lambda x: pa.nulls(3), [[("out", True, [])]] * 3),
        (lambda x: pa.array(["e", None, None]).dictionary_encode().dictionary_decode(), None),
    ],
    ids=["bool", "text", "lists", "empty lists", "nulls", "decoded"],
)
def test_a_column_validation_returns_bools_or_texts_or_lists_of_texts(run: Run, give: Any, lists: Any) -> None:
    result = run([declared(give, pa.Array, declare=flow.validation)], NUMBERS)
    cells = result.output["validations"].to_pylist()
    found = [[(one["validator"], one["is_valid"], one["errors"]) for one in cell] for cell in cells]
    assert found == (lists or [[("out", False, ["e"])], [("out", True, [])], [("out", True, [])]])


def test_a_sliced_list_of_errors_stays_with_its_records(run: Run) -> None:
    def judge(x: pa.Array) -> pa.Array:
        return pa.array([["lost"], ["lost"], ["a"], [], ["b", "c"]]).slice(2)

    result = run([declared(judge, pa.Array, declare=flow.validation)], NUMBERS)
    assert [[one["errors"] for one in cell] for cell in result.output["validations"].to_pylist()] == [
        [["a"]],
        [[]],
        [["b", "c"]],
    ]


@pytest.mark.parametrize(
    ("give", "returns"),
    [(lambda x: x, None), (lambda x: pa.nulls(3, pa.string()), bool), (lambda x: pc.greater(x, 1), str | None)],
    ids=["numbers", "text for bool", "bool for text"],
)
def test_a_column_validation_returns_what_it_declares_or_fails(run: Run, give: Any, returns: Any) -> None:
    options: Mapping[str, Any] = {} if returns is None else {"returns": returns}
    result = run([declared(give, pa.Array, declare=flow.validation, **options)], NUMBERS)
    assert reasons(result) == ["WrongShapeError"] * 3
    assert result.output["validations"].to_pylist() == [[], [], []]


def test_column_services_receive_nulls_unless_an_input_is_required(run: Run) -> None:
    sizes = []

    def judge(x: pa.Array) -> pa.Array:
        sizes.append((len(x), x.null_count))
        return pc.greater(x, 1)

    run([declared(judge, pa.Array, declare=flow.validation)], NUMBERS)
    required = run([declared(judge, pa.Array, declare=flow.validation, required=True)], NUMBERS)
    assert sizes == [(3, 1), (2, 0)]
    assert required.output["is_valid"].to_pylist() == [False, True, False]
    assert required.output["validations"].to_pylist()[2] == [
        {"validator": "out", "is_valid": False, "errors": ["missing input"]}
    ]
    rejecting = run([declared(lambda x: x, pa.Array, returns=int, required=True)], NUMBERS)
    assert (column(rejecting), rejecting.rejects["error"].to_pylist()) == ([1, 2], ["missing input"])


def test_a_column_enrichment_finds_nothing_where_it_gives_null(run: Run) -> None:
    give = declared(lambda x: pc.if_else(pc.equal(x, 1), None, x), pa.Array, returns=int, declare=flow.enrichment)
    result = run([give], NUMBERS)
    assert result.statistics.services["out"].not_found == 2
    assert result.output["completeness"].to_pylist() == [0.0, 1.0, 0.0]


def test_a_poisoned_record_of_a_column_enrichment_has_failed_and_is_not_not_found(run: Run) -> None:
    def find(x: pa.Array) -> pa.Array:
        poisoned(x, {2})
        return x

    result = run([declared(find, pa.Array, returns=int, declare=flow.enrichment)], NUMBERS)
    counted = result.statistics.services["out"]
    assert (counted.succeeded, counted.failed, counted.not_found) == (1, 1, 1)


def test_an_optional_column_is_its_default_where_the_source_lacks_it(run: Run) -> None:
    @flow.transformation(returns=str)
    def joined(x: pa.Array, sign: pa.Array = "!") -> pa.Array:
        return pc.binary_join_element_wise(x.cast(pa.string()), sign, "")

    assert run([joined], NUMBERS).output["joined"].to_pylist() == ["1!", "2!", None]
    table = NUMBERS.append_column("sign", pa.array(["a", "b", "c"]))
    assert run([joined], table).output["joined"].to_pylist() == ["1a", "2b", None]


def test_constants_and_the_context_reach_a_column_service(run: Run) -> None:
    @flow.transformation(returns=str, constants={"sign": "-"})
    def joined(x: pa.Array, sign: str, *, context: flow.Context) -> pa.Array:
        return pc.binary_join_element_wise(x.cast(pa.string()), context.run, sign)

    result = run([joined], NUMBERS, context=flow.Context(run="r"))
    assert result.output["joined"].to_pylist() == ["1-r", "2-r", None]


def test_when_gives_a_column_service_only_the_records_it_applies_to(run: Run) -> None:
    seen = []

    def add(x: pa.Array) -> pa.Array:
        seen.append(x.to_pylist())
        poisoned(x, {9})
        return pc.add(x, 1)

    table = {"x": [1, 9, 9, 4], "on": [True, False, True, True]}
    result = run([declared(add, pa.Array, when="on", into="x")], table)
    assert seen[0] == [1, 9, 4]
    assert result.output["x"].to_pylist() == [2, 9, None, 5]
    assert result.failures["source_row"].to_pylist() == [3]


def test_a_column_that_failed_for_another_service_names_it_through_a_column_service(run: Run) -> None:
    @flow.transformation(priority="optional")
    def company(x: int) -> int:
        if x == 2:
            raise ValueError
        return x

    def double(company: pa.Array) -> pa.Array:
        return pc.multiply(company, 2)

    def last(double: int) -> int:
        return double

    def reason(outcomes: flow.Outcomes) -> str:
        return str(outcomes["last"].reason)

    services = [
        company,
        flow.transformation(returns=int)(double),
        flow.transformation(last),
        flow.transformation(reason),
    ]
    assert run(services, NUMBERS).output["reason"].to_pylist() == ["None", "company failed", "missing input"]


def test_literals_are_kept_as_their_plain_type(run: Run) -> None:
    result = run([declared(lambda x: x, pa.Array, returns=Literal[1, 2])], NUMBERS)
    assert result.output.schema.field("out").type == pa.int64()


@pytest.mark.parametrize("container", [np.ndarray, pd.Series])
@pytest.mark.parametrize("rows", [[1, 2, 3], [1, 2, None]])
def test_a_container_may_be_changed_in_place_without_changing_the_source(
    run: Run, container: Any, rows: list[Any]
) -> None:
    def zero(x: Any) -> Any:
        x[x == 2] = 0
        return x

    table = pa.table({"x": pa.array(rows, pa.int64())})
    result = run([declared(zero, container, returns=int, dtypes="numpy")], table)
    assert column(result) == [1, 0, rows[2]]
    assert result.output["x"].to_pylist() == table["x"].to_pylist() == rows


def test_verdicts_that_change_their_sort_between_slices_fail_whole(run: Run) -> None:
    def judge(x: pa.Array) -> pa.Array:
        poisoned(x, {1})
        return pa.array([True] * len(x)) if len(x) > 1 else pa.array(["text"])

    result = run([declared(judge, pa.Array, declare=flow.validation, priority="optional")], {"x": list(range(5))})
    assert reasons(result) == ["WrongShapeError"] * 5
    assert result.output["validations"].to_pylist() == [[]] * 5
