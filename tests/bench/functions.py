"""The plain functions of the per-record benchmark: both sides call these, so that only the rest differs."""

from __future__ import annotations

import re

EMAIL = re.compile(r"[a-z0-9._+-]+@[a-z0-9.-]+\.[a-z]{2,}")
KNOWN_COUNTRIES = frozenset(f"{first}{second}" for first in "ABCDE" for second in "KLMNOPQRST")
INDUSTRIES = {f"company-{number}.example": f"industry-{number % 40}" for number in range(100_000)}


def full_name(first_name: str, last_name: str) -> str:
    """Both names in title case, one space between them."""
    return f"{first_name.strip()} {last_name.strip()}".title()


def email(email: str) -> str:
    """Lower case without surrounding spaces."""
    return email.strip().lower()


def phone(phone: str) -> str:
    """The digits and nothing else."""
    return "".join(filter(str.isdigit, phone))


def is_email(email: str) -> bool:
    """Whether the text has the form of an address."""
    return EMAIL.fullmatch(email) is not None


def is_known_country(country: str) -> bool:
    """Whether the code is one of fifty."""
    return country in KNOWN_COUNTRIES


def in_range(amount: float) -> bool:
    """Whether the amount is plausible."""
    return 1.0 <= amount <= 100_000.0


def industry(email: str) -> str | None:
    """The industry of the domain behind the @; None where nobody knows it."""
    return INDUSTRIES.get(email.partition("@")[2])
