"""The guardrails that a job names, checked against its pipeline while declaring."""

from __future__ import annotations

from typing import Any

import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.policies.guardrail import MaxFailures

acme = flow.API("acme", "https://acme.example")
company = acme.get("company", "/companies/{domain}", returns={"title": str})
news = acme.get("news", "/news/{domain}", returns={"headline": str})
industry = flow.lookup("industry", table="industries.csv", on="domain")


@flow.transformation
def domain(domain: str) -> str:
    return domain


@flow.enrichment
def size(domain: str) -> int:
    return len(domain)


pipeline = flow.Pipeline("leads", [domain, company, news, industry, size])


def job(used: flow.Pipeline = pipeline, **options: Any) -> flow.Job:
    return flow.Job(used, source="leads.csv", output="leads", **options)


def test_by_default_one_percent_may_fail_and_nothing_needs_to_be_found() -> None:
    assert job().guardrails.max_failures == MaxFailures(share=0.01)
    assert job().guardrails.min_found == {}
    assert (job().min_found, job().deadline) == (None, None)


@pytest.mark.parametrize(
    ("given", "watched"),
    [
        ("20%", {"company": 0.2, "news": 0.2}),
        (0.5, {"company": 0.5, "news": 0.5}),
        ({"company": "20%"}, {"company": 0.2}),
        ({"industry": "12.5 %", "size": 0.0}, {"industry": 0.125, "size": 0.0}),
        ({}, {}),
    ],
)
def test_min_found_watches_those_that_call_an_api_or_those_that_are_named(
    given: Any, watched: dict[str, float]
) -> None:
    assert job(min_found=given).guardrails.min_found == watched


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_found": {"compny": "20%"}}, "`compny`, which is no service of the pipeline; did you mean `company`?"),
        ({"min_found": {"x": "20%"}}, "its enrichments are `company`, `news`, `industry`, `size`"),
        ({"min_found": {7: "20%"}}, "`7`, which is no service"),
        ({"min_found": {"domain": "20%"}}, "`domain`, a transformation; only enrichments"),
        ({"min_found": {"company": "lots"}}, 'min_found of `company` takes a share such as "20%" or 0.2'),
        ({"min_found": 1}, 'min_found takes a share such as "20%" or 0.2'),
        ({"min_found": "120%"}, 'min_found takes a share such as "20%" or 0.2'),
        ({"min_found": ["company"]}, 'min_found takes a share such as "20%" or 0.2'),
        ({"deadline": "soon"}, "deadline takes seconds or a duration"),
        ({"deadline": 0}, "deadline takes seconds or a duration"),
        ({"max_failures": "lots"}, 'max_failures takes a share such as "1%"'),
    ],
)
def test_what_is_no_guardrail_is_refused_while_declaring(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        job(**options)
    assert message in str(caught.value)


def test_a_share_for_every_api_is_refused_where_nothing_calls_one() -> None:
    local = flow.Pipeline("local", [domain, size])
    with pytest.raises(DeclarationError, match=r'this pipeline has none; name what you mean: min_found=\{"service"'):
        job(local, min_found="20%")
    assert job(local, min_found={"size": "20%"}).guardrails.min_found == {"size": 0.2}
    with pytest.raises(DeclarationError, match="it has no enrichment"):
        job(flow.Pipeline("plain", [domain]), min_found={"company": "20%"})
