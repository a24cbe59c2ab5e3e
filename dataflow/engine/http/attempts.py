"""What one attempt and one call leave behind: values that callers, transports and answers exchange.

Nothing is sent or waited for here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from dataflow.engine.http.stopping import Stop
from dataflow.policies.breaker import OUTAGE
from dataflow.policies.deadline import Deadline, record_limit
from dataflow.policies.effects import Reach
from dataflow.policies.retry import IDEMPOTENT_METHODS, Attempt, Retry
from dataflow.telemetry.tokens import NO_TOKENS, Tokens

if TYPE_CHECKING:
    from dataflow.engine.control.wallet import Reservation
    from dataflow.engine.http.billing import Billing
    from dataflow.engine.http.till import Slip

Again = Literal["always", "repeatable", "never"]
"""When an attempt may be tried again: it never reached the provider, only where repeating does no harm, or never."""


POSTPONED = 3600.0
"""Seconds at most by which the deadline of a record moves since it was asked to wait."""
POSTPONEMENTS = 100
"""Times at most that a record is asked to wait before it counts as a failure."""
NO_SECRET = "no secret"
"""The reason of a call that could not be made, since a secret of its API is not set."""
OUT_OF_QUOTA = "quota used up"
"""The reason of an attempt by which the provider says that the account has no more to spend."""
RETRY_LATER = "retry later"
"""The reason of an attempt after which an author has asked to be called again."""
UNREACHED = frozenset({"cannot connect", "no such host", "certificate"})
"""Reasons of attempts that found no provider."""
_UNSENT = UNREACHED | {NO_SECRET, "bad request"}


class AttemptError(Exception):
    """One attempt failed; translated once, from whatever library said so.

    Args:
        reason: A short class of reason for counting, such as `HTTP 503` or `timeout`.
        error: One sentence of ours, without what the provider said.
        attempt: What it means for breaker and rate.
        again: When it may be tried again.
        status: The HTTP status, where there was an answer.
        after: Seconds that the provider asks to wait, or None.
        limit: At most so many attempts for this reason, or None for what the retry policy says.
        stale: Whether a connection that had been used before broke, as idle ones do: once in a call no attempt.
        said: What the provider said, or an author's code; it may quote a record.
    """

    def __init__(
        self,
        reason: str,
        error: str,
        *,
        attempt: Attempt = Attempt.FAILED,
        again: Again = "never",
        status: int | None = None,
        after: float | None = None,
        limit: int | None = None,
        stale: bool = False,
        said: str = "",
    ) -> None:
        super().__init__(reason, error)
        self.reason = reason
        self.error = error
        self.attempt = attempt
        self.again = again
        self.status = status
        self.after = after
        self.limit = limit
        self.stale = stale
        self.said = said

    @property
    def reached(self) -> bool:
        """Whether the provider may have received the request, which then may have to be paid for."""
        return self.reason not in _UNSENT


class CallError(Exception):
    """All attempts of one call failed, or it may not be made any more.

    Args:
        reason: A short class of reason for counting.
        error: One sentence of ours.
        status: The HTTP status of the last answer, or None.
        timed_out: Whether time ran out.
        not_attempted: Whether no call was made, and none will be.
        later: Whether the provider only asked to be called later.
        said: What somebody else said about it, which the failures have behind the sentence.
        whole: The sentence with what somebody else said, where it is known as one text only.
    """

    not_attempted = False

    def __init__(
        self,
        reason: str,
        error: str,
        *,
        status: int | None = None,
        timed_out: bool = False,
        not_attempted: bool = False,
        later: bool = False,
        said: str = "",
        whole: str = "",
    ) -> None:
        super().__init__(error)
        if not_attempted:
            self.not_attempted = True
        self.reason = reason
        self.status = status
        self.timed_out = timed_out
        self.later = later
        self.said = said
        self.whole = whole or (f"{error}: {said}" if said else error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which terms the calls of one service are made.

    Attributes:
        timeout: Seconds for one attempt in total.
        retry: What is tried again.
        patience: Seconds that a call waits for an open breaker; 0 gives up at once.
        repeatable: Whether a call whose answer was lost may be sent again.
        repeats_posts: Whether so may each request of a function, whatever its method.
        record_limit: Seconds for one record over all attempts.
    """

    timeout: float
    retry: Retry
    patience: float | None
    repeatable: bool = True
    repeats_posts: bool = False
    record_limit: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "record_limit", record_limit(self.timeout, self.retry.attempts))


@dataclass(slots=True, kw_only=True)
class Call:
    """One call while it is made, over all its attempts.

    Attributes:
        terms: Of its service.
        deadline: By when it must have ended.
        key: The Idempotency-Key, or None.
        part_of: The call of a function that this is one request of, or None.
        stop: Whether it may begin further attempts.
        attempts: Requests that were sent.
        arrived: Those among them that may have reached the provider.
        excused: Those among them that the retry policy does not count, since the provider was down for all.
        retries: Those among them that repeated one; a function may send several that do not.
        stale: Whether one of them met a stale connection, which is excused once.
        postponed: How often it was asked to wait, which is no failure.
        postponed_for: Seconds by which its deadline has moved since it was asked to wait so long.
        failed_at: When the first of them failed for which the provider is to blame, or None.
        seconds: Spent in attempts, without waiting.
        lost: Seconds that went to waiting for a breaker and to attempts that were excused.
        waited: Seconds of waiting by reason.
        status: The HTTP status of the last answer.
        answer: That of the attempt that is being made, or None until it is there.
        billing: What its attempts cost, or None where they are free.
        records: That it asks for.
        cost: Of the attempts so far, in trillionths.
        reserved: The money for the attempt that comes next or is being made, or None.
        waiting: Requests of it that wait for their turn now, and
        in_flight: those that are being answered.
        refused: What kept one of its requests from being sent, whatever the function that asked made of it.
        announce: Notes that it is about to be sent, awaited before each of its requests; None where nobody asks.
        ahead: How many such calls may be noted and still wait for their turn; None where they are noted after it.
        reach: How far its requests have come that have ended.
        expects: Gives the tokens that an attempt may use, or None where nobody knows.
        slip: What of it is noted in the till of its service, or None where nothing is.
        used: Tokens that the attempt used which is being made, or None while that is not known.
        tokens: Of the input and of the output, over all attempts.
    """

    terms: Terms
    deadline: Deadline
    key: str | None = None
    part_of: Call | None = None
    stop: Stop = field(default_factory=Stop)
    attempts: int = 0
    arrived: int = 0
    excused: int = 0
    retries: int = 0
    stale: bool = False
    postponed: int = 0
    postponed_for: float = 0.0
    failed_at: float | None = None
    seconds: float = 0.0
    lost: float = 0.0
    waited: dict[str, float] = field(default_factory=dict)
    status: int | None = None
    answer: Answer | None = None
    billing: Billing | None = None
    records: int = 1
    cost: int = 0
    reserved: Reservation | None = None
    waiting: int = 0
    in_flight: int = 0
    refused: Exception | None = None
    announce: Callable[[], Awaitable[None]] | None = None
    ahead: asyncio.Semaphore | None = None
    reach: Reach = Reach.NOTHING
    expects: Callable[[], int] | None = None
    slip: Slip | None = None
    used: int | None = None
    tokens: Tokens = NO_TOKENS

    def request(self, *, terms: Terms | None = None, expects: Callable[[], int] | None = None) -> Call:
        """One of several requests that it makes: a call under the same deadline, charged and noted by itself."""
        return Call(
            terms=terms or self.terms,
            deadline=self.deadline,
            lost=self.lost,
            part_of=self,
            billing=self.billing,
            slip=None if self.slip is None else self.slip.fresh(),
            expects=expects,
        )

    @property
    def whole(self) -> Call:
        """The call of the record, which this is or is part of."""
        return self.part_of or self

    @property
    def only_waits(self) -> bool:
        """Whether nothing of it is under way that would be paid for."""
        return self.waiting > 0 and self.in_flight == 0

    @property
    def patience(self) -> float | None:
        """Seconds that it still waits for an open breaker; None for as long as it takes."""
        patience = self.terms.patience
        return patience if patience is None else max(0.0, patience - self.lost)

    @property
    def waits_for_breaker(self) -> bool:
        """Whether it outlasts an outage: not for somebody who waits for one record, nor after ten minutes of it."""
        return self.terms.patience != 0 and self.lost < OUTAGE

    def got(self, answer: Answer) -> Answer:
        """Note what came back, whatever is made of it."""
        self.status, self.answer = answer.status, answer
        return answer

    def use(self, sent: int, received: int) -> None:
        """Note the tokens that an attempt used."""
        self.used = sent + received
        self.tokens = Tokens.merged([self.tokens, Tokens(input=sent, output=received)])

    def charge(self, value: Any, error: BaseException | None) -> None:
        """Count what an attempt cost that has ended."""
        self.arrived += not (isinstance(error, AttemptError) and not error.reached)
        if self.billing is not None:
            self.cost += self.billing.of_attempt(self.records, answer=self.answer, value=value, error=error)

    def leave(self) -> None:
        """Note that a request of the attempt leaves, as late as that is known."""
        if self.slip is not None:
            self.slip.leave(self)
            if self.whole.slip is not None and self.billing is not None and self.billing.whole:
                self.whole.slip.hold(self.billing.of_all)

    def note(self) -> None:
        """Note what has come to it since the last time."""
        if self.slip is not None:
            self.slip.take(self)

    def send(self) -> None:
        """Say that the attempt begins for which money is reserved."""
        self.used = None
        if self.reserved is not None and self.billing is not None and self.billing.wallet is not None:
            self.billing.wallet.send(self.reserved)

    def settle(self, cost: int) -> None:
        """Give back what an attempt that has ended, or was not made, did not cost."""
        if self.reserved is not None and self.billing is not None and self.billing.wallet is not None:
            self.billing.wallet.settle(self.reserved, cost)
        self.reserved = None

    def is_asked_to_wait(self, error: AttemptError) -> bool:
        """Whether an attempt was no failure but a word to come again, by an author or by a provider that says when.

        Who asks for one record takes any 429 for a failure.
        """
        if self.postponed >= POSTPONEMENTS:
            return False
        if error.attempt is Attempt.THROTTLED:
            return error.after is not None and self.terms.patience != 0 and self.terms.retry.attempts > 1
        return error.reason == RETRY_LATER

    def postpone(self, seconds: float) -> None:
        """Wait as long as the provider or the author asks, which moves the deadline, by an hour at most."""
        moved = max(0.0, min(seconds, POSTPONED - self.postponed_for))
        self.postponed_for += moved
        self.deadline = self.deadline.excused(moved)

    def wait(self, waited: Mapping[Any, float], *, counts: bool = False) -> None:
        """Add seconds of waiting.

        Those for money or a breaker do not count for the deadline, and after the latter the call has all its attempts
        again, unless they `count`: where only inputs are left that have failed, and may be at fault. Nor do those
        before the first attempt: how long the queue of an API is depends on how many workers stand in it.
        """
        queued = 0.0
        for reason, seconds in waited.items():
            if seconds:
                self.waited[reason] = self.waited.get(reason, 0.0) + seconds
                queued += seconds if reason != "breaker" else 0.0
        if not (self.attempts or self.whole.attempts):
            if queued:
                self.deadline = self.deadline.excused(queued)
        elif paid_late := waited.get("budget", 0.0):
            self.deadline = self.deadline.excused(paid_late)
        if excused := waited.get("breaker", 0.0):
            if self.waits_for_breaker and not counts:
                self.excused, self.failed_at = self.attempts, None
            self.lose(excused)

    @property
    def reached(self) -> Reach:
        """How far it has come by now."""
        return Reach.UNCLEAR if self.in_flight else self.reach

    def lose(self, seconds: float) -> None:
        """Time that is the provider's fault and not the record's: the deadline moves by it."""
        self.lost += seconds
        self.deadline = self.deadline.excused(seconds)

    def take_over(self, part: Call) -> None:
        """What one of its requests has waited, and the later deadline that it has because of it."""
        for reason, seconds in part.waited.items():
            self.waited[reason] = self.waited.get(reason, 0.0) + seconds
        part.waited = {}
        self.lost = max(self.lost, part.lost)
        if part.deadline.started > self.deadline.started:
            self.deadline = part.deadline

    def add(self, part: Call) -> None:
        """Count one of its requests, which has ended."""
        self.take_over(part)
        self.attempts += part.attempts
        self.arrived += part.arrived
        self.cost += part.cost
        self.retries += part.retries
        self.seconds += part.seconds
        self.status = part.status
        self.tokens = Tokens.merged([self.tokens, part.tokens])


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent.

    Attributes:
        method: In capitals.
        url: With its query, encoded.
        headers: Beside those of the API.
        body: Bytes, or None.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None = None

    @property
    def is_repeatable(self) -> bool:
        """Whether it says by itself that a provider acts on it once however often it comes."""
        return self.method in IDEMPOTENT_METHODS or any(name.lower() == "idempotency-key" for name in self.headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: status, headers in small letters, and the whole body after decompression."""

    status: int
    headers: Any
    body: bytes
