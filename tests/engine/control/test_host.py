"""The file that the planes of a host share: what it keeps, when it is begun anew, and what is said of it."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dataflow.engine.control.host import HostFile, HostState, Neighbour
from dataflow.engine.control.limits import Limits
from dataflow.engine.control.plane import PROTOCOL, Plane
from dataflow.policies.concurrency import Holding, Shares
from dataflow.policies.rate import Slots, read_rates

LIMITS = Limits(rates=read_rates("10/s", where="test"), concurrency=4, breaker=None, timeout=5)


class Holder:
    """One gate of one plane, as its requests show it."""

    def __init__(self, plane: Plane, shared: str | None, limits: Limits = LIMITS) -> None:
        self.plane, self.shared, self.limits = plane, shared, limits
        self.number = 0
        self.slots: list[float] = []

    def ask(self, now: float, *, wanted: int = 0, in_flight: int = 0, share: int = 0) -> dict[str, Any]:
        self.number, in_hand = self.number + 1, sum(at > now for at in self.slots)
        request = {
            "protocol": PROTOCOL, "holder": f"{id(self)}", "api": "acme", "number": self.number,
            "limits": self.limits.to_dict(), "shared": self.shared, "wanted": wanted, "waiting": wanted,
            "reason": None, "in_flight": in_flight, "share": share, "in_hand": in_hand, "outcomes": "", "probes": "",
            "throttled": [], "unused": [], "planned": [], "tokens": [], "fresh": wanted, "patient": True,
            "failed_by": None, "usual": in_flight,
        }  # fmt: skip
        reply = self.plane.exchange(request, now=now)
        self.slots += slots_of(reply)
        return reply


def slots_of(reply: dict[str, Any]) -> list[float]:
    runs = reply["slots"]["runs"]
    return [reply["now"] + delay + step * at for delay, step, count in runs for at in range(int(count))]


def test_what_is_written_is_read() -> None:
    state = HostState(
        slots=Slots(free_at=12.5, returned=(11.0, 12.0)),
        shares=Shares(holdings={"a": Holding(share=3, until=20.0)}, held={"b": (15.0, 2)}),
        planes={"a": Neighbour(pid=1, wanted=4, served=10.0, step=0.1, cap=4, until=20.0)},
    )
    assert HostState.from_text(state.to_text(booted=7.0), booted=8.0) == state
    assert HostState.from_text(HostState().to_text(booted=7.0), booted=8.0) == HostState()


def test_what_was_written_before_the_system_was_started_counts_no_more() -> None:
    state = HostState(slots=Slots(free_at=1e6))
    assert HostState.from_text(state.to_text(booted=7.0), booted=7.0 + 3600) == HostState()


def test_two_planes_lease_no_slot_twice_and_each_gets_some(tmp_path: Path) -> None:
    one, other = (Holder(Plane(), str(tmp_path / "x")) for _ in range(2))
    for turn in range(60):
        for holder in (one, other):
            holder.ask(1000.0 + 0.1 * turn, wanted=50)
    taken = sorted(one.slots + other.slots)
    steps = [late - early for early, late in pairwise(taken)]
    assert min(steps) > 0.1
    assert max(steps) < 0.11
    assert min(len(one.slots), len(other.slots)) > 20


def test_two_planes_never_have_more_in_flight_than_the_cap(tmp_path: Path) -> None:
    one, other = (Holder(Plane(), str(tmp_path / "x")) for _ in range(2))
    assert one.ask(1000.0, wanted=9)["share"] == 4
    assert other.ask(1000.1, wanted=9)["share"] == 0
    assert one.ask(1000.2, wanted=9, in_flight=4, share=4)["share"] == 2
    assert other.ask(1000.3, wanted=9)["share"] == 0
    assert one.ask(1000.4, wanted=9, in_flight=2, share=2)["share"] == 2
    assert other.ask(1000.5, wanted=9)["share"] == 2


def test_a_plane_that_wants_nothing_leaves_all_to_the_other(tmp_path: Path) -> None:
    one, other = (Holder(Plane(), str(tmp_path / "x")) for _ in range(2))
    assert one.ask(1000.0, wanted=9)["share"] == 4
    one.ask(1000.1)
    assert other.ask(1000.2, wanted=9)["share"] == 4


def test_without_a_place_to_share_planes_know_nothing_of_each_other() -> None:
    one, other = (Holder(Plane(), None) for _ in range(2))
    assert one.ask(1000.0, wanted=9)["share"] == other.ask(1000.0, wanted=9)["share"] == 4


def test_the_part_of_a_dead_process_comes_back_after_one_attempt(tmp_path: Path) -> None:
    other = Holder(Plane(), str(tmp_path / "x"))
    file, gone = HostFile(str(tmp_path / "x"), "acme"), 2**22 + 1
    with file.turn(now=1000.0, cap=4) as state:
        assert isinstance(state, HostState)
        state.planes["dead"] = Neighbour(pid=gone, wanted=3, served=0.0, step=0.1, cap=4, until=1003.0)
        state.shares = Shares(holdings={"dead": Holding(share=4, in_flight=4, until=1003.0)})
    file.close()
    assert other.ask(1000.5, wanted=9)["share"] == 0
    assert len(slots_of(other.ask(1000.6, wanted=9))) + len(slots_of(other.ask(1000.7, wanted=9))) > 0
    assert other.ask(1005.4, wanted=9)["share"] == 0
    assert other.ask(1005.6, wanted=9)["share"] == 4


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"form":99}', b"\xff\x00", b'{"form":1}', b"3"])
def test_a_damaged_file_is_begun_anew_and_said_once(tmp_path: Path, text: bytes) -> None:
    holder = Holder(Plane(), str(tmp_path / "x"))
    now = time.monotonic()
    holder.ask(now, wanted=9)
    (path,) = tmp_path.glob("*.limits")
    path.write_bytes(text)
    reply = holder.ask(now + 0.1, wanted=9)
    assert "was damaged and is begun anew" in reply["warning"]
    # Until the others have told again what they hold, nothing is given away that may be theirs.
    assert (reply["share"], slots_of(reply)) == (0, [])
    assert holder.ask(now + 0.2, wanted=9)["warning"] is None
    reply = holder.ask(now + 4.5, wanted=9)
    assert reply["share"] == 4
    assert slots_of(reply)


def test_a_file_that_cannot_be_opened_leaves_the_limits_to_each_process_and_is_said(tmp_path: Path) -> None:
    holder = Holder(Plane(), str(tmp_path / "no" / "x"))
    reply = holder.ask(1000.0, wanted=9)
    assert reply["share"] == 4
    assert "limits of APIs hold for each process by itself" in reply["warning"]
    assert holder.ask(1000.1, wanted=9)["warning"] is None


def test_a_file_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    holder = Holder(Plane(), str(tmp_path / "x"))
    holder.ask(1000.0, wanted=9)
    (path,) = tmp_path.glob("*.limits")
    path.unlink()
    holder.ask(1000.1, wanted=9)
    assert path.exists()
    assert path.stat().st_mode & 0o777 == 0o600


def test_while_another_plane_has_the_file_nothing_new_is_given(tmp_path: Path) -> None:
    holder, file = Holder(Plane(), str(tmp_path / "x")), HostFile(str(tmp_path / "x"), "acme")
    assert holder.ask(1000.0, wanted=9)["share"] == 4
    with file.turn(now=1000.0, cap=4):
        reply = holder.ask(1000.1, wanted=9, in_flight=2, share=2)
    file.close()
    assert (reply["share"], slots_of(reply), reply["warning"]) == (2, [], None)
    assert holder.ask(1000.2, wanted=9, in_flight=2, share=2)["share"] == 4
