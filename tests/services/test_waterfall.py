"""A waterfall is declared like any service; providers that answer different things are refused."""

from __future__ import annotations

from typing import Any, TypedDict

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.services.service import Service

API = flow.API("acme", "http://127.0.0.1:1")


class Phone(TypedDict):
    number: str
    mobile: bool | None


def provider(name: str, *, returns: Any = str, **options: Any) -> Service:
    return API.get(name, f"/{name}/{{domain}}", returns=returns, **options)


def columns(service: Service) -> list[str]:
    return [output.column for output in service.outputs]


def refused(*services: Any, **options: Any) -> str:
    with pytest.raises(DeclarationError) as caught:
        flow.waterfall("phone", services, **options)
    return str(caught.value)


def test_it_writes_the_answer_and_who_gave_it() -> None:
    assert columns(flow.waterfall("phone", [provider("a")])) == ["phone", "phone_provider"]
    assert columns(flow.waterfall("phone", [provider("a")], into="tel", provider_column="by")) == ["tel", "by"]
    assert columns(flow.waterfall("phone", [provider("a", returns=Phone)])) == ["number", "mobile", "phone_provider"]


def test_columns_of_a_record_are_named_as_those_of_the_first_provider() -> None:
    first = provider("a", returns=Phone, columns={"number": "tel"})
    assert columns(flow.waterfall("phone", [first, provider("b", returns=Phone)]))[0] == "tel"
    assert columns(flow.waterfall("phone", [first], columns={"number": "n"}))[0] == "n"
    assert columns(flow.waterfall("phone", [first], into="phone")) == ["phone", "phone_provider"]


def test_its_providers_are_members_with_a_hidden_column_each() -> None:
    found = flow.waterfall("phone", [provider("a", priority="critical", default=""), provider("b")])
    members = found.every[1:]
    assert [(one.name, one.member_of, one.policy.priority) for one in members] == [
        ("phone.a", "phone", "optional"),
        ("phone.b", "phone", "optional"),
    ]
    assert [columns(one) for one in members] == [["phone.a"], ["phone.b"]]
    assert not any(one.is_published for one in members)


def test_it_reads_what_its_providers_read() -> None:
    other = API.get("b", "/{email}", returns=str, when="is_company")
    read = [column for one in flow.waterfall("phone", [provider("a"), other]).parameters for column in one.columns]
    assert read == ["domain", "email", "is_company"]


def test_the_cheapest_comes_first_and_an_unknown_price_last() -> None:
    listed = [
        provider("dear", price=0.5),
        provider("unknown", price=lambda answer: 1),
        provider("at_most", price=lambda answer: 1, max_price=0.2),
        provider("free"),
        provider("cheap", price=0.1),
    ]
    found = flow.waterfall("phone", listed, order="price").every[1:]
    assert [one.name for one in found] == ["phone.free", "phone.cheap", "phone.at_most", "phone.dear", "phone.unknown"]


def test_a_variant_under_another_name_keeps_its_options() -> None:
    found = flow.waterfall("phone", [provider("a")], priority="critical")
    other = found.with_(name="tel")
    assert [one.name for one in other.every] == ["tel", "tel.a"]
    assert columns(other) == ["tel", "tel_provider"]
    assert other.policy.priority == "critical"
    assert columns(found.named("x.phone")) == ["phone", "phone_provider"]


def test_what_does_not_fit_is_refused() -> None:
    assert "`b` returns int" in refused(provider("a"), provider("b", returns=int))
    assert "takes a list of services" in refused()
    assert "two services called `a`" in refused(provider("a"), provider("a"))
    assert "takes no cache=" in refused(provider("a"), cache="1d")
    assert "until takes a function" in refused(provider("a"), until="found")
    assert 'order takes "price"' in refused(provider("a"), order="speed")
    assert "no service with a price=" in refused(provider("a"), max_cost=1)
    assert "without max_price=" in refused(provider("a", price=lambda answer: 1), max_cost=1)
    assert "could not return" in refused(provider("a"), default=3)
    assert "idempotent=False" in refused(API.post("a", "/", json={"x": "{domain}"}, returns=str, idempotent=False))


def test_only_enrichments_have_answers() -> None:
    @flow.transformation
    def upper(domain: str) -> str: ...

    assert "a transformation; only enrichments" in refused(upper)


def test_a_lookup_follows_what_the_others_return() -> None:
    table = pa.table({"domain": ["a"], "tel": ["1"]})
    local = flow.lookup("local", table=table, on="domain", select=["tel"])
    assert columns(flow.waterfall("phone", [local, provider("a")])) == ["phone", "phone_provider"]
    assert "no service of it says what it returns" in refused(local)
