"""Makes the request of an endpoint whose records share requests, and gives each record its own item of the answer.

Which records share a request, and what becomes of one that is refused as a whole, is decided in `batches`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from dataflow.engine.http.answering import NO_CONTENT, check_status, read_value, write_request
from dataflow.engine.http.attempts import Answer, AttemptError, Call, CallError, Request
from dataflow.errors import NotFound
from dataflow.policies.retry import Attempt
from dataflow.services.answers import AnswerReader, parse, read_item
from dataflow.services.matching import Matched, match_items
from dataflow.services.records import MISSING
from dataflow.services.selection import UnexpectedAnswer, follow

if TYPE_CHECKING:
    from dataflow.engine.http.provider import Provider
    from dataflow.services.batch import Batch
    from dataflow.services.endpoint import Endpoint

_KEY_SIZE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The records of one request, and what is known of each by its place among them.

    Attributes:
        rows: The values of each.
        keys: Its key.
        prefix: What the Idempotency-Key begins with, None to send none.
        values: What was found.
        errors: What came instead.
        unsent: Places whose values no request can hold.
    """

    rows: Sequence[Sequence[Any]]
    keys: Sequence[bytes]
    prefix: str | None = None
    values: dict[int, Any] = field(default_factory=dict)
    errors: dict[int, Exception] = field(default_factory=dict)
    unsent: set[int] = field(default_factory=set)

    @property
    def left(self) -> list[int]:
        """The places of those that nothing is known of."""
        return [at for at in range(len(self.rows)) if at not in self.values and at not in self.errors]

    def idempotency_key(self, places: Sequence[int]) -> str | None:
        """The key of a request for some of them: a hash over theirs."""
        if self.prefix is None:
            return None
        digest = blake2b(b"".join(self.keys[at] for at in places), digest_size=_KEY_SIZE)
        return f"{self.prefix}-{digest.hexdigest()}"


class BatchCall:
    """What one service asks for several records at once, as a coroutine function."""

    def __init__(self, endpoint: Endpoint, reader: AnswerReader, provider: Provider) -> None:
        self._endpoint = endpoint
        self._batch: Batch = endpoint.batch  # type: ignore[assignment]
        self._reader = reader
        self._provider = provider
        self._columns = endpoint.columns

    async def __call__(self, asked: Asked, call: Call) -> None:
        """Fill in what is found for each record; what is raised holds for those that are left.

        An item for which `accept=` raises RetryLater is asked for again, without those that are known by then.

        Raises:
            CallError: No attempt succeeded.
            NotFound: The provider knows nothing about any of them.
        """
        request = self._write(asked)
        if request is None:
            return

        async def attempt() -> None:
            nonlocal request
            assert request is not None
            call.records = len(asked.left)
            answer = call.got(await self._provider.send(request, as_text=True))
            check_status(answer, self._endpoint.not_found, later=self._endpoint.api.later)
            later = self._settle(answer, asked)
            if later is not None:
                request = self._write(asked)
                raise later

        call.records = len(asked.left)
        await self._provider.caller.perform(attempt, call)

    def _write(self, asked: Asked) -> Request | None:
        """The request for those that are left, None where none is; what cannot be written fails alone."""
        try:
            return self._request(asked, asked.left)
        except ValueError:
            for at in asked.left:
                try:
                    self._request(asked, [at])
                except ValueError as error:
                    asked.unsent.add(at)
                    asked.errors[at] = CallError("bad input", f"the request cannot be written: {error}")
            return self._request(asked, asked.left)

    def _request(self, asked: Asked, places: Sequence[int]) -> Request | None:
        if not places:
            return None
        columns = zip(*(asked.rows[at] for at in places), strict=True)
        values = dict(zip(self._columns, columns, strict=True))
        return write_request(self._endpoint, values, key=asked.idempotency_key(places))

    def _settle(self, answer: Answer, asked: Asked) -> AttemptError | None:
        """Give each record its item; the error for those that are to be asked for again.

        Raises:
            AttemptError: Nothing in the answer can be told apart.
        """
        left, later = asked.left, None
        rows = [asked.rows[at] for at in left]
        matched: Matched = read_value(
            answer.body, self._reader, status=answer.status, read=lambda *_: self._match(answer, rows)
        )
        for place, at in enumerate(left):
            try:
                asked.values[at] = self._value(place, matched, status=answer.status)
            except AttemptError as error:
                if error.again == "always":
                    later = later if later is not None and (later.after or 0) >= (error.after or 0) else error
                else:
                    asked.errors[at] = CallError(error.reason, error.error, status=answer.status, said=error.said)
            except Exception as error:
                asked.errors[at] = error
        return later

    def _match(self, answer: Answer, rows: Sequence[Sequence[Any]]) -> Matched:
        if answer.status == NO_CONTENT:
            return Matched(found={}, wrong={})
        path, parsed = self._batch.items, parse(answer.body, self._reader)
        try:
            items = follow(path, parsed) if path.steps else parsed
            if items is MISSING:
                raise _unmatched(f"`{path.text}`: missing", answer.status)
            return match_items(items, rows, self._batch.match)
        except UnexpectedAnswer as error:
            raise _unmatched(str(error), answer.status) from error

    def _value(self, place: int, matched: Matched, *, status: int) -> Any:
        if place in matched.found:
            return read_value(matched.found[place], self._reader, status=status, read=read_item)
        if place in matched.wrong:
            raise _unmatched(matched.wrong[place], status)
        raise NotFound


def _unmatched(why: str, status: int) -> AttemptError:
    return AttemptError(
        "unexpected answer", f"the answer cannot be matched: {why}", attempt=Attempt.REFUSED, status=status
    )
