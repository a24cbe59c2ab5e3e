"""How a process calls APIs: what the wiring decides, and nothing that has to be imported for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataflow.engine.control.link import Line
    from dataflow.engine.http.effects import EffectJournal
    from dataflow.engine.http.losses import Losses
    from dataflow.engine.http.memory import AnswerStore
    from dataflow.engine.http.quality import Limits
    from dataflow.engine.http.till import Till
    from dataflow.engine.spending import Spent
    from dataflow.engine.waiting import Flights

PATIENCE = 30.0
"""Seconds that a partition waits for an open breaker before it is given back, so that others get its place."""


class Halted(Exception):
    """Calls are left that may not be made any more, since the run is being stopped.

    Attributes:
        spent: What those that were made have spent.
    """

    spent: Spent | None = None


RUN_PURSE = "run"
"""The name of the purse that all paid services of a run share."""


def purse_of(service: str) -> str:
    """The name of the purse of one service."""
    return f"service {service}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """The budgets of a run.

    Attributes:
        run: Names its purses at the control plane.
        titles: What each purse is called in messages, by its name.
        keeps: Whether a record that cannot be paid is kept without the service; else its partition is given back.
    """

    run: str
    titles: Mapping[str, str]
    keeps: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """How a process calls out.

    Attributes:
        line: The way to the control plane; None for the one of this process.
        store: Where answers are remembered, or None.
        store_apart: The same for what is answered in a block of `flow.testing.offline`, which no provider gave.
        patience: Seconds that a call waits for an open breaker; None for as long as it takes, 0 gives up at once.
        strict: Whether a refused access ends the run.
        limits: What the calls of a service are allowed, by its name.
        warn: Called with a sentence that the user should see; default: a Python warning.
        may_call: False makes no call at all: a record whose answer is not remembered is not attempted.
        offline: Whether that is since only the cache may answer.
        money: The budgets, or None where nothing limits what is spent.
        losses: Counts the answers that are paid for again, for whoever tells of them; None to `warn` after each call.
        till: Gives the till of a service by its name; None where no run has a bill.
        shared: Where the control planes of this host share what they give, or None where each limits for itself.
        error_texts: Whether what providers and an author's exceptions say may be kept and told.
    """

    line: Line | None = None
    store: AnswerStore | None = None
    store_apart: AnswerStore | None = None
    patience: float | None = None
    strict: bool = False
    limits: Mapping[str, Limits] = field(default_factory=dict)
    warn: Callable[[str], object] = warnings.warn
    may_call: bool = True
    offline: bool = False
    money: Money | None = None
    losses: Losses | None = None
    till: Callable[[str], Till] | None = None
    shared: str | None = None
    error_texts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What calls are made for.

    Attributes:
        run: The id of the run or of the single execution, which is part of each Idempotency-Key.
        flights: What is under way for whoever waits for the calls.
        fail_fast: Whether an open breaker fails a call at once, as for somebody who waits for one record.
        effects: Where is noted what may be sent only once; None where nothing is.
        records: The names of the records by their key, by which these notes know them; none where none has one.
        kept: Failures that stay as they are, by place among the calls.
    """

    run: str
    flights: Flights
    fail_fast: bool = False
    effects: EffectJournal | None = None
    records: Sequence[str] = ()
    kept: Mapping[int, Exception] = field(default_factory=dict)
