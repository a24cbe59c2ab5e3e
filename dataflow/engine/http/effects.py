"""Sees to it that what may be sent only once is sent once: noted before it is sent, and again when it has ended.

Calls that are about to be sent wait for their note to be durable; all that come while one group of notes is being
written wait for the next group, so that they share its sync. Where notes are kept is the business of the store,
which the engine is given.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dataflow.engine.http.attempts import Call, CallError
from dataflow.engine.texts import reason_of, text_of
from dataflow.errors import NotFound, Reject, Skip
from dataflow.outcomes import Status
from dataflow.policies.effects import CHANGED, UNKNOWN, Claims, End, Note, Reach, Subject, claim, reach_of

if TYPE_CHECKING:
    from dataflow.engine.calling import Answers

Value = TypeVar("Value")

GATHERED = 0.1
"""Seconds that the note of an ending waits for company: a kill in between leaves the call unknown, nothing worse."""

_UNKEPT = "it was answered with what cannot be kept, such as a value of another type"
_ADVICE = "; it may have taken effect, so it is not sent again: look it up there"


class EffectLog(Protocol):
    """The notes about the calls of one service for one partition."""

    def begin(self, records: Collection[str]) -> Iterable[Note]:
        """Take them over; what is known of these records, by whichever run, each note of an effect of its own."""

    def write(self, notes: Sequence[Note]) -> None:
        """Make notes durable as one group; raises OutputLocked where somebody else has taken them over."""

    def close(self) -> None:
        """Leave them tidy."""


class EffectJournal(Protocol):
    """The notes about one partition.

    Attributes:
        key: The columns that name a record.
    """

    @property
    def key(self) -> tuple[str, ...]: ...

    def log(self, service: str) -> EffectLog:
        """Those about the calls of one service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """An answer that was noted, as memory reads it."""

    status: Status
    value: bytes
    created: float
    cost: float = 0.0
    own: bool = False


class Effects:
    """The calls of one service for one partition, each record an effect of its own; also the store of their answers.

    Used on one event loop, but for `begin` and `close`.

    Args:
        log: Where notes are kept, or None to keep none.
        service: The name of the service.
        api: That of the API, for those who have to look there.
        keys: The key of each call.
        calls: The name of the record of each, and a digest of its inputs.
        ahead: How many calls may be noted while they wait for their turn; None to note them after it.
        texts: Whether what providers and exceptions say is noted.
        wall: Seconds since 1970.
    """

    def __init__(
        self,
        log: EffectLog | None = None,
        *,
        service: str = "",
        api: str = "",
        keys: Sequence[bytes] = (),
        calls: Sequence[tuple[str, str]] = (),
        ahead: int | None = None,
        texts: bool = True,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._service = service
        self._api = api
        self._calls = calls
        self._texts = texts
        self._at_of = {key: at for at, key in enumerate(keys)}
        self._ahead = None if ahead is None else asyncio.Semaphore(ahead)
        self._wall = wall
        self._claims = Claims(subjects=[])
        self._notes: list[Note] = []
        self._open: set[Subject] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self._writer: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    def begin(self) -> Effects:
        """Read what is known, and return itself."""
        if self._log is not None:
            self._claims = claim(self._calls, self._log.begin({record for record, _ in self._calls}))
        return self

    def close(self) -> None:
        """Leave the notes tidy."""
        if self._log is not None:
            self._log.close()

    async def flushed(self, make: Callable[[], Awaitable[Value]]) -> Value:
        """Make the calls; on return all notes are durable.

        Raises:
            StoreError: They could not be written.
        """
        try:
            made = await make()
            error = f"{_UNKEPT}{_ADVICE} (API {self._api})"
            self._note(*(_note_of(self._wall(), one, End.FAILED, reason=UNKNOWN, error=error) for one in self._open))
            return made
        finally:
            await self._flush()

    def get_many(self, keys: Sequence[bytes], **_: object) -> dict[bytes, _Kept]:
        """The answers that are known."""
        known = {key: self._claims.known.get(self._at_of[key]) for key in keys}
        return {key: _kept(note) for key, note in known.items() if note is not None and note.end in _ANSWERS}

    def put_answer(self, key: bytes, *, status: Status, value: bytes, **_: object) -> None:
        """Note the answer of a call."""
        end = End.SUCCEEDED if status is Status.SUCCEEDED else End.NOT_FOUND
        self._note(self._note_at(self._at_of[key], end, value=value.decode()))

    def recall(self, answers: Answers) -> None:
        """Let those records fail, or be skipped or rejected, that are noted so, and those that must not be sent."""
        for at, note in self._claims.known.items():
            if at not in answers.remembered:
                answers.end_at(at, self._error_of(note))
        for at, note in self._claims.changed.items():
            answers.end_at(at, self._changed(note))

    def announce(self, call: Call, ats: Sequence[int]) -> None:
        """Let a call for some records wait, before it is sent, until that is noted, durably and once."""
        if self._log is not None:
            call.announce, call.ahead = self._announcing(ats), self._ahead

    def _announcing(self, ats: Sequence[int]) -> Callable[[], Awaitable[None]]:
        started: list[asyncio.Future[None]] = []

        async def announce() -> None:
            if not started:
                started.append(asyncio.get_running_loop().create_future())
                self._waiters.append(started[0])
                self._wanted.set()
                self._note(*(self._note_at(at, End.SENT) for at in ats))
            await asyncio.shield(started[0])

        return announce

    def fail(self, ats: Sequence[int], error: Exception, *, reach: Reach) -> Exception:
        """Note that a call has failed for some records; the error that they get."""
        if self._log is None or isinstance(error, NotFound):
            return error
        if reach is Reach.UNCLEAR and (lost := _lost(error)) is not None:
            text = f"{lost}{_ADVICE} (API {self._api})"
            # Without a status nobody has answered: what it was lost to is in the text.
            reason = UNKNOWN if lost.status is None else lost.reason
            late, later = lost.timed_out, lost.later
            error = CallError(reason, text, status=lost.status, timed_out=late, later=later, said=lost.said)
        for at in ats:
            self._note(self._ended(at, error, reach=reach))
        return error

    def give_back(self, ats: Sequence[int], call: Call) -> None:
        """Note of a call that is ended before its time that it has done nothing, where that is sure."""
        if call.reached is Reach.NOTHING:
            noted = [at for at in ats if self._log is not None and self._claims.subjects[at] in self._open]
            self._note(*(self._note_at(at, End.NOTHING) for at in noted))

    def _ended(self, at: int, error: Exception, *, reach: Reach) -> Note:
        for kind, end in _VERDICTS.items():
            if isinstance(error, kind):
                return self._note_at(at, end, error=self._text(error))
        if reach is Reach.NOTHING:
            return self._note_at(at, End.NOTHING)
        status = getattr(error, "status", None)
        return self._note_at(
            at,
            End.FAILED,
            reason=reason_of(error),
            error=self._text(error),
            status=status if isinstance(status, int) else None,
            timed_out=bool(getattr(error, "timed_out", False)),
        )

    def _text(self, error: Exception) -> str:
        text = text_of(error)
        return text.whole if self._texts else text.plain

    def _note_at(self, at: int, end: End, **more: Any) -> Note:
        return _note_of(self._wall(), self._claims.subjects[at], end, **more)

    def _error_of(self, note: Note) -> Exception:
        if note.end is End.FAILED:
            text = f"it has failed before and is not called again ({note.reason})"
            return CallError(note.reason, text, status=note.status, timed_out=note.timed_out, whole=note.error)
        if note.end is End.SKIPPED:
            return Skip(note.error)
        if note.end is End.REJECTED:
            return Reject(note.error)
        if note.end is not End.SENT:
            text = f"it was sent before, answered at {_time(note)} with what cannot be read as it is declared by now"
            return CallError(UNKNOWN, f"{text}{_ADVICE} (API {self._api})")
        return CallError(
            UNKNOWN,
            f"it was sent at {_time(note)}, and what came of it is not known, since the run was interrupted{_ADVICE}"
            f" (API {self._api})",
        )

    def _changed(self, note: Note) -> Exception:
        return CallError(
            CHANGED,
            f"`{self._service}` was called for it with other inputs at {_time(note)}, so it is not called again; "
            f"--send-again {self._service} (send_again=) sends all records of `{self._service}` anew",
        )

    def _note(self, *notes: Note) -> None:
        if not notes:
            return
        self._notes += notes
        for note in notes:
            if note.end is End.SENT:
                self._open.add(note.subject)
            else:
                self._open.discard(note.subject)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._keep_writing())

    async def _keep_writing(self) -> None:
        """Write groups of notes until there are none; where that fails, the next note tries again."""
        while self._notes:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), GATHERED)
            self._wanted.clear()
            waiters, self._waiters = self._waiters, []
            try:
                await self._write()
            except Exception as error:
                for one in waiters:
                    one.set_exception(error)
                return
            for one in waiters:
                one.set_result(None)

    async def _write(self) -> None:
        assert self._log is not None
        notes, self._notes = self._notes, []
        try:
            await asyncio.to_thread(self._log.write, notes)
        except Exception:
            self._notes = notes + self._notes
            raise

    async def _flush(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._wanted.set()
            await self._writer
        if self._notes:
            await self._write()


_ANSWERS = (End.SUCCEEDED, End.NOT_FOUND)
_VERDICTS = {Skip: End.SKIPPED, Reject: End.REJECTED}


def _note_of(now: float, subject: Subject, end: End, **more: Any) -> Note:
    return Note(record=subject.record, inputs=subject.inputs, nth=subject.nth, end=end, at=now, **more)


def _time(note: Note) -> str:
    return datetime.fromtimestamp(note.at, UTC).isoformat(timespec="seconds")


def _kept(note: Note) -> _Kept:
    status = Status.SUCCEEDED if note.end is End.SUCCEEDED else Status.NOT_FOUND
    return _Kept(status=status, value=note.value.encode(), created=note.at)


def _lost(error: Exception) -> CallError | None:
    """What a request failed of, also by the client of a function; None for what its author raised."""
    found = error if isinstance(error, CallError) else error.__dict__.get("call_error")
    return found if isinstance(found, CallError) else None


def reach_of_error(error: Exception) -> Reach:
    """How far a record has come in a request that others share, by its own error: what has none of a call's was read.

    A record that could not be written into the request has done nothing.
    """
    if not isinstance(error, CallError):
        return Reach.TAKEN
    return reach_of(error.reason, status=error.status)
