"""Declared rates: how much of one is used where its provider answers "later" all the same. Pure.

Its author knows the rate, so single refusals are no reason to leave it: the calls that got them wait, and the others go
on. What counts is the share of the last calls that was refused:

| share refused of the last 50 calls or so | what is done |
|---|---|
| at most 20 %, or of fewer than 10 calls | nothing: whoever was refused waits as long as the answer asks |
| more | nobody calls until the answers allow it; then as much is used as was accepted, and 10 % more each second |
| 90 % and more | half as much each second: the provider takes nothing now, which does not say what it takes |

Below what was accepted before, the use doubles as soon as two calls in a row are accepted. Where it is cut again at the
same height, that is what the provider takes: from then on it is tried half as fast, down to 0.5 % a second. Where less
and less is accepted the less is sent, slowing down is of no use: the refusals have another cause, such as some of the
inputs, and for half a minute the whole rate is used, unless half of it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dataflow.policies.resets import LONGEST

TOLERATED = 0.2
"""Share of refused calls up to which the whole rate is used."""
BLOCKED = 0.9
"""Share of refused calls from which they say nothing of the rate that the provider takes."""
MEMORY = 50
"""Calls after which a refusal counts a third of a new one."""
SAMPLE = 10
"""Calls that have to end before their share says something of the rate."""
APART = 1.0
"""Seconds between two cuts."""
FASTEST, SLOWEST = 0.1, 0.005
"""Share of the rate by which its use grows in a second, at first and at least."""
LEAST = 0.01
"""The use never falls below this share, or it would never come back."""
PROOF = 2
"""Calls in a row that have to be accepted before the use doubles."""
FEWER = 0.5
"""Less than this share of what was accepted before shows that slowing down only costs answers."""
HALF = 0.5
"""Share of refused calls from which it is slowed down in any case."""
DEAF = 30.0
"""Seconds for which refusals are taken to have another cause."""
ALIKE = 0.2
"""Two cuts at heights that differ by less than this share are at the same height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much of a declared rate is used.

    Attributes:
        share: Of the rate, at `since`.
        since: When it was cut or doubled last; minus infinity for never.
        accepted: The share of the rate that was accepted before it was cut last; it grows by itself from there on.
        growth: Share of the rate by which it grows in a second.
        ended: Calls that have ended since it was cut last, older ones counting less, and
        refused: those among them that were answered "later".
        streak: Calls in a row that were not.
        until: No call before this time, since the answers ask for it.
        cuts: How often it was cut since the whole rate was used, and
        most: the largest share that was accepted before one of these, but for the first.
        deaf_until: Until when refusals are taken to have another cause.
    """

    share: float = 1.0
    since: float = -math.inf
    accepted: float = 1.0
    growth: float = FASTEST
    ended: float = 0.0
    refused: float = 0.0
    streak: int = 0
    until: float = -math.inf
    cuts: int = 0
    most: float = 0.0
    deaf_until: float = -math.inf


def take_up(use: Use, *, ended: int, refused: Sequence[float | None], now: float) -> Use:
    """What the calls make of it that have ended since the last time.

    Args:
        use: As it was.
        ended: Calls that have ended, the refused ones among them.
        refused: For each that was answered "later" the seconds that the answer asks to wait, or None.
        now: When.
    """
    if not ended:
        return use
    kept = (1 - 1 / MEMORY) ** ended
    use = replace(use, ended=use.ended * kept + ended, refused=use.refused * kept + len(refused))
    if not refused:
        return _proved(replace(use, streak=use.streak + ended), now=now)
    use = replace(use, streak=0)
    if use.ended < SAMPLE or use.refused <= (HALF if now < use.deaf_until else TOLERATED) * use.ended:
        # The first few calls say little: if all paused for one of them, the next one might meet the same again.
        return use
    asked = max((min(after, LONGEST) for after in refused if after is not None and after > 0), default=0.0)
    use = replace(use, until=max(use.until, now + asked)) if asked else use
    return _cut(use, now=now) if now >= use.since + APART else use


def share_of(use: Use, *, now: float) -> float:
    """The share of the rate that may be used now, from 0.01 to 1."""
    if use.share < use.accepted or use.since == -math.inf:
        return use.share
    return min(1.0, use.share + use.growth * max(0.0, now - use.since))


def pause(use: Use, *, now: float) -> float:
    """Seconds for which no call may start."""
    return max(0.0, use.until - now)


def _proved(use: Use, *, now: float) -> Use:
    """Come back to what was accepted before, as fast as calls are accepted."""
    if use.share >= use.accepted or use.streak < PROOF:
        return use
    return replace(use, share=min(use.accepted, 2 * use.share), since=now, streak=0)


def _cut(use: Use, *, now: float) -> Use:
    before = share_of(use, now=now)
    cuts, most = (use.cuts, use.most) if before < 1 else (0, 0.0)
    fresh = replace(use, since=now, ended=0.0, refused=0.0, cuts=cuts + 1, most=most)
    if use.refused >= BLOCKED * use.ended:
        return replace(fresh, share=max(LEAST, before / 2))
    accepted = max(LEAST, (use.share + before) / 2 * (1 - use.refused / use.ended))
    if accepted < FEWER * most and use.refused < HALF * use.ended:
        return Use(deaf_until=now + DEAF)
    # The first cut comes while refusals begin, so that what was accepted before it says little.
    fresh = replace(fresh, most=max(most, accepted) if cuts else most)
    again = before < 1 and abs(accepted - use.accepted) <= ALIKE * use.accepted
    growth = max(SLOWEST, use.growth / 2) if again else FASTEST
    return replace(fresh, share=accepted, accepted=accepted, growth=growth)
