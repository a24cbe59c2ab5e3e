"""Money as whole trillionths of a currency: reading amounts, adding up tokens, sharing out, writing. Pure.

A trillionth is so small that prices of one token are whole numbers of it, so that sums are exact; what is shown is
rounded once, at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal

PLACES = 12
"""Decimal places of an amount."""
UNIT = 10**PLACES
"""Trillionths in one of the currency."""
_MILLION = 10**6
_EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
_CERTAIN = 15
"""Digits of a sum of floats that adding them in some order leaves as they are."""


def trillionths(amount: float | Decimal) -> int:
    """An amount in trillionths, rounded; a float is what it shows, so that 0.1 is a tenth.

    Raises:
        ValueError: It is negative, or no number.
        TypeError: It is something else.
    """
    return rounded(_EXACT.multiply(exact(amount), Decimal(UNIT)))


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


def rounded(amount: Decimal) -> int:
    """Trillionths that are no whole number, rounded; only nothing is nothing."""
    return max(int(amount.to_integral_value(ROUND_HALF_EVEN)), 1 if amount else 0)


def amount(money: int) -> float:
    """Trillionths as a number of the currency."""
    found: float = money / UNIT
    return found


def cleaned(amount: float) -> float:
    """A sum of amounts without what adding floats in some order has left."""
    return round(float(f"{amount:.{_CERTAIN}g}"), PLACES)


def figure(money: int) -> str:
    """Trillionths as a number for people: `1,234.50`; more places only where they hold something."""
    whole, rest = divmod(money, UNIT)
    digits = f"{rest:0{PLACES}d}".rstrip("0").ljust(2, "0")
    return f"{whole:,}.{digits}"


def written(money: int, currency: str) -> str:
    """Trillionths for people: `USD 12.50`."""
    return f"{currency} {figure(money)}"


def for_tokens(tokens: Iterable[tuple[int, Decimal]]) -> int:
    """What tokens cost, given how many there are of each kind and what a million of them costs."""
    costs = (_EXACT.multiply(Decimal(count * (UNIT // _MILLION)), price) for count, price in tokens)
    total = Decimal(0)
    for cost in costs:
        total = _EXACT.add(total, cost)
    return rounded(total)


def shared_out(money: int, places: int) -> list[int]:
    """An amount cut into parts for so many places: as equal as trillionths can be, with nothing lost."""
    each, rest = divmod(money, places)
    return [each + (at < rest) for at in range(places)]
