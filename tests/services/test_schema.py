"""The schema of a type is the one that strict answers ask for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pyarrow as pa
import pytest

from dataflow.errors import DeclarationError
from dataflow.services.schema import response_format, schema_of

TEXT, WHOLE = {"type": "string"}, {"type": "integer"}


class Address(TypedDict):
    city: str
    zip: NotRequired[str]


@dataclass
class Person:
    name: str
    age: int | None
    addresses: list[Address]


ADDRESS = {
    "type": "object",
    "properties": {"city": TEXT, "zip": {"type": ["string", "null"]}},
    "required": ["city", "zip"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, TEXT),
        (int, WHOLE),
        (float, {"type": "number"}),
        (int | float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (Decimal, {"type": "number"}),
        (date, {"type": "string", "format": "date"}),
        (str | None, {"type": ["string", "null"]}),
        (Annotated[int, "years"], WHOLE),
        (Literal["warm", "cold"], {"type": "string", "enum": ["warm", "cold"]}),
        (Literal[1, 2] | None, {"type": ["integer", "null"], "enum": [1, 2, None]}),
        (list[int], {"type": "array", "items": WHOLE}),
        (list[str] | None, {"type": ["array", "null"], "items": TEXT}),
        (dict[str, int], {"type": "object", "additionalProperties": WHOLE}),
        (Address, ADDRESS),
        (pa.list_(pa.int32()), {"type": "array", "items": WHOLE}),
        (pa.struct([("a", pa.int8())]), schema_of({"a": int | None}, where="")),
    ],
)
def test_the_schema_of_a_type(annotation: Any, schema: dict[str, Any]) -> None:
    assert schema_of(annotation, where="`x` returns") == schema


def test_records_within_records_have_theirs() -> None:
    schema = schema_of(Person, where="")
    assert schema["required"] == ["name", "age", "addresses"]
    assert schema["properties"]["addresses"] == {"type": "array", "items": ADDRESS}


@pytest.mark.parametrize("annotation", [bytes, pa.binary(), pa.duration("s")])
def test_what_json_has_no_value_for_is_refused(annotation: Any) -> None:
    with pytest.raises(DeclarationError, match=r"`x` returns .* JSON has no value for"):
        schema_of(annotation, where="`x` returns")


def test_a_request_names_the_schema_and_wraps_what_is_no_record() -> None:
    asked = response_format(int, wrapped=True, name="lead.score")
    assert asked["type"] == "json_schema"
    assert asked["json_schema"] == {
        "name": "lead_score",
        "strict": True,
        "schema": schema_of({"answer": int}, where=""),
    }
    assert response_format(Address, wrapped=False, name="x")["json_schema"]["schema"] == ADDRESS


def test_keys_that_are_not_known_beforehand_are_not_strict() -> None:
    assert response_format({"a": dict[str, int]}, wrapped=False, name="x")["json_schema"]["strict"] is False
