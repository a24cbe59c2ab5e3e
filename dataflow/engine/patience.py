"""How long a plain function is waited for: until its timeout, and while somebody still wants what it gives.

What is called is not known here; each way of calling asks in its pauses.
"""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from dataflow.engine.http.settings import Halted
from dataflow.engine.lanes import MOST_LEFT, Errand, wait_for_room
from dataflow.errors import ServiceError

TIMEOUT = 30.0
"""Seconds for one call of a function without an API, unless it says otherwise."""
LINGER = 2.0
"""Seconds of computing that a run which is being stopped still waits for; none of it is paid for."""
LOOK = 0.25
"""Seconds at most between two looks at whether anybody wants the rest."""
_PARTS, _LEAST = 8, 0.005
_ROOM = 30.0


class LateError(TimeoutError):
    """A call of a function has taken longer than its timeout.

    Attributes:
        seconds: That it was waited for.
        records: That it was called for.
    """

    reason = "TimeoutError"

    def __init__(self, seconds: float, records: int = 1) -> None:
        super().__init__(seconds, records)
        self.seconds = seconds
        self.records = records

    def __str__(self) -> str:
        whole = "" if self.records == 1 else f", for {self.records:,} records in one call"
        return f"no answer within {self.seconds:g} s{whole}"


def _never() -> bool:
    return False


@dataclass(slots=True, kw_only=True)
class Patience:
    """How long the calls of one service are waited for.

    Attributes:
        service: Its name.
        timeout: Seconds of one call; None for as long as it takes.
        cancelled: Whether nobody wants an answer any more.
        halted: Whether no more is to be begun, and soon nothing is waited for.
        warn: Told once for each service that its threads are left behind.
        lose: Called when a call was left behind: for a class whose calls wait for each other, whose instance is busy.
        renew: Makes what is called from then on; None where it is the same function.
        clock: Seconds that only grow.
    """

    service: str = ""
    timeout: float | None = None
    cancelled: Callable[[], bool] = _never
    halted: Callable[[], bool] = _never
    warn: Callable[[str], object] = warnings.warn
    lose: Callable[[], object] = _never
    renew: Callable[[], Callable[..., Any]] | None = None
    clock: Callable[[], float] = time.perf_counter
    _lost: bool = False
    _function: Callable[..., Any] | None = None

    def pause(self, waited: float) -> float:
        """Seconds until the next look, where a call has been waited for so long."""
        if self.timeout is None:
            return LOOK
        regular = min(LOOK, max(self.timeout / _PARTS, _LEAST))
        return max(min(regular, self.timeout - waited), 0.0)

    def is_over(self, waited: float) -> bool:
        """Whether a call has taken too long."""
        return self.timeout is not None and waited >= self.timeout

    def check(self, left: float) -> None:
        """Look whether the rest is still wanted, which takes about so many seconds.

        Raises:
            CancelledError: Nobody waits any more.
            Halted: The run is being stopped, and would be held up.
        """
        if self.cancelled():
            raise CancelledError
        if left > LINGER and self.halted():
            raise Halted

    def leave(self, errand: Errand[Any]) -> bool:
        """Go on without a call that takes too long; False where it has ended in the meantime.

        Raises:
            ServiceError: So many threads are left behind that one more might be one too many.
        """
        until = self.clock() + _ROOM
        while not wait_for_room(LOOK):
            self.check(math.inf)
            if self.clock() >= until:
                raise ServiceError(
                    f"{MOST_LEFT} calls of plain functions have not returned long after their timeout, at last of "
                    f"`{self.service}` ({self.timeout:g} s), and each keeps a thread of this process; give what it "
                    "waits for a timeout of its own"
                )
        left = self.give_up(errand)
        if left:
            self.warn(left_behind_text(self.service, self.timeout or 0.0))
        return left

    def give_up(self, errand: Errand[Any]) -> bool:
        """Leave a call as it is; False where it has ended in the meantime."""
        left = errand.leave()
        if left:
            self._lost = True
            self.lose()
        return left

    def function(self, given: Callable[..., Any]) -> Callable[..., Any]:
        """What is called by now, where it was this in the beginning."""
        if self._lost and self.renew is not None:
            self._function = self.renew()
        self._lost = False
        return self._function or given


def left_behind_text(service: str, timeout: float) -> str:
    """What is said once of a service whose threads are left behind."""
    return f"`{service}` takes longer than its timeout of {timeout:g} s; its threads are left to end in the background"


class Once:
    """Says each sentence once.

    Args:
        say: Called with it.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, sentence: str) -> None:
        with self._lock:
            if sentence in self._said:
                return
            self._said.add(sentence)
        self._say(sentence)
