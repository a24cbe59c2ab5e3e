"""`waterfall`: several providers of the same answer, asked one after the other until one has it.

An inert value. It is bound as its providers and what decides between them, so that each of them is called, limited,
cached, paid for and counted like any service.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from dataflow.errors import AllFailed, DeclarationError, NotFound
from dataflow.services.composite import (
    OUTCOMES,
    Answer,
    asked,
    check_members,
    check_taken,
    choosing,
    common_answer,
    declared,
    member_of,
    plain_answer,
    read_by,
    reading,
    renamed,
    spread_out,
)
from dataflow.services.context import Outcomes
from dataflow.services.contract import check_name
from dataflow.services.options import Options
from dataflow.services.prices import read_amount
from dataflow.services.said import said_by
from dataflow.services.service import Service
from dataflow.services.told import failures_told

Until = Callable[[Any], bool]
PROVIDER = "*provider"
"""The key of the name of who has answered."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waterfall:
    """Providers of the same answer, in the order in which they are asked.

    Attributes:
        services: They, as their author gave them.
        until: Whether an answer is good, or None where every answer is.
        ceiling: What they may cost together for one record, in trillionths, or None.
        provider_column: The column that names who has answered; None for `<name>_provider`.
        members: They under the name of the whole.
    """

    services: tuple[Service, ...]
    until: Until | None
    ceiling: int | None
    provider_column: str | None
    members: tuple[Service, ...] = ()

    def declare(self, options: Options) -> Service:
        """The service that asks them.

        Raises:
            DeclarationError: An option does not fit.
        """
        name = options["name"]
        check_name(name)
        check_members(self.services, name=name, what="waterfall")
        check_taken(options, name=name, what="waterfall")
        answer = common_answer(self.services, options, name=name)
        members = tuple(_member(one, self, name=name) for one in self.services)
        return declared(
            replace(self, members=members),
            options,
            parameters=read_by(members),
            answer=answer,
            beside=[self._provider_of(name)],
        )

    def named(self, service: Service, name: str) -> Service:
        """The waterfall under another name; its columns keep theirs."""
        kept = replace(self, provider_column=self._provider_of(service.name))
        return kept.declare(renamed(service, name))

    def _provider_of(self, name: str) -> str:
        return self.provider_column or f"{name}_provider"

    def expand(self, service: Service, durations: Mapping[str, float]) -> tuple[Service, ...]:
        """The providers, what tells for each whether it is asked, and what takes the first good answer."""
        answer = common_answer(self.services, service.options, name=service.name)
        found: list[Service] = []
        for at, member in enumerate(self.members):
            before = [one.name for one in self.members[:at]]
            is_open = _still_open(answer, self.until) if before else None
            found += asked(member, service.policy.when, before=before, is_open=is_open)
        names = tuple(member.name for member in self.members)
        last = choosing(
            service,
            _first_good(answer, names, self.until, composite=service.name),
            [*(reading(name) for name in names), OUTCOMES],
            answer=answer,
            beside={PROVIDER: (self._provider_of(service.name), pa.string())},
        )
        return (*found, last)


def waterfall(
    name: str,
    services: Iterable[Service],
    /,
    *,
    until: Until | None = None,
    order: Literal["price"] | None = None,
    max_cost: float | None = None,
    provider_column: str | None = None,
    **options: Any,
) -> Service:
    """Declare an enrichment that asks several providers one after the other until one has a good answer.

    Who is asked is decided record by record. Each provider keeps its own cache, price, limits and retries and has its
    own line in statistics and bill, under `phone.acme`. Where none has an answer it is not found, or failed where one
    has failed. A provider whose breaker is open is waited for in a run, as everywhere, since the result must not depend
    on when it was asked.

    Args:
        name: Of the whole, and of its column where an answer is one value.
        services: The providers; all return the same.
        until: Whether an answer is good, a dict for records; the next is asked where it is not. Default: every answer
            is. Where it raises, the answer is not good, and the whole has failed unless a later one is.
        order: `"price"` asks the cheapest by its price first, one whose price comes with the answer by its
            `max_price`, and where there is none at last. Default: as listed.
        max_cost: What the providers may cost for one record together; one that would exceed it is not asked.
        provider_column: The column that names who has answered. Default: `<name>_provider`.
        **options: Those of every service that are not about calls: `into`, `columns`, `when`, `priority`, `default`,
            `overwrite`, `publish`, `version`.

    Raises:
        DeclarationError: The providers return different things, or an option does not fit.
    """
    listed = tuple(services)
    check_members(listed, name=name, what="waterfall")
    if until is not None and not callable(until):
        raise DeclarationError(f"`{name}`: until takes a function of an answer that says whether it is good")
    if order not in (None, "price"):
        raise DeclarationError(f'`{name}`: order takes "price", or nothing for the order of the list')
    composite = Waterfall(
        services=tuple(sorted(listed, key=_price)) if order == "price" else listed,
        until=until,
        ceiling=None if max_cost is None else _ceiling(listed, max_cost, name=name),
        provider_column=provider_column,
    )
    return composite.declare({**options, "name": name})  # type: ignore[typeddict-item]


def _price(service: Service) -> float:
    price = service.policy.price
    if price is None:
        return 0.0
    nominal = price.nominal()
    return math.inf if nominal is None else nominal


def _ceiling(services: Sequence[Service], max_cost: float, *, name: str) -> int:
    if all(one.policy.price is None for one in services):
        raise DeclarationError(f"`{name}` has max_cost= and no service with a price=; give the services their prices")
    for one in services:
        if one.policy.price is not None and one.policy.price.nominal() is None:
            raise DeclarationError(
                f"the price of `{one.name}` comes with its answer, so max_cost= of `{name}` cannot hold without "
                "max_price=; give it what an answer may cost at most"
            )
    return read_amount(max_cost, where=f"`{name}`: max_cost")


def _member(service: Service, whole: Waterfall, *, name: str) -> Service:
    made = member_of(service, name)
    return made if whole.ceiling is None else replace(made, policy=replace(made.policy, ceiling=whole.ceiling))


def _is_good(answer: Any, until: Until | None) -> bool:
    return answer is not None and (until is None or _judged(answer, until) is True)


def _judged(answer: Any, until: Until) -> bool | Exception:
    """Whether `until` takes an answer, or what it raised."""
    try:
        return bool(until(answer))
    except Exception as error:
        return error


def _still_open(answer: Answer, until: Until | None) -> Callable[..., bool]:
    """Whether no earlier answer is good."""
    if until is None:
        return lambda *answers: all(one is None for one in answers)

    def is_open(*answers: Any) -> bool:
        return not any(_is_good(plain_answer(answer, one), until) for one in answers)

    return is_open


def _first_good(
    answer: Answer, names: tuple[str, ...], until: Until | None, *, composite: str
) -> Callable[..., dict[str, Any]]:
    """Takes the first good answer, and names who gave it."""
    own = tuple(name.removeprefix(f"{composite}.") for name in names)

    def choose(*values: Any) -> dict[str, Any]:
        given = [None if value is None else plain_answer(answer, value) for value in values[: len(own)]]
        for name, value in zip(own, given, strict=True):
            if _is_good(value, until):
                return {**spread_out(answer, value), PROVIDER: name}
        outcomes: Outcomes = values[-1]
        judged = [
            (name, _judged(one, until)) for name, one in zip(own, given, strict=True) if one is not None and until
        ]
        raised = [(name, one) for name, one in judged if isinstance(one, Exception)]
        plain = [failures_told(outcomes, names, composite=composite)]
        plain += [f"`{name}`: until raised {type(one).__name__}" for name, one in raised]
        if not any(plain):
            raise NotFound
        whole = [failures_told(outcomes, names, composite=composite, whole=True)]
        whole += [f"`{name}`: until raised {type(one).__name__}: {said_by(one)}" for name, one in raised]
        raise AllFailed(*(f"nobody has answered: {'; '.join(filter(None, told))}" for told in (plain, whole)))

    return choose
