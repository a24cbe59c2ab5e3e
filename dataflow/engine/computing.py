"""Plain functions, called in lanes: record by record, on several threads at a time, or once for all records.

A call that takes too long is left behind and the rest goes on without it; so does a run that is stopped meanwhile.
Nothing is paid for that with each call: it is looked now and then how far they have come.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from dataflow.engine.calling import Answers
from dataflow.engine.lanes import Errand, send
from dataflow.engine.patience import LateError, Patience

Function = Callable[..., Any]


def call_each(
    function: Function, columns: Sequence[Iterable[Any]], size: int, *, patience: Patience | None = None
) -> Answers:
    """Call the function for each record in turn.

    Args:
        function: What is called.
        columns: The values of each argument.
        size: Records.
        patience: How long a call is waited for; for ever by default.

    Raises:
        CancelledError: Nobody waits any more.
        Halted: The run is being stopped.
        ServiceError: Too many calls have been left behind.
    """
    patience = patience or Patience()
    given = [column if isinstance(column, (list, tuple, range)) else list(column) for column in columns]
    whole = Answers()
    while True:
        stretch = _Stretch(function, given, start=len(whole.values), size=size)
        if _has_ended(stretch, patience):
            return stretch.answers if not whole.values else stretch.add_to(whole)
        stretch.add_to(whole)
        row = len(whole.values)
        if row == stretch.start + stretch.seen:
            whole.values.append(None)
            whole.end_late(row, LateError(patience.timeout or 0.0))
        if len(whole.values) == size:
            return whole
        function = patience.function(function)


class _Stretch:
    """Records from one place on, called in one lane until it is left.

    `list.extend` keeps what it got before an exception, and the `map` goes on behind it, so a record that
    raises costs one step more and the others cost nothing but the call. The length of the list tells from outside
    how far it has come.
    """

    def __init__(self, function: Function, columns: Sequence[Sequence[Any]], *, start: int, size: int) -> None:
        self.answers = Answers()
        self.start = start
        self.seen = 0
        self._size = size - start
        self._left = False
        self._records: list[Any] = [iter(column) for column in columns]
        for one in self._records if start else ():
            one.__setstate__(start)
        self._end = size
        self._calls = map(function, *self._records)

    @property
    def left(self) -> int:
        """Records that have not been called."""
        return self._size - len(self.answers.values)

    def call(self) -> None:
        """Call the function for all of them."""
        answers, values, size = self.answers, self.answers.values, self._size
        while len(values) < size:
            try:
                values.extend(self._calls)
                if len(values) < size and not self._left:
                    raise RuntimeError("the function raised StopIteration")  # noqa: TRY301
            except Exception as error:
                if not self._left:
                    answers.raise_at(len(values), error)
                    values.append(None)
            if self._left:
                return

    def leave(self) -> None:
        """Begin no more calls; what the one under way gives is nobody's any more."""
        self._left = True
        for one in self._records:
            one.__setstate__(self._end)

    def add_to(self, whole: Answers) -> Answers:
        """What was called so far, behind the records before."""
        count, before = len(self.answers.values), len(whole.values)
        raised = list(self.answers.raised)
        whole.values += self.answers.values[:count]
        for row in raised:
            if row < count:
                whole.take_at(before + row, self.answers, row)
        return whole


def _has_ended(stretch: _Stretch, patience: Patience) -> bool:
    """Whether all its records were called; False where one of them takes too long, and the stretch is left."""
    clock = patience.clock
    errand = send(stretch.call)
    began = since = clock()
    try:
        while not errand.wait(patience.pause(clock() - since)):
            now, count = clock(), len(stretch.answers.values)
            if count != stretch.seen:
                stretch.seen, since = count, now
            elif patience.is_over(now - since):
                stretch.leave()
                if patience.leave(errand):
                    return False
                # It has ended just now.
                break
            patience.check(max(now - since, (now - began) / max(count, 1) * stretch.left))
    except BaseException:
        stretch.leave()
        patience.give_up(errand)
        raise
    errand.result()
    return not stretch.left


def call_threads(
    function: Function,
    columns: Sequence[Sequence[Any]],
    *,
    size: int,
    threads: int,
    patience: Patience | None = None,
) -> Answers:
    """Call the function for each record on some threads at a time; answers keep the order of the records.

    Raises: as for `call_each`.
    """
    crew = _Crew(function, enumerate(zip(*columns, strict=True)), size=size, patience=patience or Patience())
    if size:
        crew.call(min(threads, size))
    return crew.answers


class _Caller:
    """One of several threads, and the record that it is at."""

    def __init__(self, errand_of: Callable[[_Caller], Errand[None]]) -> None:
        self.row = -1
        self.began = 0.0
        self.left = False
        self.errand = errand_of(self)


class _Crew:
    """Several threads that call a function for the same records, each for the next that nobody has begun."""

    def __init__(
        self, function: Function, records: Iterator[tuple[int, Any]], *, size: int, patience: Patience
    ) -> None:
        self.answers = Answers(values=[None] * size)
        self._patience = patience
        self._clock = patience.clock
        self._function = function
        self._records = records
        self._open = size
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._callers: list[_Caller] = []

    def call(self, threads: int) -> None:
        """Call it for all records."""
        began = self._clock()
        self._callers = [self._caller() for _ in range(threads)]
        try:
            while not self._ended.wait(self._pause()):
                for caller in list(self._callers):
                    self._look(caller)
                now, done = self._clock(), max(len(self.answers.values) - self._open, 1)
                self._patience.check(max(self._longest(now), (now - began) / done * self._open))
        finally:
            self._leave_all()
        if self._error is not None:
            raise self._error

    def _longest(self, now: float) -> float:
        """Seconds of the call that has been under way for longest."""
        return max((now - one.began for one in self._callers if one.row >= 0), default=0.0)

    def _caller(self) -> _Caller:
        return _Caller(lambda caller: send(partial(self._go, caller)))

    def _go(self, caller: _Caller) -> None:
        try:
            value, raised = None, None
            while (taken := self._next(caller, value, raised)) is not None:
                value, raised = None, None
                try:
                    value = self._function(*taken)
                except Exception as error:
                    raised = error
        except BaseException as error:
            self._error = error
            self._ended.set()

    def _next(self, caller: _Caller, value: Any, raised: Exception | None) -> Any:
        """Take what a caller got, and give it the arguments of the next record; None where there is none."""
        now = self._clock()
        with self._lock:
            if caller.left:
                return None
            if caller.row >= 0:
                self.answers.values[caller.row] = value
                self.answers.durations[caller.row] = now - caller.began
                if raised is not None:
                    self.answers.raise_at(caller.row, raised)
                self._close()
            row, arguments = next(self._records, (-1, None))
            caller.row, caller.began = row, now
            return arguments

    def _close(self) -> None:
        self._open -= 1
        if not self._open:
            self._ended.set()

    def _pause(self) -> float:
        return self._patience.pause(self._longest(self._clock()))

    def _look(self, caller: _Caller) -> None:
        """Go on without a caller whose record takes too long; another one takes its place."""
        row = caller.row
        if row < 0 or not self._patience.is_over(self._clock() - caller.began):
            return
        with self._lock:
            if caller.row != row:
                return
            caller.left = True
        self._patience.leave(caller.errand)
        with self._lock:
            self.answers.end_late(row, LateError(self._patience.timeout or 0.0))
            self.answers.durations[row] = self._patience.timeout or 0.0
            self._close()
        self._callers.remove(caller)
        self._callers.append(self._caller())

    def _leave_all(self) -> None:
        """Whoever is at a record when nobody waits any more is left; the others end of themselves."""
        with self._lock:
            for caller in self._callers:
                if caller.row >= 0:
                    caller.left = True
                    caller.errand.leave()


def call_once(function: Callable[[], Any], *, records: int, patience: Patience) -> Any:
    """Call a function once for some records.

    Raises:
        LateError: It takes too long.
        CancelledError, Halted, ServiceError: As for `call_each`.
    """
    errand, clock = send(function), patience.clock
    began = clock()
    try:
        while not errand.wait(patience.pause(clock() - began)):
            waited = clock() - began
            if patience.is_over(waited) and patience.leave(errand):
                raise LateError(patience.timeout or waited, records)  # noqa: TRY301
            patience.check(waited)
    except BaseException:
        patience.give_up(errand)
        raise
    return errand.result()
