"""The services that are told their inputs: each answers as it promises, alone goes wrong, and acts once for a key."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from provider import content, leads
from provider.serve import Running, serve

LEAD = {
    "email": "ann@oak-mill.example",
    "name": "Ann",
    "company": "Silver Lake",
    "domain": "oakmill.com",
    "phone": None,
}
IDEA = {
    "topic": "Measuring Hiring in a week",
    "keywords": ["hiring"],
    "channel": "blog",
    "audience": "owners",
    "text": "Hiring, in brief",
    "style": "plain",
    "time": "2027-01-02T10:00:00Z",
}
GIVEN = {
    "email-validator": {"is_valid": bool},
    "email-reputation-checker": {"score": float},
    "social-profile-finder": {"profiles": dict},
    "linkedin-enrichment": {"profile": dict},
    "company-researcher": {"name": str, "employee_count": int, "last_year_employee_count": int, "growth_rate": float},
    "tech-stack-analyzer": {"technologies": list, "categories": list},
    "news-aggregator": {"articles": list},
    "contact-finder": {"additional_emails": list},
    "topic-researcher": {"findings": list},
    "competitor-analyzer": {"insights": list},
    "trend-analyzer": {"trends": list},
    "keyword-researcher": {"keywords": list},
    "content-generator": {"text": str},
    "seo-optimizer": {"text": str},
    "image-generator": {"images": list},
    "hashtag-generator": {"hashtags": list},
    "metadata-generator": {"metadata": dict},
    "optimal-time-finder": {"time": str},
    "content-scheduler": {"scheduled_at": str, "post_id": str},
}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve() as provider:
        yield provider


@pytest.fixture
def provider(running: Running) -> Running:
    running.control(restore=True)
    running.reset()
    return running


def ask(provider: Running, name: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(provider.url).netloc, timeout=20)
    try:
        connection.request("POST", f"/v3/{name}", json.dumps(body or {**LEAD, **IDEA}), headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else text
    finally:
        connection.close()


@pytest.mark.parametrize("name", GIVEN)
def test_each_answers_with_what_it_promises_and_the_same_again(provider: Running, name: str) -> None:
    status, answer = ask(provider, name)
    assert status == 200
    assert {key: type(answer[key]) for key in GIVEN[name]} == GIVEN[name]
    assert ask(provider, name)[1] == answer


@pytest.mark.parametrize("name", GIVEN)
def test_each_goes_wrong_alone(provider: Running, name: str) -> None:
    provider.control(paths={f"/v3/{name}": "status:503"})
    assert ask(provider, name)[0] == 503
    other = next(one for one in GIVEN if one != name)
    assert ask(provider, other)[0] == 200
    provider.control(paths={f"/v3/{name}": "html_200"})
    assert ask(provider, name)[1].startswith(b"<")


def test_a_post_is_scheduled_once_for_a_key(provider: Running) -> None:
    name = "content-scheduler"
    first = ask(provider, name, **{"Idempotency-Key": "a"})
    assert ask(provider, name, {**IDEA, "text": "another"}, **{"Idempotency-Key": "a"}) == first
    ask(provider, name, **{"Idempotency-Key": "b"})
    ask(provider, name)
    ask(provider, name)
    counts = provider.counts()
    assert counts["effects"] == {f"/v3/{name}": 4}
    assert counts["services"][f"/v3/{name}"]["calls"] == 5


def test_facts_about_leads_vary_enough_for_every_case() -> None:
    emails = [f"p{at}@firm-{at}.example" for at in range(300)]
    found = [leads.company(8, {"email": one}) for one in emails]
    growing = [one["growth_rate"] > 0.2 for one in found if one is not None]
    assert None in found
    assert True in growing
    assert False in growing
    skills = [len(one["profile"]["skills"]) for email in emails if (one := leads.profile(8, {"email": email}))]
    assert max(skills) > 10 > min(skills)
    titles = " ".join(a["title"] for at in range(99) for a in leads.news(8, {"company": f"firm-{at}"})["articles"])
    assert all(word in titles for word in ("funding", "raised", "hiring", "expansion", "launch", "release"))


def test_content_follows_what_is_asked_for() -> None:
    assert len(content.images(8, {"topic": "x", "style": "business", "count": 2})["images"]) == 2
    assert len(content.text(8, {**IDEA, "length": 20})["text"]) == 20
    assert len(content.insights(8, {"topic": "Routes", "limit": 2})["insights"]) <= 2
    assert content.hashtags(8, {"text": "Hiring in brief", "count": 1}) == {"hashtags": ["#hiring"]}
