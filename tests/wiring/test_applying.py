"""`apply`: the same kind of table comes back, with every row in its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError


@flow.transformation
def email(email: str) -> str:
    return email.strip().lower()


@flow.transformation
def share(amount: int) -> float:
    return 100 / amount


@flow.validation
def small(amount: int) -> bool:
    return amount < 50


@flow.enrichment
def letters(email: str) -> int:
    if email == "reject":
        raise flow.Reject("unwanted")
    return len(email)


BY_ZERO = "ZeroDivisionError: division by zero (test_applying.py, line 24)"

pipeline = flow.Pipeline("p", [email, share, small, letters])
WRITTEN = ["share", "letters", "is_valid", "validations", "completeness", "degraded", "rejected"]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    import dask

    with dask.config.set(scheduler="threads"):
        yield


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "email": [" A@B ", None, "Reject", "c@d"],
            "amount": [1, 60, 4, 0],
            "kind": pd.Categorical(["u", "v", None, "u"]),
            "when": pd.to_datetime(["2026-01-01", None, "2026-01-02", "2026-01-03"]).tz_localize("Europe/Berlin"),
            "thing": [object(), {1, 2}, "text", 5],
            "period": pd.period_range("2026-01", periods=4, freq="M"),
        },
        index=pd.Index(["x", "x", "y", "x"], name="label"),
    )


def check(result: Any) -> None:
    """The columns that services write, for the rows of `frame`."""
    values = {
        name: [None if pd.isna(one) else one for one in result[name]]
        for name in ["email", "share", "letters", "rejected"]
    }
    assert values["email"] == ["a@b", None, "Reject", "c@d"]
    assert values["share"] == [100.0, 100 / 60, None, None]
    assert values["letters"] == [3, None, None, None]
    assert values["rejected"] == [None, None, "letters: unwanted", f"share: {BY_ZERO}"]
    assert list(result["is_valid"]) == [True, False, True, True]
    assert list(result["degraded"]) == [False] * 4


def test_a_frame_keeps_its_index_its_order_and_every_column_that_no_service_touches() -> None:
    source = frame()
    before = source.copy()
    result = pipeline.apply(source)
    check(result)
    assert list(result.columns) == [*source.columns, *WRITTEN]
    pd.testing.assert_index_equal(result.index, source.index)
    untouched = ["amount", "kind", "when", "thing", "period"]
    pd.testing.assert_frame_equal(result[untouched], source[untouched])
    assert result["thing"].iloc[0] is source["thing"].iloc[0]
    pd.testing.assert_frame_equal(source, before)


def test_the_types_of_what_services_write_are_those_of_arrow() -> None:
    dtypes = pipeline.apply(frame()).dtypes
    assert [str(dtypes[name]) for name in ("email", "share", "letters", "is_valid", "rejected")] == [
        "string[pyarrow]",
        "double[pyarrow]",
        "int64[pyarrow]",
        "bool[pyarrow]",
        "string[pyarrow]",
    ]


def test_a_frame_of_several_index_levels_and_numbered_columns() -> None:
    source = frame().set_index(["kind", "amount"], append=True, drop=False)
    source[7] = 1.5
    result = pipeline.apply(source)
    check(result)
    pd.testing.assert_index_equal(result.index, source.index)
    pd.testing.assert_series_equal(result[7], source[7])


def test_a_frame_without_rows_has_the_columns_and_types_of_one_with_rows() -> None:
    result = pipeline.apply(frame().head(0))
    assert len(result) == 0
    assert result.dtypes.to_dict() == pipeline.apply(frame()).dtypes.to_dict()


def test_a_slice_of_a_frame_and_a_frame_with_nulls_only() -> None:
    check_rows = pipeline.apply(frame().iloc[::2])
    assert list(check_rows["email"]) == ["a@b", "Reject"]
    assert list(check_rows["rejected"].isna()) == [True, False]
    nothing = pipeline.apply(pd.DataFrame({"email": pd.Series([None, None], dtype=object), "amount": [1, 2]}))
    assert nothing["email"].isna().all()
    assert str(nothing["email"].dtype) == "string[pyarrow]"


def test_categories_of_text_are_read_as_text() -> None:
    source = pd.DataFrame({"email": pd.Categorical(["A ", "B", "A "]), "amount": 1})
    assert list(pipeline.apply(source)["email"]) == ["a", "b", "a"]


@pytest.mark.parametrize("dtype", ["object", "str", "string[pyarrow]", "string[python]"])
def test_text_of_every_dtype_is_read(dtype: str) -> None:
    source = pd.DataFrame({"email": pd.Series(["A ", None], dtype=dtype), "amount": 1})
    result = pipeline.apply(source)["email"]
    assert (result[0], pd.isna(result[1])) == ("a", True)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            pd.DataFrame({"email": ["a", 1], "amount": 1}),
            "the column `email` of the frame does not have one Arrow type",
        ),
        (pd.DataFrame({"email": ["a"], "amount": ["x"]}), "`share` reads `amount` as int, but the source gives it as"),
        (pd.DataFrame({"mail": ["a"], "amount": [1]}), "`email` reads `email`.*did you mean `mail`"),
        (pd.DataFrame({"email": ["a"], "amount": [1], "is_valid": [1]}), "columns that every run writes: is_valid"),
        (pd.DataFrame([["a", "b", 1]], columns=["email", "email", "amount"]), "two columns of one name"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_by_column(source: pd.DataFrame, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        pipeline.apply(source)


def test_a_service_that_reads_everything_needs_names_that_are_texts() -> None:
    @flow.transformation(reads=flow.ALL, returns=int)
    def width(whole: pa.Table) -> pa.Array:
        return pa.array([whole.num_columns] * whole.num_rows)

    used = flow.Pipeline("p", [width])
    assert list(used.apply(pd.DataFrame({"a": [1], "b": ["x"]}))["width"]) == [2]
    with pytest.raises(DeclarationError, match="names that are no texts"):
        used.apply(pd.DataFrame({"a": [1], 0: ["x"]}))


def arrow() -> pa.Table:
    columns = ["email", "amount", "kind", "when"]
    table = pa.Table.from_pandas(frame()[columns], preserve_index=False)
    return table.append_column("nested", pa.array([[{"a": 1}], None, [], [{"a": None}]]))


def test_an_arrow_table_keeps_its_types_and_chunks_do_not_matter() -> None:
    table = arrow()
    result = pipeline.apply(table)
    check(result.to_pandas())
    assert result.column_names == [*table.column_names, *WRITTEN]
    assert all(result[name].equals(table[name]) for name in ("amount", "kind", "when", "nested"))
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert pipeline.apply(chunked).to_pylist() == result.to_pylist()
    assert pipeline.apply(table.slice(0, 0)).schema.equals(result.schema)


def test_a_large_table_with_the_notes_of_pandas_is_prepared_once(tmp_path: Path) -> None:
    log = tmp_path / "setups"

    @flow.transformation
    class Setup:
        def __init__(self) -> None:
            with log.open("a") as file:
                file.write("made\n")

        def __call__(self, amount: int) -> int:
            return amount

    used = flow.Pipeline("p", [Setup.with_(name="setup")])
    for size in (1, 2, 3):
        used.apply(pa.Table.from_pandas(pd.DataFrame({"amount": range(size)}, index=range(5, 5 + size))))
        used.apply(pd.DataFrame({"amount": range(size), "other": object()}))
    assert log.read_text().count("made") == 1


def counted(log: Path) -> flow.Pipeline:
    @flow.transformation
    def noted(amount: int) -> int:
        with log.open("a") as file:
            file.write(f"{amount}\n")
        return amount

    return flow.Pipeline("noted", [email, noted, share, small, letters])


def test_a_dask_frame_stays_lazy_and_its_partitions_are_of_its_meta(tmp_path: Path) -> None:
    import dask.dataframe as dd

    log = tmp_path / "calls"
    source = dd.from_pandas(frame().drop(columns=["thing", "period"]).reset_index(drop=True), npartitions=3)
    lazy = counted(log).apply(source)
    assert not log.exists()
    computed = lazy.compute()
    check(computed)
    assert sorted(log.read_text().split()) == ["0", "1", "4", "60"]
    assert lazy.divisions == source.divisions
    for part in [lazy._meta, computed, *(lazy.partitions[at].compute() for at in range(lazy.npartitions))]:
        assert part.dtypes.to_dict() == computed.dtypes.to_dict()
        assert list(part.columns) == list(lazy.columns)
    assert lazy["share"].sum().compute() == pytest.approx(100 + 100 / 60)
    assert lazy[lazy["rejected"].isna()].shape[0].compute() == 2


def test_a_dask_frame_with_null_partitions_and_unknown_categories() -> None:
    import dask.dataframe as dd

    pieces = [
        pd.DataFrame({"email": [None, None], "amount": [1, 2]}),
        pd.DataFrame({"email": ["A", "B"], "amount": [1, 2]}),
    ]
    source = dd.concat([dd.from_pandas(piece, npartitions=1) for piece in pieces])
    source["email"] = source["email"].astype("category")
    result = pipeline.apply(source).compute()
    assert [None if pd.isna(one) else one for one in result["email"]] == [None, None, "a", "b"]


def test_a_partition_of_other_types_than_its_meta_is_refused() -> None:
    import dask.dataframe as dd

    meta = pd.DataFrame({"email": pd.Series([], dtype="str"), "amount": pd.Series([], dtype="int64")})
    source = dd.from_map(lambda at: pd.DataFrame({"email": ["a"], "amount": ["x"]}), [0], meta=meta)
    with pytest.raises(DeclarationError, match="a column has one type in all partitions"):
        pipeline.apply(source).compute()


def test_a_dask_frame_on_a_distributed_cluster() -> None:
    import dask.dataframe as dd
    from distributed import Client, LocalCluster

    source = dd.from_pandas(frame().drop(columns=["thing", "period"]), npartitions=2, sort=False)
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        Client(cluster),
    ):
        check(pipeline.apply(source).compute())


def test_a_bag_gives_its_records_back() -> None:
    import dask.bag

    thing = object()
    records = [
        {"email": " A ", "amount": 1, "thing": thing},
        {"email": None, "amount": 60},
        {"email": "reject", "amount": 4},
        {"email": "b", "amount": "many"},
        {"amount": 1},
    ]
    found = pipeline.apply(dask.bag.from_sequence(records, npartitions=2)).compute()
    assert [one["email"] for one in found] == ["a", None, "reject", "b", None]
    assert [one["rejected"] for one in found] == [
        None,
        None,
        "letters: unwanted",
        "source: column `amount`: is str, but its first reader declares int64",
        None,
    ]
    assert [one["letters"] for one in found] == [1, None, None, None, None]
    assert [set(one) for one in found] == [
        {"email", "amount", *WRITTEN, *({"thing"} if at == 0 else set())} for at in range(5)
    ]
    assert found[0]["thing"] is thing


def test_an_empty_partition_of_a_bag_calls_nothing() -> None:
    import dask.bag

    records = dask.bag.from_sequence([{"email": "a", "amount": 1}] * 4, npartitions=2)
    assert pipeline.apply(records.filter(lambda record: False)).compute() == []


@pytest.mark.parametrize("data", [None, "leads.csv", [{"email": "a"}], {"email": "a"}])
def test_what_is_no_table_is_refused_with_the_right_method(data: Any) -> None:
    with pytest.raises(
        DeclarationError, match=rf"not {type(data).__name__}; one record goes to call\(\), a file to run\(\)"
    ):
        pipeline.apply(data)
