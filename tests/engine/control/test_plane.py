"""The control plane keeps limits whatever its holders do: settable clock, random demand, deaths, lost replies."""

from __future__ import annotations

import random
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

import pytest

from dataflow.engine.control.limits import Limits, strictest
from dataflow.engine.control.plane import PROTOCOL, Plane
from dataflow.errors import ClusterError
from dataflow.policies.breaker import Breaker
from dataflow.policies.rate import Rate, read_rates

TIMEOUT = 4.0
LIMITS = Limits(rates=read_rates(["50/s", "400/min"], where="test"), concurrency=7, timeout=TIMEOUT)
QUIET = Limits(concurrency=None, breaker=None)
GUARDED = Limits(concurrency=None)


def request(holder: str, number: int, *, api: str = "acme", limits: Limits = LIMITS, **given: Any) -> dict[str, Any]:
    base = {
        "wanted": 5,
        "waiting": 5,
        "in_flight": 0,
        "share": 0,
        "in_hand": 0,
        "outcomes": "",
        "probes": "",
    }
    base |= {"fresh": given.get("waiting", 5), "patient": True, "failed_by": None}
    base["usual"] = given.get("in_flight", 0)
    lists: dict[str, Any] = {"throttled": [], "unused": [], "planned": [], "tokens": []}
    named = {"protocol": PROTOCOL, "holder": holder, "api": api, "number": number, "limits": limits.to_dict()}
    return {**named, **base, **lists, **given}


def slots_of(reply: dict[str, Any]) -> list[float]:
    runs = reply["slots"]["runs"]
    return [reply["now"] + delay + step * at for delay, step, count in runs for at in range(int(count))]


@dataclass
class Holder:
    """A holder that follows the rules and is otherwise as awkward as can be."""

    name: str
    number: int = 0
    share: int = 0
    until: float = -1.0
    slots: list[tuple[float, float]] = field(default_factory=list)
    unused: list[tuple[float, int]] = field(default_factory=list)
    running: list[float] = field(default_factory=list)
    pending: dict[str, Any] | None = None

    def call(self, now: float, *, draw: random.Random) -> list[float]:
        """Use the slots that are due as late as they may be, as far as lease and share allow; the send times."""
        self.running = [end for end in self.running if end > now]
        sent = []
        while self.slots and self.slots[0][0] <= now:
            at, tolerance = self.slots.pop(0)
            moment = min(now, at + tolerance)
            if draw.random() < 0.9 and moment < self.until and len(self.running) < self.share:
                sent.append(moment)
                self.running.append(moment + TIMEOUT * draw.random() ** 8)
            else:
                self.unused.append((at, 0))
        return sent

    def ask(self, plane: Plane, now: float, *, draw: random.Random) -> None:
        if self.pending is None:
            self.number += 1
            if draw.random() < 0.3:
                self.unused += [(at, 0) for at, _ in self.slots]
                self.slots.clear()
            wanted = draw.choice([0, 1, 5, 100])
            self.pending = request(
                self.name,
                self.number,
                wanted=wanted,
                waiting=wanted,
                in_flight=len(self.running),
                share=self.share if now < self.until else 0,
                in_hand=len(self.slots),
                unused=self.unused,
            )
            self.unused = []
        reply = plane.exchange(self.pending, now=now)
        if draw.random() < 0.15:
            return
        self.pending = None
        self.share, self.until = reply["share"], now + reply["lease"]
        self.slots = sorted([*self.slots, *((at, reply["slots"]["tolerance"]) for at in slots_of(reply))])


def worst(times: list[float], period: float) -> int:
    times = sorted(times)
    return max((bisect_left(times, at + period - 1e-6) - index for index, at in enumerate(times)), default=0)


@pytest.mark.parametrize("seed", range(12))
def test_sends_and_calls_in_flight_stay_within_the_limits(seed: int) -> None:
    draw = random.Random(seed)
    plane, now, sent = Plane(), 1000.0, []
    holders = [Holder(f"holder {at}") for at in range(4)]
    dead: list[Holder] = []
    for turn in range(1500):
        now += draw.choice([0.005, 0.02, 0.1]) if draw.random() < 0.99 else 5.0
        for holder in holders:
            sent += holder.call(now, draw=draw)
            if draw.random() < 0.5:
                holder.ask(plane, now, draw=draw)
        if draw.random() < 0.01:
            gone = holders.pop(draw.randrange(4))
            dead.append(gone)
            if draw.random() < 0.7:
                plane.forget(gone.name, now=now)
            holders.append(Holder(f"holder {turn + 10}"))
        assert sum(end > now for holder in (*holders, *dead) for end in holder.running) <= 7
    assert len(sent) > 100
    for rate in LIMITS.rates:
        assert worst(sent, rate.period) <= rate.count


def test_one_holder_alone_gets_nearly_the_whole_rate() -> None:
    plane, now, sent = Plane(), 0.0, 0
    for number in range(1, 101):
        reply = plane.exchange(request("a", number, limits=Limits(rates=(Rate(count=500, period=1),))), now=now)
        sent += len(slots_of(reply))
        now += 0.1
    assert 0.97 * 500 * 10 <= sent <= 500 * 10.2


def test_a_request_that_comes_again_counts_once_and_gets_the_same_slots() -> None:
    plane = Plane()
    first = plane.exchange(request("a", 1, outcomes="fff"), now=10.0)
    again = plane.exchange(request("a", 1, outcomes="fff"), now=10.5)
    assert slots_of(again) == pytest.approx(slots_of(first))
    assert again["lease"] == pytest.approx(first["lease"] - 0.5)
    assert plane.exchange(request("a", 2), now=10.6)["breaker"]["probes"] is None
    assert plane.exchange(request("a", 1), now=10.7) | {"plane": "", "protocol": 0} == {
        "stale": True,
        "plane": "",
        "protocol": 0,
    }


def test_another_protocol_is_refused_with_what_to_do() -> None:
    with pytest.raises(ClusterError, match="same version of dataflow"):
        Plane().exchange(request("a", 1) | {"protocol": 99}, now=0.0)


def test_of_two_declarations_the_stricter_numbers_hold_and_it_is_said_once() -> None:
    plane = Plane()
    wide = Limits(rates=(Rate(count=100, period=1),), concurrency=50)
    narrow = Limits(rates=(Rate(count=10, period=1),), concurrency=90, breaker=None)
    assert plane.exchange(request("a", 1, limits=wide), now=0.0)["warning"] is None
    reply = plane.exchange(request("b", 1, limits=narrow), now=0.1)
    assert "stricter" in reply["warning"]
    assert plane.exchange(request("b", 2, limits=narrow), now=0.2)["warning"] is None
    status = plane.status(0.2)["acme"]
    assert (status["concurrency"], round(status["allowed"], 1)) == (50, 9.8)
    assert strictest([wide, narrow]).breaker == Breaker()


def test_failures_of_several_holders_open_the_breaker_for_all_and_one_probe_closes_it() -> None:
    plane = Plane()
    for number, holder in enumerate("abcde"):
        plane.exchange(request(holder, 1, limits=GUARDED, outcomes="f"), now=float(number) / 10)
    reply = plane.exchange(request("f", 1, limits=GUARDED), now=1.0)
    assert (reply["breaker"]["probes"], reply["breaker"]["wait"]) == (0, pytest.approx(0.4))
    one = plane.exchange(request("g", 1, limits=GUARDED, patient=False), now=1.0)
    assert (one["breaker"]["probes"], one["breaker"]["wait"]) == (0, pytest.approx(59.4))
    reply = plane.exchange(request("f", 2, limits=GUARDED, wanted=9, waiting=9), now=1.5)
    assert reply["breaker"]["probes"] == 1
    assert plane.exchange(request("g", 2, limits=GUARDED), now=1.5)["breaker"]["probes"] == 0
    reply = plane.exchange(request("f", 3, limits=GUARDED, probes="s"), now=2.0)
    assert reply["breaker"]["probes"] is None


@pytest.mark.parametrize("ending", ["t", "r"])
def test_an_api_that_throttles_or_refuses_a_probe_is_there(ending: str) -> None:
    plane = Plane()
    plane.exchange(request("a", 1, limits=GUARDED, outcomes="fffff"), now=0.0)
    plane.exchange(request("a", 2, limits=GUARDED), now=1.0)
    assert plane.exchange(request("a", 3, limits=GUARDED, probes=ending), now=1.5)["breaker"]["probes"] is None


def test_failures_open_the_breaker_once_they_outlast_what_all_holders_had_in_flight() -> None:
    plane = Plane()
    plane.exchange(request("a", 1, limits=GUARDED, in_flight=3), now=0.0)
    for number, holder in enumerate("bcdefgh"):
        reply = plane.exchange(request(holder, 1, limits=GUARDED, outcomes="f"), now=1.0)
        assert reply["breaker"]["probes"] is None, number
    assert plane.exchange(request("a", 2, limits=GUARDED, outcomes="f"), now=1.0)["breaker"]["probes"] == 0


def test_inputs_that_have_not_failed_probe_first_and_without_any_each_one_in_turn() -> None:
    plane = Plane()
    plane.exchange(request("a", 1, limits=GUARDED, outcomes="sfffff", fresh=0), now=0.0)
    plane.exchange(request("b", 1, limits=GUARDED, fresh=1), now=0.5)
    assert plane.exchange(request("a", 2, limits=GUARDED, fresh=0), now=1.1)["breaker"]["probes"] == 0
    fresh = plane.exchange(request("b", 2, limits=GUARDED, fresh=1), now=1.1)["breaker"]
    assert (fresh["probes"], fresh["in_turn"]) == (1, False)
    plane.exchange(request("b", 3, limits=GUARDED, fresh=0, probes="f"), now=1.2)
    reply = plane.exchange(request("a", 3, limits=GUARDED, fresh=0), now=1.9)["breaker"]
    assert (reply["probes"], reply["in_turn"]) == (1, True)


def test_a_breaker_held_by_hand_stays_so_without_any_traffic() -> None:
    plane = Plane()
    plane.hold("acme", "open", now=0.0)
    assert plane.status(9999.0)["acme"]["breaker"]["held"] == "open"
    assert plane.exchange(request("a", 1), now=10_000.0)["breaker"]["probes"] == 0
    plane.hold("acme", None, now=10_001.0)
    assert plane.exchange(request("a", 2), now=10_002.0)["breaker"]["probes"] is None


def test_a_429_slows_an_api_without_a_declared_rate_down_until_it_has_grown_past_what_was_seen() -> None:
    plane = Plane()
    for tenth in range(20):
        reply = plane.exchange(request("a", tenth + 1, limits=QUIET, outcomes="s" * 10), now=tenth / 10)
    assert reply["slots"] is None
    reply = plane.exchange(request("a", 30, limits=QUIET, throttled=[None, None]), now=2.0)
    assert len(slots_of(reply)) >= 1
    assert plane.status(2.0)["acme"]["allowed"] == pytest.approx(70, rel=0.1)
    assert plane.exchange(request("a", 31, limits=QUIET), now=170.0)["slots"] is None


def test_a_retry_after_of_the_first_calls_stops_all_holders() -> None:
    plane = Plane()
    plane.exchange(request("a", 1, throttled=[20.0] * 10), now=0.0)
    reply = plane.exchange(request("b", 1), now=1.0)
    assert (reply["pause"], slots_of(reply)) == (19.0, [])


def test_a_plane_that_was_restarted_begins_without_credit_and_holds_concurrency_back() -> None:
    plane = Plane(now=100.0, restarted=True, timeout=TIMEOUT)
    reply = plane.exchange(request("a", 1), now=100.0)
    assert (reply["share"], slots_of(reply)) == (0, [])
    reply = plane.exchange(request("a", 2), now=102.0)
    assert min(slots_of(reply)) >= 102.0
    assert plane.exchange(request("a", 3), now=104.1)["share"] == 7


def test_a_long_window_outlives_its_plane() -> None:
    day = Limits(rates=(Rate(count=10, period=86_400),), concurrency=None)
    plane = Plane()
    assert len(slots_of(plane.exchange(request("a", 1, limits=day, wanted=20), now=0.0))) == 10
    again = Plane()
    again.learn("acme", source=plane.id, rows=plane.kept(now=3600.0)["acme"], written=1.0, now=0.0)
    assert again.kept(now=0.0) == {}
    assert slots_of(again.exchange(request("a", 1, limits=day), now=50.0)) == []
    assert len(slots_of(again.exchange(request("a", 2, limits=day), now=50.0 + 82_800 + 2 * 1350 + 10))) == 5


DAY = Limits(rates=(Rate(count=10, period=86_400),), concurrency=None)


def counted(amount: int) -> list[list[Any]]:
    return [[86_400.0, "calls", [[0.0, amount]]]]


def test_what_another_plane_counted_is_replaced_by_its_news_and_never_added_twice() -> None:
    plane = Plane()
    for written, amount in ((1.0, 3), (2.0, 4), (2.0, 4), (1.0, 9)):
        plane.learn("acme", source="other", rows=counted(amount), written=written, now=0.0)
    plane.learn("acme", source=plane.id, rows=counted(9), written=3.0, now=0.0)
    plane.learn("acme", source="third", rows=counted(1), written=1.0, now=0.0)
    assert len(slots_of(plane.exchange(request("a", 1, limits=DAY, wanted=20), now=0.0))) == 5
    assert plane.kept(now=0.0)["acme"] == [[86_400.0, "calls", [[0.0, 5]]]]


def test_a_limit_that_is_changed_finds_what_was_counted() -> None:
    plane = Plane()
    plane.exchange(request("a", 1, limits=DAY, wanted=4), now=0.0)
    more = Limits(rates=(Rate(count=12, period=86_400),), concurrency=None)
    assert plane.status(10.0)["acme"]["holders"] == 0
    assert len(slots_of(plane.exchange(request("b", 1, limits=more, wanted=20), now=10.0))) == 8


def test_what_is_older_than_its_window_is_not_kept() -> None:
    plane = Plane()
    plane.exchange(request("a", 1, limits=DAY, wanted=4), now=0.0)
    assert plane.kept(now=80_000.0)
    assert plane.kept(now=90_000.0) == {}


def test_a_limit_that_is_used_up_is_told_with_the_time_until_a_call_may_start() -> None:
    plane = Plane()
    assert plane.exchange(request("a", 1, limits=DAY, wanted=20), now=0.0)["used_up"] is None
    assert plane.exchange(request("a", 2, limits=DAY, wanted=20, in_hand=5), now=1.0)["used_up"] is None
    used_up = plane.exchange(request("a", 3, limits=DAY, wanted=20), now=2.0)["used_up"]
    assert used_up["limit"] == "10/day"
    assert 86_400 <= used_up["wait"] <= 86_400 * 65 / 64 + 5
    assert slots_of(plane.exchange(request("a", 4, limits=DAY), now=2.0 + used_up["wait"] - 1)) == []
    assert len(slots_of(plane.exchange(request("a", 5, limits=DAY), now=3.0 + used_up["wait"]))) == 5


def test_slots_of_a_long_window_that_were_not_used_count_no_more() -> None:
    day = Limits(rates=(Rate(count=10, period=86_400),), concurrency=None)
    plane = Plane()
    times = slots_of(plane.exchange(request("a", 1, limits=day, wanted=20), now=7.0))
    reply = plane.exchange(request("a", 2, limits=day, unused=[(at, 0) for at in times[:4]]), now=8.0)
    assert len(slots_of(reply)) == 4


def test_tokens_are_reserved_by_what_calls_used_lately_and_settled() -> None:
    limits = Limits(rates=read_rates("60k tokens/min", where="test"), concurrency=None, tokens=10_000)
    plane = Plane()
    first = plane.exchange(request("a", 1, limits=limits), now=0.0)
    assert first["slots"]["tokens"] == 10_000
    used = [(at, 10_000, 100) for at in slots_of(first)]
    reply = plane.exchange(request("a", 2, limits=limits, tokens=used), now=1.0)
    assert reply["slots"]["tokens"] == 100


@pytest.mark.parametrize(
    ("planned", "used", "left"), [(6000, 6000, 0), (6000, 1000, 5), (1000, None, 5), (200, 200, 5)]
)
def test_what_a_call_plans_is_reserved_at_once_and_what_it_did_not_use_is_given_back(
    planned: int, used: int | None, left: int
) -> None:
    limits = Limits(rates=read_rates("6000 tokens/min", where="test"), concurrency=None, tokens=1000)
    plane = Plane()
    (at,) = slots_of(plane.exchange(request("a", 1, limits=limits, wanted=1), now=0.0))
    ended = [] if used is None else [(at, planned, used)]
    plane.exchange(request("a", 2, limits=limits, wanted=0, planned=[(at, 1000, planned)], tokens=ended), now=0.1)
    got: list[float] = []
    for number in range(3, 60):
        # Everything within the minute of the first call.
        got += slots_of(plane.exchange(request("a", number, limits=limits, wanted=1), now=float(number)))
    assert len(got) >= left if left else not got


def test_an_answer_that_used_nothing_says_nothing_of_others() -> None:
    limits = Limits(rates=read_rates("60k tokens/min", where="test"), concurrency=None, tokens=1000)
    plane = Plane()
    first = plane.exchange(request("a", 1, limits=limits), now=0.0)
    refused = [(at, 1000, 0) for at in slots_of(first)]
    assert plane.exchange(request("a", 2, limits=limits, tokens=refused), now=1.0)["slots"]["tokens"] == 1000


def test_holders_and_apis_without_traffic_are_forgotten() -> None:
    plane = Plane()
    for number in range(50):
        plane.exchange(request(f"holder {number}", 1), now=float(number))
    assert plane.status(50.0)["acme"]["holders"] < 5
    assert plane.status(5000.0) == {}


def test_the_status_says_how_many_calls_wait_for_what_and_when_an_open_breaker_is_tried_again() -> None:
    plane = Plane()
    for holder, reason in (("a", "rate"), ("b", "rate"), ("c", "concurrency")):
        plane.exchange(request(holder, 1, reason=reason), now=10.0)
    plane.exchange(request("d", 1, waiting=0, outcomes="fffff"), now=10.0)
    told = plane.status(12.0)["acme"]
    assert (told["waiting"], told["waiting_for"]) == (15, {"rate": 10, "concurrency": 5})
    assert (told["breaker"]["state"], told["breaker"]["rest"]) == ("open", 0.0)
    assert plane.status(10.25)["acme"]["breaker"]["rest"] == 0.75


def told(asked: int, **given: int) -> dict[str, int]:
    """What a holder tells of a purse."""
    return {"asked": asked, "least": 1, "spent": 0, "returned": 0, "out": 0, **given}


def money(plane: Plane, holder: str, **purses: dict[str, int]) -> dict[str, dict[str, int]]:
    """What the plane answers to a holder of the run."""
    request = {"protocol": PROTOCOL, "holder": holder, "run": "run", "purses": purses}
    return dict(plane.exchange(request, now=0.0)["purses"])


def authorise(plane: Plane, authorised: int, limit: int = 100) -> dict[str, int]:
    """Let so much of a purse be spent; what has become of it."""
    given = {"run": {"authorised": authorised, "limit": limit, "portion": 10}}
    return plane.authorise("run", purses=given, now=0.0)["run"]


def test_money_is_handed_out_only_as_far_as_the_driver_has_authorised_it() -> None:
    plane = Plane()
    assert money(plane, "a", run=told(30))["run"]["granted"] == 0
    authorise(plane, 20)
    assert money(plane, "a", run=told(30))["run"] == {"granted": 20, "portion": 10, "last": False, "over": False}
    assert authorise(plane, 100)["wants"]
    assert money(plane, "a", run=told(30))["run"]["granted"] == 30


def test_what_a_dead_holder_had_reserved_counts_as_spent_unless_it_is_alive() -> None:
    plane = Plane()
    authorise(plane, 100)
    money(plane, "a", run=told(80))
    plane.forget("a", now=0.0)
    assert money(plane, "b", run=told(80, least=30))["run"] == {
        "granted": 0,
        "portion": 10,
        "last": True,
        "over": True,
    }
    assert authorise(plane, 100) == {"spent": 0, "out": 0, "lost": 80, "held": 0, "wants": True}
    money(plane, "a", run=told(80, returned=50, spent=30))
    assert money(plane, "b", run=told(80, least=30))["run"]["granted"] == 70


def test_of_a_run_that_has_ended_nothing_more_is_handed_out() -> None:
    plane = Plane()
    authorise(plane, 100)
    money(plane, "a", run=told(30, spent=0))
    assert plane.close_run("run", now=0.0)["run"]["held"] == 30
    assert money(plane, "a", run=told(50))["run"]["granted"] == 0
