"""Inside a `for_each`: what is keyed on the record runs once, the rest for each item."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.plan.binding import bind
from dataflow.plan.explain import explain_graph
from dataflow.plan.fingerprint import changes, fingerprints
from dataflow.plan.graph import Graph
from dataflow.plan.nesting import Nest
from dataflow.services.service import Service

POSTS = pa.schema(
    {
        "topic": pa.string(),
        "channels": pa.list_(pa.string()),
        "people": pa.list_(pa.struct({"name": pa.string(), "topic": pa.string()})),
    }
)


@flow.transformation
def slug(topic: str) -> str: ...


@flow.enrichment
def text(slug: str, item: str) -> str: ...


@flow.validation
def short(text: str) -> bool: ...


@flow.transformation
def greeting(name: str, topic: str) -> str: ...


def graph(*services: Service, column: str = "channels", schema: pa.Schema = POSTS, **options: Any) -> Graph:
    return bind([flow.for_each(column, services, into="content", **options)], schema, name="posts")


def nest(*services: Service, column: str = "channels") -> Nest:
    found = graph(*services, column=column).steps[0].nest
    assert found is not None
    return found


def names(one: Graph | None) -> list[str]:
    return [] if one is None else [step.service.name for step in one.steps]


def test_what_reads_no_item_runs_once_for_a_record() -> None:
    found = nest(slug, text)
    assert names(found.record) == ["content.slug"]
    assert names(found.items) == ["content.text"]


def test_the_fields_of_a_struct_are_columns_and_hide_those_of_the_record() -> None:
    found = nest(greeting, column="people")
    assert names(found.record) == []
    assert names(found.items) == ["content.greeting"]
    assert list(found.given) == []


def test_a_result_holds_the_item_what_was_written_and_what_a_run_adds() -> None:
    fields = {field.name: field.type for field in nest(slug, text).type.value_type}
    assert list(fields) == ["item", "slug", "text", "completeness", "degraded"]
    assert [field.name for field in nest(slug).type.value_type] == ["item", "slug"]
    judged = [field.name for field in nest(slug, text, short).type.value_type]
    assert judged == ["item", "slug", "text", "is_valid", "validations", "completeness", "degraded"]


def test_the_results_are_one_column_of_the_output() -> None:
    assert graph(slug, text).output.names == [*POSTS.names, "content", "is_valid", "completeness", "degraded"]


@pytest.mark.parametrize(
    ("services", "options", "said"),
    [
        ((slug,), {"column": "topic"}, "is string and no list"),
        ((text,), {}, "`content.text` reads `slug`, which nothing before it provides"),
        ((slug,), {"column": "people", "item": "name"}, "which is a field of it as well"),
        ((slug,), {"column": "missing"}, "reads `missing`, which nothing before it provides"),
    ],
)
def test_wrong_wiring_is_refused(services: tuple[Service, ...], options: Any, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        graph(*services, **options)


def test_explain_tells_what_runs_inside() -> None:
    told = str(explain_graph(graph(slug, text)))
    assert "content.slug" in told
    assert "content.text" in told
    assert told.index("content.slug") < told.index("content.text")


def test_another_service_inside_is_another_plan() -> None:
    def plan(*services: Service) -> dict[str, str]:
        return fingerprints(graph(*services), files=[], options={}, key=())

    assert changes(plan(slug, text), plan(slug, text)) == []
    changed = text.with_(version="2")
    assert changes(plan(slug, text), plan(slug, changed)) == ["service content.text"]


def test_what_is_not_published_is_no_field_of_a_result() -> None:
    found = nest(slug.with_(publish=False), text.with_(publish=False), short)
    assert [field.name for field in found.type.value_type] == [
        "item",
        "is_valid",
        "validations",
        "completeness",
        "degraded",
    ]
