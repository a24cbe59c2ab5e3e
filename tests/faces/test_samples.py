"""A sample in a notebook: what services have changed, added and failed at is seen at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.faces import samples
from dataflow.faces.samples import sample_html
from dataflow.wiring.trial import Sample

EVIL = "<script>alert(1)</script>"


@flow.transformation
def email(email: str) -> str:
    return email.strip().lower()


@flow.validation
def given(email: str) -> str | None:
    return None if "@" in email else "no address"


@flow.enrichment
def firm(email: str) -> str:
    match email:
        case "fail@x":
            raise ValueError("broken")
        case "none@x":
            raise flow.NotFound
        case "reject@x":
            raise flow.Reject("not ours")
        case _:
            return f"the firm of {email}"


pipeline = flow.Pipeline("leads", [email, given, firm])


@pytest.fixture
def page(tmp_path: Path) -> Any:
    def of(emails: list[str | None], **columns: Any) -> str:
        table = pa.table({"email": pa.array(emails, pa.string()), **columns})
        return sample_html(pipeline.sample(table, len(emails), catalog=str(tmp_path / "catalog")))

    return of


def rows(page: str) -> list[list[str]]:
    """The cells of each record, as markup."""
    found = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]
    return [row for row in found if row]


def test_a_value_that_a_service_has_changed_tells_what_it_was(page: Any) -> None:
    changed, untouched = (row[2] for row in rows(page([" A@x ", "b@x"])))
    assert 'title="email changed it, before:  A@x "' in changed
    assert samples.CHANGED in changed
    assert ">b@x<" in untouched
    assert "title" not in untouched


def test_a_value_that_a_service_has_added_is_tinted(page: Any) -> None:
    (row,) = rows(page(["a@x"]))
    assert 'title="firm added it"' in row[3]
    assert samples.ADDED in row[3]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("fail@x", "failed: ValueError"),
        ("none@x", "not found"),
        (None, "skipped: missing input"),
    ],
)
def test_in_place_of_a_missing_value_stands_why(page: Any, value: str | None, told: str) -> None:
    assert told in rows(page([value]))[0][3]


def test_a_failure_is_red(page: Any) -> None:
    assert samples.WRONG in rows(page(["fail@x"]))[0][3]


@pytest.mark.parametrize(
    ("value", "told"),
    [("a@x", "valid"), ("ax", "given: no address"), ("fail@x", "degraded"), ("reject@x", "rejected")],
)
def test_each_record_tells_where_it_ends(page: Any, value: str, told: str) -> None:
    assert told in rows(page([value]))[0][1]


def test_why_a_record_is_rejected_stands_in_its_row(page: Any) -> None:
    assert "firm: not ours" in rows(page(["reject@x"]))[0][1]


def test_columns_that_services_write_come_first(page: Any) -> None:
    heads = re.findall(r"<th [^>]*>(.*?)</th>", page(["a@x"], note=["n"]))
    assert heads == ["", "record", "email", "firm", "note", "completeness", "degraded"]


def test_values_are_text_shortened_and_keep_their_direction(page: Any, tags: type) -> None:
    shown = page([EVIL + "@x", "y" * 10_000, "שלום@x 🚀"])
    assert len(shown) < 6_000
    assert "<bdi>שלום@x 🚀</bdi>" in shown
    read = tags(shown)
    assert "script" not in read.seen
    assert read.open == []


def test_of_many_records_and_columns_the_first_are_shown(page: Any) -> None:
    shown = page(["a@x"] * 120, **{f"c{at}": [1] * 120 for at in range(70)})
    assert len(rows(shown)) == 100
    assert "20 more records" in shown
    assert "14 more columns" in shown


def test_a_value_tells_which_of_several_services_has_given_it(tmp_path: Path) -> None:
    @flow.enrichment(name="other", into="firm", overwrite="nulls")
    def other(email: str) -> str:
        return "another"

    both = flow.Pipeline("leads", [email, firm, other])
    found = both.sample(pa.table({"email": ["a@x", "none@x"]}), 2, catalog=str(tmp_path / "catalog"))
    first, second = (row[3] for row in rows(sample_html(found)))
    assert 'title="firm added it"' in first
    assert 'title="other added it"' in second


def test_nanoseconds_are_shown(page: Any) -> None:
    shown = page(["a@x"], at=pa.array([1], pa.timestamp("ns")))
    assert "1970-01-01 00:00:00.000000001" in shown


def test_notes_bill_and_quote_stand_below(tmp_path: Path) -> None:
    acme = flow.API("acme", "https://acme.example")
    company = acme.get("company", "/{email}", returns={"firm": str}, price=0.01)
    with flow.testing.offline(acme=lambda request: {"firm": "Acme"}):
        sample = flow.Pipeline("leads", [company]).sample(
            pa.table({"email": ["a", "b", "c"]}), 2, catalog=str(tmp_path / "catalog")
        )
    page = sample_html(sample)
    assert "2 calls for a sample of 2, USD 0.02" in page
    assert "the whole source:" in page
    assert "3 records" in page


def test_a_sample_shows_itself_in_a_notebook(tmp_path: Path) -> None:
    sample = pipeline.sample(pa.table({"email": ["A@x"]}), 1, catalog=str(tmp_path / "catalog"))
    assert isinstance(sample, Sample)
    assert sample.before.to_pydict() == {"email": ["A@x"]}
    assert sample.writers == {"email": ("email",), "firm": ("firm",)}
    assert "<table" in sample._repr_html_()
