"""Headers are sent as they were written, each once; what could not be, or would be two things, is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.services.headers import holds, joined, of_json, read_headers

NAMES = st.sampled_from(["Accept", "accept", "ACCEPT", "X-Own", "x-own", "Content-Type"])
GROUPS = st.lists(st.dictionaries(NAMES, st.text("ab", max_size=2), max_size=3), max_size=4)


def acme(**options: Any) -> flow.API:
    return flow.API("acme", "https://acme.example", **options)


def declare_api(headers: Any, **options: Any) -> Any:
    return acme(headers=headers, **options)


def declare_service(headers: Any, **options: Any) -> Any:
    return acme(**options).get("company", "/{x}", headers=headers, returns=str)


def declare_effect(headers: Any, **options: Any) -> Any:
    return acme(**options).post("company", "/{x}", headers=headers, returns=str, batch=None, idempotent=False)


@pytest.mark.parametrize("declare", [declare_api, declare_service, declare_effect])
@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"X-Own": "a", "x-own": "b"}, "headers holds X-Own and x-own, which is one header"),
        ({"Content-Type": "a", "Accept": "b", "content-type": "a"}, "Content-Type and content-type"),
        ({"": "a"}, "'', which is no name of a header"),
        ({"X Own": "a"}, "'X Own', which is no name"),
        ({"X:Own": "a"}, "which is no name"),
        ({"Größe": "a"}, "which is no name"),
        ({1: "a"}, "1, which is no name"),
        ({"X-Own": 2}, "a value of X-Own that is no text of one line"),
        ({"X-Own": None}, "a value of X-Own that is no text of one line"),
        ({"X-Own": "secret\r\nX-Other: b"}, "a value of X-Own that is no text of one line"),
        ({"X-Own": "secret\0"}, "a value of X-Own"),
        ({"Content-Length": "3"}, "Content-Length, which is said by whoever sends the body"),
        ({"transfer-encoding": "chunked"}, "transfer-encoding, which is said by whoever"),
        ([("X-Own", "a")], "headers takes a mapping"),
        ("X-Own: a", "headers takes a mapping"),
    ],
)
def test_what_cannot_be_sent_as_written_is_refused_without_its_value(declare: Any, headers: Any, said: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        declare(headers)
    assert said in str(caught.value)
    assert str(caught.value).startswith(("API `acme`: ", "`company`: "))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("declare", [declare_api, declare_service])
@pytest.mark.parametrize(
    ("auth", "name"),
    [
        (flow.bearer("KEY"), "authorization"),
        (flow.basic("USER", "KEY"), "Authorization"),
        (flow.oauth2_client("ID", "KEY", token_url="https://t.example/"), "AUTHORIZATION"),
        (flow.api_key("KEY", header="X-API-Key"), "x-api-key"),
    ],
)
def test_a_header_that_auth_sends_is_not_said_again(declare: Any, auth: Any, name: str) -> None:
    with pytest.raises(DeclarationError, match=f"headers holds {name}, which auth= of the API sends; leave one out"):
        declare({name: "secret"}, auth=auth)
    declare({name: "value"})
    declare({name: "value"}, auth=flow.api_key("KEY", query="key"))


def test_headers_are_kept_as_they_were_written() -> None:
    headers = {"x-own": "ü {x} {{x}}", "ACCEPT": "a, b", "X-Tab": "a\tb", "X-Empty": ""}
    assert dict(declare_api(headers).headers) == headers
    assert declare_service(headers).endpoint.headers == headers


@pytest.mark.parametrize(
    ("api", "own", "keyed"),
    [({}, {}, True), ({}, {"idempotency-key": "k"}, False), ({"IDEMPOTENCY-KEY": "k"}, {}, False)],
)
def test_an_idempotency_key_of_the_author_takes_the_place_of_ours(api: Any, own: Any, keyed: bool) -> None:
    service = acme(headers=api).post("c", "/{x}", headers=own, returns=str)
    assert (service.endpoint.keyed, service.endpoint.repeatable) == (keyed, True)


@given(groups=GROUPS)
def test_joined_headers_have_each_name_once_and_the_last_word(groups: list[dict[str, str]]) -> None:
    found = joined(*groups)
    assert len({name.lower() for name in found}) == len(found)
    last: dict[str, str] = {}
    for group in groups:
        last.update({name.lower(): value for name, value in group.items()})
    assert {name.lower(): value for name, value in found.items()} == last


@pytest.mark.parametrize(
    ("own", "api", "sent"),
    [
        ({}, {}, {"Content-Type": "application/json"}),
        ({"content-type": "application/fhir+json"}, {}, {"content-type": "application/fhir+json"}),
        ({"A": "1"}, {"CONTENT-TYPE": "application/vnd.api+json"}, {"A": "1"}),
    ],
)
def test_a_json_body_says_what_it_is_unless_the_author_has_said_it(own: Any, api: Any, sent: Any) -> None:
    assert of_json(own, api) == sent
    assert holds(of_json(own, api) | api, "content-type")


def test_no_headers_are_an_empty_mapping() -> None:
    assert dict(read_headers(None, auth=None, where="")) == dict(read_headers({}, auth=None, where="")) == {}
