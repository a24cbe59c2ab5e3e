"""Partitions of one process: few compute, some wait, and nobody's thread stands in the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from dataflow.engine.turns import SIDE_BY_SIDE, Turns


class Gauge:
    """How many are somewhere at the same time, and how many have been at most."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def enter(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def leave(self) -> None:
        with self._lock:
            self.now -= 1


@pytest.mark.parametrize("threads", [1, 2, 6])
def test_as_many_compute_as_there_are_threads_while_others_wait(threads: int) -> None:
    turns, computing, waiting = Turns(threads), Gauge(), Gauge()

    def partition() -> None:
        with turns.partition():
            for _ in range(5):
                computing.enter()
                time.sleep(0.001)
                computing.leave()
                with turns.waiting():
                    waiting.enter()
                    time.sleep(0.01)
                    waiting.leave()

    with ThreadPoolExecutor(turns.most) as pool:
        for future in [pool.submit(partition) for _ in range(24)]:
            future.result()
    assert computing.most <= threads
    assert waiting.most > 1


def spent(turns: Turns, partitions: int) -> list[Callable[[], None]]:
    """Partitions that wait, each in a thread of its own; calling one ends it."""
    ends = []
    for _ in range(partitions):
        waits, over = threading.Event(), threading.Event()

        def partition(waits: threading.Event = waits, over: threading.Event = over) -> None:
            with turns.partition(), turns.waiting():
                turns.make_room()
                waits.set()
                over.wait(10)
                turns.make_room()

        thread = threading.Thread(target=partition)
        thread.start()
        assert waits.wait(10)

        def end(thread: threading.Thread = thread, over: threading.Event = over) -> None:
            over.set()
            thread.join()

        ends.append(end)
    return ends


@pytest.mark.parametrize(("threads", "given_up"), [(1, 3), (3, 1), (4, 0), (9, 0)])
def test_threads_are_given_up_until_four_partitions_have_begun(threads: int, given_up: int) -> None:
    calls: list[None] = []
    turns = Turns(threads, give_up_thread=lambda: calls.append(None))
    ends = spent(turns, max(threads, SIDE_BY_SIDE))
    assert len(calls) == given_up
    for end in ends:
        end()


def test_a_partition_that_ends_makes_room_for_one_that_still_waits() -> None:
    calls: list[None] = []
    turns = Turns(1, give_up_thread=lambda: calls.append(None))
    ends = spent(turns, SIDE_BY_SIDE)
    assert len(calls) == SIDE_BY_SIDE - 1
    ends[0]()
    # The last one still holds its thread, and gives it up when it looks again.
    ends[-1]()
    assert len(calls) == SIDE_BY_SIDE
    for end in ends[1:-1]:
        end()
