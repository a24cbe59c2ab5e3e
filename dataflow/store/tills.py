"""What each process has called for a run: a file per process in its folder, changed in place at each request.

    calls/<host>-<process>-<drawn>      a line of JSON about the process and its services, then a line for each of them

A line is seven numbers in columns of one width, so that whoever reads while it changes finds seven numbers as ever.

Together these files are the bill of the run, whatever became of its processes and partitions: they are read when it
ends, and whenever somebody looks. On an object store they lag by a second, which a kill may lose.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dataflow.engine.http.till import Till
from dataflow.engine.spending import currency_of
from dataflow.outcomes import Kind, Priority
from dataflow.policies.money import amount
from dataflow.services.service import Service
from dataflow.store.files import files_at, translated
from dataflow.store.filesystem import is_remote
from dataflow.store.inplace import InPlace
from dataflow.telemetry.services import ServiceStatistics
from dataflow.telemetry.tokens import Tokens

if TYPE_CHECKING:
    from dataflow.store.commit import RunFolder
    from dataflow.store.ledger import Ledger

FOLDER = "calls"
"""Where they are in the folder of a run."""
_LINE = b"%26d" * 7 + b"\n"
_WIDTH = 7 * 26 + 1
_OPEN, _CLOSED = b"open  \n", b"closed\n"


class _Service(msgspec.Struct, frozen=True):
    """A service of a file."""

    name: str
    kind: str
    priority: str
    member_of: str


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a file: where its process runs, and the services in the order of the other lines."""

    place: str
    pid: int
    currency: str
    services: list[_Service]


class Tills:
    """The tills of one process for a run; nothing is written before the first request leaves.

    Args:
        folder: The run.
        services: Those that may be called.
    """

    def __init__(self, folder: RunFolder, services: Iterable[Service]) -> None:
        self._folder = folder
        self._services = list({one.name: one for one in services}.values())
        self._line = {one.name: at for at, one in enumerate(self._services)}
        self._lock = threading.Lock()
        self._file: InPlace | None = None
        self._start = 0
        self._tills: dict[str, Till] = {}

    def of(self, service: str) -> Till:
        """The till of a service: one, however many loops call for it."""
        return self._tills.setdefault(service, Till(service=service, write=self._write))

    def sync(self) -> None:
        """Let others see what was called until now.

        Raises:
            StoreError: It cannot be written.
        """
        if self._file is not None:
            with self._translated():
                self._file.sync()

    def close(self) -> None:
        """Say that nothing more comes, and let go of the file."""
        with self._lock, suppress(OSError):
            if self._file is not None:
                self._file.write(self._start - len(_OPEN), _CLOSED)
                self._file.close()

    def _write(self, till: Till) -> None:
        with self._lock:
            if self._file is None:
                self._file = self._opened()
            try:
                self._file.write(self._start + _WIDTH * self._line[till.service], _line_of(till))
            except OSError:
                with self._translated():
                    raise

    def _opened(self) -> InPlace:
        services = [
            _Service(one.name, one.kind.value, one.policy.priority.value, one.member_of) for one in self._services
        ]
        currency = currency_of(self._services)
        about = _Head(place=place(), pid=os.getpid(), currency=currency, services=services)
        head = msgspec.json.encode(about) + b"\n" + _OPEN
        self._start = len(head)
        name = f"{re.sub(r'[^A-Za-z0-9.-]', '_', socket.gethostname())[:64]}-{os.getpid()}-{os.urandom(4).hex()}"
        lines = b"".join(_line_of(self.of(one.name)) for one in self._services)
        files, home = files_at(self._folder.root), self._folder.path(FOLDER)
        with self._translated():
            files.make(home)
            return files.change(f"{home}/{name}", head + lines)

    def _translated(self) -> AbstractContextManager[None]:
        return translated(f"run {self._folder.run}: noting what is called")


def _line_of(till: Till) -> bytes:
    numbers = till.open, till.held, till.calls, till.retries, till.cost, till.sent, till.received
    return _LINE % numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What all processes have called for a run.

    Attributes:
        services: The calls, retries, money and tokens of each service, by its name; no records.
        costs: The money of each, in the smallest units.
        currency: Of the money.
        final: Whether no more can come to it, as far as this process can tell; False where nothing was noted.
    """

    services: Mapping[str, ServiceStatistics]
    costs: Mapping[str, int]
    currency: str
    final: bool


def read_called(folder: RunFolder | Ledger) -> Called:
    """The sum of the files of a run; a request that had left when its process was killed counts at its price.

    Raises:
        StoreError: They cannot be read.
    """
    found: dict[str, list[ServiceStatistics]] = {}
    costs: dict[str, int] = {}
    currencies, over = {""}, set[bool]()
    with translated(f"run {folder.run}: reading what was called"):
        for _, data in files_at(folder.root).read_all(folder.path(FOLDER)):
            head, closed, lines = _read(data)
            # An object may lag behind a process that was killed.
            over.add(closed or (not is_remote(folder.root) and _is_gone(head)))
            currencies.add(head.currency)
            for service, numbers in zip(head.services, lines, strict=True):
                costs[service.name] = costs.get(service.name, 0) + numbers[1] + numbers[4]
                found.setdefault(service.name, []).append(_counted(service, numbers))
    merged = {name: ServiceStatistics.merged(name, parts) for name, parts in found.items()}
    services = {name: replace(one, cost=amount(costs[name])) for name, one in merged.items()}
    return Called(services=services, costs=costs, currency=max(currencies), final=over == {True})


def _counted(service: _Service, numbers: Sequence[int]) -> ServiceStatistics:
    open_, _, calls, retries, _, sent, received = numbers
    return ServiceStatistics(
        kind=Kind(service.kind),
        priority=Priority(service.priority),
        member_of=service.member_of,
        calls=calls + open_,
        retries=retries,
        tokens=Tokens(input=sent, output=received),
    )


def _read(data: bytes) -> tuple[_Head, bool, Sequence[Sequence[int]]]:
    line, state, *lines = data.splitlines()
    head = msgspec.json.decode(line, type=_Head)
    return head, state == _CLOSED.strip(), [[int(number) for number in one.split()] for one in lines]


def _is_gone(head: _Head) -> bool:
    """Whether the process that wrote a file has surely ended, and the machine not with it."""
    if head.place != place():
        return False
    try:
        os.kill(head.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def place() -> str:
    """Names where process ids mean the same: a machine since it was started, and what of it a container sees."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        # Nobody can tell then, so nothing counts as ended.
        return f"{socket.gethostname()} {os.urandom(8).hex()}"
    return f"{socket.gethostname()} {boot} {space}"
