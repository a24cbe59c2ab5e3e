"""The Arrow kernels of the vectorised benchmark: both sides call these, so that only the rest differs."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

COUNTRIES = [f"{first}{second}" for first in "ABCDEFGH" for second in "KLMNOPQRST"]
KNOWN_COUNTRIES = pa.array(COUNTRIES[:50])
EMAIL = r"^[a-z0-9._+-]+@[a-z0-9.-]+\.[a-z]{2,}$"
LEAST_AMOUNT, GREATEST_AMOUNT = pa.scalar(1.0), pa.scalar(100_000.0)


def title(names: pa.Array) -> pa.Array:
    """Title case without surrounding spaces."""
    return pc.utf8_title(pc.utf8_trim_whitespace(names))


def lower(emails: pa.Array) -> pa.Array:
    """Lower case without surrounding spaces."""
    return pc.ascii_lower(pc.ascii_trim_whitespace(emails))


def digits(phones: pa.Array) -> pa.Array:
    """The digits and nothing else."""
    return pc.replace_substring_regex(phones, r"\D+", "")


def domain(emails: pa.Array) -> pa.Array:
    """What follows the @, null where there is none; the addresses themselves must not be null."""
    parts = pc.split_pattern(emails, "@", max_splits=1)
    return pc.list_flatten(pc.list_slice(parts, 1, 2, return_fixed_size_list=True))


def is_email(emails: pa.Array) -> pa.Array:
    """Whether the text has the form of an address."""
    return pc.match_substring_regex(emails, EMAIL)


def is_known_country(countries: pa.Array) -> pa.Array:
    """Whether the code is one of fifty."""
    return pc.is_in(countries, KNOWN_COUNTRIES)


def in_range(amounts: pa.Array) -> pa.Array:
    """Whether the amount is plausible; null where there is none."""
    return pc.and_(pc.greater_equal(amounts, LEAST_AMOUNT), pc.less_equal(amounts, GREATEST_AMOUNT))
