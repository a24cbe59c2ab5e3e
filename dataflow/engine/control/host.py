"""What the control planes of one host share about one API: a small file that each of them reads and writes in its turn.

A plane takes its turn with each exchange of a holder, so about ten times a second while calls are made, and holds the
file for some microseconds. The clock in it is the monotonic one of the system, which is the same for all processes.
The scheduler imports this module: nothing but the standard library and the policies.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from dataflow.policies.concurrency import Holding, Shares
from dataflow.policies.rate import Slots

FORM = 1
"""Of the file; one of another form is begun anew."""
RETURNED = 256
"""Slots given back that are kept for others; more are lost, which errs on the safe side."""
_SET = 300.0
"""Seconds by which the clock of the wall may be set without a look as if the system had been started again."""
_TRIES, _PAUSE = 20, 0.0005
"""How often the file is tried while another plane has it, and seconds in between."""
_BLIND = 2.0
"""Seconds after which slots begin again where a damaged file has lost what was leased."""
_HELD = 4.0
"""Seconds in which the planes that are there have told again what they hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One plane as the others see it.

    Attributes:
        pid: Of its process.
        wanted: Calls that its holders want to start.
        served: When it last got slots; never is 0.
        step: Seconds between two slots by its own declaration; 0 for no rate.
        cap: Calls in flight by its own declaration, or None.
        until: When its lease ends.
    """

    pid: int
    wanted: int
    served: float
    step: float
    cap: int | None
    until: float


@dataclass(slots=True, kw_only=True)
class HostState:
    """What the planes of a host share about one API.

    Attributes:
        slots: The virtual clock of its rates.
        shares: How its cap is divided among the planes.
        planes: Those that want something, by id.
    """

    slots: Slots = field(default_factory=Slots)
    shares: Shares = field(default_factory=Shares)
    planes: dict[str, Neighbour] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: bytes, *, booted: float) -> HostState:
        """The state that `to_text` wrote; a new one where that was before the system was started.

        Raises:
            ValueError: It is damaged, or of another form.
            TypeError: The same.
            KeyError: The same.
        """
        told = json.loads(text)
        if told["form"] != FORM:
            raise ValueError("another form")
        if abs(told["booted"] - booted) > _SET:
            return cls()
        free_at = told["free_at"]
        holdings = {name: Holding(**one) for name, one in told["holdings"].items()}
        held = {name: (float(until), int(count)) for name, (until, count) in told["held"].items()}
        return cls(
            slots=Slots(free_at=-math.inf if free_at is None else float(free_at), returned=tuple(told["returned"])),
            shares=Shares(holdings=holdings, held=held),
            planes={name: Neighbour(**one) for name, one in told["planes"].items()},
        )

    def to_text(self, *, booted: float) -> bytes:
        """The state as text.

        Args:
            booted: When the monotonic clock was 0, in seconds since 1970.
        """
        told: dict[str, Any] = {
            "form": FORM,
            "booted": booted,
            "free_at": None if self.slots.free_at == -math.inf else self.slots.free_at,
            "returned": list(self.slots.returned[-RETURNED:]),
            "holdings": {name: asdict(one) for name, one in self.shares.holdings.items()},
            "held": dict(self.shares.held),
            "planes": {name: asdict(one) for name, one in self.planes.items()},
        }
        return json.dumps(told, separators=(",", ":")).encode()


class HostFile:
    """The file of one API; used by one plane, in one thread at a time.

    Args:
        prefix: Where the files of a catalog are on this host: a path without its ending.
        api: The name of the API.

    Attributes:
        problem: What the user should be told, such as that the file cannot be opened; None while all is well.
    """

    def __init__(self, prefix: str, api: str) -> None:
        self.path = f"{prefix}-{blake2b(api.encode(), digest_size=8).hexdigest()}.limits"
        self.problem: str | None = None
        self._file = -1
        self._length = 0

    @contextmanager
    def turn(self, *, now: float, cap: int | None) -> Iterator[HostState | Literal["busy"] | None]:
        """Have the state alone, and write what was made of it; None where this host has no such file.

        Args:
            now: The time of the system's monotonic clock.
            cap: Calls in flight that are held back for a moment where a damaged file has lost who has them.
        """
        locked = self._lock()
        if locked is not True:
            yield locked
            return
        try:
            state = self._read(now=now, cap=cap)
            yield state
            self._write(state.to_text(booted=_booted(now)))
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _lock(self) -> Literal[True, "busy"] | None:
        try:
            if self._file < 0 or not os.fstat(self._file).st_nlink:
                self.close()
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            for _ in range(_TRIES):
                with suppress(BlockingIOError):
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True
                time.sleep(_PAUSE)
        except OSError as error:
            self.problem = (
                f"{self.path} cannot be used ({error.strerror}), so limits of APIs hold for each process by itself; "
                "make its folder writable, or set DATAFLOW_JOURNAL to another one"
            )
            return None
        return "busy"

    def _read(self, *, now: float, cap: int | None) -> HostState:
        text = os.pread(self._file, 1 << 22, 0)
        self._length = len(text)
        if not text.strip():
            return HostState()
        try:
            return HostState.from_text(text, booted=_booted(now))
        except (ValueError, TypeError, KeyError, AttributeError):
            self.problem = f"{self.path} was damaged and is begun anew; what other processes hold is told again by them"
            held = {} if cap is None else {"a damaged file": (now + _HELD, cap)}
            return HostState(slots=Slots(free_at=now + _BLIND), shares=Shares(held=held))

    def _write(self, text: bytes) -> None:
        # In one piece, so that a process that is killed leaves the old text or the new one.
        os.pwrite(self._file, text.ljust(self._length), 0)


def _booted(now: float) -> float:
    return time.time() - now


def is_alive(pid: int) -> bool:
    """Whether there is such a process, as far as this one can see."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
