"""How endpoints of models want to be asked is found out once, whatever they refuse with, and costs no record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal, TypedDict

import pytest

import dataflow as flow
from dataflow.engine.http import manners
from dataflow.engine.http.attempts import CallError
from dataflow.engine.http.manners import Endpoints, MannerRefused
from dataflow.services.manners import FIRST, Format, Manner, Part
from dataflow.wiring.run import Run

PATH = "/v1/chat/completions"
KEYS = [f"k{at}" for at in range(40)]
Told = Callable[..., tuple[Run, list[str]]]
PRICE = flow.PerMillionTokens(input=1000, output=20_000)
FORMATS = ("json_schema", "object_with_schema", "json_object", "tools")


class Insight(TypedDict):
    mood: Literal["warm", "cold"]
    score: int


def insight(bench: Any, name: str = "insight", **options: Any) -> flow.Service:
    given = {"model": "demo-small", "prompt": "About {key}", "returns": Insight, "price": PRICE, **options}
    given["api"] = given.get("api") or bench.api(f"{bench.server.url}/v1", concurrency=16)
    return flow.llm(name, **given)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """A run and what it told of how its endpoint wants to be asked."""

    def tell(bench: Any, services: Any, keys: list[str] = KEYS, **options: Any) -> tuple[Run, list[str]]:
        caplog.clear()
        run = bench.run(services, keys, **options)
        return run, [text for one in caplog.records if " takes no " in (text := one.getMessage())]

    return tell


def statuses(bench: Any) -> dict[str, int]:
    counted: dict[str, int] = bench.seen(PATH)["by_status"]
    return counted


@pytest.mark.parametrize("status", [200, 400, 422, 500])
@pytest.mark.parametrize("refused", range(1, len(FORMATS) + 1))
def test_each_form_of_structured_output_is_tried_once_for_all_records(
    bench: Any, told: Told, refused: int, status: int
) -> None:
    bench.server.control(paths={PATH: f"refuses:{','.join(FORMATS[:refused])}/{status}"})
    run, sentences = told(bench, insight(bench))
    said = run.statistics["services"]["insight"]
    assert (said["succeeded"], said["retries"], said["calls"]) == (len(KEYS), 0, len(KEYS) + refused)
    assert bench.seen(PATH)["calls"] == len(KEYS) + refused
    assert statuses(bench) == (
        {"200": len(KEYS) + refused} if status == 200 else {"200": len(KEYS), str(status): refused}
    )
    assert said["waited"].get("breaker", 0) == 0
    assert len(sentences) == 1
    assert set(run.to_arrow()["mood"].to_pylist()) <= {"warm", "cold"}


@pytest.mark.parametrize("status", [400, 422, 500])
def test_max_tokens_and_temperature_are_left_out_where_they_are_refused(bench: Any, told: Told, status: int) -> None:
    bench.server.control(paths={PATH: f"refuses:max_tokens,temperature/{status}"})
    run, sentences = told(bench, insight(bench, max_tokens=100))
    assert run.statistics["services"]["insight"]["succeeded"] == len(KEYS)
    assert statuses(bench) == {"200": len(KEYS), str(status): 2}
    assert len(sentences) == 1
    assert "max_completion_tokens" in sentences[0]
    assert run.statistics["cost"] > 0


def test_an_endpoint_that_refuses_everything_is_asked_with_nothing_but_words(bench: Any, told: Told) -> None:
    everything = ",".join((*FORMATS, "max_tokens", "max_completion_tokens", "temperature"))
    bench.server.control(paths={PATH: f"refuses:{everything}"})
    run, sentences = told(bench, insight(bench, max_tokens=100))
    assert run.statistics["services"]["insight"]["succeeded"] == len(KEYS)
    assert statuses(bench) == {"200": len(KEYS), "400": 7}
    assert len(sentences) == 1


@pytest.mark.parametrize("system", [None, "You are brief."])
def test_the_user_says_what_the_system_would_where_an_endpoint_refuses_that(
    bench: Any, told: Told, system: str | None
) -> None:
    bench.server.control(paths={PATH: "refuses:json_schema,system"})
    run, sentences = told(bench, insight(bench, system=system))
    assert run.statistics["services"]["insight"]["succeeded"] == len(KEYS)
    assert statuses(bench) == {"200": len(KEYS), "400": 2}
    assert len(sentences) == 1
    assert "no message of the system" in sentences[0]


def test_what_was_found_out_serves_other_services_of_the_endpoint_and_further_runs(bench: Any, told: Told) -> None:
    bench.server.control(paths={PATH: "refuses:json_schema,temperature"})
    api = bench.api(f"{bench.server.url}/v1")
    told(bench, [insight(bench, api=api), insight(bench, "text", api=api, returns=str, prompt="Say {key}")])
    assert statuses(bench) == {"200": 2 * len(KEYS), "400": 2}
    run, sentences = told(bench, insight(bench, "other", api=api, prompt="More of {key}"), output="again")
    assert statuses(bench) == {"200": 3 * len(KEYS), "400": 2}
    assert (run.statistics["services"]["other"]["succeeded"], sentences) == (len(KEYS), [])


def test_refusals_cost_no_attempts_and_no_tokens_and_open_no_breaker(bench: Any, told: Told) -> None:
    bench.server.control(paths={PATH: f"refuses:{','.join(FORMATS)},max_tokens,temperature/500"})
    strict = flow.Breaker(threshold=2, reset=60)
    api = bench.api(f"{bench.server.url}/v1", retry=False, breaker=strict)
    run, _ = told(bench, insight(bench, api=api, max_tokens=100))
    said = run.statistics["services"]["insight"]
    tokens = bench.seen(PATH)["tokens"]
    assert (said["succeeded"], said["waited"].get("breaker", 0)) == (len(KEYS), 0)
    assert said["tokens"] == {"input": tokens["prompt_tokens"], "output": tokens["completion_tokens"]}
    cost = (1000 * tokens["prompt_tokens"] + 20_000 * tokens["completion_tokens"]) / 1e6
    assert run.statistics["cost"] == pytest.approx(cost)


def test_a_number_out_of_range_is_not_left_out(bench: Any, told: Told, checked: Any) -> None:
    said = "says:400:error:max_tokens is too large: 99. This model supports at most 16 completion tokens."
    bench.server.control(paths={PATH: said})
    run, sentences = told(bench, insight(bench, max_tokens=99), ["k"])
    failure = checked(bench, run, "insight", PATH)
    assert (failure["reason"], failure["attempts"], sentences) == ("HTTP 400", 1, [])


def test_a_record_whose_error_names_a_part_changes_nothing_for_the_others(bench: Any, told: Told, checked: Any) -> None:
    bench.server.control(keys={"About k0": "says:400:error:your text about the temperature cannot be read"})
    run, sentences = told(bench, insight(bench))
    failure = checked(bench, run, "insight", PATH)
    assert (failure["reason"], sentences) == ("HTTP 400", [])
    assert bench.seen(PATH)["by_key"]["About k0"] == 2


def test_an_endpoint_that_refuses_every_manner_is_not_asked_in_all_of_them_for_each_record(
    bench: Any, told: Told
) -> None:
    bench.server.control(paths={PATH: "says:400:error:bad temperature, max_tokens, response_format, tool, system role"})
    run, sentences = told(bench, insight(bench, max_tokens=9), max_failures="100%")
    assert run.statistics["services"]["insight"]["errors"] == {"HTTP 400": len(KEYS)}
    assert bench.seen(PATH)["calls"] < 3 * 10 + len(KEYS)
    assert sentences == []


@pytest.mark.parametrize("how", ["think", "unopened", "lead", "fence", "closing", "several", "tool"])
@pytest.mark.parametrize("returns", [Insight, int, list[int]])
def test_an_answer_is_read_in_whatever_it_stands_and_paid_once(bench: Any, told: Told, how: str, returns: Any) -> None:
    bench.server.control(paths={PATH: f"dressed:{how}"})
    run, _ = told(bench, insight(bench, returns=returns))
    assert run.statistics["services"]["insight"]["succeeded"] == len(KEYS)
    assert bench.seen(PATH)["calls"] == len(KEYS)


@pytest.mark.parametrize(("code", "calls"), [("503", 2), ("429", 2), ("internal", 2), ("400", 1), ("invalid_thing", 1)])
def test_an_error_inside_a_good_answer_is_tried_again_as_its_code_says(
    bench: Any, told: Told, code: str, calls: int
) -> None:
    bench.server.control(keys={"About k0": {"fault": f"error_200:{code}", "times": 1}})
    few = KEYS[:3]  # after a 429 a provider of unknown rate is asked slowly
    run, _ = told(bench, insight(bench), few)
    said = run.statistics["services"]["insight"]
    assert bench.seen(PATH)["by_key"]["About k0"] == calls
    assert (said["succeeded"], said["failed"]) == ((len(few), 0) if calls == 2 else (len(few) - 1, 1))
    tokens = bench.seen(PATH)["tokens"]
    assert said["tokens"] == {"input": tokens["prompt_tokens"], "output": tokens["completion_tokens"]}


@pytest.mark.parametrize("where", ["filtered", "filtered:403", "filtered:answer", "refusal"])
def test_what_a_filter_refuses_is_a_refusal(bench: Any, told: Told, checked: Any, where: str) -> None:
    bench.server.control(keys={"About k0": where})
    failure = checked(bench, told(bench, insight(bench))[0], "insight", PATH)
    assert (failure["reason"], failure["attempts"]) == ("refusal", 1)


def test_a_filter_that_answers_403_refuses_prompts_and_no_access(bench: Any, told: Told) -> None:
    bench.server.control(paths={PATH: "filtered:403"})
    run, _ = told(bench, insight(bench), max_failures="100%")
    assert run.statistics["services"]["insight"]["errors"] == {"refusal": len(KEYS)}


def test_what_an_endpoint_rejects_of_what_a_model_says_is_read_where_it_gives_it_back(bench: Any, told: Told) -> None:
    bench.server.control(keys={"About k0": "dressed:rejected"})
    run, _ = told(bench, insight(bench))
    assert run.statistics["services"]["insight"]["succeeded"] == len(KEYS)
    assert bench.seen(PATH)["calls"] == len(KEYS)


def test_what_the_author_puts_into_extra_is_sent_in_place_of_ours(bench: Any, told: Told) -> None:
    own = {"response_format": {"type": "json_object"}, "max_completion_tokens": 50}
    body = json.loads(insight(bench, extra=own, max_tokens=9).endpoint.body([]))
    assert body["response_format"] == own["response_format"]
    assert (body["max_completion_tokens"], "max_tokens" in body) == (50, False)
    bench.server.control(paths={PATH: "refuses:json_schema,max_tokens"})
    run, sentences = told(bench, insight(bench, extra=own, returns=str))
    assert (run.statistics["services"]["insight"]["succeeded"], sentences) == (len(KEYS), [])


def test_calls_that_wait_no_longer_for_a_slow_answer_ask_as_it_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manners, "AHEAD", 0.01)
    asked: list[Manner] = []

    async def ask_together() -> list[int]:
        answered = asyncio.Event()

        async def send(manner: Manner) -> tuple[int, Manner]:
            asked.append(manner)
            if manner.format is Format.JSON_SCHEMA:
                refused = MannerRefused(Part.FORMAT, manner=manner, status=500, said="")
                raise CallError(refused.reason, refused.error) from refused
            if len(asked) == 6:  # the refused one, and all five
                answered.set()
            await answered.wait()
            return 1, manner

        finder = Endpoints({}, warn=lambda text: None).finder(("api", "url", "model"))
        calls = [finder.ask(send, SimpleNamespace(waiting=0), parts=frozenset({Part.FORMAT})) for _ in range(5)]
        return await asyncio.wait_for(asyncio.gather(*calls), 20)

    assert asyncio.run(ask_together()) == [1] * 5
    assert [one.format for one in asked] == [Format.JSON_SCHEMA, *[Format.OBJECT_WITH_SCHEMA] * 5]
    assert asked[0] == FIRST


def test_what_is_found_out_while_calls_wait_for_their_turn_serves_them(
    bench: Any, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manners, "AHEAD", 0.01)
    bench.server.control(latency=0.05, paths={PATH: "refuses:json_schema,max_tokens,temperature/500"})
    api = bench.api(f"{bench.server.url}/v1", rate="25/s", concurrency=16)
    run, sentences = told(bench, insight(bench, api=api, max_tokens=100))
    assert run.statistics["services"]["insight"]["succeeded"] == len(KEYS)
    assert statuses(bench)["200"] == len(KEYS)
    assert statuses(bench)["500"] < 2 * 16
    assert len(sentences) == 1
