"""What a process notes of the calls that it makes, so that a bill is right whenever it is killed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dataflow.engine.http.attempts import Call, Terms
from dataflow.engine.http.billing import Billing, billed_whole
from dataflow.engine.http.till import Slip, Till
from dataflow.policies.deadline import Deadline
from dataflow.policies.retry import Retry
from dataflow.services.prices import Price

TERMS = Terms(timeout=5, retry=Retry(), patience=None)
PRICE = Price(function=lambda value: value, most=100)


@pytest.fixture
def till() -> Till:
    return Till(service="whole", write=lambda _: None)


def call_of(till: Till) -> Call:
    billing = Billing(service="whole", price=PRICE, whole=True)
    return Call(terms=TERMS, deadline=Deadline(started=0.0), billing=billing, slip=Slip(till=till))


def test_what_a_function_may_cost_is_held_from_its_first_request_on(till: Till) -> None:
    async def function(values: Any, call: Call) -> float:
        assert (till.open, till.held) == (0, 0), "nothing has left that a killed process could have to pay"
        for _ in range(2):
            part = call.request()
            part.leave()
            assert (till.open, till.held) == (1, 100)
            part.attempts = 1
            part.charge(None, None)
            part.note()
            call.add(part)
        return 3e-11

    asyncio.run(billed_whole(function)(None, call_of(till)))
    assert (till.open, till.held, till.calls, till.cost) == (0, 0, 2, 30)


def test_a_function_that_has_sent_nothing_costs_nothing(till: Till) -> None:
    async def function(values: Any, call: Call) -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(billed_whole(function)(None, call_of(till)))
    assert (till.open, till.held, till.calls, till.cost) == (0, 0, 0, 0)
