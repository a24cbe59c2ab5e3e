"""The slots that a gate has in hand, and where the plane's clock stands for it. Pure arithmetic, no clock inside."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

DRIFT = 1e-4
"""Seconds by which two clocks may part in a second; a bad quartz does a tenth of it."""
MARGIN = 0.001
"""Seconds kept free at the end of a slot, for the way from the gate to the socket."""


class Offset:
    """Bounds of the plane's time minus ours.

    An exchange shows that the plane's time was read between question and answer. The bounds of several exchanges
    hold together, so the fastest one counts and one that was held up does no harm.
    """

    def __init__(self) -> None:
        self._low = -math.inf
        self._high = math.inf
        self._at = 0.0

    def learn(self, time: float, *, asked: float, now: float) -> None:
        """Take up an exchange in which the plane read this time between two times of ours."""
        widened = DRIFT * max(0.0, now - self._at) if self._low > -math.inf else 0.0
        low, high = self._low - widened, self._high + widened
        self._low, self._high, self._at = max(low, time - now), min(high, time - asked), now
        if self._low > self._high:
            # One of the clocks was set, or stood still.
            self._low, self._high = time - now, time - asked

    def latest(self, time: float) -> float:
        """Our time at which the plane's has come for sure."""
        return time - self._low

    def earliest(self, time: float) -> float:
        """Our time at which the plane's may have come."""
        return time - self._high


@dataclass(frozen=True, slots=True)
class Slot:
    """The right to send one call, on the plane's clock.

    Attributes:
        at: Not before.
        tolerance: Seconds after `at` at which it ends.
        tokens: Reserved with it.
    """

    at: float
    tolerance: float
    tokens: int


class Stock:
    """Slots in hand, the earliest first.

    A slot is used when the plane's clock has reached it for sure, and not when that clock may have passed its end:
    what is not known of the other clock counts as lateness.

    Attributes:
        unused: (at, tokens) of the slots that will not be used, to be reported.
    """

    def __init__(self) -> None:
        self.unused: list[tuple[float, int]] = []
        self._slots: deque[Slot] = deque()
        self._offset = Offset()

    def __len__(self) -> int:
        return len(self._slots)

    def learn(self, time: float, *, asked: float, now: float) -> None:
        """Take up what an exchange says of the plane's clock."""
        self._offset.learn(time, asked=asked, now=now)

    def add(self, granted: dict[str, Any], *, time: float) -> None:
        """Take the `slots` of a reply that was made at this time of the plane."""
        for delay, step, count in granted["runs"]:
            for number in range(int(count)):
                self._slots.append(Slot(time + delay + step * number, granted["tolerance"], granted["tokens"]))
        if len(granted["runs"]) > 1:
            self._slots = deque(sorted(self._slots, key=lambda slot: slot.at))

    def is_due(self, now: float) -> bool:
        """Whether there is a slot that can be used now; those that are too late are given up."""
        while self._slots and not self.in_time(self._slots[0], now=now):
            self.give_up(self._slots.popleft())
        return bool(self._slots) and now >= self.next_at()

    def in_time(self, slot: Slot, *, now: float) -> bool:
        """Whether a slot is not too late, however far ahead the plane's clock may be."""
        return now <= self._offset.earliest(slot.at + slot.tolerance) - min(MARGIN, slot.tolerance / 4)

    def next_at(self) -> float:
        """When the first slot can be used; infinity without one."""
        return self._offset.latest(self._slots[0].at) if self._slots else math.inf

    @property
    def first(self) -> Slot:
        """The slot that is used next."""
        return self._slots[0]

    def take(self) -> Slot:
        """Use the first slot."""
        return self._slots.popleft()

    def put_back(self, slot: Slot) -> None:
        """Have a slot again that was taken and not used, and may still be in time."""
        self._slots.appendleft(slot)

    def give_up(self, slot: Slot) -> None:
        """Report a slot as unused."""
        self.unused.append((slot.at, slot.tokens))

    def take_unused(self) -> list[tuple[float, int]]:
        """What there is to report of unused slots; then it is reported."""
        unused, self.unused = self.unused, []
        return unused

    def clear(self) -> None:
        """Give up all of them."""
        while self._slots:
            self.give_up(self._slots.popleft())

    def forget(self) -> None:
        """Begin with another plane, to whose clock and slots these mean nothing."""
        self._slots.clear()
        self.unused.clear()
        self._offset = Offset()
