"""What the provider says of a request as it was sent: its headers, the type of its body, its GraphQL."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import Running, serve


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve(unknown=0, logged="Accept, x-own") as provider:
        yield provider


@pytest.fixture
def provider(running: Running) -> Running:
    running.control(restore=True)
    running.reset()
    return running


def post(provider: Running, path: str, body: Any, headers: Sequence[tuple[str, str]] = ()) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(provider.url).netloc, timeout=20)
    text = json.dumps(body).encode()
    try:
        connection.putrequest("POST", path, skip_accept_encoding=True)
        for name, value in (*headers, ("Content-Length", str(len(text)))):
            connection.putheader(name, value)
        connection.endheaders(text)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_the_log_keeps_the_headers_that_are_asked_for_and_shows_one_that_came_twice(provider: Running) -> None:
    post(provider, "/v2/phones/check", {"phone": "1"}, [("X-Own", "a"), ("x-own", "b"), ("X-Other", "c")])
    post(provider, "/v2/phones/check", {"phone": "1"}, [("Accept", "text/html"), ("Authorization", "Bearer t")])
    assert [entry[4] for entry in provider.log()] == [
        {"x-own": "a, b"},
        {"accept": "text/html", "authorization": "Bearer t"},
    ]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Content-Type", "application/vnd.api+json")], 200),
        ([("content-type", "application/vnd.API+json; charset=utf-8")], 200),
        ([("Content-Type", "application/json")], 415),
        ([("Content-Type", "application/vnd.api+json"), ("Content-Type", "application/json")], 415),
        ([], 415),
    ],
)
def test_bodies_of_another_type_are_refused_where_only_one_is_taken(
    provider: Running, headers: list[tuple[str, str]], status: int
) -> None:
    provider.control(media="application/vnd.api+json")
    found, said = post(provider, "/v2/phones/check", {"phone": "1"}, headers)
    assert found == status
    assert status == 200 or said["error"]["message"] == "bodies are of application/vnd.api+json here"


@pytest.mark.parametrize(
    ("query", "variables", "expected"),
    [
        ("query($d: ID!) {company(domain: $d) {name}}", {"d": "silverlake-solar.example"}, "Silverlake Solar"),
        ("query Of ($d: ID!) { company(domain: $d) { name, domain } }", {"d": "a.example"}, "A"),
        ('{company(domain:"b.example"){name}}', None, "B"),
        ("query($d: ID!) {company(domain: $d) A}", {"d": "a.example"}, "Syntax Error: expected a query of company"),
        ("{company(domain: $d) {name}}", {}, "Variable $d is no domain"),
        ('{company(domain:"b.example"){nmae}}', None, 'Cannot query field "nmae" on type "Company"'),
        ("", None, "Syntax Error: expected a query of company"),
    ],
)
def test_graphql_gets_the_fields_that_it_asks_for_or_errors(
    provider: Running, query: str, variables: Any, expected: str
) -> None:
    _, said = post(provider, "/graphql", {"query": query or " ", "variables": variables})
    found = said["data"]["company"]["name"] if "data" in said else said["errors"][0]["message"]
    assert found == expected
