"""A gate lets calls through in order, within what the plane grants, and keeps nothing of those that give up."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dataflow.engine.control.gate import Gate, Impatient
from dataflow.engine.control.home import LocalLine, process_plane
from dataflow.engine.control.limits import Limits
from dataflow.engine.control.plane import Plane
from dataflow.errors import ClusterError
from dataflow.policies.breaker import Breaker
from dataflow.policies.rate import read_rates
from dataflow.policies.retry import Attempt

FREE = Limits(concurrency=None)
OK, FAILED = Attempt.SUCCEEDED, Attempt.FAILED


class Broken:
    """A line that can be cut, and that loses every so many replies."""

    def __init__(self, plane: Plane, *, lose: int = 0) -> None:
        self.line = LocalLine(plane)
        self.lose = lose
        self.cut = False
        self.asked = 0

    async def exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if self.cut:
            raise OSError("nobody there")
        reply = await self.line.exchange(request)
        if self.lose and self.asked % self.lose == 0:
            raise OSError("the reply is lost")
        return reply


def run(body: Callable[[Gate], Awaitable[None]], limits: Limits, line: Any = None) -> None:
    async def main() -> None:
        gate = Gate("acme", limits=limits, line=line or LocalLine(Plane(now=time.monotonic())))
        try:
            async with asyncio.timeout(20):
                await body(gate)
        finally:
            await gate.close()

    asyncio.run(main())


def test_a_call_without_limits_passes_at_once_and_a_busy_gate_hardly_talks() -> None:
    async def body(gate: Gate) -> None:
        gate.leave(await gate.enter(), OK)
        for _ in range(5000):
            pass_ = await gate.enter()
            assert not any(pass_.waited.values())
            gate.leave(pass_, OK)
        assert gate.exchanges == 1

    run(body, FREE)


def test_an_idle_gate_says_so_once_and_is_silent() -> None:
    async def body(gate: Gate) -> None:
        gate.leave(await gate.enter(), OK)
        await asyncio.sleep(0.4)
        said = gate.exchanges
        await asyncio.sleep(0.4)
        assert said == gate.exchanges <= 4

    run(body, Limits())


@pytest.mark.parametrize("lose", [0, 3])
def test_sends_never_exceed_the_rate_even_when_replies_are_lost(lose: int) -> None:
    async def body(gate: Gate) -> None:
        sent: list[float] = []

        async def caller() -> None:
            for _ in range(10):
                pass_ = await gate.enter()
                sent.append(time.monotonic())
                gate.leave(pass_, OK)

        await asyncio.gather(*(caller() for _ in range(25)))
        assert max(bisect_left(sent, at + 1.0) - index for index, at in enumerate(sent)) <= 200

    run(body, Limits(rates=read_rates("200/s", where="test"), concurrency=None), Broken(Plane(), lose=lose))


def test_tokens_never_exceed_their_rate_whatever_each_call_uses() -> None:
    limits = Limits(rates=read_rates("1000 tokens/s", where="test"), concurrency=None, tokens=100)

    async def body(gate: Gate) -> None:
        sent: list[tuple[float, int]] = []

        async def caller(tokens: int) -> None:
            pass_ = await gate.enter(tokens=lambda: tokens)
            assert pass_.tokens == tokens
            sent.append((time.monotonic(), tokens))
            gate.leave(pass_, OK, tokens=tokens)

        await asyncio.gather(*(caller(400 if at % 4 else 50) for at in range(16)))
        windows = [sum(tokens for at, tokens in sent if start <= at < start + 1.0) for start, _ in sent]
        assert max(windows) <= 1000

    run(body, limits)


def test_a_call_that_collects_slots_and_gives_up_leaves_them_to_others() -> None:
    limits = Limits(rates=read_rates("1000 tokens/s", where="test"), concurrency=None, tokens=100)

    async def body(gate: Gate) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gate.enter(tokens=lambda: 100_000), 0.5)
        gate.leave(await gate.enter(tokens=lambda: 100), OK, tokens=100)
        assert (gate._in_flight, len(gate._queue)) == (0, 0)

    run(body, limits)


def test_calls_in_flight_never_exceed_the_cap_and_pass_in_order() -> None:
    async def body(gate: Gate) -> None:
        order: list[int] = []
        most = running = 0

        async def caller(number: int) -> None:
            nonlocal most, running
            pass_ = await gate.enter()
            order.append(number)
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.002)
            running -= 1
            gate.leave(pass_, OK)

        await asyncio.gather(*(caller(number) for number in range(60)))
        assert order == list(range(60))
        assert most == 5
        assert gate.exchanges < 10

    run(body, Limits(concurrency=5))


def test_what_a_call_waited_for_is_told_by_reason() -> None:
    async def body(gate: Gate) -> None:
        first = await gate.enter()
        asyncio.get_running_loop().call_later(0.2, gate.leave, first, OK)
        second = await gate.enter()
        assert second.waited["concurrency"] > 0.1
        assert second.waited["rate"] < 0.1
        gate.leave(second, OK)

    run(body, Limits(concurrency=1))


@pytest.mark.parametrize(
    ("reason", "limits"),
    [("rate", Limits(rates=read_rates("6/min", where="test"))), ("concurrency", Limits(concurrency=1))],
)
def test_the_plane_hears_what_calls_wait_for(reason: str, limits: Limits) -> None:
    plane = Plane(now=time.monotonic())

    async def body(gate: Gate) -> None:
        await gate.enter()
        waiting = [asyncio.create_task(gate.enter()) for _ in range(3)]
        while plane.status(time.monotonic()).get("acme", {}).get("waiting_for") != {reason: 3}:
            await asyncio.sleep(0.02)
        for one in waiting:
            one.cancel()

    run(body, limits, LocalLine(plane))


def test_2000_calls_that_give_up_while_waiting_leave_nothing_behind() -> None:
    async def body(gate: Gate) -> None:
        held = [await gate.enter() for _ in range(4)]
        waiting = [asyncio.create_task(gate.enter()) for _ in range(2000)]
        await asyncio.sleep(0)
        for number, task in enumerate(waiting):
            task.cancel()
            if number % 100 == 0 and held:
                # Some are cancelled in the same turn of the loop in which they are let through.
                gate.leave(held.pop(), OK)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        again = [await gate.enter() for _ in range(4)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gate.enter(), 0.05)
        for pass_ in again:
            gate.leave(pass_, Attempt.ABANDONED)
        assert (gate._in_flight, len(gate._queue)) == (0, 0)

    run(body, Limits(concurrency=4))


def test_calls_let_through_and_cancelled_at_once_give_their_slots_back() -> None:
    async def body(gate: Gate) -> None:
        for _ in range(200):
            task = asyncio.create_task(gate.enter())
            await asyncio.sleep(0.0005)
            task.cancel()
            result = (await asyncio.gather(task, return_exceptions=True))[0]
            if not isinstance(result, BaseException):
                gate.leave(result, Attempt.ABANDONED)
        assert (gate._in_flight, len(gate._queue)) == (0, 0)

    run(body, Limits(rates=read_rates("300/s", where="test"), concurrency=2))


def open_breaker(gate: Gate) -> Awaitable[None]:
    async def fail() -> None:
        while not gate.health.is_down:
            gate.leave(await gate.enter(patience=0), FAILED)
            await asyncio.sleep(0.01)

    return fail()


def test_an_open_breaker_turns_the_impatient_away_and_its_probes_close_it_for_all() -> None:
    async def body(gate: Gate) -> None:
        await open_breaker(gate)
        with pytest.raises(Impatient) as raised:
            await gate.enter(patience=0)
        assert raised.value.reason == "breaker"
        assert 0 < raised.value.seconds <= 0.5
        passes = []

        async def caller() -> None:
            pass_ = await gate.enter(patience=10)
            passes.append(pass_)
            gate.leave(pass_, OK)

        await asyncio.gather(*(caller() for _ in range(10)))
        assert sum(pass_.probe for pass_ in passes) == 2
        assert passes[0].waited["breaker"] > 0.1

    run(body, Limits(breaker=Breaker(reset=0.5, probes=2)))


class Slow:
    """A line on which news take a while."""

    def __init__(self, plane: Plane, *, seconds: float) -> None:
        self.line = LocalLine(plane)
        self.seconds = seconds

    async def exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(self.seconds)
        return await self.line.exchange(request)


def test_fewer_calls_start_while_the_news_of_a_dead_provider_is_on_its_way() -> None:
    async def body(gate: Gate) -> None:
        passes = [await gate.enter() for _ in range(16)]
        for pass_ in passes[:5]:
            gate.leave(pass_, FAILED)
        assert gate.health.is_in_doubt
        late = asyncio.ensure_future(gate.enter())
        for pass_ in passes[5:10]:
            await asyncio.sleep(0)
            assert not late.done()
            gate.leave(pass_, FAILED)
        for pass_ in passes[10:]:
            gate.leave(pass_, OK)
        gate.leave(await asyncio.wait_for(late, 10), OK)
        assert not gate.health.is_in_doubt

    run(body, FREE, Slow(Plane(now=time.monotonic()), seconds=0.2))


def test_failures_in_a_row_stop_nobody_where_a_hand_keeps_the_breaker_closed() -> None:
    plane = Plane(now=time.monotonic())
    plane.hold("acme", "closed", now=time.monotonic())

    async def body(gate: Gate) -> None:
        for _ in range(200):
            gate.leave(await gate.enter(), FAILED)
        assert not gate.health.is_down

    run(body, FREE, LocalLine(plane))


def test_failures_count_anew_after_the_breaker_has_closed() -> None:
    plane = Plane(now=time.monotonic())

    async def body(gate: Gate) -> None:
        await open_breaker(gate)
        assert gate.health.is_down
        for state in ("closed", None):
            plane.hold("acme", state, now=time.monotonic())
        # Closed by others: here nothing has succeeded since.
        gate.leave(await gate.enter(), Attempt.REFUSED)
        assert not gate.health.is_down
        await open_breaker(gate)
        with pytest.raises(Impatient):
            await gate.enter(patience=0)

    run(body, Limits(concurrency=None, breaker=Breaker(reset=60)), LocalLine(plane))


def test_a_retry_after_pauses_the_api() -> None:
    async def body(gate: Gate) -> None:
        gate.leave(await gate.enter(), Attempt.THROTTLED, after=0.3)
        began = time.monotonic()
        pass_ = await gate.enter()
        assert time.monotonic() - began > 0.25
        assert pass_.waited["provider"] > 0.2
        gate.leave(pass_, OK)

    run(body, FREE)


def test_without_a_line_calls_go_on_until_the_lease_ends_and_again_when_it_is_back(monkeypatch) -> None:
    monkeypatch.setattr("dataflow.engine.control.account.LEASE", 0.4)
    monkeypatch.setattr("dataflow.engine.control.account.INTERVAL", 0.01)
    line = Broken(Plane())

    async def body(gate: Gate) -> None:
        gate.leave(await gate.enter(), OK)
        line.cut = True
        gate.leave(await gate.enter(), OK)
        await asyncio.sleep(0.6)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gate.enter(), 0.2)
        line.cut = False
        gate.leave(await gate.enter(), OK)

    run(body, FREE, line)


def test_a_plane_of_another_version_fails_every_call_that_waits() -> None:
    class Refusing:
        async def exchange(self, request: dict[str, Any]) -> dict[str, Any]:
            raise ClusterError("use the same version")

    async def body(gate: Gate) -> None:
        for _ in range(2):
            with pytest.raises(ClusterError, match="same version"):
                await gate.enter()

    run(body, FREE, Refusing())


def test_gates_on_several_loops_share_the_plane_of_the_process() -> None:
    assert process_plane() is process_plane()
    plane, running, most = Plane(), 0, 0

    async def use() -> None:
        nonlocal running, most
        gate = Gate("acme", limits=Limits(concurrency=3), line=LocalLine(plane))

        async def caller() -> None:
            nonlocal running, most
            pass_ = await gate.enter()
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.005)
            running -= 1
            gate.leave(pass_, OK)

        await asyncio.gather(*(caller() for _ in range(30)))
        await gate.close()

    async def main() -> None:
        await asyncio.gather(*(asyncio.to_thread(asyncio.run, use()) for _ in range(2)))

    asyncio.run(main())
    assert most <= 3


def test_a_long_limit_that_is_used_up_turns_away_who_does_not_wait_for_ever_and_warns_the_others_once() -> None:
    said: list[str] = []

    async def main() -> None:
        plane, limits = Plane(now=time.monotonic()), Limits(rates=read_rates("3/day", where="test"))
        gate = Gate("acme", limits=limits, line=LocalLine(plane), warn=said.append)
        passes = [await gate.enter(patience=0) for _ in range(3)]
        for patience in (0, 30.0):
            with pytest.raises(Impatient) as raised:
                await gate.enter(patience=patience)
            assert (raised.value.reason, raised.value.problem) == ("rate", "`acme`: 3/day is used up")
            assert raised.value.seconds > 86_000
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(gate.enter(), 0.5)
        for pass_ in passes:
            gate.leave(pass_, OK)
        await gate.close()

    asyncio.run(main())
    assert said == ["`acme`: 3/day is used up, next call in 25 h"]
