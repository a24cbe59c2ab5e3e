"""Models behind a real server: typed answers, one repair, and every token and cent that the server counted."""

from __future__ import annotations

import json
from typing import Any, TypedDict

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import LimitReached
from dataflow.faces.render import run_text
from dataflow.faces.view import view_run

PATH = "/v1/chat/completions"
KEYS = [f"k{at}" for at in range(6)]
PRICE = flow.PerMillionTokens(input=1000, output=20_000)


class Insight(TypedDict):
    summary: str
    score: int


def insight(bench: Any, **options: Any) -> flow.Service:
    """A service that asks the model about the column `key`."""
    given = {"api": None, "model": "demo-small", "prompt": "About {key}", "returns": Insight, "price": PRICE, **options}
    given["api"] = given["api"] or bench.api(f"{bench.server.url}/v1")
    return flow.llm("insight", **given)


def used(run: Any, name: str = "insight") -> dict[str, int]:
    """The tokens that a run says a service used."""
    counted: dict[str, int] = run.statistics["services"][name].get("tokens", {"input": 0, "output": 0})
    return counted


def counted(bench: Any) -> dict[str, int]:
    """Those that the server has counted."""
    tokens = bench.seen(PATH).get("tokens", {})
    return {"input": tokens.get("prompt_tokens", 0), "output": tokens.get("completion_tokens", 0)}


def cost_of(tokens: dict[str, int]) -> float:
    return round((1000 * tokens["input"] + 20_000 * tokens["output"]) / 1e6, 6)


def test_each_record_has_an_answer_of_the_type_and_its_tokens_are_paid(bench: Any) -> None:
    run = bench.run(insight(bench), KEYS + KEYS)
    assert bench.seen(PATH)["calls"] == run.statistics["services"]["insight"]["calls"] == len(KEYS)
    assert used(run) == counted(bench)
    assert run.statistics["cost"] == cost_of(counted(bench)) > 0
    table = run.to_arrow()
    assert (table.schema.field("summary").type, table.schema.field("score").type) == (pa.string(), pa.int64())
    assert table["summary"].null_count == 0
    text = run_text(view_run(run))
    assert f"{used(run)['input']:,} in, {used(run)['output']:,} out" in text


def test_the_second_run_asks_nothing(bench: Any) -> None:
    service = insight(bench)
    first = bench.run(service, KEYS)
    bench.server.reset()
    second = bench.run(service, KEYS, output="again")
    assert bench.seen(PATH)["calls"] == 0
    assert second.to_arrow()["summary"].to_pylist() == first.to_arrow()["summary"].to_pylist()
    assert second.statistics["services"]["insight"]["cached"] == len(KEYS)
    assert used(second) == {"input": 0, "output": 0}
    bench.run(insight(bench, api=service.api, temperature=0.5), KEYS, output="warmer")
    assert bench.seen(PATH)["calls"] == len(KEYS)


@pytest.mark.parametrize(("returns", "kind"), [(str, str), (int, int), (list[str], list), (bool, bool)])
def test_one_record_is_answered_with_a_value_of_the_type(bench: Any, returns: Any, kind: type) -> None:
    result = flow.Pipeline("one", [insight(bench, returns=returns)]).call({"key": "a"})
    assert isinstance(result.data["insight"], kind)
    assert result.metadata.cost == cost_of(counted(bench))


@pytest.mark.parametrize("fault", ["bad_json", "wrong_schema"])
def test_a_bad_answer_is_repaired_once_for_one_more_call(bench: Any, fault: str) -> None:
    bench.server.control(keys={"About k0": {"fault": fault, "times": 1}})
    run = bench.run(insight(bench), KEYS)
    said = run.statistics["services"]["insight"]
    assert (said["calls"], said["succeeded"], said["retries"]) == (len(KEYS) + 1, len(KEYS), 0)
    assert bench.seen(PATH)["by_key"]["About k0"] == 2
    assert used(run) == counted(bench)
    assert run.statistics["cost"] == cost_of(counted(bench))


def test_the_model_is_told_what_was_wrong(bench: Any) -> None:
    talks: list[list[dict[str, str]]] = []

    def handler(request: Any) -> dict[str, Any]:
        talks.append(json.loads(request.body)["messages"])
        content = '{"answer": "3"}' if len(talks) == 1 else '```json\n{"answer": 3}\n```'
        choice = {"message": {"content": content}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 1}
        return {"choices": [choice], "usage": usage}

    service = insight(bench, returns=int)
    with flow.testing.offline(**{service.api.name: handler}):
        result = flow.Pipeline("one", [service]).call({"key": "a"})
    assert (result.data["insight"], result.metadata.cost) == (3, cost_of({"input": 10, "output": 2}))
    asked, told = talks
    assert told[:-1] == [*asked, {"role": "assistant", "content": '{"answer": "3"}'}]
    assert "expected int, got str" in told[-1]["content"]


@pytest.mark.parametrize("fault", ["bad_json", "wrong_schema"])
def test_what_stays_bad_has_failed_after_two_calls(bench: Any, checked: Any, fault: str) -> None:
    bench.server.control(keys={"About k0": fault})
    run = bench.run(insight(bench), KEYS)
    failure = checked(bench, run, "insight", PATH)
    assert (failure["reason"], failure["attempts"]) == ("unexpected answer", 2)
    assert failure["cost"] > 0
    assert used(run) == counted(bench)


@pytest.mark.parametrize("fault", ["length", "refusal"])
def test_what_was_cut_or_refused_is_paid_and_not_asked_again(bench: Any, checked: Any, fault: str) -> None:
    bench.server.control(keys={"About k0": fault})
    run = bench.run(insight(bench), KEYS)
    failure = checked(bench, run, "insight", PATH)
    assert (failure["reason"], failure["attempts"]) == (fault, 1)
    assert used(run) == counted(bench)


def test_an_answer_that_max_tokens_cuts_has_failed(bench: Any, checked: Any) -> None:
    assert checked(bench, bench.run(insight(bench, max_tokens=1), ["k"]), "insight", PATH)["reason"] == "length"


def test_a_prompt_that_is_too_long_has_failed(bench: Any, checked: Any) -> None:
    bench.server.control(paths={PATH: "context_length:100"})
    run = bench.run(insight(bench), ["short", "x" * 100])
    failure = checked(bench, run, "insight", PATH)
    assert (failure["reason"], failure["http_status"], failure["attempts"]) == ("too long", 400, 1)
    assert run.statistics["cost"] == cost_of(counted(bench))


def test_a_prompt_that_is_too_long_is_cut_until_it_fits(bench: Any) -> None:
    bench.server.control(paths={PATH: "context_length:100"})
    run = bench.run(insight(bench, too_long="truncate"), ["short", "ab" * 100])
    said = run.statistics["services"]["insight"]
    assert (said["succeeded"], said["calls"]) == (2, 4)
    assert f"About {'ab' * 36}" in bench.seen(PATH)["by_key"]
    assert used(run) == counted(bench)


def test_a_prompt_without_room_for_any_value_ends_after_its_tries(bench: Any, checked: Any) -> None:
    bench.server.control(paths={PATH: "context_length:3"})
    failure = checked(bench, bench.run(insight(bench, too_long="truncate"), ["ab" * 500]), "insight", PATH)
    assert (failure["reason"], failure["attempts"]) == ("too long", 7)


def test_a_null_is_not_asked_about(bench: Any) -> None:
    run = bench.run(insight(bench), ["k", None])
    assert run.statistics["services"]["insight"]["skipped"] == 1
    assert bench.seen(PATH)["calls"] == 1


def test_faults_of_the_way_are_tried_again(bench: Any) -> None:
    bench.server.control(paths={PATH: "503_then_ok:1"})
    few = KEYS[:3]  # five failures in a row would open the breaker
    run = bench.run(insight(bench), few)
    said = run.statistics["services"]["insight"]
    assert (said["succeeded"], said["retries"]) == (len(few), len(few))
    assert run.statistics["cost"] == cost_of(counted(bench))


def test_an_unknown_model_has_failed_with_the_status(bench: Any, checked: Any) -> None:
    failure = checked(bench, bench.run(insight(bench, model="other"), ["k"]), "insight", PATH)
    assert (failure["reason"], failure["http_status"]) == ("HTTP 404", 404)


def test_a_model_within_for_each_is_counted_too(bench: Any) -> None:
    each = flow.for_each("keys", [insight(bench).with_(columns={"key": "item"})], into="found")
    run = flow.Pipeline("each", [each]).run(pa.table({"keys": [["a", "b"], ["b"]]}), output="o", catalog=bench.catalog)
    assert bench.seen(PATH)["calls"] == 2
    assert used(run, "found.insight") == counted(bench)


def test_a_budget_keeps_back_what_an_answer_may_cost(bench: Any) -> None:
    pipeline, source = flow.Pipeline("test", [insight(bench, max_price=0.5)]), pa.table({"key": KEYS})
    with pytest.raises(LimitReached, match=r"the budget of USD 0\.90 is used up"):
        pipeline.run(source, output="out", key="key", catalog=bench.catalog, budget=0.9)
    assert 0.4 < cost_of(counted(bench)) <= 0.9


@pytest.mark.parametrize("fault", ["truncated_json", "html_200"])
def test_what_is_no_json_was_perhaps_cut_on_its_way_and_is_asked_for_once_more(
    bench: Any, checked: Any, fault: str
) -> None:
    bench.server.control(paths={PATH: fault})
    failure = checked(bench, bench.run(insight(bench, price=0.01), ["k"]), "insight", PATH)
    assert (failure["reason"], failure["attempts"], failure["cost"]) == ("malformed answer", 2, 0.02)


def test_a_judge_picks_among_candidates_of_models(bench: Any) -> None:
    api = bench.api(f"{bench.server.url}/v1")
    asked = [flow.llm(name, api=api, model="demo-small", prompt=f"{name} about {{key}}") for name in ("x", "y")]
    judge = flow.judge(api=api, model="demo-large", criteria="the one that says most about {key}")
    run = flow.Pipeline("best", [flow.best_of("best", asked, pick=judge)]).run(
        pa.table({"key": KEYS}), output="out", key="key", catalog=bench.catalog
    )
    assert set(run.to_arrow()["best_chosen"].to_pylist()) <= {"x", "y"}
    assert run.to_arrow()["best"].null_count == 0
    assert run.statistics["services"]["best.judge"]["succeeded"] == len(KEYS)
    assert bench.seen(PATH)["calls"] == 3 * len(KEYS)


def test_a_rate_of_tokens_holds(bench: Any) -> None:
    rate, period = 6000, 2
    api = bench.api(f"{bench.server.url}/v1", rate=f"{rate} tokens/{period} s")
    keys = [f"{at} {'x' * (4000 if at % 5 == 0 else 400)}" for at in range(40)]
    run = bench.run(insight(bench, api=api, prompt="{key}", returns=str), keys)
    log = [(entry[0], len(entry[2]) / 4) for entry in bench.log(PATH)]
    windows = [sum(tokens for at, tokens in log if start <= at < start + period) for start, _ in log]
    assert max(windows) <= rate
    assert used(run) == counted(bench)
    assert run.statistics["services"]["insight"]["waited"]["rate"] > 0
