"""Candidates, how they are found, and the best of them as a service."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.plan.composition import expand
from dataflow.services.best_of import BestOf
from dataflow.services.service import Service

API = flow.API("acme", "http://127.0.0.1:1")


def candidate(name: str, *, quality: float | None = None, **options: Any) -> Service:
    known = {} if quality is None else {"quality": quality}
    return API.get(name, f"/{name}/{{domain}}", **{"returns": str, "capabilities": {"company"}, **known, **options})


GOOD, CHEAP, SLOW = candidate("good", quality=4.6, price=3), candidate("cheap", quality=3, price=0.1), candidate("slow")


def refused(*services: Any, **options: Any) -> str:
    with pytest.raises(DeclarationError) as caught:
        flow.best_of("company", services, **options)
    return str(caught.value)


def chosen(service: Service, durations: dict[str, float] | None = None) -> list[str]:
    """The candidates that would be called, best score first."""
    return [one.name for one in expand([service], durations=durations) if one.api is not None]


def test_it_writes_the_answer_whose_it_is_and_the_others() -> None:
    found = flow.best_of("company", [GOOD, CHEAP])
    assert [one.column for one in found.outputs] == ["company", "company_chosen", "company_alternatives"]
    other = flow.best_of("company", [GOOD], into="c", chosen_column="by", alternatives_column="others")
    assert [one.column for one in other.outputs] == ["c", "by", "others"]


@pytest.mark.parametrize(
    ("wanted", "best"),
    [
        ({"quality": "premium"}, ["company.good", "company.cheap"]),
        ({"budget": "low"}, ["company.cheap", "company.slow"]),
        ({"quality": "premium", "budget": "low"}, ["company.good", "company.cheap"]),
        ({"speed": "fast"}, ["company.cheap", "company.good"]),
        ({}, ["company.good", "company.cheap"]),
    ],
)
def test_the_best_by_score_are_called(wanted: dict[str, Any], best: list[str]) -> None:
    service = flow.best_of("company", [GOOD, CHEAP, SLOW], top=2, **wanted)
    assert chosen(service, {"cheap": 1.0, "good": 9.0}) == best


def test_a_duration_under_the_name_of_the_whole_goes_first() -> None:
    service = flow.best_of("company", [GOOD, CHEAP], speed="fast", top=1)
    assert chosen(service, {"good": 1.0, "company.good": 60.0, "cheap": 2.0}) == ["company.cheap"]


def test_all_candidates_are_members_whoever_is_chosen() -> None:
    assert [one.name for one in flow.best_of("company", [GOOD, CHEAP], top=1).every] == [
        "company",
        "company.good",
        "company.cheap",
    ]


def test_a_service_that_picks_is_a_member_that_reads_the_answers() -> None:
    judge = API.post("judge", "/judge", json={"of": "{candidates}", "for": "{domain}"}, returns=int)
    found = flow.best_of("company", [GOOD, CHEAP], pick=judge)
    member = found.every[-1]
    assert member.name == "company.judge"
    assert [one.columns for one in member.parameters] == [("company.candidates",), ("domain",)]
    assert [one.name for one in found.parameters] == ["domain"]


def test_a_variant_under_another_name_keeps_what_it_wants() -> None:
    found = flow.best_of("company", [GOOD, CHEAP], quality="high", top=1).with_(name="firm")
    assert isinstance(found.composite, BestOf)
    assert found.composite.wanted.quality == "high"
    assert [one.column for one in found.outputs] == ["firm", "firm_chosen", "firm_alternatives"]
    assert [one.column for one in found.named("x.firm").outputs] == ["firm", "firm_chosen", "firm_alternatives"]


def test_what_does_not_fit_is_refused() -> None:
    assert "quality takes 'premium'" in refused(GOOD, quality="best")
    assert "speed takes 'fast'" in refused(GOOD, speed=3)
    assert "budget takes 'low'" in refused(GOOD, budget=0.5)
    assert "top takes a whole number" in refused(GOOD, top=0)
    assert 'pick takes "vote"' in refused(GOOD, pick="first")
    assert "takes no cache=" in refused(GOOD, cache="1d")
    assert "`other` returns int" in refused(GOOD, candidate("other", returns=int))
    assert "does not return int" in refused(GOOD, pick=CHEAP)
    blind = API.get("blind", "/{domain}", returns=int)
    assert "does not read `candidates`" in refused(GOOD, pick=blind)


def test_what_a_service_can_do_is_an_option_that_is_checked() -> None:
    with pytest.raises(DeclarationError, match="capabilities takes texts"):
        GOOD.with_(capabilities="company")
    with pytest.raises(DeclarationError, match="quality takes a number from 0 to 5"):
        GOOD.with_(quality=6)
    assert GOOD.with_(quality=2).options["quality"] == 2


def test_a_registry_finds_by_capability_in_listed_order() -> None:
    news = candidate("news", capabilities=["news", "company"])
    registry = flow.ServiceRegistry([GOOD, news, SLOW.with_(capabilities=())])
    assert [one.name for one in registry.find("company")] == ["good", "news"]
    assert registry.capabilities == ("company", "news")
    assert len(registry) == 3


def test_a_registry_says_what_it_has() -> None:
    registry = flow.ServiceRegistry([GOOD])
    with pytest.raises(DeclarationError, match="did you mean 'company'"):
        registry.find("companie")
    with pytest.raises(DeclarationError, match="there are 'company'"):
        registry.find("weather")
    with pytest.raises(DeclarationError, match="two services called `good`"):
        flow.ServiceRegistry([GOOD, GOOD])
    with pytest.raises(DeclarationError, match="a registry holds services, not str"):
        flow.ServiceRegistry(["good"])  # type: ignore[list-item]


def test_a_registry_gives_services_by_name_in_the_order_asked() -> None:
    registry = flow.ServiceRegistry([GOOD, CHEAP, SLOW])
    assert [one.name for one in registry.named(["slow", "good"])] == ["slow", "good"]
    with pytest.raises(DeclarationError, match="did you mean `good`"):
        registry.named(["goood"])


def test_the_error_of_all_survives_pickle() -> None:
    error = flow.errors.AllFailed("no candidate has answered")
    assert str(pickle.loads(pickle.dumps(error))) == "no candidate has answered"
