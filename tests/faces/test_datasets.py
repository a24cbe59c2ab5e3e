"""A dataset in a notebook: its columns with their nulls and its first records, read only where they are at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.faces.datasets import dataset_html, dataset_page
from dataflow.faces.view import DatasetView
from dataflow.store.dataset import Dataset

VIEW = DatasetView(
    name="leads",
    version=3,
    path="/data/leads/v3",
    rows=4,
    columns=(("id", "int64"), ("note", "string")),
    nulls={"id": 0, "note": 3},
)


@flow.transformation
def email(email: str) -> str:
    return email.lower()


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    table = pa.table({"email": [f"L{at}@X" for at in range(7)] + [None], "note": ["<script>"] * 8})
    run = flow.Pipeline("leads", [email]).run(table, "leads", catalog=str(tmp_path))
    assert run.dataset is not None
    return run.dataset


def test_a_column_tells_how_much_of_it_is_filled() -> None:
    page = dataset_html(VIEW)
    assert 'aria-label="25 %"' in page
    assert ">3</td>" in page


def test_without_counts_there_are_no_bars() -> None:
    assert "<svg" not in dataset_html(replace(VIEW, nulls={}))


def test_the_first_records_are_shown(dataset: Dataset) -> None:
    page = dataset_page(dataset)
    assert "the first records:" in page
    assert "l4@x" in page
    assert "l5@x" not in page


def test_records_are_text(dataset: Dataset, tags: Any) -> None:
    page = tags(dataset._repr_html_())
    assert "script" not in page.seen
    assert page.open == []


def test_no_record_is_read_from_behind_a_url(dataset: Dataset) -> None:
    page = dataset_page(replace(dataset, path="s3://bucket/leads/v1"))
    assert "the first records:" not in page
    assert "no records" not in page


def test_a_part_that_is_gone_is_named_instead(dataset: Dataset) -> None:
    Path(dataset.files[0]).unlink()
    page = dataset_page(dataset)
    assert "no records:" in page
    assert "is gone" in page
    assert "email" in page


def test_statistics_of_a_version_show_themselves(dataset: Dataset) -> None:
    assert "<svg" in dataset.statistics._repr_html_()  # type: ignore[attr-defined]


def test_a_dataset_without_records_is_its_columns(tmp_path: Path) -> None:
    table = pa.table({"email": pa.array([], pa.string())})
    run = flow.Pipeline("leads", [email]).run(table, "leads", catalog=str(tmp_path))
    assert run.dataset is not None
    assert "email" in dataset_page(run.dataset)
