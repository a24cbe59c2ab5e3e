"""Finds out in which manner an endpoint is asked, once for all calls of this process, and remembers it.

The first call goes ahead alone for as long as a refusal takes. What an endpoint refuses is its form and no record's
fault: the same record is asked about again in the next manner, and nothing of it counts for the breaker or the retry.
Which manners there are is said in `services.manners`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from dataflow.engine.http.attempts import AttemptError, Call, CallError
from dataflow.policies.retry import Attempt
from dataflow.services.manners import FIRST, Manner, Part

AHEAD = 2.0
"""Seconds at most that calls wait for the one that goes ahead: an endpoint refuses before it thinks."""
PATIENCE = 30.0
"""The same of calls that were refused: the one ahead is, in about the time that their refusal took."""
VAIN = 3
"""Times that every manner is tried in vain; after them an endpoint that has never answered is asked as it was."""

Value = TypeVar("Value")
Send = Callable[[Manner], Awaitable[tuple[Value, Manner]]]
Place = tuple[str, str, str]
"""The name of an API, its url and a model: one endpoint."""


class MannerRefused(AttemptError):
    """An endpoint refuses how it was asked.

    Args:
        part: What it does not take.
        manner: In which it was asked.
        status: Of the answer.
        said: What it said.
    """

    def __init__(self, part: Part, *, manner: Manner, status: int, said: str) -> None:
        super().__init__(
            f"HTTP {status}", f"answered {status}", attempt=Attempt.REFUSED, again="never", status=status, said=said
        )
        self.part = part
        self.manner = manner


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of an endpoint.

    Attributes:
        manner: In which it has answered.
        tried: The parts of requests of which it is known whether it takes them.
    """

    manner: Manner = FIRST
    tried: frozenset[Part] = frozenset()


PROCESS: dict[Place, Known] = {}
"""What this process knows of the endpoints that it has asked over the network."""


class Endpoints:
    """The endpoints of one API, on one event loop.

    Args:
        known: What is known of them, shared by all that ask them.
        warn: Tells what was found out.
    """

    def __init__(self, known: dict[Place, Known], *, warn: Callable[[str], object]) -> None:
        self._known = known
        self._warn = warn
        self._finders: dict[Place, Finder] = {}

    def finder(self, place: Place) -> Finder:
        """What asks one of them."""
        return self._finders.setdefault(place, Finder(place, known=self._known, warn=self._warn))


class Finder:
    """Asks one endpoint in the manner that it takes.

    Args:
        place: The endpoint.
        known: What is known of endpoints.
        warn: Tells what was found out.
    """

    def __init__(self, place: Place, *, known: dict[Place, Known], warn: Callable[[str], object]) -> None:
        self._place = place
        self._all = known
        self._warn = warn
        self._ahead: asyncio.Event | None = None
        self._trying = FIRST
        self._vain = 0

    @property
    def _manner(self) -> Manner:
        """The best guess: what is known, and what the call that goes ahead was led to so far."""
        return self.known.manner if self._ahead is None else self.known.manner.joined(self._trying)

    @property
    def known(self) -> Known:
        """What is known of the endpoint."""
        return self._all.get(self._place, _NOTHING)

    @property
    def gives_up(self) -> bool:
        """Whether what the endpoint refuses is hardly how it is asked: it never answered, in whatever manner."""
        return self._vain >= VAIN and not self.known.tried

    def note_vain(self) -> None:
        """Note that the endpoint refuses parts of a request that has none of them any more."""
        self._vain += 1

    def latest(self, manner: Manner) -> Manner:
        """A manner with what has been found out since, such as while a call waited for its turn."""
        guess = self._manner
        return manner if guess == manner else manner.joined(guess)

    async def ask(
        self,
        send: Send[Value],
        call: Call,
        *,
        parts: frozenset[Part],
        with_tools: bool = True,
    ) -> Value:
        """Ask in the manner that the endpoint takes, which is found out where it is not known.

        Args:
            send: Asks in one manner, or the latest of it; gives what is answered, and the manner.
            call: Of the record.
            parts: That a request of it has where nothing is refused.
            with_tools: Whether the schema may be told as a tool.

        Raises:
            CallError: The endpoint gives no answer, whatever manner it was asked in.
        """
        patience = AHEAD
        while True:
            while patience > 0 and not parts <= self.known.tried:
                if self._ahead is None:
                    return await self._find(send, self.known.manner, parts=parts, with_tools=with_tools)
                patience -= await self._wait(call, patience)
            manner, began = self._manner, time.monotonic()
            try:
                value, used = await send(manner)
            except CallError as error:
                if not isinstance(refused := error.__cause__, MannerRefused):
                    raise
            else:
                if used != self.known.manner:
                    self._settle(used, parts)
                return value
            patience = min(AHEAD + time.monotonic() - began, PATIENCE)
            if self._ahead is not None:
                patience -= await self._wait(call, patience)
            if self._manner in (manner, refused.manner):
                further = refused.manner.after(refused.part, with_tools=with_tools)
                return await self._find(send, further, parts=parts, with_tools=with_tools)

    async def _find(
        self,
        send: Send[Value],
        manner: Manner,
        *,
        parts: frozenset[Part],
        with_tools: bool,
    ) -> Value:
        """Ask in one manner after the other; what is answered is remembered."""
        ahead = self._ahead = asyncio.Event()
        try:
            while True:
                self._trying = manner
                try:
                    value, used = await send(manner)
                except CallError as error:
                    if not isinstance(refused := error.__cause__, MannerRefused):
                        if error.reason in READ:
                            self._settle(manner, parts)
                        raise
                    manner = refused.manner.after(refused.part, with_tools=with_tools)
                else:
                    self._settle(used, parts)
                    return value
        finally:
            ahead.set()
            if self._ahead is ahead:
                self._ahead, self._trying = None, FIRST

    def _settle(self, manner: Manner, parts: frozenset[Part]) -> None:
        before = self.known
        found = replace(before, manner=before.manner.joined(manner), tried=before.tried | parts)
        self._all[self._place] = found
        if found.manner != before.manner:
            name, url, model = self._place
            self._warn(f"`{name}`: {model} at {url} {found.manner.told_after(before.manner)}")

    async def _wait(self, call: Call, most: float) -> float:
        """Wait for the call that goes ahead, so many seconds at most; those that it took."""
        began = time.monotonic()
        call.waiting += 1
        try:
            async with asyncio.timeout(most):
                if self._ahead is not None:
                    await self._ahead.wait()
        except TimeoutError:
            return most
        finally:
            call.waiting -= 1
        return time.monotonic() - began


_NOTHING = Known()
READ = frozenset({"too long", "refusal"})
"""Reasons of failures that an endpoint has only for requests that it has read."""
