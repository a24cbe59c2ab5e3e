"""Which requests a partition makes where records share them: how many at a time, when none, and what each leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from remembering import Store

import dataflow as flow
from dataflow.engine.calling import Answers
from dataflow.engine.control.gate import Impatient
from dataflow.engine.http.attempts import Call, CallError, Terms
from dataflow.engine.http.batches import make_batches
from dataflow.engine.http.batching import Asked
from dataflow.engine.http.calls import Calling
from dataflow.engine.http.memory import Memory
from dataflow.engine.http.settings import Halted
from dataflow.engine.http.sharing import share, spread_answers
from dataflow.engine.keys import definition
from dataflow.errors import GuardrailReached, NotFound
from dataflow.plan.binding import bind
from dataflow.policies.retry import Retry
from dataflow.services.annotations import declare
from dataflow.services.keys import Keys

KEYS = Keys(service="double", version="1", definition="")
LISTED = flow.API("listed", "https://listed.example").post("l", "/l", json=["{a}"], batch=4, match="a", returns=int)


class Provider:
    """Doubles numbers, refuses requests with a negative one, and knows nothing of 0."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.now = self.most = 0

    async def __call__(self, asked: Asked, call: Call) -> None:
        numbers = [row[0] for row in asked.rows]
        self.asked.append(numbers)
        self.now += 1
        self.most = max(self.most, self.now)
        call.attempts += 1
        call.seconds = 0.5
        await asyncio.sleep(0.001)
        self.now -= 1
        if any(number < 0 for number in numbers):
            raise CallError("HTTP 422", "answered 422", status=422)
        for at, number in enumerate(numbers):
            if number:
                asked.values[at] = 2 * number
            else:
                asked.errors[at] = NotFound()


def calling(function: Any, *, store: Store | None = None, patience: float | None = None, **more: Any) -> Calling:
    terms = Terms(timeout=5, retry=Retry(), patience=patience, **more)
    memory = Memory(store, service="double", returns=declare(int, where=""))
    return Calling(function=function, terms=terms, memory=memory, side_by_side=3, batch=LISTED.endpoint.batch)


def make(values: Sequence[int], one: Calling, check: Callable[[Any], None] = lambda error: None) -> Answers:
    shared = share([values], len(values), key=KEYS.of)
    return spread_answers(asyncio.run(make_batches(one, shared, check=check)), shared)


@given(st.lists(st.integers(-3, 9), max_size=40))
def test_each_record_ends_as_it_would_alone_however_poison_is_spread(values: list[int]) -> None:
    provider, store = Provider(), Store()
    answers = make(values, calling(provider, store=store))
    assert answers.values == [2 * value if value > 0 else None for value in values]
    for row, value in enumerate(values):
        assert type(answers.raised.get(row)) is (CallError if value < 0 else NotFound if value == 0 else type(None))
    assert answers.calls == len(provider.asked) == len(answers.seconds)
    assert len(store) == len({value for value in values if value >= 0})
    assert max(map(len, provider.asked), default=0) <= 4
    assert provider.most <= 3
    assert len(answers.shared) == len(values) - len(set(values))


def test_what_is_remembered_is_not_asked_for_and_another_size_makes_no_difference() -> None:
    store, provider = Store(), Provider()
    make([1, 2, 3, 0], calling(provider, store=store))
    batch = LISTED.endpoint.batch
    again = make([5, 1, 2, 3, 0, 6, 7], replace(calling(provider, store=store), batch=replace(batch, size=2)))
    assert provider.asked == [[1, 2, 3, 0], [5, 6], [7]]
    assert (again.calls, sorted(again.remembered)) == (2, [1, 2, 3, 4])


def test_the_check_hears_of_each_request_and_may_end_all() -> None:
    heard: list[Any] = []
    make([*range(1, 9), -1], calling(Provider()), heard.append)
    assert [type(one) for one in heard] == [type(None), type(None), CallError]

    def ends(error: Any) -> None:
        raise GuardrailReached("no access")

    with pytest.raises(GuardrailReached):
        make([1], calling(Provider()), ends)


def test_what_could_not_be_sent_says_nothing_about_access() -> None:
    async def unwritable(asked: Asked, call: Call) -> None:
        asked.unsent.add(0)
        asked.errors[0] = CallError("bad input", "no")

    heard: list[Any] = []
    answers = make([1], calling(unwritable), heard.append)
    assert (heard, answers.calls, answers.seconds, answers.attempts) == ([], 0, [], {0: 0})


def test_answers_are_remembered_for_what_was_asked_and_not_for_how_many_at_once() -> None:
    def asks(**options: Any) -> str:
        given = {"json": ["{a}"], "returns": int, "batch": 4, "match": "a", **options}
        one = flow.API("listed", "https://listed.example").post("l", "/l", **given)
        return definition(bind([one], pa.schema({"a": pa.int64()}), name="p").steps[0])

    assert asks() == asks(batch=9)
    assert len({asks(), asks(items="data"), asks(match="id"), asks(match=None), asks(json=[["{a}"]])}) == 5


def test_no_half_is_sent_when_no_new_calls_may_be_made() -> None:
    provider, store = Provider(), Store()
    one = replace(calling(provider, store=store), halted=lambda: len(provider.asked) > 1)
    with pytest.raises(Halted):
        make([1, 2, 3, -1], one)
    assert provider.asked == [[1, 2, 3, -1]] + ([[1, 2]] if len(provider.asked) > 1 else [])


def test_what_was_found_before_an_impatient_breaker_is_remembered() -> None:
    async def half(asked: Asked, call: Call) -> None:
        asked.values[0] = 2
        raise Impatient("breaker", 7.0)

    store = Store()
    with pytest.raises(Impatient):
        make([1, 2], calling(half, store=store))
    assert len(store) == 1
    answers = make([3, 4], calling(half, patience=0))
    assert (answers.values, answers.raised[1].reason) == ([2, None], "breaker open")  # type: ignore[attr-defined]


def test_a_failure_that_others_share_tells_its_own_duration() -> None:
    answers = make([1, 1, -1], calling(Provider()))
    assert answers.durations == {2: 0.5}
    assert answers.seconds == [0.5] * 3


def test_a_batch_that_is_cancelled_leaves_nothing_behind() -> None:
    async def slow(asked: Asked, call: Call) -> None:
        asked.values[0] = 7
        await asyncio.sleep(60)

    async def main() -> None:
        store, shared = Store(), share([range(10)], 10, key=KEYS.of)
        task = asyncio.ensure_future(make_batches(calling(slow, store=store), shared, check=lambda error: None))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert len(store) == 3

    asyncio.run(main())
