"""Hands out the money of a run: a thread that writes each tranche down before the control plane may lend it.

After a crash what its processes have noted counts as spent, where all of them have surely ended; elsewhere all that was
handed out does, since nobody knows. So a crash gives no fresh budget.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from dataflow.engine.http.settings import RUN_PURSE, Money, purse_of
from dataflow.errors import ClusterError, LimitReached, StoreError
from dataflow.policies.money import amount, written
from dataflow.policies.tranche import Tranche
from dataflow.store.commit import RunFolder
from dataflow.store.spend import Spend, SpendFile
from dataflow.store.tills import Called, read_called
from dataflow.wiring.budgets import Budgets

QUICK, CALM, AGAIN = 0.01, 0.05, 1.0
"""Seconds between two looks: while somebody waits for money, while nobody does, and where the plane did not answer."""

Ask = Callable[..., dict[str, dict[str, Any]]]
"""Asks the plane by the name of an operation: `authorise` or `close_run`, which give what has become of the money."""


class Treasury:
    """The budgets of one run while it is driven.

    Args:
        budgets: What may be spent.
        folder: Of the run, where it is written down.
        warn: Called with a sentence about what a crash has left.
        clock: Seconds that only grow.

    Attributes:
        money: What the processes that call need to know.
        problem: What keeps the money from being written down, or None.
    """

    def __init__(
        self,
        budgets: Budgets,
        folder: RunFolder,
        *,
        warn: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.money = Money(run=f"{folder.run}-{uuid.uuid4().hex[:8]}", titles=budgets.titles)
        self.problem: Exception | None = None
        self._budgets = budgets
        self._folder = folder
        self._file = SpendFile(folder)
        self._clock = clock
        self._uncertain: dict[str, int] = {}
        self._before = self._read(warn)
        self._tranches = {
            name: Tranche.begin(budget=one.amount, limit=one.amount - self._before[name], least=one.least, now=clock())
            for name, one in budgets.named.items()
        }
        self._status: dict[str, dict[str, Any]] = {}
        self._plane: Ask | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._hand_out, name="dataflow-treasury", daemon=True)

    def open(self, ask: Ask) -> None:
        """Begin to hand out.

        Raises:
            StoreError: What may be spent cannot be written down.
            ClusterError: The plane does not answer.
        """
        self._plane = ask
        self._look()
        self._look()
        self._thread.start()

    def check(self) -> None:
        """Raise what keeps the money from being handed out.

        Raises:
            StoreError: It cannot be written down.
            Exception: Anything else that nobody expects.
        """
        if self.problem is not None:
            raise self.problem

    def close(self) -> None:
        """Hand out nothing more, and write down what was spent; call it when those who spend have ended."""
        self._ended.set()
        if self._plane is None:
            return
        if self._thread.ident is not None:
            self._thread.join()
        # What cannot be told any more counts as spent when the run goes on.
        with suppress(ClusterError, StoreError, OSError):
            self._status = self._plane("close_run", run=self.money.run)
            called = read_called(self._folder)
            final = {
                name: _paid(called, name) if called.final else self._before[name] + self.spent(name)
                for name in self._tranches
                if name in self._status
            }
            self._write({name: Spend(authorised=one, settled=one) for name, one in final.items()})

    def standing(self) -> list[tuple[str, int, int]]:
        """For each purse what it is called, what was spent from it over all drives, and what may be, in trillionths."""
        return [
            (budget.title, self._before[name] + self.spent(name), budget.amount)
            for name, budget in self._budgets.named.items()
        ]

    def spent(self, name: str) -> int:
        """What this drive has spent from a purse, or may have."""
        status = self._status.get(name, {})
        return sum(status.get(part, 0) for part in ("spent", "out", "lost", "held"))

    def limit_reached(self, name: str, *, done: int, partitions: int) -> LimitReached:
        """The error for a purse that is used up."""
        budget, currency = self._budgets.named[name], self._budgets.currency
        spent = self._before[name] + self.spent(name)
        lost = self._uncertain.get(name)
        uncertain = f" ({written(lost, currency)} of it cannot be accounted for after a crash)" if lost else ""
        example = f"such as --budget {2 * amount(budget.amount):.15g}" if name == RUN_PURSE else "in the job"
        return LimitReached(
            f"the {budget.title} of {written(budget.amount, currency)} is used up: {written(spent, currency)} spent"
            f"{uncertain}, {done} of {partitions} partitions done, {partitions - done} left; what is done and paid for "
            f"is kept, run the same command again with a larger {budget.option}, {example}, to go on, or "
            "`dataflow publish latest` to publish it as it is"
        )

    def _read(self, warn: Callable[[str], object]) -> dict[str, int]:
        """What counts as spent before this drive, by purse."""
        found, called = self._file.read(), read_called(self._folder)
        before: dict[str, int] = {}
        for name, budget in self._budgets.named.items():
            spend, paid = found.get(name, Spend()), _paid(called, name)
            before[name] = max(spend.settled if called.final else spend.authorised, paid)
            if (lost := before[name] - max(spend.settled, paid)) > 0:
                text = written(lost, self._budgets.currency)
                self._uncertain[name] = lost
                warn(f"{text} of the {budget.title} cannot be accounted for after a crash and counts as spent")
        return before

    def _hand_out(self) -> None:
        pace = QUICK
        while not self._ended.wait(pace):
            try:
                pace = QUICK if self._look() else CALM
            except ClusterError:
                # Whoever drives the run notices when it lasts, and says it better.
                pace = AGAIN
            except Exception as error:
                self.problem = error
                return

    def _look(self) -> bool:
        """Hand out what is needed; whether it may be needed again soon."""
        self._ask()
        raised = False
        for name, tranche in self._tranches.items():
            status = self._status[name]
            committed = status["spent"] + status["out"] + status["lost"]
            self._tranches[name] = tranche.advance(committed=committed, wants=status["wants"], now=self._clock())
            raised |= self._tranches[name].authorised > tranche.authorised
        if raised:
            self._write(
                {
                    name: Spend(
                        authorised=self._before[name] + tranche.authorised,
                        settled=self._before[name] + min(self._status[name]["spent"], tranche.authorised),
                    )
                    for name, tranche in self._tranches.items()
                }
            )
            self._ask()
        return raised or any(status["wants"] for status in self._status.values())

    def _ask(self) -> None:
        assert self._plane is not None
        told: Mapping[str, Mapping[str, int]] = {
            name: {"authorised": one.authorised, "limit": one.limit, "portion": one.size}
            for name, one in self._tranches.items()
        }
        self._status = self._plane("authorise", run=self.money.run, purses=told)

    def _write(self, purses: dict[str, Spend]) -> None:
        kept = {name: one for name, one in self._file.read().items() if name not in purses}
        self._file.write({**kept, **purses})


def _paid(called: Called, purse: str) -> int:
    """What the processes of the run have noted as paid from a purse."""
    if purse == RUN_PURSE:
        return sum(called.costs.values())
    return sum(cost for name, cost in called.costs.items() if purse_of(name) == purse)
