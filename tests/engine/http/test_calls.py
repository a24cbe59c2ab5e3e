"""The calls of a partition: once for each distinct input, in order, remembered as they come, gone when cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from remembering import Store

from dataflow.engine.calling import Answers
from dataflow.engine.control.gate import Gate, Impatient
from dataflow.engine.control.home import LocalLine
from dataflow.engine.control.limits import Limits
from dataflow.engine.control.plane import Plane
from dataflow.engine.http.attempts import Call, CallError, Terms
from dataflow.engine.http.caller import Caller
from dataflow.engine.http.calls import Calling, current_call, make_calls
from dataflow.engine.http.memory import Memory
from dataflow.engine.http.sharing import Shared, share, spread_answers
from dataflow.errors import DeclarationError, GuardrailReached, NotFound
from dataflow.policies.breaker import Breaker
from dataflow.policies.retry import Attempt, Retry
from dataflow.services.annotations import declare
from dataflow.services.keys import Keys

KEYS = Keys(service="double", version="1", definition="")
INT = declare(int, where="")


async def double(inputs: Sequence[Any], call: Call) -> Any:
    call.attempts += 1
    await asyncio.sleep(0)
    return 2 * inputs[0]


def calling(
    function: Any = double, *, store: Store | None = None, patience: float | None = None, **more: Any
) -> Calling:
    terms = Terms(timeout=5, retry=Retry(), patience=patience)
    memory = Memory(store, service="double", returns=INT)
    return Calling(function=function, terms=terms, memory=memory, **{"side_by_side": 4, **more})


def make(values: Sequence[Any], one: Calling, check: Callable[[Any], None] = lambda error: None) -> Answers:
    shared = share([values], len(values), key=KEYS.of)
    return spread_answers(asyncio.run(make_calls(one, shared, check=check)), shared)


@given(st.lists(st.integers(0, 5), max_size=30))
def test_equal_inputs_share_a_call_and_every_record_gets_its_own_answer(values: list[int]) -> None:
    answers = make(values, calling())
    assert answers.values == [2 * value for value in values]
    assert answers.calls == len(set(values))
    assert answers.shared == [row for row, value in enumerate(values) if value in values[:row]]
    assert len(answers.shared) == len(values) - len(set(values))
    assert not answers.raised


def test_inputs_of_another_type_do_not_share_a_call() -> None:
    shared = share([[1, 1.0, True, "1", None, 1]], 6, key=KEYS.of)
    assert shared.call_of == [0, 1, 2, 3, 4, 0]
    assert shared.inputs == [(1,), (1.0,), (True,), ("1",), (None,)]


def test_a_service_without_columns_is_called_once() -> None:
    assert share([], 3, key=KEYS.of).call_of == [0, 0, 0]
    assert share([], 0, key=KEYS.of) == Shared(inputs=[], keys=[], call_of=[])


def test_no_more_calls_are_side_by_side_than_allowed() -> None:
    now, most = 0, 0

    async def busy(inputs: Sequence[Any], call: Call) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return 0

    make(range(20), calling(busy, side_by_side=3))
    assert most == 3


def test_what_is_remembered_is_not_called_again_and_says_so() -> None:
    store = Store()
    make([1, 2], calling(store=store))
    again = make([2, 3, 1, 2], calling(store=store))
    assert again.values == [4, 6, 2, 4]
    assert (again.calls, again.remembered) == (1, {0, 2, 3})
    assert len(store) == 3


@pytest.mark.parametrize(
    ("error", "kept"), [(NotFound(), 1), (KeyError("x"), 0), (CallError("HTTP 503", "no", status=503), 0)]
)
def test_only_answers_are_remembered_and_that_nothing_is_known_is_one(error: Exception, kept: int) -> None:
    async def fails(inputs: Sequence[Any], call: Call) -> Any:
        raise error

    store = Store()
    answers = make([1, 1, 2], calling(fails, store=store))
    assert len(store) == 2 * kept
    assert {row: type(one) for row, one in answers.raised.items()} == dict.fromkeys(range(3), type(error))
    assert make([1], calling(store=store)).calls == 1 - kept


def test_a_record_that_failed_does_not_keep_others_from_their_answers() -> None:
    async def odd(inputs: Sequence[Any], call: Call) -> Any:
        if inputs[0] % 2:
            raise CallError("timeout", "no answer", timed_out=True)
        return inputs[0]

    answers = make(range(6), calling(odd))
    assert answers.values == [0, None, 2, None, 4, None]
    assert sorted(answers.raised) == sorted(answers.timed_out) == [1, 3, 5]


def test_each_call_has_its_own_key_which_is_the_same_when_it_is_repeated() -> None:
    seen: list[str | None] = []

    async def note(inputs: Sequence[Any], call: Call) -> int:
        seen.append(call.key)
        assert current_call.get() is call
        return 0

    make([1, 2], calling(note, keyed=True, prefix="run-double-1"))
    make([1, 2], calling(note, keyed=True, prefix="run-double-1"))
    assert seen[:2] == seen[2:]
    assert len(set(seen)) == 2
    assert str(seen[0]).startswith("run-double-1-")


@pytest.mark.parametrize("error", [GuardrailReached("stop"), DeclarationError("mend it")])
def test_what_concerns_all_calls_ends_them_all(error: Exception) -> None:
    started, ended = [], []

    async def one_stops(inputs: Sequence[Any], call: Call) -> Any:
        if inputs[0] == 1:
            raise error
        started.append(inputs[0])
        try:
            await asyncio.sleep(3)
        finally:
            ended.append(inputs[0])

    with pytest.raises(type(error)):
        make(range(10), calling(one_stops))
    assert started == ended


def test_one_that_loses_patience_lets_the_calls_in_flight_end_and_no_other_begin() -> None:
    store, began = Store(), []

    async def ask(inputs: Sequence[Any], call: Call) -> int:
        began.append(inputs[0])
        if inputs[0] == 0:
            raise Impatient("breaker", 7.0)
        if inputs[0] == 3:
            call.waiting = 1
            await asyncio.sleep(60)
        await asyncio.sleep(0.05)
        return 7

    with pytest.raises(Impatient):
        make(range(10), calling(ask, store=store))
    assert began == [0, 1, 2, 3]
    assert len(store) == 2


def test_a_probe_in_flight_is_not_cancelled_by_a_call_that_lost_patience_and_closes_the_breaker() -> None:
    plane, store = Plane(), Store()
    limits = Limits(breaker=Breaker(threshold=1, reset=0.3, maximum=0.3, probes=1), concurrency=2)

    async def main() -> None:
        gate = Gate("acme", limits=limits, line=LocalLine(plane))
        gate.leave(await gate.enter(), Attempt.FAILED)
        await asyncio.sleep(0.1)
        caller = Caller(gate)

        async def slow() -> int:
            await asyncio.sleep(1.5)
            return 7

        async def ask(inputs: Sequence[Any], call: Call) -> Any:
            return await caller.perform(slow, call)

        one = calling(ask, store=store, patience=0.5, side_by_side=2)
        with pytest.raises(Impatient):
            await make_calls(one, share([range(9)], 9, key=KEYS.of), check=lambda error: None)
        await gate.close()

    asyncio.run(main())
    assert plane.status(time.monotonic())["acme"]["breaker"]["state"] == "closed"
    assert len(store) == 1


def test_an_open_breaker_fails_the_call_of_somebody_who_does_not_wait() -> None:
    async def shut(inputs: Sequence[Any], call: Call) -> Any:
        raise Impatient("breaker", 7.0)

    answers = make([1], calling(shut, patience=0))
    assert isinstance(answers.raised[0], CallError)
    assert answers.raised[0].reason == "breaker open"


def test_the_check_hears_of_each_ending_and_may_end_all() -> None:
    heard: list[Any] = []
    make([1, 2], calling(), heard.append)
    assert heard == [None, None]

    def ends(error: Any) -> None:
        raise GuardrailReached("no access")

    with pytest.raises(GuardrailReached):
        make([1, 2], calling(), ends)


def test_a_call_that_is_cancelled_midway_leaves_nothing_behind() -> None:
    store, ended = Store(), []

    async def slow(inputs: Sequence[Any], call: Call) -> int:
        try:
            await asyncio.sleep(0 if inputs[0] == 0 else 60)
        finally:
            ended.append(inputs[0])
        return 7

    async def main() -> None:
        shared = share([range(10)], 10, key=KEYS.of)
        task = asyncio.ensure_future(make_calls(calling(slow, store=store), shared, check=lambda error: None))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert sorted(ended) == [0, 1, 2, 3, 4]
    assert len(store) == 1


def test_where_no_call_may_be_made_memory_answers_and_the_rest_is_not_attempted() -> None:
    store = Store()
    make([1, 2], calling(store=store))
    asked: list[Any] = []

    async def never(inputs: Sequence[Any], call: Call) -> Any:
        asked.append(inputs)

    answers = make([1, 3, 2, 3], calling(never, store=store, may_call=False))
    assert answers.values == [2, None, 4, None]
    assert (answers.remembered, answers.not_attempted, answers.calls, asked) == ({0, 2}, {1, 3}, 0, [])
    assert answers.shared == []
    assert {error.reason for error in answers.raised.values()} == {"run stopped"}  # type: ignore[attr-defined]
    assert [answers.attempts.get(row) for row in (1, 3)] == [0, 0]
