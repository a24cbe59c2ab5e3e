"""A wallet on a real loop with a plane in the same process: who waits, who is refused, and what goes back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dataflow.engine.control.home import LocalLine
from dataflow.engine.control.passes import Impatient
from dataflow.engine.control.plane import Plane
from dataflow.engine.control.wallet import Wallet

TITLES = {"run": "budget of USD 1.00", "service a": "budget of `a` of USD 0.10"}
RUN = ("run",)


def authorise(plane: Plane, amount: int, *, limit: int | None = None, portion: int = 100, name: str = "run") -> Any:
    given = {"authorised": amount, "limit": amount if limit is None else limit, "portion": portion}
    return plane.authorise("one", purses={name: given}, now=0.0)[name]


def spending(test: Callable[[Plane, Callable[[], Wallet]], Coroutine[Any, Any, None]]) -> None:
    """Run a test with a plane, and close the wallets that it makes."""

    async def run() -> None:
        plane = Plane()
        made: list[Wallet] = []

        def wallet() -> Wallet:
            made.append(Wallet("one", titles=TITLES, line=LocalLine(plane)))
            return made[-1]

        await asyncio.wait_for(test(plane, wallet), 20)
        for one in made:
            await one.close()

    asyncio.run(run())


def test_calls_spend_all_of_a_budget_and_then_are_refused() -> None:
    async def test(plane: Plane, wallet: Callable[[], Wallet]) -> None:
        authorise(plane, 100)
        one, spent = wallet(), itertools.count()

        async def call() -> None:
            reserved = await one.reserve(RUN, 10, desk="acme")
            one.send(reserved)
            await asyncio.sleep(0.01)
            next(spent)
            one.settle(reserved, 10)

        endings = await asyncio.gather(*(call() for _ in range(40)), return_exceptions=True)
        refused = [error for error in endings if isinstance(error, Impatient)]
        assert (next(spent), len(refused)) == (10, 30)
        assert {(error.reason, error.over) for error in refused} == {("budget", "run")}
        assert refused[0].problem == "the budget of USD 1.00 is used up"

    spending(test)


def test_a_call_waits_while_others_may_give_something_back() -> None:
    async def test(plane: Plane, wallet: Callable[[], Wallet]) -> None:
        authorise(plane, 10)
        one, other = wallet(), wallet()
        reserved = await one.reserve(RUN, 10, desk="acme")
        one.send(reserved)
        waits = asyncio.ensure_future(other.reserve(RUN, 10, desk="acme"))
        await asyncio.sleep(0.2)
        assert not waits.done()
        one.settle(reserved, 0)
        assert (await waits).waited > 0.1

    spending(test)


def test_two_wallets_that_each_hold_too_little_do_not_wait_for_each_other() -> None:
    async def test(plane: Plane, wallet: Callable[[], Wallet]) -> None:
        authorise(plane, 12)
        one, other = wallet(), wallet()
        for each in (one, other):
            reserved = await each.reserve(RUN, 6, desk="acme")
            each.send(reserved)
            each.settle(reserved, 1)

        async def spend(own: Wallet, amount: int) -> int:
            reserved = await own.reserve(RUN, amount, desk="acme")
            own.send(reserved)
            own.settle(reserved, amount)
            return amount

        done = await asyncio.gather(spend(one, 8), spend(other, 9), return_exceptions=True)
        assert sorted(type(found).__name__ for found in done) == ["Impatient", "int"]

    spending(test)


def test_what_is_not_needed_goes_back_and_what_was_spent_is_told() -> None:
    async def test(plane: Plane, wallet: Callable[[], Wallet]) -> None:
        authorise(plane, 100)
        one = wallet()
        for _ in range(3):
            reserved = await one.reserve(RUN, 10, desk="acme")
            one.send(reserved)
            one.settle(reserved, 4)
        told = {"spent": 12, "out": 0, "lost": 0, "held": 0, "wants": False}
        # What is never told fails by the time of the whole test.
        while authorise(plane, 100) != told:
            await asyncio.sleep(0.05)

    spending(test)


def test_little_money_waits_before_a_slow_gate() -> None:
    async def test(plane: Plane, wallet: Callable[[], Wallet]) -> None:
        authorise(plane, 100, limit=1000, portion=40)
        one = wallet()
        slow = [asyncio.ensure_future(one.reserve(RUN, 10, desk="slow")) for _ in range(8)]
        while sum(each.done() for each in slow) < 2:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        assert sum(each.done() for each in slow) == 2
        assert (await one.reserve(RUN, 10, desk="quick")).amount == 10
        for each in slow:
            each.cancel()

    spending(test)


def test_a_service_whose_own_purse_is_empty_leaves_the_others_alone() -> None:
    async def test(plane: Plane, wallet: Callable[[], Wallet]) -> None:
        authorise(plane, 100)
        authorise(plane, 5, name="service a")
        one = wallet()
        with pytest.raises(Impatient, match="budget") as caught:
            await one.reserve(("run", "service a"), 10, desk="acme")
        assert caught.value.over == "service a"
        assert (await one.reserve(RUN, 10, desk="acme")).amount == 10

    spending(test)


def test_who_is_cancelled_or_has_no_patience_holds_nothing() -> None:
    async def test(plane: Plane, wallet: Callable[[], Wallet]) -> None:
        authorise(plane, 10, limit=100)
        one = wallet()
        first = await one.reserve(RUN, 10, desk="acme")
        with pytest.raises(Impatient) as caught:
            await one.reserve(RUN, 10, desk="acme", patience=0.1)
        assert (caught.value.over, caught.value.seconds) == (None, 1.0)
        waits = asyncio.ensure_future(one.reserve(RUN, 10, desk="acme"))
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
        one.settle(first, 0)
        while authorise(plane, 10, limit=100)["held"]:
            await asyncio.sleep(0.05)

    spending(test)
