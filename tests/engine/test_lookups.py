"""Lookups: joins to reference data, one row in and one row out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow as flow
from dataflow.engine.result import PartitionResult
from dataflow.errors import DeclarationError

Run = Callable[..., PartitionResult]
INDUSTRIES = pa.table({"domain": ["a.de", "b.de", None], "industry": ["Air", None, "lost"], "size": [1, 2, 3]})


def join(run: Run, reference: pa.Table, on: Any, table: Any, **options: Any) -> PartitionResult:
    return run([flow.lookup("found", table="ref", on=on, **options)], table, tables={"found": reference})


def values(result: PartitionResult, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(result.output[name].to_pylist() for name in names), strict=True))


def test_a_match_adds_the_other_columns_and_a_miss_is_not_found(run: Run) -> None:
    result = join(run, INDUSTRIES, "domain", {"domain": ["b.de", "z", None, "a.de", "a.de"]})
    assert values(result, "industry", "size") == [(None, 2), (None, None), (None, None), ("Air", 1), ("Air", 1)]
    counted = result.statistics.services["found"]
    assert (counted.succeeded, counted.not_found, counted.skipped, counted.failed) == (3, 1, 1, 0)
    assert result.output["completeness"].to_pylist() == [1.0, 0.0, None, 1.0, 1.0]
    assert not any(result.output["degraded"].to_pylist())


@pytest.mark.parametrize("key", [["a", "b"], {"left": "a", "right": "b"}])
def test_a_key_of_several_columns_matches_all_of_them(run: Run, key: Any) -> None:
    reference = pa.table({"a": ["x", "x", "y", None], "b": [1, 2, 1, 1], "v": list("pqrs")})
    names = ["a", "b"] if isinstance(key, list) else list(key)
    table = dict(zip(names, [["x", "x", "y", "y", None, "x", "z"], [1, 2, 1, 2, 1, None, 1]], strict=True))
    result = join(run, reference, key, table)
    assert result.output["v"].to_pylist() == ["p", "q", "r", None, None, None, None]
    assert result.statistics.services["found"].skipped == 2


def test_keys_of_many_columns_do_not_run_past_64_bits(run: Run) -> None:
    size = 70_000
    names = list("abcde")
    reference = pa.table({**{name: pa.array(range(size)) for name in names}, "v": pa.array(range(size))})
    rows = [[5] * 5, [6, 5, 5, 5, 5], [5, 5, 5, 5, 6], [size] * 5]
    result = join(run, reference, names, {name: [row[at] for row in rows] for at, name in enumerate(names)})
    assert result.output["v"].to_pylist() == [5, None, None, None]


@settings(max_examples=60, deadline=None)
@given(
    reference=st.dictionaries(st.tuples(st.integers(0, 3), st.sampled_from("ab")), st.integers(0, 9), max_size=8),
    rows=st.lists(st.tuples(st.none() | st.integers(0, 4), st.none() | st.sampled_from("abc")), max_size=12),
)
def test_a_lookup_is_a_dict_get(run_once: Run, reference: dict[Any, int], rows: list[Any]) -> None:
    table = pa.table(
        {
            "n": pa.array([key[0] for key in reference], pa.int64()),
            "s": pa.array([key[1] for key in reference], pa.string()),
            "v": pa.array(list(reference.values()), pa.int64()),
        }
    )
    records = pa.table(
        {"n": pa.array([n for n, _ in rows], pa.int64()), "s": pa.array([s for _, s in rows], pa.string())}
    )
    result = join(run_once, table, ["n", "s"], records)
    assert result.output["v"].to_pylist() == [reference.get(row) for row in rows]


KEYS = [
    (pa.array(["a", "b"]), pa.array(["b", "z"])),
    (pa.array(["a", "b"]).dictionary_encode(), pa.array(["b", "z"])),
    (pa.array(["a", "b"]), pa.array(["b", "z"]).dictionary_encode()),
    (pa.array(["a", "b"]).dictionary_encode(), pa.array(["b", "z"]).dictionary_encode()),
    (pa.array(["a", "b"]), pa.array(["b", "z"], pa.large_string())),
    (pa.array(["a", "b"], pa.large_string()), pa.array(["b", "z"])),
    (pa.array([1, 2], pa.int32()), pa.array([2, 2**40])),
    (pa.array([-1, 2]), pa.array([2, 2**64 - 1], pa.uint64())),
    (pa.array([2**64 - 1, 2], pa.uint64()), pa.array([2, -1])),
    (pa.array([1.0, 2.0]), pa.array([2, 2**53 + 1])),
    (pa.array([1, 2], pa.timestamp("s")), pa.array([2 * 10**9, 1], pa.timestamp("ns"))),
    (pa.array([b"a", b"b"]), pa.array([b"b", b"z"], pa.large_binary())),
]


@pytest.mark.parametrize(("keys", "column"), KEYS, ids=lambda one: str(one.type)[:20])
def test_keys_match_across_layouts_and_widths_without_wrapping(run: Run, keys: pa.Array, column: pa.Array) -> None:
    result = join(run, pa.table({"k": keys, "v": [1, 2]}), "k", pa.table({"k": column}))
    assert result.output["v"].to_pylist() == [2, None]
    assert result.output["k"].chunk(0).equals(column)


def test_a_key_of_another_family_is_refused_when_planned(run: Run) -> None:
    reference = pa.table({"k": [1, 2], "v": [1, 2]})
    with pytest.raises(DeclarationError, match="`found` reads `k` as int64, but the source gives it as string"):
        join(run, reference, "k", {"k": ["1"]})


def test_a_repeated_key_is_refused_and_null_keys_are_no_repeats(run: Run) -> None:
    with pytest.raises(DeclarationError, match="`found`: 1 rows of the table repeat a key"):
        join(run, pa.table({"k": ["a", "a", "b"], "v": [1, 2, 3]}), "k", {"k": ["a"]})
    with pytest.raises(DeclarationError, match=r"repeat a key \(a, b\)"):
        join(run, pa.table({"a": [1, 1], "b": [2, 2], "v": [1, 2]}), ["a", "b"], {"a": [1], "b": [2]})
    nulls = pa.table({"k": ["a", None, None], "v": [1, 2, 3]})
    assert join(run, nulls, "k", {"k": ["a", None]}).output["v"].to_pylist() == [1, None]


def test_select_into_and_columns_say_what_is_added(run: Run) -> None:
    table = {"domain": ["a.de", "z"]}
    chosen = join(run, INDUSTRIES, "domain", table, select=["size"])
    assert chosen.output.column_names[:2] == ["domain", "size"]
    assert "industry" not in chosen.output.column_names
    renamed = join(run, INDUSTRIES, "domain", table, columns={"size": "staff"})
    assert values(renamed, "industry", "staff") == [("Air", 1), (None, None)]
    whole = join(run, INDUSTRIES, "domain", table, into="about", columns={"size": "staff"})
    assert whole.output["about"].to_pylist() == [{"industry": "Air", "staff": 1}, None]
    key = join(run, INDUSTRIES, "domain", table, select=["domain"], columns={"domain": "known"})
    assert key.output["known"].to_pylist() == ["a.de", None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"select": ["staff"]}, "no column to add: staff"),
        ({"columns": {"staff": "n"}}, "does not add `staff`, which columns= names; it adds industry, size"),
        ({"select": ["size"], "columns": {"industry": "n"}}, "does not add `industry`"),
        ({"on": {"domain": "web"}}, "the table has no column `web`; it has domain, industry, size"),
        ({"on": "web"}, "reads `web`, which nothing before it provides"),
        ({"select": ["domain"]}, "writes `domain`, which exists already"),
    ],
)
def test_wrong_wiring_of_a_lookup_is_refused_when_planned(run: Run, options: dict[str, Any], message: str) -> None:
    on = options.pop("on", "domain")
    with pytest.raises(DeclarationError, match=message):
        join(run, INDUSTRIES, on, {"domain": ["a"]}, **options)


def test_overwrite_says_what_becomes_of_a_column_that_exists(run: Run) -> None:
    table = {"domain": ["a.de", "a.de", "z"], "industry": ["Old", None, "Old"]}
    chosen = INDUSTRIES.select(["domain", "industry"])
    with pytest.raises(DeclarationError, match='or say overwrite="always"'):
        join(run, chosen, "domain", table)
    always = join(run, chosen, "domain", table, overwrite="always")
    assert always.output["industry"].to_pylist() == ["Air", "Air", None]
    nulls = join(run, chosen, "domain", table, overwrite="nulls")
    assert nulls.output["industry"].to_pylist() == ["Old", "Air", "Old"]
    assert nulls.statistics.services["found"].calls == 1


def test_a_missing_required_key_rejects_the_record(run: Run) -> None:
    result = join(run, INDUSTRIES, "domain", {"domain": ["a.de", None]}, required=True)
    assert result.output["domain"].to_pylist() == ["a.de"]
    assert result.rejects["error"].to_pylist() == ["missing input"]


def test_added_columns_keep_their_types_also_from_chunks(run: Run) -> None:
    added = {
        "dictionary": pa.array(["x", "y"]).dictionary_encode(),
        "nested": pa.array([[{"a": 1}], []], pa.list_(pa.struct({"a": pa.int16()}))),
        "time": pa.array([1, 2], pa.timestamp("ns", "Europe/Berlin")),
        "large": pa.array(["x", "y"], pa.large_string()),
    }
    part = pa.table({"k": ["a", "b"], **added})
    reference = pa.concat_tables([part, part.set_column(0, "k", pa.array(["c", "d"]))])
    result = join(run, reference, "k", {"k": ["d", "a"]})
    for name, column in added.items():
        assert result.output.schema.field(name).type == column.type
        assert result.output[name].to_pylist() == [column.to_pylist()[1], column.to_pylist()[0]]


def test_an_empty_table_finds_nothing_and_an_empty_source_asks_nothing(run: Run) -> None:
    result = join(run, INDUSTRIES.slice(0, 0), "domain", {"domain": ["a.de"]})
    assert values(result, "industry", "size") == [(None, None)]
    empty = join(run, INDUSTRIES, "domain", pa.table({"domain": pa.array([], pa.string())}))
    assert empty.output.num_rows == 0
    several = pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.int64()), "v": pa.array([], pa.int64())})
    assert join(run, several, ["a", "b"], {"a": [1], "b": [1]}).output["v"].to_pylist() == [None]
