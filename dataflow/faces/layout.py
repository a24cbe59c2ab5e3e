"""Places the graph of an explanation on a plane: services in columns by level, edges in the gaps between them.

Pure and deterministic. Three things keep many services readable: an edge over several columns gets a lane of its
own in each, the lanes of one service to several readers are one line, and services that all wait for the same
others for one reason meet in a joint instead of crossing pairwise. How it looks is not known here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dataflow.faces.order import order_columns, straighten
from dataflow.faces.texts import cells, shorten, shorten_middle
from dataflow.plan.explain import Explanation, StepLine

NAME_CELLS, DETAIL_CELLS = 26, 34
NAME_CELL, DETAIL_CELL = 7.9, 6.7
"""Units of one character of a name and of the details, in a font of fixed width."""

BOX_HEIGHT, LANE_HEIGHT = 44.0, 4.0
ROW_GAP, COLUMN_GAP, JOINT_GAP = 14.0, 64.0, 44.0
PADDING, LEAST_WIDTH = 14.0, 96.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A service in its place.

    Attributes:
        line: What the explanation says about it.
        name: Its name, shortened to fit.
        detail: What it reads and writes, shortened to fit.
        x: Of the left edge, as all lengths in units of the picture.
        y: Of the upper edge.
        width: Alike for all boxes of a column.
        height: Alike for all boxes.
    """

    line: StepLine
    name: str
    detail: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of an edge between two neighbouring columns.

    Attributes:
        start: Where it leaves a box, a lane or a joint, rightwards.
        end: Where it arrives, rightwards too.
        straight: How far it runs on behind `end`, through the lane of a column; 0 elsewhere.
        reads: Whether it stands for a column that is read; else for an outcome that is waited for.
        arrow: Whether it ends at a box.
        reasons: A sentence for each pair of services that it belongs to.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    straight: float
    reads: bool
    arrow: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A graph in its place.

    Attributes:
        width: Of all of it.
        height: Of all of it.
        boxes: In listed order.
        segments: Pieces of edges.
        joints: Centres of the joints.
        levels: For each level, the centre of its column.
    """

    width: float
    height: float
    boxes: tuple[Box, ...]
    segments: tuple[Segment, ...]
    joints: tuple[tuple[float, float], ...]
    levels: tuple[float, ...]


@dataclass(slots=True, kw_only=True)
class _Net:
    """The graph with joints and lanes: nodes by number, services first, each in a column."""

    column: list[int]
    services: int
    joints: set[int] = field(default_factory=set)
    links: dict[tuple[int, int, bool], list[str]] = field(default_factory=lambda: defaultdict(list))
    lanes: dict[tuple[int, int, bool], int] = field(default_factory=dict)

    def add(self, column: int) -> int:
        self.column.append(column)
        return len(self.column) - 1

    def connect(self, start: int, end: int, *, reads: bool, reasons: Sequence[str]) -> None:
        """Link two nodes through a lane in each column between them."""
        at = start
        for column in range(self.column[start] + 1, self.column[end]):
            key = (start, column, reads)
            if key not in self.lanes:
                self.lanes[key] = self.add(column)
            self.links[at, self.lanes[key], reads] += reasons
            at = self.lanes[key]
        self.links[at, end, reads] += reasons

    def is_lane(self, node: int) -> bool:
        return node >= self.services and node not in self.joints


def lay_out(explanation: Explanation) -> Layout:
    """Place the services of an explanation and route what connects them."""
    lines = explanation.lines
    net = _build(lines)
    pairs = [(start, end) for start, end, _ in net.links]
    columns = order_columns(net.column, pairs)
    heights = [BOX_HEIGHT if node < net.services else LANE_HEIGHT for node in range(len(net.column))]
    ys = straighten(columns, pairs, heights=heights, gap=ROW_GAP, stiff=net.is_lane)
    lefts, widths = _places(columns, net, lines)
    return Layout(
        width=lefts[-1] + widths[-1],
        height=max(y + height / 2 for y, height in zip(ys, heights, strict=True)),
        boxes=tuple(_box(lines[node], lefts, widths, net.column[node], ys[node]) for node in range(net.services)),
        segments=tuple(_segments(net, lefts, widths, ys)),
        joints=tuple((lefts[net.column[node]], ys[node]) for node in sorted(net.joints)),
        levels=_level_centres(lines, net, lefts, widths),
    )


def _build(lines: Sequence[StepLine]) -> _Net:
    index = {line.name: at for at, line in enumerate(lines)}
    bundles = _bundles(lines)
    halves = sorted({2 * line.level for line in lines} | {_before(targets, lines, index) for _, targets in bundles})
    place = {half: column for column, half in enumerate(halves)}
    net = _Net(column=[place[2 * line.level] for line in lines], services=len(lines))
    bundled = set()
    for (reason, sources), targets in bundles:
        joint = net.add(place[_before(targets, lines, index)])
        net.joints.add(joint)
        for source in sources:
            sentences = [f"{one} after {source}: {reason}" for one in targets]
            net.connect(index[source], joint, reads=False, reasons=sentences)
        for target in targets:
            net.connect(joint, index[target], reads=False, reasons=[f"{target} after {', '.join(sources)}: {reason}"])
            bundled |= {(source, target) for source in sources}
    for line in lines:
        for source, reason in zip(line.after, line.why, strict=True):
            if (source, line.name) not in bundled:
                sentence = f"{line.name} after {source}: {reason}"
                net.connect(index[source], index[line.name], reads=is_reading(reason), reasons=[sentence])
    return net


def is_reading(reason: str) -> bool:
    """Whether a reason of the explanation speaks of a column that is read."""
    return reason.startswith("reads ")


def _before(targets: Iterable[str], lines: Sequence[StepLine], index: Mapping[str, int]) -> int:
    """Where the joint of a bundle goes, in half levels: just before the first of its targets."""
    return 2 * min(lines[index[one]].level for one in targets) - 1


def _bundles(lines: Sequence[StepLine]) -> list[tuple[tuple[str, tuple[str, ...]], list[str]]]:
    """Groups of services that wait for the same others for the same reason, where a joint saves lines."""
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for line in lines:
        by_reason: dict[str, list[str]] = defaultdict(list)
        for source, reason in zip(line.after, line.why, strict=True):
            if not is_reading(reason):
                by_reason[reason].append(source)
        for reason, sources in by_reason.items():
            groups[reason, tuple(sources)].append(line.name)
    return [(key, targets) for key, targets in groups.items() if len(key[1]) > 1 and len(targets) > 1]


def _places(columns: Sequence[Sequence[int]], net: _Net, lines: Sequence[StepLine]) -> tuple[list[float], list[float]]:
    """The left edge and the width of each column."""
    lefts: list[float] = []
    widths: list[float] = []
    right = -COLUMN_GAP
    for nodes in columns:
        texts = [lines[node] for node in nodes if node < net.services]
        needed = [max(cells(_name(one)) * NAME_CELL, cells(_detail(one)) * DETAIL_CELL) + 2 * PADDING for one in texts]
        gap = COLUMN_GAP if texts and (not widths or widths[-1]) else JOINT_GAP
        lefts.append(right + gap if widths else 0.0)
        widths.append(max(LEAST_WIDTH, *needed) if needed else 0.0)
        right = lefts[-1] + widths[-1]
    return lefts, widths


def _box(line: StepLine, lefts: Sequence[float], widths: Sequence[float], column: int, y: float) -> Box:
    return Box(
        line=line,
        name=_name(line),
        detail=_detail(line),
        x=lefts[column],
        y=y - BOX_HEIGHT / 2,
        width=widths[column],
        height=BOX_HEIGHT,
    )


def _segments(net: _Net, lefts: Sequence[float], widths: Sequence[float], ys: Sequence[float]) -> Iterable[Segment]:
    for (start, end, reads), reasons in net.links.items():
        before, after = net.column[start], net.column[end]
        yield Segment(
            start=(lefts[before] + widths[before], ys[start]),
            end=(lefts[after], ys[end]),
            straight=widths[after] if net.is_lane(end) else 0.0,
            reads=reads,
            arrow=end < net.services,
            reasons=tuple(reasons),
        )


def _level_centres(
    lines: Sequence[StepLine], net: _Net, lefts: Sequence[float], widths: Sequence[float]
) -> tuple[float, ...]:
    column = {line.level: net.column[at] for at, line in enumerate(lines)}
    return tuple(lefts[column[level]] + widths[column[level]] / 2 for level in sorted(column))


def _name(line: StepLine) -> str:
    return shorten_middle(line.name, NAME_CELLS)


def _detail(line: StepLine) -> str:
    reads = ", ".join(_plain(column) for column in line.reads)
    writes = ", ".join(_plain(column) for column in line.writes)
    return shorten(f"{reads} → {writes}" if writes else reads, DETAIL_CELLS)


def _plain(column: str) -> str:
    return column.rpartition("@")[0]
