"""Money as whole millionths of a currency: reading amounts, rounding up, sharing out. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal

UNIT = 1_000_000
"""Millionths in one of the currency."""


def millionths(amount: float | Decimal) -> int:
    """An amount in millionths, rounded up; a float is what it shows, so that 0.1 is a tenth.

    Raises:
        ValueError: It is negative, or no number.
        TypeError: It is something else.
    """
    return rounded_up(exact(amount) * UNIT)


def exact(amount: float | Decimal) -> Decimal:
    """An amount as a Decimal.

    Raises:
        ValueError: It is negative, or no number.
        TypeError: It is something else.
    """
    if isinstance(amount, bool) or not isinstance(amount, (int, float, Decimal)):
        raise TypeError("an amount of money is a number")
    found = amount if isinstance(amount, Decimal) else Decimal(repr(amount))
    if not found.is_finite() or found < 0:
        raise ValueError("an amount of money is a number from 0")
    return found


def rounded_up(amount: Decimal) -> int:
    """Millionths that are no whole number, rounded up."""
    return math.ceil(amount)


def amount(money: int) -> float:
    """Millionths as a number of the currency."""
    return round(money / UNIT, 6)


def written(money: int, currency: str) -> str:
    """Millionths for people: `USD 12.50`; more places only where they hold something."""
    whole, rest = divmod(money, UNIT)
    digits = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{currency} {whole:,}.{digits}"


def for_tokens(tokens: Iterable[tuple[int, Decimal]]) -> int:
    """What tokens cost, given how many there are of each kind and what a million of them costs."""
    return rounded_up(sum((count * price for count, price in tokens), Decimal(0)))


def shared_out(money: int, places: int) -> list[int]:
    """An amount cut into parts for so many places: as equal as millionths can be, with nothing lost."""
    each, rest = divmod(money, places)
    return [each + (at < rest) for at in range(places)]
