"""A quote as text for a terminal and as HTML for a notebook: the bill first, then what it is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from dataflow.faces.markup import named, sentences, table_html
from dataflow.faces.render import table_text
from dataflow.faces.texts import count, counted, duration, money, share
from dataflow.faces.view import Table

if TYPE_CHECKING:
    from dataflow.plan.intervals import Interval
    from dataflow.plan.quote import Quote, ServiceQuote

_UNKNOWN = "?"


def quote_text(quote: Quote) -> str:
    """The quote in a few lines: money, hours, what binds, then a line for each service."""
    lines = [f"{quote.name}: {' · '.join(_summary(quote))}"]
    table = _services(quote)
    lines += [table_text(table.headers, table.rows, right=table.right)] if table.rows else []
    return "\n".join([*lines, *(f"{label + ':':<9}{text}" for label, text in _facts(quote))])


def quote_html(quote: Quote) -> str:
    """The quote as a notebook shows it."""
    table = _services(quote)
    return (
        named(quote.name, _summary(quote))
        + (table_html(table.headers, table.rows, right=table.right) if table.rows else "")
        + "".join(sentences(label, [text]) for label, text in _facts(quote))
    )


def _summary(quote: Quote) -> list[str]:
    phrases = [counted(quote.records, "record")]
    if not quote.services:
        return [*phrases, "nothing is called"]
    phrases.append(f"{_whole(quote.calls.likely)} calls")
    if _priced(quote):
        phrases.append(f"{_amount(quote.cost.likely)} {quote.currency}")
    return [*phrases, _time(quote.hours.seconds.likely)] if quote.hours.seconds.likely else phrases


def _priced(quote: Quote) -> bool:
    return quote.cost.high > 0 or quote.row_cost.high > 0


def _services(quote: Quote) -> Table:
    priced = _priced(quote)
    rows = tuple(_row(one, priced=priced) for one in quote.services)
    headers = ("service", "records", "keys", "cached", "calls", *(("cost",) if priced else ()), "rests on")
    return Table(headers=headers, rows=rows, right=frozenset(range(1, 5 + priced)))


def _row(one: ServiceQuote, *, priced: bool) -> tuple[str, ...]:
    return (
        one.service,
        _bound(one.records),
        ("~" if one.estimated else "") + _bound(one.keys, estimated=one.estimated),
        count(one.cached) if one.cached else "",
        _between(one.calls, _whole),
        *((_between(one.cost, _amount) if one.row_cost.high else "",) if priced else ()),
        _basis(one),
    )


def _basis(one: ServiceQuote) -> str:
    """What the calls of a service were inferred from."""
    if not one.keys.high:
        return "nothing asks for it"
    if not one.calls.high:
        return "all in the cache"
    keys = f"what {', '.join(one.after)} answers" if one.after else "a sketch" if one.estimated else "counted keys"
    return f"{keys}; {one.rates.origin}" if one.rates.calls else f"{keys}; no calls seen"


def _bound(interval: Interval, *, estimated: bool = False) -> str:
    """A count, or the most that it may be where answers decide."""
    return _whole(interval.likely) if interval.is_exact or estimated else f"≤ {_whole(interval.high)}"


def _facts(quote: Quote) -> list[tuple[str, str]]:
    """Sentences about the whole, each with its label."""
    if not quote.services:
        return [("note", note) for note in quote.notes]
    facts = []
    if _priced(quote):
        facts.append(("cost", f"{_between(quote.cost, _amount)} {quote.currency}{_budget(quote)}"))
    if quote.hours.seconds.high:
        facts.append(("time", f"{_between(quote.hours.seconds, _time)}{_binding(quote)}"))
    facts += _rows(quote)
    return [*facts, *(("note", note) for note in quote.notes)]


def _budget(quote: Quote) -> str:
    enough = quote.enough
    if enough is None or quote.budget is None:
        return ""
    told = f"; the budget of {money(quote.budget)}"
    if enough.low >= 1:
        return f"{told} is enough"
    if enough.likely >= 1:
        return f"{told} is likely enough"
    return f"{told} ends after about {share(enough.likely)}"


def _binding(quote: Quote) -> str:
    binding = quote.hours.binding
    if binding is None:
        return ""
    if binding.api is None:
        return "; functions without an API decide"
    return f"; {binding.limit} of `{binding.api}` binds, {binding.raised}: {_time(binding.seconds)}"


def _rows(quote: Quote) -> list[tuple[str, str]]:
    calls = quote.row_calls.likely
    if calls <= quote.calls.likely:
        return []
    parts = [f"{_whole(calls)} calls"]
    parts += [f"{_amount(quote.row_cost.likely)} {quote.currency}"] if _priced(quote) else []
    return [("per row", f"calling once for each record: {', '.join([*parts, _time(quote.row_seconds.likely)])}")]


def _between(interval: Interval, text: Callable[[float], str]) -> str:
    """The likely amount with its bounds, where these look different: `3,812 (3,800..4,193)`."""
    low, likely, high = (text(bound) for bound in (interval.low, interval.likely, interval.high))
    return likely if low == high else f"{likely} ({low}..{high})"


def _whole(value: float) -> str:
    return _UNKNOWN if math.isinf(value) else count(round(value))


def _amount(value: float) -> str:
    return _UNKNOWN if math.isinf(value) else money(value)


def _time(value: float) -> str:
    return _UNKNOWN if math.isinf(value) else duration(value) if value < 172800 else f"{value / 86400:.1f} days"
