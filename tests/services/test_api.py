"""An API is declared by its account and its limits; what makes no sense is refused where it is written."""

from __future__ import annotations

from typing import Any

import cloudpickle
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.policies.breaker import Breaker
from dataflow.policies.retry import Retry


def acme(**options: Any) -> flow.API:
    return flow.API("acme", "https://acme.example/v2", **options)


def test_the_defaults_are_those_of_the_table() -> None:
    one = acme()
    assert (one.concurrency, one.timeout, one.max_answer, one.rates) == (16, 30.0, 10_000_000, ())
    assert (one.retry, one.breaker, one.auth, one.ca_file) == (Retry(), Breaker(), None, None)
    assert dict(one.headers) == {}


@pytest.mark.parametrize(
    ("option", "given", "attribute", "expected"),
    [
        ("concurrency", None, "concurrency", None),
        ("concurrency", 64, "concurrency", 64),
        ("timeout", "5s", "timeout", 5.0),
        ("timeout", 5, "timeout", 5.0),
        ("retry", 5, "retry", Retry(attempts=5)),
        ("retry", False, "retry", Retry(attempts=1)),
        ("retry", flow.Retry(attempts=2, initial=0), "retry", Retry(attempts=2, initial=0)),
        ("breaker", False, "breaker", None),
        ("breaker", {"threshold": 9}, "breaker", Breaker(threshold=9)),
        ("max_answer", "1MiB", "max_answer", 2**20),
        ("ca_file", "ca.pem", "ca_file", "ca.pem"),
        ("allow_hosts", "EU.acme.example", "allow_hosts", ("eu.acme.example",)),
        ("allow_hosts", ["*.acme.example"], "allow_hosts", ("*.acme.example",)),
    ],
)
def test_options_are_read_in_the_forms_that_people_write(
    option: str, given: Any, attribute: str, expected: Any
) -> None:
    assert getattr(acme(**{option: given}), attribute) == expected


def test_several_rates_hold_together() -> None:
    assert len(acme(rate="100/s").rates) == 1
    assert len(acme(rate=["100/s", "50000/day"]).rates) == 2


def test_a_slash_at_the_end_of_the_url_says_nothing() -> None:
    assert flow.API("acme", "https://acme.example/v2/").url == "https://acme.example/v2"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"concurrency": 0}, "concurrency takes a whole number from 1, or None"),
        ({"concurrency": True}, "concurrency takes a whole number from 1"),
        ({"rate": "fast"}, "rate: 'fast' is no rate; write \"100/s\""),
        ({"timeout": 0}, "timeout takes seconds or a duration"),
        ({"timeout": "soon"}, "timeout takes seconds or a duration"),
        ({"retry": 0}, "retry takes the attempts in all"),
        ({"breaker": "on"}, r"breaker takes flow.Breaker\(...\)"),
        ({"max_answer": "big"}, "max_answer takes bytes or a size"),
        ({"allow_hosts": "https://eu.acme.example"}, "allow_hosts= takes names such as api.example.com"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=f"API `acme`: {said}"):
        acme(**options)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("acme.example", "begins with https://host"),
        ("ftp://acme.example", "begins with https://host"),
        ("https://", "begins with https://host"),
        ("https://me:hidden@acme.example", "a secret in a url ends up in logs"),
        ("https://acme.example/v2?key=hidden", "give params= to its services"),
        ("https://acme.example/v2#a", "give params= to its services"),
    ],
)
def test_a_url_that_is_none_or_holds_too_much_is_refused(url: str, said: str) -> None:
    with pytest.raises(DeclarationError, match=said) as caught:
        flow.API("acme", url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "is_valid", "1st"])
def test_a_name_that_could_not_stand_in_a_message_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError):
        flow.API(name, "https://acme.example")


def test_it_travels_to_workers_and_shows_neither_secrets_nor_headers() -> None:
    one = acme(auth=flow.bearer("ACME_KEY"), headers={"X-Own": "hidden"}, rate="5/s", retry=2)
    back = cloudpickle.loads(cloudpickle.dumps(one))
    assert (back.name, back.url, back.auth, back.rates, back.retry) == (
        one.name,
        one.url,
        one.auth,
        one.rates,
        one.retry,
    )
    assert dict(back.headers) == {"X-Own": "hidden"}
    assert repr(back) == "<API acme https://acme.example/v2>"


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        acme().timeout = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        acme().headers["a"] = "b"  # type: ignore[index]


@pytest.mark.parametrize(("declare", "method"), [("get", "GET"), ("post", "POST"), ("put", "PUT")])
def test_each_verb_declares_an_enrichment_of_that_method(declare: str, method: str) -> None:
    service = getattr(acme(), declare)("company", "/c/{x}", returns=str)
    assert (service.endpoint.method, service.kind, service.api.name) == (method, "enrichment", "acme")
