"""`sample`: a few real records, each service called once for each of them, and nothing published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError, SourceError
from dataflow.outcomes import Status
from dataflow.wiring.trial import Sample

CALLS: list[int] = []


@flow.transformation(returns=int)
def double(number: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.multiply(number, 2)


@flow.enrichment
def paid(number: int) -> str:
    CALLS.append(number)
    if number % 10 == 3:
        raise flow.NotFound
    if number % 10 == 4:
        raise ValueError("bad")
    return f"n{number}"


@flow.transformation(returns=float)
def scaled(number: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.divide(pc.cast(number, pa.float64()), pc.max(number))


@flow.validation
def low(number: int) -> bool:
    return number < 70


pipeline = flow.Pipeline("p", [double, paid, low])


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sample]:
    monkeypatch.chdir(tmp_path)
    CALLS.clear()

    def start(source: Any, n: int = 20, used: flow.Pipeline = pipeline) -> Sample:
        return used.sample(source, n, catalog="catalog")

    return start


def numbers(folder: Path, count: int = 100, files: int = 10) -> Path:
    (folder / "source").mkdir()
    size = count // files
    for at in range(files):
        pq.write_table(pa.table({"number": range(at * size, (at + 1) * size)}), folder / "source" / f"{at}.parquet")
    return folder / "source"


def test_a_sample_takes_records_from_all_over_the_source(sample: Callable[..., Sample], tmp_path: Path) -> None:
    found = sample(numbers(tmp_path))
    taken = found.table["number"].to_pylist()
    assert len(taken) == len(set(taken)) == 20
    assert min(taken) < 10
    assert max(taken) >= 70
    assert found.table["double"].to_pylist() == [2 * number for number in taken]


def test_each_service_is_called_once_for_each_record(sample: Callable[..., Sample], tmp_path: Path) -> None:
    found = sample(numbers(tmp_path))
    assert sorted(CALLS) == sorted(found.table["number"].to_pylist())


def test_nothing_is_written_anywhere(sample: Callable[..., Sample], tmp_path: Path) -> None:
    sample(numbers(tmp_path))
    sample(pd.DataFrame({"number": [1, 2]}))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_the_fate_of_each_record_is_told(sample: Callable[..., Sample], tmp_path: Path) -> None:
    found = sample(pa.table({"number": [1, 3, 4, None]}))
    fates = [{name: (one.status, one.reason) for name, one in fate.items()} for fate in found.fates]
    good = (Status.SUCCEEDED, None)
    assert [fate["paid"] for fate in fates] == [
        good,
        (Status.NOT_FOUND, "not found"),
        (Status.FAILED, "ValueError"),
        (Status.SKIPPED, "missing input"),
    ]
    assert [fate["double"] for fate in fates] == [good] * 4
    lines = str(found).splitlines()
    assert lines[0].split() == ["record", "double", "paid", "low", "rejected"]
    assert "failed: ValueError" in lines[4]
    assert repr(found) == str(found)


def test_what_would_be_rejected_stays_with_its_reason(sample: Callable[..., Sample]) -> None:
    strict = flow.Pipeline("p", [paid.with_(priority="critical"), low], invalid="reject")
    found = sample(pa.table({"number": [1, 4, 80]}), used=strict)
    kept, failed, invalid = found.table["rejected"].to_pylist()
    assert (kept, invalid) == (None, "low: low is false")
    assert failed.startswith("paid: ValueError: bad (test_trial.py, line ")
    assert found.table["paid"].to_pylist() == ["n1", None, None]


def test_a_sample_as_plain_values_and_as_pandas(sample: Callable[..., Sample]) -> None:
    found = sample(pa.table({"number": [1, 4]}))
    told = json.loads(json.dumps(found.to_dict()))
    assert told["fates"][1]["paid"][:2] == ["failed", "ValueError"]
    assert "bad (test_trial.py, line " in told["fates"][1]["paid"][2]
    assert [record["paid"] for record in told["records"]] == ["n1", None]
    assert found.to_pandas()["double"].tolist() == [2, 8]


def test_a_service_that_looks_across_records_is_named(sample: Callable[..., Sample], tmp_path: Path) -> None:
    source = numbers(tmp_path)
    found = sample(source, used=flow.Pipeline("p", [double, scaled]))
    assert found.notes == ("`scaled` is not row-wise: its result depends on which records come together",)
    assert sample(source, used=flow.Pipeline("p", [scaled.with_(rowwise=False)])).notes == ()
    assert sample(source, 1, used=flow.Pipeline("p", [scaled])).notes == ()


def test_a_column_service_is_tried_on_the_records_it_applies_to(sample: Callable[..., Sample]) -> None:
    @flow.transformation(returns=int, when="odd", into="result")
    def checked(number: pa.ChunkedArray) -> pa.ChunkedArray:
        if pc.any(pc.equal(pc.bit_wise_and(number, 1), 0)).as_py():
            raise ValueError("even")
        return number

    source = pa.table({"number": range(20), "odd": [at % 2 == 1 for at in range(20)]})
    found = sample(source, used=flow.Pipeline("p", [checked]))
    assert found.notes == ()
    assert found.table["result"].to_pylist() == [at if at % 2 else None for at in range(20)]


def test_unreadable_records_are_counted(sample: Callable[..., Sample], tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text("number\n1\nx\n3\n")
    found = sample("numbers.csv")
    assert found.table["number"].to_pylist() == [1, 3]
    assert found.notes == ("records of the slices looked at that cannot be read, and would be rejected: 1",)


def test_a_dask_frame_computes_some_partitions_only(sample: Callable[..., Sample], tmp_path: Path) -> None:
    import dask
    import dask.dataframe as dd

    log = tmp_path / "partitions"

    def make(at: int) -> pd.DataFrame:
        with log.open("a") as file:
            file.write(f"{at}\n")
        return pd.DataFrame({"number": [at, at + 100]})

    source = dd.from_map(make, list(range(40)), meta=pd.DataFrame({"number": pd.Series([], dtype="int64")}))
    with dask.config.set(scheduler="threads"):
        found = sample(source, 4)
    assert found.table["number"].to_pylist() == [0, 10, 20, 30]
    assert sorted(map(int, log.read_text().split())) == [0, 10, 20, 30]


def test_a_small_or_empty_source(sample: Callable[..., Sample]) -> None:
    assert sample(pa.table({"number": [1]})).table.num_rows == 1
    empty = sample(pa.table({"number": pa.array([], pa.int64())}))
    assert (empty.table.num_rows, empty.fates) == (0, ())
    assert str(empty)


def test_a_sample_of_nothing_and_of_no_source_is_refused(sample: Callable[..., Sample]) -> None:
    with pytest.raises(DeclarationError, match="n takes a whole number from 1"):
        sample(pa.table({"number": [1]}), 0)
    with pytest.raises(SourceError, match=r"missing\.csv"):
        sample("missing.csv")
