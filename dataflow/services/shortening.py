"""How much of its values a prompt keeps that is too long for a model. Pure."""

from __future__ import annotations

from collections.abc import Mapping

KEPT = 0.6
"""Share of the characters of all values that the next try keeps."""
TRIES = 6
"""Times at most that a prompt is shortened: then it has a twentieth of its values."""


def shorten(texts: Mapping[str, str], *, kept: float = KEPT) -> dict[str, str]:
    """The values of the next try: the longest ones lose their ends, until all together are short enough.

    Args:
        texts: The values by column.
        kept: Share of their characters that is kept.
    """
    cap = _cap(sorted(map(len, texts.values())), room=int(kept * sum(map(len, texts.values()))))
    return {column: text[:cap] for column, text in texts.items()}


def _cap(lengths: list[int], *, room: int) -> int:
    """The greatest length at which all of them, cut to it, have room; they come in ascending order."""
    for at, length in enumerate(lengths):
        left = len(lengths) - at
        if length * left > room:
            return room // left
        room -= length
    return max(lengths, default=0)
