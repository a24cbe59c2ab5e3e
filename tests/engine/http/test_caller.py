"""One call goes through its layers in their order, and is tried again only where that helps and does no harm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from dataflow.engine.control.gate import Impatient, Pass
from dataflow.engine.http.attempts import (
    POSTPONEMENTS,
    RETRY_LATER,
    Again,
    AttemptError,
    Call,
    CallError,
    Terms,
)
from dataflow.engine.http.caller import Caller
from dataflow.errors import NotFound
from dataflow.policies.deadline import Deadline
from dataflow.policies.effects import Reach
from dataflow.policies.retry import Attempt, Retry
from dataflow.testing import SettableClock


class Turnstile:
    """A gate that lets everybody through and writes down who came and how it ended."""

    def __init__(self, events: list[str], waited: dict[str, float] | None = None) -> None:
        self.events = events
        self.health = SimpleNamespace(is_down=False, in_turn=False, is_in_doubt=False, trouble="")
        self.waited: Any = waited or {}

    async def enter(self, *, patience: float | None = None, tokens: Any = None, fresh: bool = True) -> Pass:
        self.events.append("enter")
        return Pass(waited=self.waited)

    def leave(self, entered: Pass, ending: Attempt, *, after: float | None = None, **told: Any) -> None:
        self.events.append(f"{ending} after {after:g}" if after else str(ending))


def error(again: Again = "always", **more: Any) -> AttemptError:
    return AttemptError("HTTP 503", "answered 503", again=again, **more)


def a_call(
    *,
    attempts: int = 3,
    repeatable: bool = True,
    limit: float = 300.0,
    timeout: float = 30.0,
    patience: float | None = None,
) -> Call:
    terms = Terms(timeout=timeout, retry=Retry(attempts=attempts, initial=0), patience=patience, repeatable=repeatable)
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


def test_a_call_that_fails_again_while_others_are_answered_says_nothing_of_the_provider() -> None:
    events: list[str] = []
    clock = SettableClock()
    asked = caller(Turnstile(events), clock)

    async def attempt() -> Any:
        await asyncio.sleep(0)
        clock.advance(1)
        raise error()

    async def other() -> Any:
        return "value"

    async def story() -> None:
        bad = asyncio.ensure_future(asked.perform(attempt, a_call()))
        while "failed" not in events:
            await asyncio.sleep(0)
        clock.advance(1)
        await asked.perform(other, a_call())
        await asyncio.wait([bad])
        assert isinstance(bad.exception(), CallError)

    asyncio.run(story())
    assert [event for event in events if event != "enter"] == ["failed", "succeeded", "abandoned", "abandoned"]


def test_a_connection_that_had_gone_stale_is_no_answer_of_the_provider() -> None:
    events: list[str] = []
    asked = caller(Turnstile(events), clock := SettableClock())
    failing, stale = a_call(), a_call()

    async def break_off() -> Any:
        clock.advance(1)
        raise a_reset()

    async def story() -> None:
        with pytest.raises(CallError):
            await asked.perform(endings(error(), error(), error(), events=events), failing)
        with pytest.raises(CallError):
            await asked.perform(break_off, stale)
        with pytest.raises(CallError):
            await asked.perform(endings(error(), events=events), replace(failing, attempts=2))

    asyncio.run(story())
    assert "succeeded" not in events
    assert events[-2:] == ["attempt", "failed"]


def test_the_next_attempt_after_a_stale_connection_waits_for_nothing() -> None:
    events: list[str] = []
    terms = Terms(timeout=30.0, retry=Retry(initial=30, maximum=30), patience=None)
    call = Call(terms=terms, deadline=Deadline(started=0.0))
    hasty = Caller(Turnstile(events), clock=SettableClock(), draw=lambda: 0.9)  # type: ignore[arg-type]
    began = time.monotonic()
    assert asyncio.run(hasty.perform(endings(a_reset(), "value", events=events), call)) == "value"
    assert time.monotonic() - began < 10


def test_every_record_has_the_attempts_that_were_declared_however_many_fail() -> None:
    events: list[str] = []

    async def all_calls() -> None:
        one = caller(Turnstile(events))
        for _ in range(200):
            with pytest.raises(CallError):
                await one.perform(endings(*[error()] * 10, events=events), a_call(attempts=10))

    asyncio.run(all_calls())
    assert events.count("attempt") == 2000


@pytest.mark.parametrize("patience", [None, 30.0])
def test_a_word_to_come_again_is_no_attempt(patience: float | None) -> None:
    events: list[str] = []
    asked = AttemptError(RETRY_LATER, "asked to be called again", attempt=Attempt.REFUSED, again="always")
    told = error(attempt=Attempt.THROTTLED, after=0.0)
    ends = endings(*[asked, told] * 9, error(), "value", events=events)
    assert asyncio.run(caller(Turnstile(events)).perform(ends, a_call(attempts=2, patience=patience))) == "value"
    assert events.count("attempt") == 20


def test_who_asks_for_one_record_takes_a_429_for_a_failure() -> None:
    events: list[str] = []
    ends = endings(*[error(attempt=Attempt.THROTTLED, after=0.0)] * 9, events=events)
    with pytest.raises(CallError):
        asyncio.run(caller(Turnstile(events)).perform(ends, a_call(patience=0)))
    assert events.count("attempt") == 3


def test_who_is_asked_to_wait_for_ever_fails_in_the_end() -> None:
    events: list[str] = []
    ends = endings(*[error(attempt=Attempt.THROTTLED, after=0.0)] * 500, events=events)
    with pytest.raises(CallError):
        asyncio.run(caller(Turnstile(events)).perform(ends, a_call(attempts=2)))
    assert events.count("attempt") == POSTPONEMENTS + 2


def test_the_last_attempt_does_not_count_while_the_api_may_be_down_for_all() -> None:
    events: list[str] = []
    gate = Turnstile(events)
    gate.health.is_in_doubt = True
    assert asyncio.run(caller(gate).perform(endings(*[error()] * 8, "value", events=events), a_call())) == "value"
    gate.health.in_turn = True
    with pytest.raises(CallError):
        asyncio.run(caller(gate).perform(endings(*[error()] * 8, events=events), a_call()))
    assert events.count("attempt") == 9 + 3


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


@pytest.mark.parametrize(("attempts", "left"), [(0, 255.0), (1, 50.0)])
def test_what_a_record_waits_for_before_its_first_attempt_or_for_a_breaker_takes_none_of_its_time(
    attempts: int, left: float
) -> None:
    events: list[str] = []
    clock = SettableClock(350.0)
    call = a_call()
    call.attempts = attempts
    gate = Turnstile(events, {"breaker": 100.0, "rate": 205.0})
    assert asyncio.run(caller(gate, clock).perform(endings("value", events=events), call)) == "value"
    assert call.waited == {"breaker": 100.0, "rate": 205.0}
    assert call.deadline.left(350.0) == left


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
        async def enter(self, *, patience: float | None = None, tokens: Any = None, fresh: bool = True) -> Pass:
            raise Impatient("breaker", 7.0)

    with pytest.raises(Impatient):
        asyncio.run(caller(Shut([])).perform(endings("value", events=[]), a_call()))


def test_what_the_provider_said_stays_apart_from_the_sentence_about_a_breaker() -> None:
    class Opening(Turnstile):
        api = "acme"

        async def enter(self, *, patience: float | None = None, tokens: Any = None, fresh: bool = True) -> Pass:
            if self.events:
                raise Impatient("breaker", 7.0)
            return await super().enter()

    events: list[str] = []
    with pytest.raises(Impatient) as caught:
        asyncio.run(caller(Opening(events)).perform(endings(error(said="over quota"), events=events), a_call()))
    assert "answered 503" in caught.value.problem
    assert "over quota" not in caught.value.problem
    assert "over quota" in caught.value.said


def test_what_the_provider_said_last_goes_with_the_error_of_a_call() -> None:
    failing = endings(error(said="over quota"), events=[])
    with pytest.raises(CallError) as caught:
        asyncio.run(caller(Turnstile([])).perform(failing, a_call()))
    assert str(caught.value) == "answered 503 (3 attempts)"
    assert caught.value.whole == "answered 503 (3 attempts): over quota"


class Outage(Turnstile):
    """A gate whose breaker is open: each call waits for it and is a probe."""

    def __init__(self, events: list[str], clock: SettableClock, *, wait: float) -> None:
        super().__init__(events, {"breaker": wait})
        self.health.is_down = True
        self.clock = clock
        self.patience: list[float | None] = []

    async def enter(self, *, patience: float | None = None, tokens: Any = None, fresh: bool = True) -> Pass:
        self.patience.append(patience)
        self.clock.advance(self.waited["breaker"])
        return replace(await super().enter(), probe=True)


def timing_out(clock: SettableClock, *, seconds: float, times: int, again: Again = "repeatable") -> Any:
    """An attempt that takes its time and fails, so many times."""
    left = iter(range(times))

    async def attempt() -> str:
        clock.advance(seconds)
        if next(left, None) is not None:
            raise AttemptError("timeout", "no answer", again=again)
        return "value"

    return attempt


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_probe_that_fails_uses_up_neither_the_attempts_nor_the_time_of_its_record(attempts: int) -> None:
    clock, call = SettableClock(), a_call(attempts=attempts, timeout=40)
    gate = Outage([], clock, wait=20.0)
    attempt = timing_out(clock, seconds=30.0, times=9)
    assert asyncio.run(caller(gate, clock).perform(attempt, call)) == "value"
    assert (call.attempts, call.retries, call.waited) == (10, 9, {"breaker": 200.0})
    assert call.deadline.left(clock()) == 300.0 - 30.0


def test_ten_minutes_of_an_outage_are_outlasted_and_not_more() -> None:
    clock, call = SettableClock(), a_call(attempts=2)
    gate = Outage([], clock, wait=100.0)
    with pytest.raises(CallError, match="7 attempts"):
        asyncio.run(caller(gate, clock).perform(timing_out(clock, seconds=0.0, times=99), call))


def test_what_failed_before_the_breaker_opened_is_forgiven_to_whoever_waits_for_it() -> None:
    clock, call = SettableClock(), a_call(attempts=3)
    call.attempts = 2
    call.wait({"breaker": 60.0, "rate": 1.0})
    assert call.attempts - call.excused == 0
    attempt = timing_out(clock, seconds=0.0, times=2)
    assert asyncio.run(caller(Turnstile([]), clock).perform(attempt, call)) == "value"


def test_the_patience_of_a_call_is_for_all_its_waiting_and_its_probes() -> None:
    clock, call = SettableClock(), a_call(patience=30.0)
    gate = Outage([], clock, wait=8.0)
    asyncio.run(caller(gate, clock).perform(timing_out(clock, seconds=4.0, times=3), call))
    assert gate.patience == [30.0, 18.0, 6.0, 0.0]


def test_whoever_does_not_wait_for_a_breaker_has_no_more_attempts_than_declared() -> None:
    clock, call = SettableClock(), a_call(attempts=2, patience=0.0)
    with pytest.raises(CallError, match="2 attempts"):
        asyncio.run(caller(Outage([], clock, wait=0.0), clock).perform(timing_out(clock, seconds=1, times=9), call))


@pytest.mark.parametrize(("again", "sent"), [("repeatable", 1), ("always", 6)])
def test_a_probe_whose_answer_was_lost_is_not_sent_again_where_that_does_harm(again: Again, sent: int) -> None:
    clock, call = SettableClock(), a_call(attempts=1, repeatable=False)
    attempt = timing_out(clock, seconds=1.0, times=5, again=again)
    with suppress(CallError):
        asyncio.run(caller(Outage([], clock, wait=1.0), clock).perform(attempt, call))
    assert call.attempts == sent


def test_a_call_in_flight_is_not_tried_again_once_its_partition_is_given_back() -> None:
    events: list[str] = []
    call = a_call()

    async def attempt() -> None:
        assert (call.in_flight, call.only_waits) == (1, False)
        events.append("attempt")
        call.stop.error = Impatient("breaker", 7.0)
        raise error()

    with pytest.raises(Impatient):
        asyncio.run(caller(Turnstile(events)).perform(attempt, call))
    assert events == ["enter", "attempt", "failed"]
    assert (call.in_flight, call.waiting) == (0, 0)


@pytest.mark.parametrize(
    ("ahead", "order"), [(None, ["enter", "note", "attempt"]), (1, ["note", "enter", "note", "attempt"])]
)
def test_a_call_is_noted_after_its_turn_or_ahead_of_it_where_a_rate_counts_when_it_is_sent(
    ahead: int | None, order: list[str]
) -> None:
    events: list[str] = []
    call = a_call()

    async def note() -> None:
        events.append("note")

    async def perform() -> None:
        call.announce, call.ahead = note, None if ahead is None else asyncio.Semaphore(ahead)
        await caller(Turnstile(events)).perform(endings(1, events=events), call)

    asyncio.run(perform())
    assert events == [*order, "succeeded"]


@pytest.mark.parametrize(
    ("error", "reach"),
    [
        (error("always"), Reach.NOTHING),
        (error("never", status=400), Reach.NOTHING),
        (error("never", status=503), Reach.UNCLEAR),
        (error("never", status=200), Reach.TAKEN),
        (NotFound(), Reach.TAKEN),
        (KeyError("parser"), Reach.UNCLEAR),
    ],
)
def test_a_call_knows_how_far_it_has_come(error: Exception, reach: Reach) -> None:
    call = a_call(attempts=1)
    with suppress(CallError, NotFound, KeyError):
        asyncio.run(caller(Turnstile([])).perform(endings(error, events=[]), call))
    assert call.reached is reach
