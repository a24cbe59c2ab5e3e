"""The best of several candidates in runs: who is called, whose answer is taken, and what the catalog remembers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.services.service import Service
from dataflow.store.catalog import Catalog
from dataflow.wiring.durations import durations_of
from dataflow.wiring.run import Run

API = flow.API("api", "https://api.example", retry=flow.Retry(attempts=1), breaker=False)


def candidate(name: str, quality: float, **options: Any) -> Service:
    return API.get(name, f"/{name}/{{domain}}", **{"returns": str, "quality": quality, **options})


ACME, BOLT, CERO = candidate("acme", 3.0, price=0.03), candidate("bolt", 4.6, price=0.01), candidate("cero", 4.2)


def answer(request: flow.testing.Request) -> Any:
    """`bolt` fails for the third and knows no fourth; `acme` and `cero` agree."""
    name, _, key = request.path.strip("/").partition("/")
    if key == "down" or (name == "bolt" and key == "d3"):
        return 500
    if key == "none" or (name == "bolt" and key == "d4"):
        return 404
    return f"B {key}" if name == "bolt" else f"A {key}"


def run(service: Service, domains: list[str], *, handler: Any = answer, **settings: Any) -> tuple[Run, int]:
    job = flow.Job(
        flow.Pipeline("companies", [service]),
        source=pa.table({"lead": range(len(domains)), "domain": domains}),
        output="companies",
        key="lead",
        max_failures="100%",
    )
    with flow.testing.offline(api=handler) as calls:
        return job.run(**{"catalog": flow.testing.memory_catalog(), **settings}), calls.total


def column(found: Run, name: str) -> list[Any]:
    values: list[Any] = found.to_arrow()[name].to_pylist()
    return values


DOMAINS = ["d1", "d2", "d3", "d4"]


def test_the_highest_score_that_has_answered_is_taken() -> None:
    found, calls = run(flow.best_of("company", [ACME, BOLT, CERO], quality="high", top=2), DOMAINS)
    assert column(found, "company") == ["B d1", "B d2", "A d3", "A d4"]
    assert column(found, "company_chosen") == ["bolt", "bolt", "cero", "cero"]
    assert column(found, "company_alternatives") == [
        [{"service": "cero", "score": 30, "answer": "A d1"}],
        [{"service": "cero", "score": 30, "answer": "A d2"}],
        [],
        [],
    ]
    assert calls == 8
    assert "company.acme" not in found.statistics["services"]
    assert column(found, "completeness") == [1.0] * 4


def test_a_vote_takes_what_most_have_given() -> None:
    found, _ = run(flow.best_of("company", [ACME, BOLT, CERO], quality="premium", pick="vote"), DOMAINS)
    assert column(found, "company") == ["A d1", "A d2", "A d3", "A d4"]
    assert column(found, "company_chosen") == ["acme"] * 4
    pair, _ = run(flow.best_of("company", [ACME, BOLT], quality="premium", pick="vote"), DOMAINS)
    assert column(pair, "company")[0] == "B d1"


def test_a_function_picks_from_the_answers_best_score_first() -> None:
    seen: list[list[str]] = []

    def last(answers: Any) -> int:
        seen.append(list(answers))
        return len(answers) - 1

    found, _ = run(flow.best_of("company", [ACME, BOLT], quality="premium", pick=last), DOMAINS)
    assert column(found, "company") == ["A d1", "A d2", "A d3", "A d4"]
    assert seen[0] == ["B d1", "A d1"]
    assert seen[2] == ["A d3"]


@pytest.mark.parametrize("place", [7, -1, None, "1", True, 1.0])
def test_what_is_no_place_falls_back_to_the_best_score(place: Any) -> None:
    found, _ = run(flow.best_of("company", [ACME, BOLT], quality="premium", pick=lambda answers: place), ["d1"])
    assert column(found, "company_chosen") == ["bolt"]


def test_a_service_picks_where_two_have_answered() -> None:
    asked: list[Any] = []

    @flow.enrichment
    async def judge(candidates: list[str], domain: str) -> int:
        asked.append((candidates, domain))
        return 1 if domain == "d1" else 9

    found, _ = run(flow.best_of("company", [ACME, BOLT], quality="premium", pick=judge), DOMAINS)
    assert column(found, "company") == ["A d1", "B d2", "A d3", "A d4"]
    assert asked == [(['"B d1"', '"A d1"'], "d1"), (['"B d2"', '"A d2"'], "d2")]
    part = found.statistics["services"]["company.judge"]
    assert (part["succeeded"], part["skipped"], part["member_of"]) == (2, 2, "company")


def test_a_judge_that_fails_leaves_it_to_the_score() -> None:
    judge = API.post("judge", "/judge", json={"of": "{candidates}"}, returns=int)

    def handler(request: flow.testing.Request) -> Any:
        return 500 if request.path == "/judge" else answer(request)

    found, _ = run(flow.best_of("company", [ACME, BOLT], quality="premium", pick=judge), ["d1"], handler=handler)
    assert column(found, "company_chosen") == ["bolt"]
    assert column(found, "degraded") == [False]


def test_a_model_may_be_the_judge() -> None:
    api = flow.API("llm", "https://llm.example/v1", retry=flow.Retry(attempts=1))
    judge = flow.judge(api=api, model="small", criteria="what {domain} would say of itself")
    said: list[str] = []

    def model(request: flow.testing.Request) -> Any:
        said.append(json.loads(request.body)["messages"][-1]["content"])
        content = '{"answer": 1}' if "d1" in said[-1] else "the second, I think"
        message = {"role": "assistant", "content": content}
        return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": USAGE}

    pipeline = flow.Pipeline("p", [flow.best_of("company", [ACME, BOLT], quality="premium", pick=judge)])
    with flow.testing.offline(api=answer, llm=model):
        chosen = [pipeline.call({"domain": domain}).data["company_chosen"] for domain in ("d1", "d2")]
    assert chosen == ["acme", "bolt"]
    assert '["\\"B d1\\"","\\"A d1\\""]' in said[0]


USAGE = {"prompt_tokens": 1, "completion_tokens": 1}


def test_where_none_has_an_answer_it_is_not_found_or_all_failed() -> None:
    found, _ = run(flow.best_of("company", [ACME, BOLT], priority="critical"), ["none", "down", "d1"])
    assert column(found, "company") == [None, "A d1"]
    error = "no candidate has answered: `acme`: answered 500; `bolt`: answered 500"
    assert found.rejects()["error"].to_pylist() == [error]
    assert found.statistics["services"]["company"]["not_found"] == 1


def test_records_are_answers_too() -> None:
    def record(name: str) -> Service:
        return candidate(name, 4, returns={"name": str, "size": int | None})

    handler = lambda request: {"name": request.path.split("/")[1], "size": None}  # noqa: E731
    found, _ = run(flow.best_of("company", [record("acme"), record("bolt")], pick="vote"), ["d1"], handler=handler)
    assert (column(found, "name"), column(found, "size"), column(found, "company_chosen")) == (
        ["acme"],
        [None],
        ["acme"],
    )
    alternative = column(found, "company_alternatives")[0][0]
    assert alternative == {"service": "bolt", "score": 0, "answer": {"name": "bolt", "size": None}}


def test_a_waterfall_may_be_a_candidate() -> None:
    either = flow.waterfall("either", [BOLT, CERO], quality=5)
    found, _ = run(flow.best_of("company", [ACME, either], quality="premium"), DOMAINS)
    assert column(found, "company") == ["B d1", "B d2", "A d3", "A d4"]
    assert column(found, "company_chosen") == ["either"] * 4
    assert not any("." in name or name == "either_provider" for name in found.to_arrow().column_names)


def test_one_record_gives_the_same_as_a_run() -> None:
    pipeline = flow.Pipeline("companies", [flow.best_of("company", [ACME, BOLT, CERO], quality="premium", top=2)])
    with flow.testing.offline(api=answer) as calls:
        data = pipeline.call({"domain": "d1"}).data
    assert (data["company"], data["company_chosen"], calls.total) == ("B d1", "bolt", 2)


def publish(catalog: str, output: str, seconds: dict[str, float]) -> None:
    """A dataset whose newest version remembers these durations."""
    service = flow.enrichment(name="acme", returns=str)(lambda domain: domain)
    table = pa.table({"domain": ["d1"]})
    version = flow.Pipeline("p", [service]).run(table, output=output, catalog=catalog).dataset
    assert version is not None
    file = Path(catalog, output, "_meta", f"v{version.version}", "statistics.json")
    statistics = json.loads(file.read_text())
    statistics["services"] = {name: {"duration": {"p50": one}} for name, one in seconds.items()}
    file.write_text(json.dumps(statistics))


FASTEST = flow.best_of("company", [ACME, BOLT], speed="fast", top=1)


def test_durations_are_those_of_the_output_itself_and_then_of_others(tmp_path: Path) -> None:
    catalog, pipeline = str(tmp_path), flow.Pipeline("companies", [FASTEST])
    publish(catalog, "others", {"acme": 9.0, "bolt": 2.0, "unknown": 1.0})
    publish(catalog, "companies", {"company.acme": 3.0})
    found = durations_of(pipeline, Catalog(catalog), output="companies")
    assert found == {"acme": 9.0, "bolt": 2.0, "company.acme": 3.0}
    assert durations_of(pipeline, Catalog(catalog), before=lambda: {"durations": {"bolt": 1.0}}) == {"bolt": 1.0}
    assert durations_of(pipeline, Catalog(catalog), before=dict) == {}
    slow = flow.Pipeline("companies", [flow.best_of("company", [ACME, BOLT], quality="high")])
    assert durations_of(slow, Catalog(catalog)) == {}


def test_a_run_that_goes_on_keeps_its_choice(tmp_path: Path) -> None:
    catalog = str(tmp_path)
    publish(catalog, "others", {"acme": 9.0, "bolt": 2.0})
    with pytest.raises(flow.errors.LimitReached):
        run(FASTEST, DOMAINS, catalog=catalog, budget=0.03)
    publish(catalog, "others", {"acme": 1.0, "bolt": 60.0})
    found, calls = run(FASTEST, DOMAINS, catalog=catalog, budget=1)
    assert found.version == 1
    assert column(found, "company_chosen") == ["bolt", "bolt", None, None]
    assert calls <= 2
    assert not any("abandoned" in note for note in found.notes)
    again, _ = run(FASTEST, DOMAINS, catalog=catalog, resume=False)
    assert column(again, "company_chosen") == ["acme"] * 4


def test_the_plan_changes_with_the_candidates_that_are_called_only() -> None:
    catalog, good = flow.testing.memory_catalog(), ["d1", "d2", "d4"]
    run(flow.best_of("company", [ACME, BOLT], quality="premium", top=1), good, catalog=catalog)
    better = BOLT.with_(quality=4.9, capabilities={"company"})
    same, _ = run(
        flow.best_of("company", [ACME, better], quality="premium", top=1), good, catalog=catalog, if_changed=True
    )
    assert same.status == "unchanged"
