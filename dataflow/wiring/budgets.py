"""The budgets of a run: what job, settings and services allow, and what is refused before anything is paid."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dataflow.engine.control.home import process_plane
from dataflow.engine.http.settings import RUN_PURSE, Money, purse_of
from dataflow.errors import DeclarationError
from dataflow.policies.money import written
from dataflow.services.prices import Price, currency_of, read_amount
from dataflow.services.service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent from one purse.

    Attributes:
        title: What it is called in messages.
        amount: Trillionths in one run.
        least: What a call that it pays costs at most.
        option: How to raise it.
    """

    title: str
    amount: int
    least: int
    option: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """All budgets of a run, by purse.

    Attributes:
        currency: Of all of them.
        named: By the name of the purse.
    """

    currency: str
    named: dict[str, Budget]

    @property
    def titles(self) -> dict[str, str]:
        """What each purse is called."""
        return {name: f"{one.title} of {written(one.amount, self.currency)}" for name, one in self.named.items()}


def read_budgets(services: Iterable[Service], *, budget: float | None) -> Budgets | None:
    """The budgets that hold for a run, None where there is none.

    Args:
        services: Of the pipeline.
        budget: Of the run, in the currency of the services.

    Raises:
        DeclarationError: A budget would not pay one call, or nobody knows what a call may cost.
    """
    priced = {one.name: one for one in services if one.policy.price is not None}
    prices: dict[str, Price] = {name: one.policy.price for name, one in priced.items() if one.policy.price is not None}
    currency = currency_of({**prices}) or ""
    named: dict[str, Budget] = {}
    if budget is not None:
        if not priced:
            raise DeclarationError("there is a budget= and no service with a price=; give the services their prices")
        least = max(_most(one, prices[name]) for name, one in priced.items())
        amount = read_amount(budget, where="budget")
        named[RUN_PURSE] = Budget(title="budget", amount=amount, least=least, option="--budget (budget=)")
    for name, price in prices.items():
        if price.budget is not None:
            title = f"budget of `{name}`"
            least = _most(priced[name], price)
            named[purse_of(name)] = Budget(title=title, amount=price.budget, least=least, option=f"budget= of `{name}`")
    for one in named.values():
        if one.amount < max(one.least, 1):
            raise DeclarationError(
                f"the {one.title} of {written(one.amount, currency)} is less than a call may cost, "
                f"{written(one.least, currency)}; raise {one.option}"
            )
    return Budgets(currency=currency, named=named) if named else None


@contextmanager
def spent_here(services: Iterable[Service], *, budget: float | None) -> Iterator[Money | None]:
    """The money of a table that is run in this process, whose records are kept whatever can be paid.

    Raises:
        DeclarationError: See `read_budgets`.
    """
    budgets = read_budgets(services, budget=budget)
    if budgets is None:
        yield None
        return
    plane, run = process_plane(), f"apply-{uuid.uuid4().hex}"
    purses = {
        name: {"authorised": one.amount, "limit": one.amount, "portion": max(one.least, one.amount // 10)}
        for name, one in budgets.named.items()
    }
    plane.authorise(run, purses=purses, now=time.monotonic())
    try:
        yield Money(run=run, titles=budgets.titles, keeps=True)
    finally:
        plane.close_run(run, now=time.monotonic())


def _most(service: Service, price: Price) -> int:
    most = price.nominal(service.batch)
    if most is None:
        raise DeclarationError(
            f"the price of `{service.name}` comes with its answer, so a budget cannot hold without max_price=; "
            "give it what an answer may cost at most"
        )
    return most
