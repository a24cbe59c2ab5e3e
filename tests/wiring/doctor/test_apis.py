"""APIs: whether they may be asked, whether they answered, which secrets they lack, and what limits them."""

from __future__ import annotations

from typing import Any

import pytest

import dataflow as flow
from dataflow.wiring.doctor.apis import apis_of, judge_limits, judge_reach, judge_secrets, may_be_asked
from dataflow.wiring.doctor.findings import Level

URL = "https://api.acme.example/v2"
KEYED = flow.API("acme", URL, auth=flow.bearer("ACME_KEY"), rate="100/s", concurrency=8, timeout=5)
FREE = flow.API("free", URL)


@flow.enrichment(api=KEYED)
async def keyed(domain: str, client: Any) -> str:
    return domain


@flow.enrichment(api=FREE)
async def unkeyed(domain: str, client: Any) -> str:
    return domain


@pytest.mark.parametrize(
    ("api", "services", "may"),
    [
        (KEYED, [KEYED.get("a", "/companies/{domain}", returns=str)], True),
        (KEYED, [KEYED.get("a", "/", params={"q": "{domain}"}, returns=str)], False),
        (
            KEYED,
            [KEYED.get("a", "/c/{domain}", returns=str), KEYED.post("b", "", json={"q": "{d}"}, returns=str)],
            False,
        ),
        (KEYED, [keyed], True),
        (FREE, [flow.llm("a", api=FREE, model="small", prompt="What is {domain}?")], True),
        (FREE, [unkeyed], False),
    ],
)
def test_the_base_url_is_asked_only_where_that_is_no_call_of_a_service(api: Any, services: Any, may: bool) -> None:
    assert may_be_asked(api, services) is may


def test_each_api_comes_once_with_its_services() -> None:
    one, other = (KEYED.get(name, "/c/{domain}", returns=str) for name in ("one", "other"))
    assert apis_of([one, unkeyed, other]) == {KEYED: [one, other], FREE: [unkeyed]}


DOWN, UP = {"trouble": "the connection is refused"}, {"status": 401}


@pytest.mark.parametrize(
    ("here", "there", "levels"),
    [
        (UP, {}, [Level.OK]),
        ({"connected": True}, {}, [Level.OK]),
        (DOWN, {}, [Level.PROBLEM]),
        (DOWN, {"w": UP}, [Level.WARNING, Level.OK]),
        (UP, {"w": DOWN}, [Level.OK, Level.PROBLEM]),
    ],
)
def test_an_api_must_answer_where_calls_are_made(here: Any, there: Any, levels: list[Level]) -> None:
    assert [one.level for one in judge_reach(KEYED, here=here, there=there)] == levels


def test_any_answer_counts_and_its_status_is_named() -> None:
    (found,) = judge_reach(KEYED, here={"status": 503}, there={})
    assert str(found) == "ok       API acme: api.acme.example answers from here, HTTP 503"


@pytest.mark.parametrize(
    ("here", "there", "private", "level", "fact"),
    [
        ([], None, False, Level.OK, "set here: ACME_KEY"),
        (["ACME_KEY"], None, False, Level.PROBLEM, "not set: ACME_KEY"),
        (["ACME_KEY"], {"w": []}, False, Level.OK, "set on the workers: ACME_KEY"),
        ([], {"w": ["ACME_KEY"]}, True, Level.OK, "set here and sent to the workers: ACME_KEY"),
        ([], {"w": ["ACME_KEY"]}, False, Level.PROBLEM, "worker w lacks ACME_KEY, and without TLS nothing is sent"),
        (["ACME_KEY"], {"v": [], "w": ["ACME_KEY"]}, True, Level.PROBLEM, "set neither here nor on worker w: ACME_KEY"),
    ],
)
def test_secrets_are_looked_for_where_calls_are_made(
    here: list[str], there: Any, private: bool, level: Level, fact: str
) -> None:
    (found,) = judge_secrets(KEYED, unset_here=here, unset_there=there, private=private)
    assert (found.level, found.fact) == (level, fact)


def test_an_api_without_secrets_has_nothing_to_tell_of_them() -> None:
    assert judge_secrets(FREE, unset_here=[], unset_there=None, private=False) == []


@pytest.mark.parametrize(
    ("held", "state", "level", "fact"),
    [
        (None, "closed", Level.OK, "3 in flight now, the breaker is closed"),
        (None, "open", Level.WARNING, "the breaker is open, since calls have failed"),
        ("open", "closed", Level.WARNING, "the breaker is held open"),
        ("closed", "open", Level.OK, "the breaker is held closed"),
    ],
)
def test_limits_and_the_breaker_of_a_cluster(held: Any, state: str, level: Level, fact: str) -> None:
    (found,) = judge_limits(KEYED, {"breaker": {"held": held, "state": state}, "in_flight": 3})
    assert found.level is level
    assert fact in found.fact


def test_limits_without_a_cluster_are_those_of_the_declaration() -> None:
    (found,) = judge_limits(KEYED, None)
    assert found.fact == "100/s, at most 8 in flight, 5 s for an attempt, a breaker"
