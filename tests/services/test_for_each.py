"""A sub-pipeline is declared like any service; what cannot run for items is refused."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.outcomes import Priority
from dataflow.services.service import Service


@flow.transformation
def shout(topic: str, tone: str) -> str: ...


@flow.enrichment(when="wanted")
def text(shout: str, channel: str) -> str: ...


def refused(*services: Any, column: Any = "channels", **options: Any) -> str:
    with pytest.raises(DeclarationError) as caught:
        flow.for_each(column, services, **{"into": "content", **options})
    return str(caught.value)


def declared(**options: Any) -> Service:
    return flow.for_each("channels", [shout, text], item="channel", **{"into": "content", **options})


def test_it_reads_the_list_and_what_nothing_inside_has_written() -> None:
    read = [column for parameter in declared().parameters for column in parameter.columns]
    assert read == ["channels", "topic", "tone", "wanted"]


def test_it_reads_a_list_of_what_the_services_inside_declare() -> None:
    assert declared().parameters[0].declared.arrow == pa.list_(pa.string())
    assert flow.for_each("n", [text], into="content").parameters[0].declared.arrow is None


def test_its_services_are_members_under_its_name() -> None:
    assert [one.name for one in declared().every] == ["content", "content.shout", "content.text"]
    pipeline = flow.Pipeline("posts", [declared()])
    assert [one.name for one in pipeline.every] == ["content", "content.shout", "content.text"]


def test_a_variant_has_its_own_name_column_and_priority() -> None:
    other = declared().with_(name="posts", into="posted", priority="critical")
    assert [one.name for one in other.every] == ["posts", "posts.shout", "posts.text"]
    assert [output.column for output in other.outputs] == ["posted"]
    assert other.policy.priority is Priority.CRITICAL
    assert declared(name="posts").outputs[0].column == "content"


def test_only_its_services_take_options_of_calls() -> None:
    assert "takes no cache=, timeout=" in refused(shout, cache="1d", timeout=3)


def test_what_is_no_list_of_services_is_refused() -> None:
    assert "takes a list of services" in refused()
    assert "takes a list of services" in refused(print)
    assert "two services called `shout`" in refused(shout, shout)
    assert "the name of a list column" in refused(shout, column=3)
    with pytest.raises(DeclarationError, match="needs into="):
        flow.for_each("channels", [shout])


def test_an_effect_that_may_happen_once_is_refused_with_the_way_out() -> None:
    api = flow.API("mailer", "http://127.0.0.1:1")
    mail = api.post("mail", "/mails", json={"to": "{item}"}, returns=str, idempotent=False)
    assert "Idempotency-Key" in refused(mail)


def test_a_price_inside_belongs_to_the_pipeline() -> None:
    api = flow.API("acme", "http://127.0.0.1:1")
    priced = api.get("priced", "/{item}", returns=str, price=1, currency="EUR")
    other = api.get("other", "/{topic}", returns=str, price=1)
    with pytest.raises(DeclarationError, match="one currency"):
        flow.Pipeline("posts", [other, flow.for_each("channels", [priced], into="content")])
