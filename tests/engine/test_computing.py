"""Plain functions that take too long, and runs that do not wait for them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

import pytest

from dataflow.engine import lanes, patience
from dataflow.engine.calling import Answers
from dataflow.engine.computing import call_each, call_once, call_threads
from dataflow.engine.http.settings import Halted
from dataflow.engine.patience import LateError, Once, Patience
from dataflow.errors import ServiceError

TIMEOUT = 0.3


class Sleeper:
    """A function that does not return for some records until it is let go; counts its calls."""

    def __init__(self, *bad: int) -> None:
        self.bad = bad
        self.calls: Counter[int] = Counter()
        self.go = threading.Event()

    def __call__(self, x: int) -> int:
        self.calls[x] += 1
        if x in self.bad:
            self.go.wait(30)
        if x % 5 == 1:
            raise KeyError(x)
        return x * 10


@pytest.fixture
def sleeper() -> Iterator[Callable[..., Sleeper]]:
    made: list[Sleeper] = []

    def make(*bad: int) -> Sleeper:
        made.append(Sleeper(*bad))
        return made[-1]

    yield make
    for one in made:
        one.go.set()


def each(function: Any, records: Any, **settings: Any) -> Answers:
    return call_each(function, [records], len(records), patience=Patience(timeout=TIMEOUT, **settings))


def threads(function: Any, records: Any, **settings: Any) -> Answers:
    wait = Patience(timeout=TIMEOUT, **settings)
    return call_threads(function, [records], size=len(records), threads=3, patience=wait)


@pytest.mark.parametrize("call", [each, threads])
@pytest.mark.parametrize("bad", [(0,), (9,), (4, 5), (0, 9), (2, 3, 4, 6)])
def test_a_record_that_takes_too_long_costs_no_other_its_value(
    call: Callable[..., Answers], bad: tuple[int, ...], sleeper: Callable[..., Sleeper]
) -> None:
    function, said = sleeper(*bad), list[str]()
    answers = call(function, list(range(10)), warn=Once(said.append), service="slow")
    assert answers.timed_out == set(bad)
    assert set(answers.raised) == {*bad, 1, 6}
    assert all(isinstance(answers.raised[row], LateError) for row in bad)
    assert answers.values == [None if x in bad or x % 5 == 1 else x * 10 for x in range(10)]
    assert said == ["`slow` takes longer than its timeout of 0.3 s; its threads are left to end in the background"]
    function.go.set()
    time.sleep(0.1)
    # Whoever was left behind goes on with nothing.
    assert set(function.calls.values()) == {1}
    assert answers.timed_out == set(bad)
    assert answers.values[bad[0]] is None


def test_columns_of_any_kind_go_on_behind_a_late_record(sleeper: Callable[..., Sleeper]) -> None:
    for records in (range(10), tuple(range(10)), [*range(10)]):
        answers = call_each(sleeper(3), [records], 10, patience=Patience(timeout=TIMEOUT, warn=list[str]().append))
        assert answers.values[4:6] == [40, 50]


def test_many_quick_records_together_may_take_longer_than_one() -> None:
    answers = each(lambda x: time.sleep(0.01), range(60))
    assert not answers.raised


@pytest.mark.parametrize("call", [each, threads])
def test_nobody_waits_for_a_run_that_is_cancelled(
    call: Callable[..., Answers], sleeper: Callable[..., Sleeper]
) -> None:
    function = sleeper(2)
    with pytest.raises(CancelledError):
        call(function, range(10), cancelled=lambda: function.calls[2] > 0)
    assert sum(function.calls.values()) <= 10


@pytest.mark.parametrize("call", [each, threads])
def test_a_run_that_is_stopped_waits_for_what_takes_a_moment_only(call: Callable[..., Answers]) -> None:
    done: list[int] = []

    def slow(x: int) -> None:
        time.sleep(0.1)
        done.append(x)

    call(slow, range(6), halted=lambda: True)
    assert len(done) == 6
    with pytest.raises(Halted):
        call(slow, range(1000), halted=lambda: len(done) > 8)
    assert len(done) < 60


def test_so_many_threads_are_left_behind_and_no_more(
    monkeypatch: pytest.MonkeyPatch, sleeper: Callable[..., Sleeper]
) -> None:
    monkeypatch.setattr(lanes, "MOST_LEFT", 2)
    monkeypatch.setattr(patience, "_ROOM", 0.5)
    with pytest.raises(ServiceError, match="have not returned long after their timeout, at last of `slow`"):
        each(sleeper(*range(10)), range(10), warn=list[str]().append, service="slow")


def test_what_is_busy_is_replaced(sleeper: Callable[..., Sleeper]) -> None:
    first, second = sleeper(2), sleeper()
    answers = each(first, range(5), renew=lambda: second, warn=list[str]().append)
    assert answers.timed_out == {2}
    assert (sum(first.calls.values()), second.calls) == (3, Counter({3: 1, 4: 1}))


def test_one_call_for_all_has_a_time_of_its_own(sleeper: Callable[..., Sleeper]) -> None:
    wait = Patience(timeout=TIMEOUT, warn=list[str]().append)
    assert call_once(lambda: 7, records=3, patience=wait) == 7
    with pytest.raises(LateError, match=r"no answer within 0\.3 s, for 3 records in one call"):
        call_once(partial(sleeper(0), 0), records=3, patience=wait)


def test_what_ends_the_process_goes_through(sleeper: Callable[..., Sleeper]) -> None:
    def leaves(x: int) -> None:
        raise SystemExit(x)

    for call in (each, threads):
        with pytest.raises(SystemExit):
            call(leaves, range(3))
