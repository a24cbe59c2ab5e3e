"""The money of one purse, as far as its driver has authorised it, and who has been granted how much of it.

All that a holder tells and is told are sums since it began, so that a message may come twice, or late, and changes
nothing then. Money is in whole trillionths. Pure; the scheduler imports this module: nothing but the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class _Holder:
    """What one holder was granted, and what it has told about that.

    Attributes:
        granted: In all.
        spent: Of it, for attempts that have ended.
        returned: Of it, given back.
        out: Of it, for attempts that are under way.
        wants: Whether it has asked for more than it was granted.
        dead: Whether it is gone, so that what it holds is counted as spent.
    """

    granted: int = 0
    spent: int = 0
    returned: int = 0
    out: int = 0
    wants: bool = False
    dead: bool = False

    @property
    def taken(self) -> int:
        """What nobody else can have."""
        return max(self.granted - self.returned, self.spent)

    @property
    def open(self) -> int:
        """What may still be given back."""
        return 0 if self.dead else max(0, self.granted - self.returned - self.spent)


@dataclass(slots=True, kw_only=True)
class Purse:
    """One budget of one run.

    Attributes:
        authorised: What may be handed out in all; only the driver raises it, after it has written that down.
        limit: What it may become; None while the driver has not said.
        portion: What a holder should keep in stock at most.
        holders: Those that have ever asked, by name.
    """

    authorised: int = 0
    limit: int | None = None
    portion: int = 0
    holders: dict[str, _Holder] = field(default_factory=dict)

    @property
    def available(self) -> int:
        """What is authorised and with nobody."""
        return self.authorised - sum(one.taken for one in self.holders.values())

    def authorise(self, given: Mapping[str, int]) -> None:
        """Take up what the driver has written down."""
        self.authorised = max(self.authorised, given["authorised"])
        self.limit, self.portion = given["limit"], given["portion"]

    def exchange(self, holder: str, told: Mapping[str, int]) -> dict[str, Any]:
        """Take up what a holder has done, and grant what it asks for as far as there is something.

        Args:
            holder: Its name.
            told: `asked`: what it would like to have been granted in all; `least`: less than that more is of no use to
                it; `spent`, `returned`: sums so far; `out`: for attempts under way.

        Returns:
            `granted` in all; `portion`; `last`: nothing more will be authorised; `over`: no more will come at all.
        """
        one = self.holders.setdefault(holder, _Holder())
        one.dead = False
        one.spent, one.returned = max(one.spent, told["spent"]), max(one.returned, told["returned"])
        one.out = told["out"]
        wanted, least = told["asked"] - one.granted, told["least"]
        one.wants = wanted > 0
        # Those who wait share what there is, but nobody gets less than helps.
        waiting = sum(other.wants for other in self.holders.values()) or 1
        grant = min(wanted, self.available, max(least, self.available // waiting))
        if wanted > 0 and grant >= least:
            one.granted += grant
            one.wants = grant < wanted
        last = self.limit is not None and self.authorised >= self.limit
        others = sum(other.open for name, other in self.holders.items() if name != holder)
        over = last and one.wants and self.available < least and not others
        return {"granted": one.granted, "portion": self.portion, "last": last, "over": over}

    def forget(self, holder: str) -> None:
        """What a dead holder has not given back counts as spent, unless it turns out to be alive."""
        if holder in self.holders:
            self.holders[holder].dead = True
            self.holders[holder].wants = False

    def status(self) -> dict[str, Any]:
        """`spent` for attempts that have ended, `out` under way, `lost` with the dead, `held` in stock, `wants`."""
        alive = [one for one in self.holders.values() if not one.dead]
        dead = [one for one in self.holders.values() if one.dead]
        return {
            "spent": sum(one.spent for one in self.holders.values()),
            "out": sum(min(one.out, one.open) for one in alive),
            "lost": sum(max(0, one.taken - one.spent) for one in dead),
            "held": sum(max(0, one.open - one.out) for one in alive),
            "wants": any(one.wants for one in alive),
        }


@dataclass(slots=True, kw_only=True)
class Purses:
    """The purses of one run."""

    named: dict[str, Purse] = field(default_factory=dict)
    used_at: float = 0.0

    @property
    def holders(self) -> int:
        """How many have ever asked."""
        return max((len(purse.holders) for purse in self.named.values()), default=0)

    def authorise(self, given: Mapping[str, Mapping[str, int]], *, now: float) -> dict[str, dict[str, Any]]:
        """Take up what the driver has written down; the status of each purse."""
        self.used_at = now
        for name, values in given.items():
            self.named.setdefault(name, Purse()).authorise(values)
        return {name: purse.status() for name, purse in self.named.items()}

    def exchange(self, holder: str, told: Mapping[str, Mapping[str, int]], *, now: float) -> dict[str, dict[str, Any]]:
        """What a holder may spend from each purse; see `Purse.exchange`."""
        self.used_at = now
        return {name: self.named.setdefault(name, Purse()).exchange(holder, one) for name, one in told.items()}

    def forget(self, holder: str) -> None:
        """See `Purse.forget`."""
        for purse in self.named.values():
            purse.forget(holder)
