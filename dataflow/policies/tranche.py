"""How much money a driver hands out in advance: a second or two of spending, and little of the whole. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

SHARE = 50
"""A tranche is at most the fiftieth part of a budget: what a crash may cost."""
_BEGIN = 8
"""The first one is the eighth part of that."""
_SOON, _LATE = 1.0, 2.0
"""Seconds: a tranche that is used up sooner was too small, one that lasts longer too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tranche:
    """What is handed out of one purse; amounts in trillionths.

    Attributes:
        limit: What may be handed out in all.
        least: What a call costs at most.
        most: What a tranche has at most.
        size: What the next one has.
        authorised: What has been handed out.
        raised_at: When it was last raised, in seconds.
    """

    limit: int
    least: int
    most: int
    size: int
    authorised: int = 0
    raised_at: float = 0.0

    @classmethod
    def begin(cls, *, budget: int, limit: int, least: int, now: float) -> Tranche:
        """The state before anything is handed out.

        Args:
            budget: The whole, of which earlier runs may have used a part.
            limit: What is left of it.
            least: What a call costs at most.
            now: When.
        """
        most = max(least, budget // SHARE)
        return cls(limit=max(0, limit), least=least, most=most, size=max(least, most // _BEGIN), raised_at=now)

    def advance(self, *, committed: int, wants: bool, now: float) -> Tranche:
        """The state after a look: raised where little is left of it, or somebody waits.

        Args:
            committed: What was spent, and is for attempts under way.
            wants: Whether a holder has asked for more than there is.
            now: When.
        """
        ahead = self.authorised - committed
        if self.authorised >= self.limit or (ahead >= self.size // 2 and not wants):
            return self
        size, past = self.size, now - self.raised_at
        if past < _SOON:
            size = min(self.most, 2 * size)
        elif past > _LATE:
            size = max(self.least, size // 2)
        authorised = max(self.authorised, min(self.limit, committed + size))
        if authorised == self.authorised:
            return replace(self, size=size)
        return replace(self, size=size, authorised=authorised, raised_at=now)
