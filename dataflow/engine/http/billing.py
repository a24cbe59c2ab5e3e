"""What the attempts of one service cost: whether one is paid for, and what its answer says.

Money is in whole trillionths here. Nothing is sent or waited for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dataflow.engine.control.wallet import Reservation, Wallet
from dataflow.engine.http.attempts import Answer, AttemptError, Call
from dataflow.errors import NotFound, Verdict
from dataflow.policies.money import written
from dataflow.services.prices import Price


@dataclass(slots=True, kw_only=True, eq=False)
class Billing:
    """The price of one service as one process counts it.

    Attributes:
        service: Its name.
        price: What its calls cost.
        whole: Whether only what a function returns says what all its requests have cost.
        warn: Called with a sentence that the user should see.
        wallet: Where money is reserved before it is spent, or None where nothing limits it.
        purses: Those that it is reserved from.
        desk: The API whose gate its attempts pass.
        keeps: Whether a record that cannot be paid is kept without the service; else nothing of its partition is.
    """

    service: str
    price: Price
    whole: bool = False
    warn: Callable[[str], object] = lambda _: None
    wallet: Wallet | None = None
    purses: tuple[str, ...] = ()
    desk: str = ""
    keeps: bool = False
    _said: set[str] = field(default_factory=set)

    async def reserve(self, records: int, *, patience: float | None) -> Reservation | None:
        """Wait for the money that the next attempt may cost; None where none is needed.

        Raises:
            Impatient: There will be no more, or not in time.
        """
        if self.wallet is None or self.whole:
            return None
        most = self.price.nominal(records) or 0
        return await self.wallet.reserve(self.purses, most, desk=self.desk, patience=patience)

    def at_most(self, records: int) -> int:
        """What an attempt may cost that has left; nothing where nobody has said it."""
        return 0 if self.whole else self.price.nominal(records) or 0

    @property
    def of_all(self) -> int:
        """What all requests of a function may cost together."""
        return self.price.nominal() or 0

    async def reserve_whole(self, call: Call) -> None:
        """Wait for the money that all requests of a function may cost together."""
        if self.wallet is None:
            return
        call.waiting += 1
        try:
            patience, most = call.terms.patience, self.of_all
            call.reserved = await self.wallet.reserve(self.purses, most, desk=self.desk, patience=patience)
        finally:
            call.waiting -= 1
        call.wait({"budget": call.reserved.waited})
        call.send()

    def of_attempt(self, records: int, *, answer: Answer | None, value: Any, error: BaseException | None) -> int:
        """What an attempt cost.

        Args:
            records: That it asked for.
            answer: What came back over HTTP, where that is known.
            value: What a function returned.
            error: What the attempt raised, or None.
        """
        if self.whole or not is_charged(self.price, answer, error):
            return 0
        if self.price.tokens is not None and answer is not None and answer.status >= 400:
            # A refusal counts no tokens.
            return 0
        if not self.price.comes_with_answer:
            return self.price.nominal(records) or 0
        return self._read(value if answer is None else answer)

    def of_whole(self, value: Any, error: BaseException | None = None) -> int:
        """What the requests of a function cost together, by what it returned; the most where it raised instead."""
        if error is None:
            return self._read(value)
        return (self.price.most or 0) if is_charged(self.price, None, error) else 0

    def _read(self, found: Any) -> int:
        try:
            cost = self.price.of(msgspec.json.decode(found.body) if isinstance(found, Answer) else found)
        except Exception as error:
            most = self.price.most
            counts = "as nothing; give max_price=" if most is None else f"as {written(most, self.price.currency)}"
            kind = type(error).__name__
            self._say(f"`{self.service}`: the price of an answer cannot be read ({kind}), so it counts {counts}")
            return most or 0
        if self.price.most is not None and cost > self.price.most:
            self._say(f"`{self.service}`: an answer cost {written(cost, self.price.currency)}, more than its max_price")
        return cost

    def _say(self, sentence: str) -> None:
        """Warn of it, once."""
        kind = sentence.partition("(")[0]
        if kind not in self._said:
            self._said.add(kind)
            self.warn(sentence)


def billed_whole(function: Callable[[Any, Call], Awaitable[Any]]) -> Callable[[Any, Call], Awaitable[Any]]:
    """A call that is charged by what it returns, where it is billed so; else it is charged request by request."""

    async def call_it(values: Any, call: Call) -> Any:
        if call.billing is None or not call.billing.whole:
            return await function(values, call)
        await call.billing.reserve_whole(call)
        try:
            value = await function(values, call)
        except BaseException as error:
            call.cost += call.billing.of_whole(None, error) if call.arrived else 0
            raise
        else:
            call.cost += call.billing.of_whole(value) if call.arrived else 0
            return value
        finally:
            call.settle(call.cost)
            if call.slip is not None:
                call.slip.release(call.cost)

    return call_it


def is_charged(price: Price, answer: Answer | None, error: BaseException | None) -> bool:
    """Whether an attempt is paid for: it reached the provider, or where only answers count, was answered."""
    if isinstance(error, AttemptError) and not error.reached:
        return False
    if price.billed == "attempts":
        return True
    if answer is None:
        return error is None or isinstance(error, Verdict)
    # The client of a function gives statuses that are no success as they are.
    found_nothing = isinstance(error, NotFound) or (error is None and answer.status == 404)
    return 200 <= answer.status < 300 or found_nothing
