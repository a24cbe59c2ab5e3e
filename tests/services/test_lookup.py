"""Lookups are declared by the key they join on."""

from __future__ import annotations

from typing import Any

import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind, Priority
from dataflow.services.signature import Form


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ("domain", {"domain": "domain"}),
        (["country", "city"], {"country": "country", "city": "city"}),
        ({"domain": "web"}, {"domain": "web"}),
    ],
)
def test_on_names_a_column_of_both_sides_or_several_or_pairs(on: Any, expected: dict[str, str]) -> None:
    found = flow.lookup("ref", table="t.parquet", on=on, select=["a"])
    assert dict(found.lookup.on) == expected
    assert [column for one in found.parameters for column in one.columns] == list(expected)
    assert (found.kind, found.form, found.lookup.select) == (Kind.ENRICHMENT, Form.LOOKUP, ("a",))
    assert (found.policy.priority, found.calls_out, found.outputs) == (Priority.IMPORTANT, False, ())


@pytest.mark.parametrize("on", [[], {}])
def test_a_lookup_without_a_key_is_refused(on: Any) -> None:
    with pytest.raises(DeclarationError, match="`ref`: on= names no column to join by"):
        flow.lookup("ref", table="t", on=on)


@pytest.mark.parametrize("name", ["", "is_valid", "a b", "-"])
def test_a_name_that_cannot_be_a_column_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError):
        flow.lookup(name, table="t", on="x")
