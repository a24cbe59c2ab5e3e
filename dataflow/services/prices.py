"""What a call costs as an author declares it: by call, by record, by token, or said by the answer itself.

Inert values and the reading of one answer. What is counted and what a budget allows is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, get_args

from dataflow.errors import DeclarationError
from dataflow.policies.money import exact, for_tokens, trillionths

if TYPE_CHECKING:
    from dataflow.services.service import Service

Billed = Literal["attempts", "answers"]
OPTIONS = ("price", "currency", "max_price", "budget", "billed")
"""The options of a service that are about money."""

_TAKES = "a number from 0, flow.PerRecord(...), flow.PerMillionTokens(input=, output=) or a function of the answer"
_USAGES = ("usage", "usageMetadata", "usage_metadata")
_INPUT = ("prompt_tokens", "input_tokens", "promptTokenCount", "prompt_token_count", "inputTokens")
_OUTPUT = ("completion_tokens", "output_tokens", "candidatesTokenCount", "candidates_token_count", "outputTokens")
_THOUGHTS = ("thoughtsTokenCount", "thoughts_token_count")
"""Output that is not counted among the output."""
_TOTAL = ("total_tokens", "totalTokenCount", "total_token_count", "totalTokens")


@dataclass(frozen=True, slots=True)
class PerRecord:
    """A price for each record of a request that several records share; else the same as a price for each call.

    Args:
        amount: In the currency of the service.
    """

    amount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PerMillionTokens:
    """A price for the tokens that an answer counts in its `usage` or `usageMetadata`.

    An answer that counts what was sent and nothing that came back, as one with embeddings does, has no output.

    Args:
        input: For a million tokens that were sent: `prompt_tokens`, `input_tokens` or `promptTokenCount`.
        output: For a million tokens that came back: `completion_tokens`, `output_tokens`, or `candidatesTokenCount`
            with `thoughtsTokenCount`.
    """

    input: float
    output: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What the calls of one service cost; amounts in trillionths of the currency.

    Attributes:
        currency: Three letters or so.
        call: For a call.
        record: For each record of it.
        tokens: For a million tokens of the input and of the output, or None.
        function: Gives the price of an answer, or None.
        most: What an answer that says its own price may cost, or None.
        budget: What may be spent on the service in one run, or None.
        billed: `attempts` counts all that reached the provider, `answers` those that it has answered.
    """

    currency: str = "USD"
    call: int = 0
    record: int = 0
    tokens: tuple[Decimal, Decimal] | None = None
    function: Callable[[Any], Any] | None = None
    most: int | None = None
    budget: int | None = None
    billed: Billed = "attempts"

    @property
    def comes_with_answer(self) -> bool:
        """Whether only the answer says what it costs."""
        return self.tokens is not None or self.function is not None

    def nominal(self, records: int = 1) -> int | None:
        """What a call for so many records costs at most; None where nobody has said it."""
        return self.most if self.comes_with_answer else self.call + self.record * records

    def of(self, answer: Any) -> int:
        """What an answer says that it costs.

        Raises:
            Exception: It does not say it, or says nothing that could be a price.
        """
        if self.tokens is not None:
            return for_tokens(zip(tokens_of(answer), self.tokens, strict=True))
        assert self.function is not None
        return trillionths(self.function(answer))


def tokens_of(answer: Any) -> tuple[int, int]:
    """The tokens of input and output that the `usage` of an answer counts.

    Raises:
        Exception: It counts none.
    """
    found = answer if isinstance(answer, Mapping) else {}
    usage = next((found[name] for name in _USAGES if found.get(name) is not None), None)
    if not isinstance(usage, Mapping):
        raise KeyError("usage")
    sent, received, total = _count(usage, _INPUT), _count(usage, _OUTPUT), _count(usage, _TOTAL)
    if received is not None:
        received += _count(usage, _THOUGHTS) or 0
    if sent is None and total is None:
        raise ValueError(f"usage holds no {' or '.join(_INPUT)}")
    if sent is None:
        sent = max(0, (total or 0) - (received or 0))
    if received is None:
        received = 0 if total is None else max(0, total - sent)
    return sent, received


def _count(usage: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The count of the first of these names that is there, None where none is."""
    name, count = next(((name, usage[name]) for name in names if usage.get(name) is not None), ("", None))
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 0):
        raise ValueError(f"{name} of usage is no count")
    return count


def read_price(options: Mapping[str, Any], *, name: str) -> Price | None:
    """The price that the options of a service describe, None for one that is free.

    Raises:
        DeclarationError: One of them has a value that it does not take, or is of no use without another.
    """
    given = [option for option in OPTIONS if option in options]
    if not given:
        return None
    if "price" not in options:
        raise DeclarationError(f"`{name}` has {given[0]}= and no price=; give price= the price of a call")
    currency, billed = options.get("currency", "USD"), options.get("billed", "attempts")
    if not isinstance(currency, str) or not re.fullmatch(r"[A-Z]{3,10}", currency):
        raise DeclarationError(f'`{name}`: currency takes capital letters such as "USD" or "EUR", not {currency!r}')
    if billed not in get_args(Billed):
        raise DeclarationError(f'`{name}`: billed takes "attempts" or "answers", not {billed!r}')
    price = Price(
        currency=currency,
        most=read_amount(options["max_price"], where=f"`{name}`: max_price") if "max_price" in options else None,
        budget=read_amount(options["budget"], where=f"`{name}`: budget") if "budget" in options else None,
        billed=billed,
        **_read(options["price"], name=name),
    )
    if price.most is not None and not price.comes_with_answer:
        raise DeclarationError(f"`{name}` has max_price=, which is for prices that come with the answer; leave it out")
    return price


def _read(given: Any, *, name: str) -> dict[str, Any]:
    where = f"`{name}`: price"
    if isinstance(given, PerRecord):
        return {"record": read_amount(given.amount, where=f"{where}: PerRecord")}
    if isinstance(given, PerMillionTokens):
        for one in (given.input, given.output):
            read_amount(one, where=f"{where}: PerMillionTokens")
        return {"tokens": (exact(given.input), exact(given.output))}
    if callable(given):
        return {"function": given}
    return {"call": read_amount(given, where=where, takes=_TAKES)}


def read_amount(given: Any, *, where: str, takes: str = "a number from 0") -> int:
    """An amount of money as an author gives it, in trillionths.

    Raises:
        DeclarationError: It is none.
    """
    try:
        return trillionths(given)
    except (TypeError, ValueError):
        raise DeclarationError(f"{where} takes {takes}") from None


def check_record_budget(services: Iterable[Service], budget: float | None) -> None:
    """Refuse a budget for records where nobody knows what a call costs.

    Raises:
        DeclarationError: It is no amount, nothing has a price, or a price comes with the answer without max_price.
    """
    if budget is None:
        return
    read_amount(budget, where="record_budget")
    priced = [(one.name, one.policy.price) for one in services if one.policy.price is not None]
    if not priced:
        raise DeclarationError("there is a record_budget= and no service with a price=; give the services their prices")
    for name, price in priced:
        if price.nominal() is None:
            raise DeclarationError(
                f"the price of `{name}` comes with its answer, so record_budget= cannot hold without max_price=; "
                "give it what an answer may cost at most"
            )


def currency_of(prices: Mapping[str, Price | None]) -> str | None:
    """The one currency of some services by name, None where none has a price.

    Raises:
        DeclarationError: There are two.
    """
    known: dict[str, str] = {}
    for name, price in prices.items():
        if price is not None:
            known.setdefault(price.currency, name)
    if len(known) > 1:
        (one, first), (other, second), *_ = known.items()
        raise DeclarationError(
            f"`{first}` costs {one} and `{second}` costs {other}; a pipeline has one currency: "
            f"convert the prices, and give both the same currency="
        )
    return next(iter(known), None)
