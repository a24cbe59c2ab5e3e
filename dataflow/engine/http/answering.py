"""Makes the request of an endpoint and reads its answer: one attempt of a declared HTTP service.

How often it is attempted is the caller's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from dataflow.engine.http.attempts import (
    Answer,
    AttemptError,
    Call,
    CallError,
    Request,
)
from dataflow.engine.http.bodies import UNREADABLE
from dataflow.engine.http.statuses import asked_again, said_in_answer, status_error
from dataflow.errors import NotFound, RetryLater
from dataflow.policies.retry import Attempt
from dataflow.services.answers import AnswerReader, read_answer
from dataflow.services.headers import IDEMPOTENCY_KEY, of_json
from dataflow.services.said import said, said_by, said_inside
from dataflow.services.selection import (
    EmptyAnswer,
    MalformedAnswer,
    NotFinite,
    NotUTF8,
    RefusedAnswer,
    UnexpectedAnswer,
)
from dataflow.services.template import with_query

if TYPE_CHECKING:
    from dataflow.engine.http.provider import Provider
    from dataflow.services.endpoint import Endpoint

MALFORMED_ATTEMPTS = 2
"""An answer that is no JSON may have been cut on its way, so it is asked for once more."""
NO_CONTENT = 204
"""The status of an answer that says by itself that there is nothing."""

_MEANING: Mapping[type[Exception], tuple[str, str]] = {
    EmptyAnswer: ("empty answer", "answered {status} with nothing in it, where the body should hold the answer"),
    NotUTF8: (UNREADABLE, "the answer cannot be read: {error}"),
    NotFinite: (
        "unexpected answer",
        "the answer {error}, which is no JSON; allow_nan=True of the service takes it as a float",
    ),
    MalformedAnswer: ("malformed answer", "the answer cannot be read: {error}"),
    UnexpectedAnswer: ("unexpected answer", "the answer is not what returns= says: {error}"),
    RefusedAnswer: ("refused answer", "accept= refuses the answer"),
}
"""The reason and the sentence of an answer that is not what was declared, by how it was read."""


class EndpointCall:
    """What one service asks, as a coroutine function over the values of its columns."""

    def __init__(self, endpoint: Endpoint, reader: AnswerReader, provider: Provider) -> None:
        self._endpoint = endpoint
        self._reader = reader
        self._provider = provider
        self._columns = endpoint.columns

    async def __call__(self, values: Sequence[Any], call: Call) -> Any:
        """The value of the service for one record.

        Raises:
            CallError: No attempt succeeded.
            NotFound: The provider knows nothing about the record.
        """
        try:
            request = write_request(self._endpoint, dict(zip(self._columns, values, strict=True)), key=call.key)
        except ValueError as error:
            raise CallError("bad input", f"the request cannot be written: {error}") from error
        return await self._provider.caller.perform(lambda: self._attempt(request, call), call)

    async def _attempt(self, request: Request, call: Call) -> Any:
        answer = call.got(await self._provider.send(request, as_text=True))
        check_status(answer, self._endpoint.not_found, later=self._endpoint.api.later)
        return read_value(answer.body, self._reader, status=answer.status)


def write_request(endpoint: Endpoint, values: Mapping[str, Any], *, key: str | None) -> Request:
    """The request of an endpoint.

    Args:
        endpoint: The endpoint.
        values: By column: one, or a sequence of them where records share requests.
        key: The Idempotency-Key, or None.

    Raises:
        ValueError: A value cannot be written where its template is.
    """
    headers = dict(_headers(endpoint))
    body = None if endpoint.json is None else msgspec.json.encode(endpoint.json.fill(values))
    if key is not None:
        headers[IDEMPOTENCY_KEY] = key
    url = endpoint.url.fill(values)
    if endpoint.params is not None:
        url = with_query(url, urlencode(endpoint.params.fill(values), quote_via=quote))
    return Request(method=endpoint.method, url=url, headers=headers, body=body)


@lru_cache(maxsize=256)
def _headers(endpoint: Endpoint) -> dict[str, str]:
    """Those that all requests of an endpoint have."""
    return dict(endpoint.headers) if endpoint.json is None else of_json(endpoint.headers, endpoint.api.headers)


def check_status(
    answer: Answer,
    not_found: Sequence[int] = (),
    *,
    later: Collection[int] = (),
    wall: Callable[[], float] = time.time,
) -> None:
    """Raise what a status means that is no success.

    Args:
        answer: The answer.
        not_found: Statuses that mean that nothing is known.
        later: Statuses besides 429 by which the API asks to be called later; they go before all others.
        wall: Seconds since 1970.

    Raises:
        NotFound: It is one of `not_found`.
        AttemptError: It is any other.
    """
    status = answer.status
    if status in not_found and status not in later:
        raise NotFound
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise AttemptError(
            f"HTTP {status}",
            f"the answer is a redirect ({status}), which is not followed; give the API the url it leads to",
            attempt=Attempt.REFUSED,
            status=status,
            said=said_in_answer(answer),
        )
    raise status_error(answer, now_wall=wall(), later=later)


def read_value(
    found: Any, reader: AnswerReader, *, status: int, read: Callable[[Any, AnswerReader], Any] = read_answer
) -> Any:
    """What an answer holds.

    Args:
        found: Its body, or what `read` takes.
        reader: Of the service.
        status: The HTTP status of the answer.
        read: Reads it; for one item of a batch, that instead of a body.

    Raises:
        NotFound: It is null, or it is empty and its status says that it is.
        AttemptError: It is empty otherwise, or not what was declared.
    """
    try:
        return read(found, reader)
    except RetryLater as error:
        raise asked_again(error, status=status) from error
    except (NotFound, ValueError) as error:
        if type(error) not in _MEANING or (status == NO_CONTENT and isinstance(error, EmptyAnswer)):
            raise
        raise _unread(error, found, status=status) from error


def _unread(error: Exception, found: Any, *, status: int) -> AttemptError:
    reason, sentence = _MEANING[type(error)]
    may_be_cut = type(error) is MalformedAnswer
    return AttemptError(
        reason,
        sentence.format(status=status, error=error),
        attempt=Attempt.REFUSED,
        again="repeatable" if may_be_cut else "never",
        status=status,
        limit=MALFORMED_ATTEMPTS if may_be_cut else None,
        said=_said_of(error, found),
    )


def _said_of(error: Exception, found: Any) -> str:
    """What the answer or, where accept= refuses it, its author said."""
    if isinstance(error, RefusedAnswer):
        return said_by(error)
    if type(error) not in (MalformedAnswer, UnexpectedAnswer) or not isinstance(found, bytes):
        return ""
    return said(found) if isinstance(error, MalformedAnswer) else said_inside(found)
