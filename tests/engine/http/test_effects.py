"""What may be sent only once: noted before it is sent, answered from its notes, and never sent again in doubt."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import httpx
import pytest

import dataflow as flow
from dataflow.engine.calling import Answers
from dataflow.engine.control.gate import Impatient
from dataflow.engine.http.attempts import Call, CallError, Terms
from dataflow.engine.http.calls import Calling, make_calls
from dataflow.engine.http.effects import Effects
from dataflow.engine.http.memory import Memory
from dataflow.engine.http.settings import Halted
from dataflow.engine.http.sharing import Shared
from dataflow.engine.http.tracking import permits
from dataflow.engine.texts import reason_of, text_of
from dataflow.errors import DeclarationError, NotFound, Reject, Skip, StoreError
from dataflow.policies.effects import End, Note, Reach, known
from dataflow.policies.rate import read_rates
from dataflow.policies.retry import Retry
from dataflow.services.annotations import declare

INT = declare(int, where="")


class Log:
    """Notes in memory, written as slowly as a disk."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.groups: list[list[Note]] = []
        self.seconds = seconds
        self.full = False
        self.closed = 0

    def begin(self, records: Collection[str] = ()) -> list[Note]:
        return list(known(note for group in self.groups for note in group).values())

    def write(self, notes: Sequence[Note]) -> None:
        time.sleep(self.seconds)
        if self.full:
            raise StoreError("the disk is full")
        self.groups.append(list(notes))

    def close(self) -> None:
        self.closed += 1


class Server:
    """Counts what arrives, and answers or fails as told."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.sent: list[int] = []
        self.ends: dict[int, tuple[Exception | None, Reach]] = {}

    async def __call__(self, inputs: Sequence[Any], call: Call) -> int:
        (place,) = inputs
        if call.announce is not None:
            await call.announce()
            await call.announce()
            assert str(place) in {note.record for note in self.log.begin()}, "it was sent before its note was durable"
        call.attempts += 1
        self.sent.append(place)
        await asyncio.sleep(0)
        error, call.reach = self.ends.get(place, (None, Reach.TAKEN))
        call.status = getattr(error, "status", None)
        if error is not None:
            raise error
        return 10 * int(place)


def run(log: Log, server: Callable[..., Any], places: Sequence[int], **more: Any) -> Answers:
    """One worker that takes a partition up."""
    keys = [b"%d" % place for place in places]
    effects = Effects(log, service="post", api="acme", keys=keys, calls=[(str(one), "") for one in places]).begin()
    calling = Calling(
        function=server,
        terms=Terms(timeout=5, retry=Retry(), patience=None, repeatable=False),
        memory=Memory(effects, service="post", returns=INT),
        effects=effects,
        side_by_side=64,
        **more,
    )
    shared = Shared(inputs=[(place,) for place in places], keys=keys, call_of=list(range(len(places))))
    answers = asyncio.run(effects.flushed(lambda: make_calls(calling, shared, check=lambda error: None)))
    effects.close()
    return answers


def test_a_second_worker_sends_nothing_that_was_answered() -> None:
    log = Log()
    server = Server(log)
    assert run(log, server, range(5)).values == [0, 10, 20, 30, 40]
    again = run(log, server, range(5))
    assert again.values == [0, 10, 20, 30, 40]
    assert (sorted(server.sent), again.calls) == ([0, 1, 2, 3, 4], 0)


def test_what_was_sent_and_not_answered_fails_as_unknown_and_is_not_sent_again() -> None:
    log = Log()
    log.write([Note(record="1", end=End.SENT, at=0.0)])
    server = Server(log)
    answers = run(log, server, [0, 1])
    error = answers.raised[1]
    assert isinstance(error, CallError)
    assert error.reason == "unknown"
    assert "1970-01-01T00:00:00+00:00" in str(error)
    assert "acme" in str(error)
    assert server.sent == [0]
    assert set(run(log, server, [0, 1], may_call=False).raised) == {1}


@pytest.mark.parametrize(
    ("error", "reach", "again"),
    [
        (CallError("cannot connect", "no"), Reach.NOTHING, True),
        (CallError("HTTP 400", "no", status=400), Reach.NOTHING, True),
        (CallError("HTTP 503", "no", status=503), Reach.UNCLEAR, False),
        (CallError("timeout", "no", timed_out=True), Reach.UNCLEAR, False),
        (CallError("unexpected answer", "no", status=200), Reach.TAKEN, False),
        (KeyError("in a parser"), Reach.TAKEN, False),
        (NotFound(), Reach.TAKEN, False),
        (Skip("not today"), Reach.TAKEN, False),
        (Reject("never"), Reach.TAKEN, False),
    ],
)
def test_a_failure_is_tried_again_only_where_it_has_surely_done_nothing(
    error: Exception, reach: Reach, again: bool
) -> None:
    log = Log()
    server = Server(log)
    server.ends = {0: (error, reach)}
    first = run(log, server, [0])
    second = run(log, server, [0])
    assert len(server.sent) == 1 + again
    one, other = first.raised[0], second.raised[0]
    if reach is Reach.UNCLEAR and getattr(error, "status", None) is None:
        assert reason_of(one) == "unknown"
    assert reason_of(one) == reason_of(other)
    assert first.timed_out == second.timed_out
    assert first.statuses == second.statuses or again
    if reach is Reach.UNCLEAR:
        assert "may have taken effect" in str(one)
    if reach is not Reach.NOTHING:
        assert first.text_at(0).whole == second.text_at(0).whole


def test_calls_at_the_same_time_share_the_syncs_of_their_notes() -> None:
    log = Log(seconds=0.01)
    server = Server(log)
    run(log, server, range(640))
    assert len(server.sent) == 640
    assert len(log.groups) < 640 / 4


def test_a_call_that_is_given_back_unsent_may_be_sent_later() -> None:
    log = Log()

    async def down(inputs: Sequence[Any], call: Call) -> int:
        assert call.announce is not None
        await call.announce()
        call.attempts += 1
        raise Impatient("breaker", 30.0)

    with pytest.raises(Impatient):
        run(log, down, [0])
    server = Server(log)
    assert run(log, server, [0]).values == [0]


def test_nothing_is_sent_while_notes_cannot_be_written() -> None:
    log = Log()
    log.full = True
    server = Server(log)
    with pytest.raises(StoreError, match="full"):
        run(log, server, range(3))
    assert server.sent == []


def test_an_answer_whose_note_could_not_be_written_ends_the_partition() -> None:
    log = Log()
    server = Server(log)

    async def fill(inputs: Sequence[Any], call: Call) -> int:
        value = await server(inputs, call)
        log.full = True
        return value

    with pytest.raises(StoreError, match="full"):
        run(log, fill, [0])
    log.full = False
    assert getattr(run(log, server, [0]).raised[0], "reason", "") == "unknown"


PHONES = "/v2/phones/check"


def test_each_record_is_an_effect_of_its_own(bench: Any) -> None:
    service = bench.api().post("phone", PHONES, json={"phone": "{key}"}, returns={"valid": bool}, idempotent=False)
    one = bench.run(service, ["+4930123", "+4930123", "+4930124"])
    assert bench.seen(PHONES)["by_key"] == {"+4930123": 2, "+4930124": 1}
    assert one.statistics["services"]["phone"]["deduplicated"] == 0
    bench.run(service, ["+4930123"], output="another")
    assert bench.seen(PHONES)["by_key"]["+4930123"] == 3


def test_a_function_that_may_be_called_once_is_called_for_each_record_and_not_after_a_timeout(bench: Any) -> None:
    told: list[str] = []
    lock = threading.Lock()

    @flow.enrichment(api=bench.api(timeout=0.2), idempotent=False, threads=4, returns=str)
    def mail(key: str) -> str:
        with lock:
            told.append(key)
        if key == "late":
            time.sleep(0.5)
        return f"sent to {key}"

    run = bench.run(mail, ["a", "a", "late"])
    assert sorted(told) == ["a", "a", "late"]
    (failure,) = run.failures().to_pylist()
    assert (failure["status"], failure["reason"], failure["attempts"]) == ("timed_out", "unknown", 1)


LOST = {
    "reset_before_headers": "connection",
    "reset_in_body": "ended early",
    "encoding:gzip/cut": "ends early",
    "no_answer": "no whole answer",
}


@pytest.mark.parametrize("form", ["endpoint", "client"])
@pytest.mark.parametrize("fault", LOST)
def test_an_effect_that_was_sent_and_not_answered_is_unknown_and_not_sent_again(
    bench: Any, form: str, fault: str
) -> None:
    bench.server.control(keys={"lost": fault})
    api, options = bench.api(timeout=1), {"idempotent": False, "priority": "critical"}

    @flow.enrichment(api=api, into="title", **options)
    async def client(key: str, http: httpx.AsyncClient) -> str:
        return str((await http.post("/v2/phones/check", json={"phone": key})).json()["phone"])

    endpoint = api.post("endpoint", "/v2/phones/check", json={"phone": "{key}"}, returns={"phone": str}, **options)
    service = {"endpoint": endpoint, "client": client}[form]
    run = bench.run(service, ["sent", "lost"])
    (failure,), (reject,) = run.failures().to_pylist(), run.rejects().to_pylist()
    assert (failure["key"], failure["reason"], failure["attempts"]) == ("lost", "unknown", 1)
    assert (reject["reason"], failure["status"]) == ("unknown", "timed_out" if fault == "no_answer" else "failed")
    assert LOST[fault] in reject["error"]
    assert "may have taken effect" in reject["error"]
    bench.server.control(keys={"lost": None})
    bench.run(service, ["sent", "lost"])
    assert bench.seen("/v2/phones/check")["by_key"] == {"sent": 1, "lost": 1}


def test_an_effect_that_is_answered_with_a_fault_keeps_its_status(bench: Any) -> None:
    bench.server.control(keys={"bad": "status:503", "none": "empty:200"})
    run = bench.run(bench.company(idempotent=False), ["bad", "none"], max_failures=2)
    reasons = {one["key"]: (one["reason"], one["attempts"]) for one in run.failures().to_pylist()}
    assert reasons == {"bad": ("HTTP 503", 1), "none": ("empty answer", 1)}


def test_what_may_be_called_once_belongs_to_an_api_and_judges_nothing(bench: Any) -> None:
    with pytest.raises(DeclarationError, match=r"no api="):

        @flow.enrichment(idempotent=False)
        def mail(key: str) -> str:
            return key

    with pytest.raises(DeclarationError, match="validation"):

        @flow.validation(idempotent=False, api=bench.api())
        def judge(key: str) -> bool:
            return True

    with pytest.raises(DeclarationError, match="where it is declared on its API"):
        bench.company().with_(idempotent=False)


def test_an_answer_that_cannot_be_kept_is_not_taken_for_an_interrupted_call() -> None:
    log = Log()
    server = Server(log)

    async def odd(inputs: Sequence[Any], call: Call) -> Any:
        await server(inputs, call)
        return "no number"

    assert run(log, odd, [0]).values == ["no number"]
    error = run(log, server, [0]).raised[0]
    assert getattr(error, "reason", "") == "unknown"
    assert "cannot be kept" in text_of(error).whole
    assert server.sent == [0]


@pytest.mark.parametrize(
    ("rates", "ahead"),
    [
        ([], None),
        (["200/s"], 50),
        (["200/s", "600/min"], 3),
        (["1/min"], 1),
        (["50000/day"], 16),
        (["1/s", "9/day"], 1),
    ],
)
def test_few_calls_are_noted_ahead_of_a_rate(rates: list[str], ahead: int | None) -> None:
    assert permits(read_rates(rates, where="") if rates else ()) == ahead


def test_what_waits_for_its_turn_when_the_run_is_stopped_is_in_no_doubt() -> None:
    log = Log()

    async def waits(inputs: Sequence[Any], call: Call) -> int:
        assert call.announce is not None
        call.waiting += 1
        await call.announce()
        await asyncio.sleep(60)
        return 1

    began = time.monotonic()
    with pytest.raises(Halted):
        run(log, waits, range(3), halted=lambda: time.monotonic() > began + 0.2)
    server = Server(log)
    assert run(log, server, range(3)).values == [0, 10, 20]
