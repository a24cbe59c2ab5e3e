"""What a provider gets of the braces of a template: in a path, a query, a body, a batch and a prompt."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest

import dataflow as flow

TITLE: dict[str, Any] = {"returns": {"title": str | None}, "select": {"title": "name"}}
VALID: dict[str, Any] = {"returns": {"valid": bool}}
SAID = 'Write {"name": {{name}}, "of": {key}} and {{', 'Write {"name": {name}, "of": k{name}} and {{'


def keys(bench: Any, service: flow.Service, path: str) -> set[str]:
    """What the server was asked for, by a record whose value looks like a column."""
    said = bench.run(service, ["k{name}"]).statistics["services"][service.name]
    assert said["failed"] + said["not_attempted"] == 0
    return set(bench.seen(path)["by_key"])


def test_a_path_holds_the_name_and_the_value(bench: Any) -> None:
    service = bench.api().get("company", "/v2/companies/{{name}}-{key}.example", **TITLE)
    assert {unquote(one) for one in keys(bench, service, "/v2/companies")} == {"{name}-k{name}.example"}


def test_a_query_holds_the_name_and_the_value(bench: Any) -> None:
    service = bench.api().get("social", "/v2/social", params={"domain": "{{name}}-{key}}}"}, **TITLE)
    assert keys(bench, service, "/v2/social") == {"{name}-k{name}}}"}


@pytest.mark.parametrize(
    ("written", "got"), [SAID, ("{{key}}{key}", "{key}k{name}"), ("{{{key}}} {key}", "{{key}} k{name}")]
)
def test_a_body_holds_the_name_and_the_value(bench: Any, written: str, got: str) -> None:
    service = bench.api().post(
        "phone", "/v2/phones/check", json={"phone": written, "deep": {"{{key}}": "{{key}}"}}, **VALID
    )
    assert keys(bench, service, "/v2/phones/check") == {got}


def test_a_batch_holds_the_name_and_the_values(bench: Any) -> None:
    service = bench.api().post("company", "/v2/companies/batch", json={"domains": ["{{name}}.{key}"]}, batch=5, **TITLE)
    assert keys(bench, service, "/v2/companies/batch") == {"{name}.k{name}"}


def test_a_prompt_holds_the_name_and_the_value(bench: Any) -> None:
    api = bench.api(f"{bench.server.url}/v1")
    service = flow.llm("said", api=api, model="demo-small", prompt=SAID[0])
    assert keys(bench, service, "/v1/chat/completions") == {SAID[1]}


def test_graphql_gets_its_data_beside_it(bench: Any) -> None:
    service = bench.api().post(
        "company",
        "/graphql",
        json={"query": "query($d:ID!){company(domain:$d){{name}}}", "variables": {"d": "{key}"}},
        returns={"title": str},
        select={"title": "data.company.name"},
    )
    assert keys(bench, service, "/graphql") == {"query($d:ID!){company(domain:$d){name}}"}


def test_a_template_whose_braces_are_doubled_later_asks_anew(bench: Any) -> None:
    api = bench.api()
    for text, calls in (("{key}{key}", 1), ("{key}{key}", 1), ("{{key}}{key}", 2), ("{{key}}{key}", 2)):
        service = api.post("phone", "/v2/phones/check", json={"phone": text}, **VALID)
        bench.run(service, ["1"])
        assert bench.seen("/v2/phones/check")["calls"] == calls
