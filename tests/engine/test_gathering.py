"""Who waits for whom before a request is sent that several records share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from dataflow.engine import gathering
from dataflow.engine.calling import Answers
from dataflow.engine.gathering import Companion, Together


class Desk:
    """Some records under way together, and the requests that were sent for them."""

    def __init__(self, count: int) -> None:
        self.together = Together()
        self.sent: list[list[Any]] = []
        self.left = ExitStack()
        self.records = [self.left.enter_context(self.together.record()) for _ in range(count)]
        for one in self.records:
            one.computes = False

    def ask(self, record: Companion, value: Any, *, size: int = 3) -> asyncio.Task[Answers]:
        return asyncio.ensure_future(record.ask("one", (value,), size=size, ask=self.answer))

    async def answer(self, rows: Sequence[tuple[Any, ...]]) -> Answers:
        self.sent.append([row[0] for row in rows])
        if "bad" in self.sent[-1]:
            raise LookupError("bad")
        return Answers(values=[f"T{row[0]}" for row in rows], calls=1, costs={0: 3, 1: 2}, seconds=[0.5])


def played(scene: Callable[[Desk], Awaitable[None]], count: int) -> Desk:
    async def play() -> Desk:
        desk = Desk(count)
        with desk.left:
            await scene(desk)
        desk.together.close()
        return desk

    return asyncio.run(play())


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "LINGER", 600.0)
    monkeypatch.setattr(gathering, "LONGEST", 600.0)


def test_a_full_request_is_sent_whoever_could_still_come() -> None:
    async def scene(desk: Desk) -> None:
        asked = [desk.ask(one, at) for at, one in enumerate(desk.records[:3])]
        found = await asyncio.gather(*asked)
        assert [one.values for one in found] == [["T0"], ["T1"], ["T2"]]
        assert [(one.calls, one.cost, one.seconds) for one in found] == [
            (1, 3e-12, [0.5]),
            (0, 2e-12, []),
            (0, 0.0, []),
        ]

    assert played(scene, 5).sent == [[0, 1, 2]]


def test_a_request_holds_its_records_in_the_order_in_which_they_began_whoever_was_faster() -> None:
    async def scene(desk: Desk) -> None:
        asked = {at: desk.ask(desk.records[at], at) for at in (2, 0, 1)}
        assert {at: (await one).values for at, one in asked.items()} == {0: ["T0"], 1: ["T1"], 2: ["T2"]}

    assert played(scene, 3).sent == [[0, 1, 2]]


def test_a_request_is_sent_when_all_others_have_passed_or_ended() -> None:
    async def scene(desk: Desk) -> None:
        asked = desk.ask(desk.records[0], 0)
        await asyncio.sleep(0.01)
        assert desk.sent == []
        desk.records[1].passes("one")
        with desk.together.record() as last:
            last.moves(computes=True)
            await asyncio.sleep(0.01)
            assert desk.sent == []
        await asked

    assert played(scene, 2).sent == [[0]]


@pytest.mark.parametrize(("computes", "limit"), [(False, "LINGER"), (True, "LONGEST")])
def test_nobody_is_waited_for_longer_than_a_moment(monkeypatch: pytest.MonkeyPatch, computes: bool, limit: str) -> None:
    monkeypatch.setattr(gathering, "LINGER", 0.01)
    monkeypatch.setattr(gathering, limit, 0.02)

    async def scene(desk: Desk) -> None:
        desk.records[1].moves(computes=computes)
        await desk.ask(desk.records[0], 0)

    assert played(scene, 2).sent == [[0]]


def test_what_ends_a_request_ends_the_calls_of_all_that_share_it_and_of_nobody_else() -> None:
    async def scene(desk: Desk) -> None:
        first = [desk.ask(one, "bad", size=2) for one in desk.records[:2]]
        other = [desk.ask(one, at, size=2) for at, one in enumerate(desk.records[2:])]
        ended = await asyncio.gather(*first, *other, return_exceptions=True)
        assert [isinstance(one, LookupError) for one in ended] == [True, True, False, False]

    assert len(played(scene, 4).sent) == 2


def test_a_record_that_is_cancelled_leaves_the_request_to_the_others() -> None:
    async def scene(desk: Desk) -> None:
        gone, stays = (desk.ask(one, at) for at, one in enumerate(desk.records))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await stays).values == ["T1"]

    played(scene, 2)
