"""One call goes through its layers in their order, and is tried again only where that helps and does no harm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import pytest

from dataflow.engine.control.gate import Impatient, Pass
from dataflow.engine.http.attempts import Again, AttemptError, Call, CallError, Terms
from dataflow.engine.http.caller import Caller
from dataflow.errors import NotFound
from dataflow.policies.deadline import Deadline
from dataflow.policies.retry import Attempt, Retry
from dataflow.testing import SettableClock


class Turnstile:
    """A gate that lets everybody through and writes down who came and how it ended."""

    def __init__(self, events: list[str], waited: dict[str, float] | None = None, *, probe: bool = False) -> None:
        self.events = events
        self.waited: Any = waited or {}
        self.probe = probe

    async def enter(self, *, patience: float | None = None) -> Pass:
        self.events.append("enter")
        return Pass(waited=self.waited, probe=self.probe)

    def leave(self, entered: Pass, ending: Attempt, *, after: float | None = None) -> None:
        self.events.append(f"{ending} after {after:g}" if after else str(ending))


def error(again: Again = "always", **more: Any) -> AttemptError:
    return AttemptError("HTTP 503", "answered 503", again=again, **more)


def a_call(*, attempts: int = 3, repeatable: bool = True, limit: float = 300.0, timeout: float = 30.0) -> Call:
    terms = Terms(timeout=timeout, retry=Retry(attempts=attempts, initial=0), patience=None, repeatable=repeatable)
    return Call(terms=terms, deadline=Deadline(started=0.0, limit=limit))


def caller(gate: Turnstile, clock: Callable[[], float] | None = None) -> Caller:
    return Caller(gate, clock=clock or SettableClock(), draw=lambda: 0.0)  # type: ignore[arg-type]


def endings(*results: Any, events: list[str]) -> Callable[[], Awaitable[Any]]:
    """An attempt that ends in one way after the other."""
    left = list(results)

    async def attempt() -> Any:
        events.append("attempt")
        result = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(result, BaseException):
            raise result
        return result

    return attempt


def test_each_attempt_passes_the_gate_anew_and_leaves_it_before_the_next() -> None:
    events: list[str] = []
    call = a_call()
    attempt = endings(error(), error(attempt=Attempt.THROTTLED, after=0.001), "value", events=events)
    assert asyncio.run(caller(Turnstile(events)).perform(attempt, call)) == "value"
    once = ["enter", "attempt"]
    assert events == [*once, "failed", *once, "throttled after 0.001", *once, "succeeded"]
    assert call.attempts == 3


@pytest.mark.parametrize(
    ("again", "repeatable", "limit", "attempts"),
    [
        ("always", True, None, 3),
        ("always", False, None, 3),
        ("repeatable", True, None, 3),
        ("repeatable", False, None, 1),
        ("never", True, None, 1),
        ("repeatable", True, 2, 2),
        ("always", True, 9, 3),
    ],
)
def test_what_is_tried_again(again: Again, repeatable: bool, limit: int | None, attempts: int) -> None:
    events: list[str] = []
    call = a_call(repeatable=repeatable)
    failing = endings(error(again, limit=limit, status=503), events=events)
    with pytest.raises(CallError) as caught:
        asyncio.run(caller(Turnstile(events)).perform(failing, call))
    assert events.count("attempt") == call.attempts == attempts
    assert (caught.value.reason, caught.value.status, call.status) == ("HTTP 503", 503, 503)
    assert ("attempts" in str(caught.value)) == (attempts > 1)


def a_reset() -> AttemptError:
    return error(stale=True, attempt=Attempt.ABANDONED)


@pytest.mark.parametrize(
    ("allowed", "ends", "attempts", "answered"),
    [
        (3, [a_reset(), error(), error(), "value"], 4, True),
        (3, [error(), a_reset(), error(), "value"], 4, True),
        (3, [a_reset(), a_reset(), error(), error(), "value"], 4, False),
        (2, [a_reset(), error(), error(), "value"], 3, False),
        (1, [a_reset(), "value"], 1, False),
    ],
)
def test_one_connection_that_had_gone_stale_costs_a_record_none_of_its_attempts(
    allowed: int, ends: list[Any], attempts: int, answered: bool
) -> None:
    events: list[str] = []
    call = a_call(attempts=allowed)
    with nullcontext() if answered else pytest.raises(CallError):
        asyncio.run(caller(Turnstile(events)).perform(endings(*ends, events=events), call))
    assert (events.count("attempt"), call.attempts, call.retries) == (attempts, attempts, attempts - 1)


@pytest.mark.parametrize(
    ("ending", "allowed", "waits", "attempts"),
    [
        # The attempts after 60, 120, 180 and 240 s do not count, the three from 300 s on do.
        (Attempt.FAILED, 3, 60.0, 7),
        (Attempt.FAILED, 3, 299.0, 4),
        (Attempt.FAILED, 1, 1.0, 1),
        (Attempt.THROTTLED, 3, 1.0, 3),
    ],
)
def test_a_record_that_finds_the_provider_still_down_as_a_probe_has_lost_no_attempt(
    ending: Attempt, allowed: int, waits: float, attempts: int
) -> None:
    events: list[str] = []
    call = a_call(attempts=allowed)
    down = endings(error(attempt=ending), events=events)
    with pytest.raises(CallError):
        asyncio.run(caller(Turnstile(events, {"breaker": waits}, probe=True)).perform(down, call))
    assert call.attempts == attempts


def test_the_next_attempt_after_a_stale_connection_waits_for_nothing() -> None:
    events: list[str] = []
    terms = Terms(timeout=30.0, retry=Retry(initial=30, maximum=30), patience=None)
    call = Call(terms=terms, deadline=Deadline(started=0.0))
    hasty = Caller(Turnstile(events), clock=SettableClock(), draw=lambda: 0.9)  # type: ignore[arg-type]
    began = time.monotonic()
    assert asyncio.run(hasty.perform(endings(a_reset(), "value", events=events), call)) == "value"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("calls", "retries"), [(30, 10), (400, 40)])
def test_retries_cost_at_most_a_tenth_of_the_calls_and_ten_at_least(calls: int, retries: int) -> None:
    events: list[str] = []

    async def all_calls() -> None:
        one = caller(Turnstile(events))
        well, ill = endings("value", events=events), endings(error(), events=events)
        for _ in range(calls - 30):
            await one.perform(well, a_call())
        for _ in range(30):
            with pytest.raises(CallError):
                await one.perform(ill, a_call())

    asyncio.run(all_calls())
    assert events.count("attempt") == calls + retries


def test_a_record_whose_time_is_up_is_not_sent_any_more() -> None:
    events: list[str] = []
    clock = SettableClock(300.0)
    with pytest.raises(CallError, match="used up") as caught:
        asyncio.run(caller(Turnstile(events), clock).perform(endings("value", events=events), a_call()))
    assert (caught.value.reason, caught.value.timed_out) == ("deadline", True)
    assert events == ["enter", "abandoned"]


def test_a_retry_that_would_come_after_the_deadline_is_not_waited_for() -> None:
    events: list[str] = []
    clock = SettableClock(290.0)
    began = time.monotonic()
    with pytest.raises(CallError):
        asyncio.run(caller(Turnstile(events), clock).perform(endings(error(after=60.0), events=events), a_call()))
    assert events.count("attempt") == 1
    assert time.monotonic() - began < 20


def test_waiting_for_a_breaker_does_not_use_up_the_time_of_a_record() -> None:
    events: list[str] = []
    clock = SettableClock(350.0)
    call = a_call()
    gate = Turnstile(events, {"breaker": 100.0, "rate": 5.0})
    assert asyncio.run(caller(gate, clock).perform(endings("value", events=events), call)) == "value"
    assert call.waited == {"breaker": 100.0, "rate": 5.0}
    assert call.deadline.left(350.0) == 50.0


def test_a_retry_after_is_waited_for_at_least() -> None:
    events: list[str] = []
    began = time.monotonic()
    asyncio.run(caller(Turnstile(events)).perform(endings(error(after=0.1), "value", events=events), a_call()))
    assert time.monotonic() - began >= 0.09


def test_an_attempt_ends_after_its_timeout() -> None:
    async def never() -> None:
        await asyncio.sleep(60)

    events: list[str] = []
    with pytest.raises(CallError, match=r"within 0.02 s") as caught:
        asyncio.run(caller(Turnstile(events), time.monotonic).perform(never, _now(a_call(attempts=1, timeout=0.02))))
    assert caught.value.timed_out
    assert events == ["enter", "failed"]


def _now(call: Call) -> Call:
    call.deadline = Deadline(started=time.monotonic())
    return call


def test_an_answer_that_says_nothing_is_known_is_a_success_of_the_provider() -> None:
    events: list[str] = []
    with pytest.raises(NotFound):
        asyncio.run(caller(Turnstile(events)).perform(endings(NotFound(), events=events), a_call()))
    assert events == ["enter", "attempt", "succeeded"]


def test_a_bug_of_ours_says_nothing_about_the_provider() -> None:
    events: list[str] = []
    with pytest.raises(KeyError):
        asyncio.run(caller(Turnstile(events)).perform(endings(KeyError("x"), events=events), a_call()))
    assert events == ["enter", "attempt", "abandoned"]


def test_a_cancelled_call_gives_its_place_back() -> None:
    events: list[str] = []

    async def cancelled() -> None:
        started = asyncio.Event()

        async def attempt() -> None:
            started.set()
            await asyncio.sleep(60)

        task = asyncio.ensure_future(caller(Turnstile(events)).perform(attempt, a_call()))
        await started.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    asyncio.run(cancelled())
    assert events == ["enter", "abandoned"]


def test_a_gate_that_loses_patience_is_heard() -> None:
    class Shut(Turnstile):
        async def enter(self, *, patience: float | None = None) -> Pass:
            raise Impatient("breaker", 7.0)

    with pytest.raises(Impatient):
        asyncio.run(caller(Shut([])).perform(endings("value", events=[]), a_call()))
