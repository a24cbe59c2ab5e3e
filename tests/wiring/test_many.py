"""Several records in one call: side by side, in order, equal ones once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

import dataflow as flow
from dataflow.errors import CriticalServiceFailed, DeclarationError

acme = flow.API("acme-many", "https://acme.example")


@flow.enrichment
async def size(domain: str) -> int:
    await asyncio.sleep(0.01)
    if domain == "bad.example":
        raise LookupError("secret text")
    return len(domain)


def counted() -> tuple[Any, Counter[str]]:
    made: Counter[str] = Counter()

    @flow.enrichment
    async def asked(domain: str) -> list[str]:
        made[domain] += 1
        return [domain]

    return asked, made


def test_results_come_in_the_order_of_the_records() -> None:
    @flow.enrichment
    async def waited(n: int) -> int:
        await asyncio.sleep(0.05 * (3 - n))
        return n

    results = flow.Pipeline("p", [waited]).call_many([{"n": n} for n in (0, 1, 2, 1)])
    assert [result.data["waited"] for result in results] == [0, 1, 2, 1]


def test_no_records_give_no_results() -> None:
    assert flow.Pipeline("p", [size]).call_many([]) == []


def test_equal_records_are_run_once_and_keep_what_the_pipeline_does_not_read() -> None:
    asked, made = counted()
    records: list[dict[str, Any]] = [
        {"id": 1, "note": "x", "domain": "a"},
        {"id": 2, "domain": "a"},
        {"id": 3, "domain": "b"},
    ]
    first, again, other = flow.Pipeline("p", [asked]).call_many(records)
    assert made == {"a": 1, "b": 1}
    assert [one.data["id"] for one in (first, again, other)] == [1, 2, 3]
    assert "note" not in again.data
    assert again.data["asked"] == ["a"]
    assert again.data["asked"] is not first.data["asked"]
    assert again.metadata.execution_id == first.metadata.execution_id != other.metadata.execution_id


def test_one_and_true_are_no_equal_records() -> None:
    @flow.transformation
    def kind(x: Any) -> str:
        return type(x).__name__

    results = flow.Pipeline("p", [kind]).call_many([{"x": 1}, {"x": True}, {"x": 1.0}])
    assert [one.data["kind"] for one in results] == ["int", "bool", "float"]


def test_what_has_an_effect_is_done_for_every_record() -> None:
    calls = []

    @flow.enrichment(api=acme, idempotent=False)
    async def sent(email: str) -> str:
        calls.append(email)
        return "sent"

    results = flow.Pipeline("p", [sent]).call_many([{"email": "a"}, {"email": "a"}])
    assert calls == ["a", "a"]
    assert len({one.metadata.execution_id for one in results}) == 2


def test_equal_calls_of_an_api_are_made_once_and_paid_once() -> None:
    asked: list[str] = []

    async def company(request: flow.testing.Request) -> Any:
        asked.append(request.url)
        await asyncio.sleep(0.05)
        return {"name": "Acme"}

    service = acme.get("company", "/companies/{domain}", returns=str, select="name", price=0.5)
    pipeline = flow.Pipeline("p", [service])
    with flow.testing.offline(**{"acme-many": company}):
        results = pipeline.call_many([{"n": n, "domain": "d"} for n in range(5)] + [{"n": 9, "domain": "e"}])
    assert len(asked) == 2
    assert [one.data["company"] for one in results] == ["Acme"] * 6
    assert sum(one.metadata.cost for one in results) == 1.0


def test_records_that_differ_share_the_calls_that_are_equal() -> None:
    asked: list[str] = []

    async def company(request: flow.testing.Request) -> Any:
        asked.append(request.url)
        return {"name": "Acme"}

    @flow.transformation
    def label(n: int, company: str) -> str:
        return f"{company} {n}"

    service = acme.get("company", "/companies/{domain}", returns=str, select="name", price=0.5)
    with flow.testing.offline(**{"acme-many": company}):
        results = flow.Pipeline("p", [service, label]).call_many([{"n": n, "domain": "d"} for n in range(5)])
    assert [one.data["label"] for one in results] == [f"Acme {n}" for n in range(5)]
    assert len(asked) == 1
    assert sorted(one.metadata.cost for one in results) == [0.0, 0.0, 0.0, 0.0, 0.5]
    assert [one.metadata.success_count for one in results] == [2] * 5


def test_a_critical_failure_is_raised_when_all_have_ended_and_names_the_place() -> None:
    ended: list[str] = []

    @flow.enrichment(priority="critical")
    async def vital(domain: str) -> str:
        if domain != "bad":
            await asyncio.sleep(0.1)
            ended.append(domain)
            return domain
        raise LookupError("secret text")

    pipeline = flow.Pipeline("p", [vital])
    with pytest.raises(CriticalServiceFailed, match=r"record 1 of 3: .*`vital`: LookupError") as caught:
        pipeline.call_many([{"domain": "a"}, {"domain": "bad"}, {"domain": "b"}])
    assert caught.value.services == ("vital",)
    assert sorted(ended) == ["a", "b"]
    assert "secret" not in caught.value.plain
    assert "LookupError: secret text (test_many.py, line " in str(caught.value)


def test_errors_may_stand_in_the_places_of_their_records() -> None:
    @flow.enrichment(priority="critical")
    async def vital(n: int) -> int:
        return 1 // n

    found: list[Any] = flow.Pipeline("p", [vital]).call_many([{"n": 1}, {"n": 0}, {"n": "x"}], return_errors=True)
    assert found[0].data["vital"] == 1
    assert isinstance(found[1], CriticalServiceFailed)
    assert isinstance(found[2], DeclarationError)


def test_a_slow_record_does_not_keep_the_others() -> None:
    ended: list[int] = []

    @flow.enrichment
    async def waited(n: int) -> int:
        while n == 0 and len(ended) < 3:
            await asyncio.sleep(0.01)
        return n

    @flow.transformation
    def noted(waited: int) -> int:
        ended.append(waited)
        return waited

    flow.Pipeline("p", [waited, noted]).call_many([{"n": n} for n in range(4)])
    assert sorted(ended[:3]) == [1, 2, 3]
    assert ended[3:] == [0]


def test_only_so_many_records_are_under_way_at_once() -> None:
    under_way, most, together = 0, 0, asyncio.Barrier(3)

    @flow.enrichment
    async def waited(n: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await together.wait()
        await asyncio.sleep(0.01)
        under_way -= 1
        return n

    results = flow.Pipeline("p", [waited]).call_many([{"n": n} for n in range(9)], at_once=3)
    assert [one.data["waited"] for one in results] == list(range(9))
    assert most == 3


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None])
def test_a_wrong_number_of_records_at_once_is_refused(wrong: Any) -> None:
    with pytest.raises(DeclarationError, match="at_once"):
        flow.Pipeline("p", [size]).call_many([{"domain": "a"}], at_once=wrong)


def test_many_records_may_be_awaited_and_cancelled() -> None:
    begun, ended = asyncio.Barrier(3), list[str]()

    @flow.enrichment
    async def endless(email: str) -> str:
        await begun.wait()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(email)
            raise
        return "done"

    async def main() -> None:
        results = await flow.Pipeline("p", [size]).acall_many([{"domain": "a"}, {"domain": "bb"}])
        assert [one.data["size"] for one in results] == [1, 2]
        pipeline = flow.Pipeline("p", [endless])
        asked = asyncio.create_task(pipeline.acall_many([{"email": "a"}, {"email": "b"}]))
        await begun.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    asyncio.run(main())
    assert sorted(ended) == ["a", "b"]
