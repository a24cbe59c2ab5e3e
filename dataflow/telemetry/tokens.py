"""Tokens that models have read and written, as a value that merges over calls and partitions. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Tokens as the answers of models count them.

    Attributes:
        input: That were sent.
        output: That came back.
    """

    input: int = 0
    output: int = 0

    def __bool__(self) -> bool:
        return bool(self.input or self.output)

    @classmethod
    def merged(cls, parts: Iterable[Tokens]) -> Tokens:
        """The tokens of all parts together."""
        counted = list(parts)
        return cls(input=sum(one.input for one in counted), output=sum(one.output for one in counted))

    def to_dict(self) -> dict[str, int]:
        """As plain values."""
        return asdict(self)


NO_TOKENS = Tokens()
