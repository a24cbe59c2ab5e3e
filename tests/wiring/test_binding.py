"""What a pipeline asks of its source, and the tables of its lookups."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError, SourceError
from dataflow.plan.graph import Graph
from dataflow.services.contract import RESERVED
from dataflow.store.catalog import Catalog
from dataflow.wiring.binding import (
    bind_pipeline,
    check_key,
    given_schema,
    lookup_tables,
    needs_pandas,
    touched_columns,
    wanted_types,
)


class Place(TypedDict):
    city: str
    zip: int


@flow.transformation
def email(email: str) -> str:
    return email


@flow.validation
def placed(where: Place, email: int) -> bool:
    return bool(where)


@flow.enrichment(when="wanted")
def score(email: str, amount: float = 0.0) -> int:
    return len(email)


@flow.transformation(returns=str)
def upper(name: pd.Series) -> pd.Series:
    return name.str.upper()


@flow.transformation(reads=flow.ALL, returns=int)
def width(whole: pa.Table) -> pa.Array:
    return pa.array([1] * whole.num_rows)


CODES = pa.table({"code": pa.array([1, 2], pa.int16()), "label": ["a", "b"], "group": ["x", "y"]})
label = flow.lookup("label", table=CODES, on={"status": "code"}, columns={"label": "state"})


def pipeline(*services: Any) -> flow.Pipeline:
    return flow.Pipeline("p", services)


def test_the_first_reader_of_a_column_says_its_type() -> None:
    wanted = wanted_types(pipeline(email, placed, score, upper))
    assert wanted == {"email": pa.string(), "city": pa.string(), "zip": pa.int64(), "amount": pa.float64()}


def test_what_a_service_writes_is_no_column_of_the_source() -> None:
    @flow.transformation
    def made(email: str) -> int:
        return 1

    @flow.validation
    def checked(made: int) -> bool:
        return True

    assert wanted_types(pipeline(made, checked)) == {"email": pa.string()}
    assert given_schema(pipeline(made, checked), {}) == pa.schema({"email": pa.string()})


def test_the_columns_that_are_taken_as_given_have_the_types_of_their_readers() -> None:
    found = given_schema(pipeline(email, score, upper, label), {"label": CODES})
    assert dict(zip(found.names, found.types, strict=True)) == {
        "email": pa.string(),
        "amount": pa.float64(),
        "wanted": pa.bool_(),
        "name": pa.string(),
        "status": pa.int16(),
    }


def test_touched_is_what_is_read_written_or_reserved() -> None:
    found = touched_columns(pipeline(email, score, label), {"label": CODES})
    assert found is not None
    assert found - set(RESERVED) - {""} == {"email", "amount", "wanted", "score", "status", "state", "group", "code"}
    assert touched_columns(pipeline(email, width), {}) is None


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "tsv", "jsonl", "parquet"])
def test_a_table_is_read_in_every_format(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"code": ["007", "8"], "value": [1, 2]})
    path = tmp_path / f"codes.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    table = lookup_tables(pipeline(flow.lookup("value", table=path, on="code")), Catalog(tmp_path))["value"]
    assert table.select(["code", "value"]).to_pylist() == [{"code": "007", "value": 1}, {"code": "8", "value": 2}]
    assert table["value"].type == pa.int64()


def test_a_table_may_be_in_memory_a_source_or_a_dataset(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog")
    pipeline(email).run(pa.table({"email": ["a"], "n": [1]}), "known", catalog=catalog.root)
    (tmp_path / "codes.txt").write_text("a;1\n")
    given = [
        pa.table({"email": ["a"], "n": [1]}),
        pd.DataFrame({"email": ["a"], "n": [1]}),
        flow.csv(tmp_path / "codes.txt", delimiter=";", names=["email", "n"], header=False, schema={"n": int}),
        "known",
        "known@v1",
        tmp_path / "catalog" / "known",
    ]
    for table in given:
        found = lookup_tables(pipeline(flow.lookup("n", table=table, on="email", select=["n"])), catalog)["n"]
        assert found.select(["email", "n"]).to_pylist() == [{"email": "a", "n": 1}]


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"missing\.parquet"):
        lookup_tables(pipeline(flow.lookup("n", table="missing.parquet", on="a")), Catalog(tmp_path))
    with pytest.raises(DeclarationError, match="`n`: table= takes a path, a source or a table, not int"):
        lookup_tables(pipeline(flow.lookup("n", table=5, on="a")), Catalog(tmp_path))
    (tmp_path / "bad.csv").write_text("a,n\n1,2\n3\n")
    with pytest.raises(SourceError, match=r"bad\.csv, row 2"):
        lookup_tables(pipeline(flow.lookup("n", table=tmp_path / "bad.csv", on="a")), Catalog(tmp_path))


def bound(*services: Any, schema: pa.Schema) -> Graph:
    return bind_pipeline(pipeline(*services), schema, {})


def test_only_services_that_read_pandas_need_it() -> None:
    assert not needs_pandas(bound(email, schema=pa.schema({"email": pa.string()})))
    assert needs_pandas(bound(upper, schema=pa.schema({"name": pa.string()})))


def test_a_key_is_a_column_of_the_source_or_of_the_output() -> None:
    graph = bound(email, schema=pa.schema({"email": pa.string(), "id": pa.int64()}))
    for key in ((), ("id",), ("id", "email"), ("is_valid",)):
        check_key(key, graph)
    with pytest.raises(
        DeclarationError, match="the key lead, no is no column of the source; its columns are email, id"
    ):
        check_key(("lead", "id", "no"), graph)


def test_what_pandas_wrote_is_bound_like_anything_else(tmp_path: Path) -> None:
    pd.DataFrame({"email": ["A"]}, index=[7]).to_parquet(tmp_path / "a.parquet")
    run = pipeline(email).run(tmp_path / "a.parquet", "out", catalog=str(tmp_path / "catalog"))
    assert "email" in pq.read_table(run.path).column_names


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", None])
def test_a_table_without_the_column_of_its_key_is_named_by_its_lookup(tmp_path: Path, suffix: str | None) -> None:
    table = pa.table({"code": ["1"], "value": ["a"]})
    path = tmp_path / f"codes.{suffix}"
    if suffix == "parquet":
        pq.write_table(table, path)
    elif suffix is not None:
        path.write_text("code,value\n1,a\n" if suffix == "csv" else '{"code": "1", "value": "a"}\n')
    service = flow.lookup("value", table=table if suffix is None else path, on={"status": "cod"})
    for use in (
        lambda: lookup_tables(pipeline(service), Catalog(tmp_path)),
        lambda: flow.Pipeline("p", [service]).apply(pa.table({"status": ["1"]})),
    ):
        with pytest.raises(
            DeclarationError, match=r"`value`: .* no column `cod`, which on= names; did you mean `code`"
        ):
            use()
