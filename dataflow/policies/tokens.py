"""Tokens: what a call to a model may use, by the length of its prompt and by what calls have used lately. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

OUTPUT = 500
"""Tokens of an answer, where nothing limits it and none has come yet."""
WEIGHT = 0.1
"""Of one more call in the means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMeans:
    """What the calls of one service have used.

    Attributes:
        of_character: Tokens of a character of the prompt: a quarter is the rule of thumb, Chinese has three times that.
        output: Tokens of an answer, or None while there was none.
    """

    of_character: float = 0.25
    output: float | None = None


def expected(means: TokenMeans, *, characters: int, most: int | None) -> int:
    """Tokens that a call may use.

    Args:
        means: Of the calls before it.
        characters: Of its prompt.
        most: Tokens of its answer at most, or None.
    """
    output = (most or OUTPUT) if means.output is None else means.output
    return max(1, math.ceil(characters * means.of_character + output))


def learned(means: TokenMeans, *, characters: int, sent: int, received: int) -> TokenMeans:
    """The means with one more call."""
    ratio = sent / characters if characters else means.of_character
    return TokenMeans(
        of_character=means.of_character + WEIGHT * (ratio - means.of_character),
        output=received if means.output is None else means.output + WEIGHT * (received - means.output),
    )
