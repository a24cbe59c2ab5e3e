"""Records that share requests, against a real server: each gets its own outcome, and both sides count alike."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest
from listing import Listing, listing

import dataflow as flow
from dataflow.errors import GuardrailReached
from dataflow.wiring.run import Run

KEYS = [f"k{at:03d}" for at in range(100)]


def item(key: Any) -> dict[str, Any]:
    return {"id": key, "size": len(str(key)), "of": str(key).upper()}


def ask(bench: Any, server: Listing, keys: Sequence[Any], *, api: Any = None, **options: Any) -> Run:
    """Run a batched service over the keys, and compare what the run says with what the server saw."""
    run = bench.run(service(bench, server, api=api, **options), keys, max_failures="100%")
    said = run.statistics["services"]["company"]
    assert said["calls"] == server.calls
    assert run.failures().num_rows == said["failed"] + said["timed_out"]
    for row in run.to_arrow().to_pylist():
        assert row["of"] in (None, str(row["key"]).upper())
    return run


def service(bench: Any, server: Listing, *, api: Any = None, **options: Any) -> flow.Service:
    given = {"json": ["{key}"], "batch": 100, "match": "id", "returns": {"of": str}, **options}
    path = given.pop("path", "/batch")
    found: flow.Service = (api or bench.api(server.url, concurrency=1)).post("company", path, **given)
    return found


def counts(run: Run, *names: str) -> tuple[int, ...]:
    said = run.statistics["services"]["company"]
    return tuple(said[name] for name in names)


def shuffled(asked: list[Any]) -> list[Any]:
    items = [item(key) for key in asked if not str(key).endswith("7")]
    return random.Random(7).sample([*items, *items[:9], item("stranger"), None], len(items) + 11)


def test_a_shuffled_and_partial_answer_with_strangers_and_repetitions_is_matched_by_key(bench: Any) -> None:
    with listing(lambda asked: {"data": {"results": shuffled(asked)}}) as server:
        run = ask(bench, server, [*KEYS, *KEYS[:30]], batch=40, items="data.results")
        assert [len(one) for one in server.asked] == [40, 40, 20]
        assert sorted(key for one in server.asked for key in one) == KEYS
    assert counts(run, "succeeded", "not_found", "deduplicated", "failed") == (117, 13, 30, 0)


def test_the_batch_endpoint_of_the_provider_is_asked_as_its_documents_say(bench: Any) -> None:
    bench.server.control(unknown=0.2)
    company = bench.api().post(
        "company",
        "/v2/companies/batch",
        json={"domains": ["{key}"]},
        batch=50,
        match="domain",
        returns={"title": str, "employees": int},
        select={"title": "name", "employees": "data.metrics.employeeCount"},
    )
    keys = [f"k{at}.example" for at in range(120)]
    run = bench.run(company, keys)
    alone = bench.run(bench.company(), keys, output="alone")
    assert run.to_arrow()["title"].to_pylist() == alone.to_arrow()["title"].to_pylist()
    assert 0 < run.statistics["services"]["company"]["not_found"] < 60
    seen = bench.seen("/v2/companies/batch")
    assert run.statistics["services"]["company"]["calls"] == seen["calls"] == 3
    assert seen["by_key"] == dict.fromkeys(keys, 1)


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        (lambda asked: [item(key) for key in asked], {"match": None}),
        (lambda asked: {key: item(key) for key in reversed(asked)}, {}),
        (lambda asked: {"data": {key: item(key) for key in asked}}, {"match": None, "items": "data"}),
        (lambda asked: [item(key) for key in asked], {"json": None, "path": "/by/{key}"}),
    ],
    ids=["by order", "by name", "by name, found by path", "in the path"],
)
def test_items_are_found_by_order_and_by_name_too(bench: Any, answer: Any, options: Any) -> None:
    with listing(answer) as server:
        run = ask(bench, server, KEYS, **options)
        assert server.calls == 1
    assert counts(run, "succeeded", "not_found") == (100, 0)


def test_a_body_of_records_is_matched_by_several_columns(bench: Any) -> None:
    table = pa.table({"name": ["a", "a", "b"], "city": ["x", "y", "x"]})
    with listing(lambda asked: [{**one, "of": one["n"] + one["c"]} for one in reversed(asked)]) as server:
        body = [{"n": "{name}", "c": "{city}"}]
        one = service(bench, server, json=body, match={"name": "n", "city": "c"})
        found = flow.Pipeline("two", [one]).apply(table)
        assert server.calls == 1
        assert found["of"].to_pylist() == ["ax", "ay", "bx"]
        apart = service(bench, server, json=body, match={"name": "n"})
        assert flow.Pipeline("one", [apart]).apply(table)["of"].to_pylist() == ["ax", "ay", "bx"]
        assert server.calls == 3


@pytest.mark.parametrize(
    ("wrong", "options", "reason"),
    [
        ({"of": 7}, {}, "unexpected answer"),
        ({}, {}, "unexpected answer"),
        ({"of": "x", "error": "no"}, {"accept": lambda one: one.get("error") or True}, "refused answer"),
        ({"of": "x", "error": "no"}, {"accept": lambda one: one["error"] is None or "error" not in one}, "KeyError"),
    ],
)
def test_a_wrong_item_fails_its_own_record_only(bench: Any, wrong: Any, options: Any, reason: str) -> None:
    def answer(asked: list[str]) -> Any:
        fine = {"error": None} if reason == "KeyError" else {}
        return [
            {"id": key, **({"of": "x"} if reason == "KeyError" else wrong)} if key == "k007" else item(key) | fine
            for key in asked
        ]

    with listing(answer) as server:
        run = ask(bench, server, KEYS, **options)
        assert server.calls == 1
    (failure,) = run.failures().to_pylist()
    assert (failure["key"], failure["reason"], failure["attempts"]) == ("k007", reason, 1)
    assert counts(run, "succeeded", "failed") == (99, 1)


@pytest.mark.parametrize(
    ("answer", "options", "reason"),
    [
        (lambda asked: [item(key) for key in asked[1:]], {"match": None}, "unexpected answer"),
        (lambda asked: {"results": []}, {"items": "data.results"}, "unexpected answer"),
        (lambda asked: {"results": [item(key) for key in asked]}, {}, "unexpected answer"),
        (lambda asked: [{"name": key, "of": ""} for key in asked], {}, "unexpected answer"),
        (lambda asked: [item(f"other {key}") for key in asked], {}, "unexpected answer"),
        (lambda asked: 500, {}, "HTTP 500"),
        (lambda asked: 403, {}, "HTTP 403"),
    ],
    ids=["too few", "no such path", "path forgotten", "other name", "strangers only", "500", "403 after success"],
)
def test_a_request_that_fails_as_a_whole_fails_for_each_of_its_records(
    bench: Any, answer: Any, options: Any, reason: str
) -> None:
    with listing(lambda asked: [item(key) for key in asked]) as server:
        api = bench.api(server.url, concurrency=1, retry=1)
        server.answer = lambda asked: answer(asked) if server.calls > 1 else [item(key) for key in asked]
        run = ask(bench, server, KEYS, api=api, batch=50, **options)
        assert server.calls == 2
    assert {one["reason"] for one in run.failures().to_pylist()} == {reason}
    assert counts(run, "succeeded", "failed") == ((0, 100) if options.get("items") else (50, 50))


@pytest.mark.parametrize(("body", "said"), [(404, "not_found"), (204, "not_found"), (b"null", "not_found")])
def test_nothing_known_of_the_whole_request_is_nothing_known_of_each(bench: Any, body: Any, said: str) -> None:
    with listing(lambda asked: body) as server:
        assert counts(ask(bench, server, KEYS), said, "failed") == (100, 0)
        assert server.calls == 1


def test_a_request_that_is_answered_with_nothing_fails_and_is_not_sent_again(bench: Any) -> None:
    with listing(lambda asked: b"") as server:
        run = ask(bench, server, KEYS)
        assert (counts(run, "failed", "not_found"), server.calls) == ((100, 0), 1)
    assert {one["reason"] for one in run.failures().to_pylist()} == {"empty answer"}


@pytest.mark.parametrize("status", [400, 413, 414, 422])
def test_one_poison_record_among_a_hundred_fails_alone(bench: Any, status: int) -> None:
    with listing(lambda asked: status if "k042" in asked else [item(key) for key in asked]) as server:
        run = ask(bench, server, KEYS)
        assert server.calls == 15
        assert len(set(server.keys)) == 15
    (failure,) = run.failures().to_pylist()
    assert (failure["key"], failure["http_status"], failure["attempts"]) == ("k042", status, 1)
    assert counts(run, "succeeded", "failed", "retries") == (99, 1, 0)


def test_a_service_that_refuses_everything_ends_after_two_thousand_halves(bench: Any) -> None:
    keys = [f"{at}" for at in range(3000)]
    with listing(lambda asked: 422) as server:
        run = ask(bench, server, keys, api=bench.api(server.url, concurrency=8), priority="critical")
        assert 2000 <= server.calls < 2100
    assert counts(run, "failed") == (3000,)
    texts = {one["error"] for one in run.rejects().to_pylist()}
    assert "answered 422" in texts
    assert any("to 100 records together, which are not asked for one by one: 2,000 requests" in one for one in texts)


def test_what_may_be_sent_only_once_is_not_sent_in_halves(bench: Any) -> None:
    with listing(lambda asked: 422) as server:
        run = ask(bench, server, KEYS, idempotent=False, priority="critical")
        assert (server.calls, server.keys) == (1, [None])
    assert "idempotent=False" in run.rejects()["error"][0].as_py()


def test_a_request_is_repeated_as_any_other_with_the_key_of_its_records(bench: Any) -> None:
    def once_down(asked: list[str]) -> Any:
        return 503 if server.asked.count(asked) == 1 else [item(key) for key in asked]

    with listing(once_down) as server:
        run = ask(bench, server, KEYS, batch=50)
        # Who waits before another attempt takes nobody's place, so the second request may come in between.
        assert sorted(Counter(server.keys).values()) == [2, 2]
    assert counts(run, "succeeded", "calls", "retries") == (100, 4, 2)


def test_an_item_that_asks_for_later_is_asked_for_again_without_the_others(bench: Any) -> None:
    def accept(one: dict[str, Any]) -> Any:
        pending = {"k001": 2, "k003": 3}.get(one["id"], 0)
        return flow.RetryLater("pending") if server.calls < pending else True

    with listing(lambda asked: [item(key) for key in asked]) as server:
        run = ask(bench, server, KEYS[:5], accept=accept)
        assert server.asked == [KEYS[:5], ["k001", "k003"], ["k003"]]
        assert len(set(server.keys)) == 3
    assert counts(run, "succeeded", "calls", "retries") == (5, 3, 2)


def test_what_cannot_be_sent_fails_before_its_neighbours_are_asked(bench: Any) -> None:
    with listing(lambda asked: [item(key) for key in asked]) as server:
        run = ask(bench, server, ["a", "b,c", "", "d"], json=None, path="/by/{key}")
        assert server.asked == [["a", "d"]]
    found = [(one["key"], one["reason"], one["attempts"]) for one in run.failures().to_pylist()]
    assert sorted(found) == [("", "bad input", 0), ("b,c", "bad input", 0)]


def test_a_float_is_no_key_and_costs_no_call(bench: Any) -> None:
    with listing(lambda asked: [item(key) for key in asked]) as server:
        one = service(bench, server)
        found = flow.Pipeline("floats", [one]).apply(pa.table({"key": [1.5]}))
        assert (server.calls, found["of"].to_pylist()) == (0, [None])


def test_another_size_of_batch_goes_on_with_the_answers_of_the_first(bench: Any) -> None:
    down = {"k050"}
    refused = lambda asked: 401  # noqa: E731
    with listing(lambda asked: 503 if down & set(asked) else [item(key) for key in asked]) as first:
        with listing(refused) as second:
            after = bench.api(second.url).post("after", "/batch", json=["{of}"], batch=100, returns=str, select="id")
            api = bench.api(first.url, concurrency=1, retry=1)
            with pytest.raises(GuardrailReached):
                bench.run([service(bench, first, api=api, batch=10), after], KEYS)
            assert first.calls == 10
            first.asked.clear()
            down.clear()
            second.answer = lambda asked: [item(key) for key in asked]
            again = bench.run([service(bench, first, api=api, batch=60), after], KEYS)
        assert first.asked == [KEYS[50:60]]
    assert counts(again, "cached", "succeeded", "calls") == (0, 100, 11)


def test_one_record_is_a_batch_of_one(bench: Any) -> None:
    with listing(lambda asked: [item(key) for key in asked]) as server:
        pipeline = flow.Pipeline("one", [service(bench, server)])
        assert pipeline.call({"key": "a"}).data["of"] == "A"
        assert server.asked == [["a"]]


def test_a_refused_access_at_the_first_request_ends_the_run(bench: Any) -> None:
    with listing(lambda asked: 401) as server:
        with pytest.raises(GuardrailReached, match="refuses access"):
            bench.run(service(bench, server, batch=10), KEYS, max_failures="100%")
        assert server.calls == 1


def test_offline_a_handler_gets_the_batch(bench: Any) -> None:
    api = flow.API("listed", "https://listed.example")
    one = api.post("company", "/batch", json=["{key}"], batch=3, match="id", returns={"of": str})
    answer: Callable[[Any], Any] = lambda request: [item(key) for key in reversed(request.json())]  # noqa: E731
    with flow.testing.offline(listed=answer) as calls:
        found = flow.Pipeline("off", [one]).apply(pa.table({"key": list("abcd")}))
    assert found["of"].to_pylist() == list("ABCD")
    assert [len(call.json()) for call in calls] == [3, 1]
