"""One run per dataset: real processes for the lock of the kernel, a clock in the hand for the lease."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import time
from pathlib import Path
from uuid import uuid4

import pytest
from committing import python

from dataflow.errors import OutputLocked
from dataflow.store.lease import LeaseLock
from dataflow.store.lock import KernelLock, dataset_lock
from dataflow.store.owner import Owner

HOLD = """
import sys
from dataflow.store.lock import KernelLock
with KernelLock(sys.argv[1], run="first"):
    print("held", flush=True)
    sys.stdin.read()
"""

RACE = """
import sys, time
from dataflow.errors import OutputLocked
from dataflow.store.lock import KernelLock
print("ready", flush=True)
sys.stdin.readline()
try:
    with KernelLock(sys.argv[1], run=sys.argv[2]):
        print("won", flush=True)
        sys.stdin.read()
except OutputLocked as error:
    print(error, flush=True)
"""

FORK = """
import os, sys, time
from dataflow.store.lock import KernelLock
lock = KernelLock(sys.argv[1], run="first")
lock.__enter__()
child = os.fork()
if child == 0:
    time.sleep(60)
print(child, flush=True)
sys.stdin.read()
"""


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def url() -> str:
    return f"memory://{uuid4().hex}/leads"


def lease(url: str, run: str, clock: Clock) -> LeaseLock:
    return LeaseLock(url, run=run, clock=clock, lease=60, renewed_every=0)


def test_a_second_run_is_refused_and_told_who_holds_the_dataset(tmp_path: Path) -> None:
    with (
        KernelLock(str(tmp_path), run="first"),
        pytest.raises(OutputLocked, match=rf"run first .* process {os.getpid()} on {re.escape(socket.gethostname())}"),
        KernelLock(str(tmp_path), run="second"),
    ):
        pass


def test_a_lock_names_the_run_that_turns_out_to_be_worked_on(tmp_path: Path) -> None:
    with KernelLock(str(tmp_path), run="a-new-run-with-a-long-name") as held:
        held.rename("old")
        with pytest.raises(OutputLocked, match="run old holds this dataset"), KernelLock(str(tmp_path), run="second"):
            pass
        held.check()
    with KernelLock(str(tmp_path), run="third") as third:
        assert third.owner is not None
        assert (third.owner.run, third.owner.epoch) == ("third", 2)


def test_a_lease_names_the_run_that_turns_out_to_be_worked_on(url: str) -> None:
    clock = Clock()
    with lease(url, "new", clock) as held:
        held.rename("old")
        clock.now += 30
        held.renew()
        with pytest.raises(OutputLocked, match="run old holds this dataset"), lease(url, "second", clock):
            pass
        held.check()


def test_a_lock_that_was_given_back_can_be_taken_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflow.store.lock._PATIENCE", 0.0)
    with KernelLock(str(tmp_path), run="first") as first:
        pass
    with KernelLock(str(tmp_path), run="second") as second:
        pass
    assert first.owner is not None
    assert second.owner is not None
    assert (first.owner.epoch, second.owner.epoch) == (1, 2)


def test_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    process = python(HOLD, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(OutputLocked, match=f"process {process.pid} "), KernelLock(str(tmp_path), run="second"):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with KernelLock(str(tmp_path), run="second") as lock:
        assert lock.owner is not None
        assert lock.owner.epoch == 2
    process.communicate()


def test_of_twenty_processes_one_wins_and_the_others_name_it(tmp_path: Path) -> None:
    processes = [python(RACE, tmp_path, f"run{number}") for number in range(20)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    lines = []
    for process in processes:
        assert process.stdout is not None
        lines.append(process.stdout.readline().strip())
    for process in processes:
        process.communicate()
    assert lines.count("won") == 1
    winner = f"run run{lines.index('won')} holds this dataset"
    assert [line for line in lines if line != "won" and winner not in line] == []


def test_a_forked_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    process = python(FORK, tmp_path)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        with pytest.raises(OutputLocked), KernelLock(str(tmp_path), run="second"):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with KernelLock(str(tmp_path), run="second"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_a_lock_whose_file_was_removed_by_hand_is_no_lock(tmp_path: Path) -> None:
    with KernelLock(str(tmp_path), run="first") as first:
        first.check()
        (tmp_path / "_lock").unlink()
        with KernelLock(str(tmp_path), run="second") as second:
            second.check()
            with pytest.raises(OutputLocked, match="run again to go on"):
                first.check()


def test_a_lock_whose_file_is_removed_while_it_is_taken_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, removed = fcntl.flock, []

    def removing(opened: int, operation: int) -> None:
        if not removed:
            removed.append((tmp_path / "_lock").unlink())
        flock(opened, operation)

    monkeypatch.setattr(fcntl, "flock", removing)
    with KernelLock(str(tmp_path), run="first") as lock:
        lock.check()


def test_the_last_holder_is_known_and_known_to_be_gone(tmp_path: Path, url: str) -> None:
    for lock in (dataset_lock(str(tmp_path), run="r"), dataset_lock(url, run="r")):
        assert lock.holder() is None
        with lock:
            owner = lock.holder()
            assert owner is not None
            assert owner.is_alive
        owner = lock.holder()
        assert owner is not None
        assert (owner.run, owner.is_alive) == ("r", False)


def test_a_torn_owner_is_no_owner() -> None:
    whole = Owner.here("r", epoch=1).to_bytes()
    assert Owner.from_bytes(whole + b"rest of a longer one") == Owner.from_bytes(whole)
    assert Owner.from_bytes(whole[:-9]) is None
    assert Owner.from_bytes(b"") is None


def test_the_kind_of_lock_follows_the_place(tmp_path: Path, url: str) -> None:
    assert isinstance(dataset_lock(str(tmp_path), run="r"), KernelLock)
    assert isinstance(dataset_lock(url, run="r"), LeaseLock)


def test_a_lease_refuses_the_second_run_and_names_the_first(url: str) -> None:
    clock = Clock()
    with lease(url, "first", clock):
        clock.now += 59
        with pytest.raises(OutputLocked, match="run first holds this dataset"), lease(url, "second", clock):
            pass


def test_a_lease_that_was_given_back_can_be_taken_at_once(url: str) -> None:
    clock = Clock()
    with lease(url, "first", clock):
        pass
    with lease(url, "second", clock) as second:
        assert second.holder() == second.owner
        assert second.owner is not None
        assert second.owner.epoch == 2


def test_a_silent_owner_loses_its_lease_and_cannot_take_it_back(url: str) -> None:
    clock = Clock()
    silent = lease(url, "silent", clock)
    silent.__enter__()
    clock.now += 61
    with lease(url, "second", clock) as second:
        silent.renew()
        with pytest.raises(OutputLocked, match="lease of run silent is over"):
            silent.check()
        silent.__exit__()
        second.check()
        with pytest.raises(OutputLocked, match="run second"), lease(url, "third", clock):
            pass


def test_a_lease_that_is_over_is_not_renewed_even_where_nobody_has_taken_it(url: str) -> None:
    clock = Clock()
    with lease(url, "first", clock) as first:
        clock.now += 61
        first.renew()
        with pytest.raises(OutputLocked):
            first.check()


def test_a_paused_owner_whose_clock_stood_still_notices_its_successor(url: str) -> None:
    slow, fast = Clock(), Clock()
    paused = lease(url, "paused", slow)
    paused.__enter__()
    fast.now += 61
    with lease(url, "second", fast) as second:
        paused.renew()
        with pytest.raises(OutputLocked):
            paused.check()
        assert second.holder() == second.owner


def test_a_renewed_lease_lives_on(url: str) -> None:
    clock = Clock()
    with lease(url, "first", clock) as first:
        for _ in range(5):
            clock.now += 50
            first.renew()
        first.check()
        with pytest.raises(OutputLocked), lease(url, "second", clock):
            pass


def renewed(held: LeaseLock, *, expires: float) -> None:
    """Wait until a lease has been renewed to this end."""
    deadline = time.monotonic() + 20
    while held.owner is None or held.owner.expires != expires:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_lease_renews_itself(url: str) -> None:
    clock = Clock()
    with LeaseLock(url, run="first", clock=clock, lease=60, renewed_every=0.05) as first:
        for _ in range(3):
            clock.now += 40
            renewed(first, expires=clock.now + 60)
        first.check()
        with pytest.raises(OutputLocked), lease(url, "second", clock):
            pass


def test_of_two_that_take_over_the_same_lease_one_fails(url: str) -> None:
    clock = Clock()

    class Overtaken(LeaseLock):
        def _latest(self) -> int:
            latest = super()._latest()
            if not rivals:
                rivals.append(lease(url, "rival", clock).__enter__())
            return latest

    rivals: list[LeaseLock] = []
    with (
        pytest.raises(OutputLocked, match="run rival"),
        Overtaken(url, run="late", clock=clock, lease=60, renewed_every=0),
    ):
        pass
    rivals[0].check()
