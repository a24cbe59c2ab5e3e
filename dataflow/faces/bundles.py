"""Bundles of edges: where several services wait for the same others, the lines meet in one point. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from itertools import combinations
from typing import NamedTuple

_MOST_SETS = 64
"""Different sets of sources that are compared; a plan with more of them is past being read as a picture."""


class Bundle(NamedTuple):
    """Services of which each target waits for each source; both in listed order."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]

    @property
    def saving(self) -> int:
        """Lines that are spared when all of them meet in one point."""
        return len(self.sources) * len(self.targets) - len(self.sources) - len(self.targets)


def find_bundles(waits: Mapping[int, Set[int]]) -> list[Bundle]:
    """The bundles that spare lines or at least crossings, the largest first; no pair is in two of them.

    Args:
        waits: For each target, its sources.
    """
    left = {target: frozenset(sources) for target, sources in waits.items()}
    bundles: list[Bundle] = []
    while (best := _best(left)) is not None:
        bundles.append(best)
        for target in best.targets:
            left[target] -= set(best.sources)
    return bundles


def _best(waits: Mapping[int, frozenset[int]]) -> Bundle | None:
    sets = sorted(set(waits.values()), key=lambda one: (-len(one), sorted(one)))[:_MOST_SETS]
    shared = {*sets, *(one & other for one, other in combinations(sets, 2))}
    found = [
        Bundle(tuple(sorted(sources)), tuple(target for target in sorted(waits) if sources <= waits[target]))
        for sources in shared
        if len(sources) > 1
    ]
    return min((one for one in found if one.saving >= 0), key=lambda one: (-one.saving, one), default=None)
