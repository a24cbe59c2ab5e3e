"""The order of nodes within their columns, and their heights: few crossings first, straight lines second.

The usual layered drawing: nodes are sorted by the mean place of their neighbours, forwards and backwards, and
the best order seen is kept; then each node is drawn to its neighbours as far as those beside it allow. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

Pairs = Sequence[tuple[int, int]]

_SWEEPS = 16
_STIFFNESS = 8.0
"""How much more a line between two lanes is drawn straight than one at a box."""


def order_columns(column: Sequence[int], pairs: Pairs) -> list[list[int]]:
    """The nodes of each column from top to bottom.

    Args:
        column: For each node, its column; columns are numbered without gaps.
        pairs: Linked nodes, each from a column to the next.
    """
    columns: list[list[int]] = [[] for _ in range(1 + max(column))]
    for node, at in enumerate(column):
        columns[at].append(node)
    before, after = _neighbours(pairs)
    best, fewest = columns, crossings(columns, pairs)
    for sweep in range(_SWEEPS):
        columns = _sorted(columns, before if sweep % 2 == 0 else after, forwards=sweep % 2 == 0)
        columns = _swapped(columns, before, after)
        found = crossings(columns, pairs)
        if found < fewest:
            best, fewest = columns, found
    return best


def _neighbours(pairs: Pairs) -> tuple[Mapping[int, list[int]], Mapping[int, list[int]]]:
    before: dict[int, list[int]] = defaultdict(list)
    after: dict[int, list[int]] = defaultdict(list)
    for start, end in pairs:
        before[end].append(start)
        after[start].append(end)
    return before, after


def _sorted(
    columns: Sequence[Sequence[int]], neighbours: Mapping[int, Sequence[int]], *, forwards: bool
) -> list[list[int]]:
    """The columns with each node at the mean place of its neighbours; a node without any keeps its share."""
    share: dict[int, float] = {}
    found: list[list[int]] = [[] for _ in columns]
    for at in range(len(columns)) if forwards else reversed(range(len(columns))):
        own = {node: (place + 0.5) / len(columns[at]) for place, node in enumerate(columns[at])}
        wish = {node: _mean([share[one] for one in neighbours.get(node, ())], own[node]) for node in columns[at]}
        found[at] = sorted(columns[at], key=lambda node: wish[node])
        share |= {node: (place + 0.5) / len(found[at]) for place, node in enumerate(found[at])}
    return found


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _swapped(
    columns: list[list[int]], before: Mapping[int, Sequence[int]], after: Mapping[int, Sequence[int]]
) -> list[list[int]]:
    """The columns after swapping neighbours wherever that removes crossings."""
    place = _place(columns)
    for nodes in columns:
        for at in range(len(nodes) - 1):
            upper, lower = nodes[at], nodes[at + 1]
            if sum(_gain(place, side.get(upper, ()), side.get(lower, ())) for side in (before, after)) > 0:
                nodes[at], nodes[at + 1] = lower, upper
                place[upper], place[lower] = at + 1, at
    return columns


def _gain(place: Mapping[int, int], upper: Sequence[int], lower: Sequence[int]) -> int:
    """Crossings that a swap of two neighbours removes, less those that it makes."""
    return sum((place[one] > place[two]) - (place[one] < place[two]) for one in upper for two in lower)


def _place(columns: Sequence[Sequence[int]]) -> dict[int, int]:
    return {node: at for nodes in columns for at, node in enumerate(nodes)}


def crossings(columns: Sequence[Sequence[int]], pairs: Pairs) -> int:
    """How many pairs of lines cross."""
    place = _place(columns)
    column = {node: at for at, nodes in enumerate(columns) for node in nodes}
    groups: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for start, end in pairs:
        groups[column[start]].append((place[start], place[end]))
    return sum(_inversions([end for _, end in sorted(group)]) for group in groups.values())


def _inversions(values: Sequence[int]) -> int:
    return sum(values[first] > later for first in range(len(values)) for later in values[first + 1 :])


def straighten(
    columns: Sequence[Sequence[int]],
    pairs: Pairs,
    *,
    heights: Sequence[float],
    gap: float,
    stiff: Callable[[int], bool],
) -> list[float]:
    """The vertical centre of each node; the uppermost edge is at 0.

    Args:
        columns: The nodes from top to bottom.
        pairs: Linked nodes.
        heights: Of each node.
        gap: Between two nodes.
        stiff: Whether a node is a lane, whose lines should not bend.
    """
    before, after = _neighbours(pairs)
    ys = [0.0] * len(heights)
    for nodes in columns:
        _spread(nodes, [0.0] * len(nodes), ys, heights=heights, gap=gap)
    both = {node: [*before.get(node, ()), *after.get(node, ())] for node in range(len(heights))}
    for sweep in range(_SWEEPS):
        drawn_by = (before, after, both)[min(sweep % 3, 2)] if sweep < _SWEEPS - 3 else both
        for nodes in columns if sweep % 2 == 0 else reversed(columns):
            wishes = [_wish(node, drawn_by.get(node, ()), ys, stiff) for node in nodes]
            _spread(nodes, wishes, ys, heights=heights, gap=gap)
    top = min(y - height / 2 for y, height in zip(ys, heights, strict=True))
    return [y - top for y in ys]


def _wish(node: int, neighbours: Sequence[int], ys: Sequence[float], stiff: Callable[[int], bool]) -> float:
    if not neighbours:
        return ys[node]
    weights = [_STIFFNESS if stiff(node) and stiff(one) else 1.0 for one in neighbours]
    return sum(weight * ys[one] for weight, one in zip(weights, neighbours, strict=True)) / sum(weights)


def _spread(
    nodes: Sequence[int], wishes: Sequence[float], ys: list[float], *, heights: Sequence[float], gap: float
) -> None:
    """Put nodes as near to their wishes as their order and the gap allow, by least squares.

    With the room that the nodes above need taken off, the order asks for a rising sequence: neighbours that
    would overlap are put together at their mean until none do.
    """
    offsets = [0.0]
    for upper, lower in pairwise(nodes):
        offsets.append(offsets[-1] + (heights[upper] + heights[lower]) / 2 + gap)
    blocks: list[tuple[float, int]] = []
    for wish, offset in zip(wishes, offsets, strict=False):
        blocks.append((wish - offset, 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (high, many), (low, few) = blocks[-2:]
            blocks[-2:] = [((high * many + low * few) / (many + few), many + few)]
    level = [mean for mean, size in blocks for _ in range(size)]
    for node, mean, offset in zip(nodes, level, offsets, strict=False):
        ys[node] = mean + offset
