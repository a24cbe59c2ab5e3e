"""Places the graph of an explanation on a plane: services in columns by level, edges in the gaps between them.

Pure and deterministic. Three things keep many services readable: an edge over several columns gets a lane of its
own in each, the lanes of one service to several readers are one line, and services that all wait for the same
others for one reason meet in a joint instead of crossing pairwise. How it looks is not known here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dataflow.faces.bundles import find_bundles
from dataflow.faces.order import order_columns, straighten
from dataflow.faces.texts import cells, shorten, shorten_middle
from dataflow.plan.explain import Explanation, StepLine

NAME_CELLS, DETAIL_CELLS = 26, 34
NAME_CELL, DETAIL_CELL = 7.9, 6.7
"""Units of one character of a name and of the details, in a font of fixed width."""

BOX_HEIGHT, LANE_HEIGHT = 44.0, 4.0
ROW_GAP, COLUMN_GAP, JOINT_GAP = 14.0, 64.0, 52.0
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """Where the nodes stand.

    Attributes:
        column: For each node, its column.
        lefts: For each column, its left edge.
        widths: For each column.
        ys: For each node, its centre.
    """

    column: Sequence[int]
    lefts: Sequence[float]
    widths: Sequence[float]
    ys: Sequence[float]

    def left(self, node: int) -> float:
        return self.lefts[self.column[node]]

    def width(self, node: int) -> float:
        return self.widths[self.column[node]]


def lay_out(explanation: Explanation) -> Layout:
    """Place the services of an explanation and route what connects them."""
    lines = explanation.lines
    net = _build(lines)
    pairs = [(start, end) for start, end, _ in net.links]
    columns = order_columns(net.column, pairs)
    heights = [BOX_HEIGHT if node < net.services else LANE_HEIGHT for node in range(len(net.column))]
    ys = straighten(columns, pairs, heights=heights, gap=ROW_GAP, stiff=net.is_lane)
    lefts, widths = _places([[lines[node] for node in nodes if node < net.services] for nodes in columns])
    grid = _Grid(column=net.column, lefts=lefts, widths=widths, ys=ys)
    one_of_level = {line.level: node for node, line in enumerate(lines)}
    return Layout(
        width=lefts[-1] + widths[-1],
        height=max(y + height / 2 for y, height in zip(ys, heights, strict=True)),
        boxes=tuple(_box(line, node, grid) for node, line in enumerate(lines)),
        segments=tuple(_segments(net, grid)),
        joints=tuple((grid.left(node), ys[node]) for node in sorted(net.joints)),
        levels=tuple(grid.left(node) + grid.width(node) / 2 for _, node in sorted(one_of_level.items())),
    )


def _build(lines: Sequence[StepLine]) -> _Net:
    index = {line.name: at for at, line in enumerate(lines)}
    reasons = {
        (index[source], at): why
        for at, line in enumerate(lines)
        for source, why in zip(line.after, line.why, strict=True)
    }
    bundles = find_bundles(_waits(reasons))
    before = [2 * min(lines[target].level for target in bundle.targets) - 1 for bundle in bundles]
    halves = sorted({*(2 * line.level for line in lines), *before})
    net = _Net(column=[halves.index(2 * line.level) for line in lines], services=len(lines))
    sentences = {(one, two): f"{lines[two].name} after {lines[one].name}: {why}" for (one, two), why in reasons.items()}
    for bundle, half in zip(bundles, before, strict=True):
        joint = net.add(halves.index(half))
        net.joints.add(joint)
        for source in bundle.sources:
            told = [sentences[source, target] for target in bundle.targets]
            net.connect(source, joint, reads=False, reasons=told)
        for target in bundle.targets:
            told = [sentences.pop((source, target)) for source in bundle.sources]
            net.connect(joint, target, reads=False, reasons=told)
    for (source, target), sentence in sentences.items():
        net.connect(source, target, reads=is_reading(reasons[source, target]), reasons=[sentence])
    return net


def _waits(reasons: Mapping[tuple[int, int], str]) -> dict[int, set[int]]:
    """For each service, those whose outcome it waits for without reading what they wrote."""
    waits: dict[int, set[int]] = defaultdict(set)
    for (source, target), why in reasons.items():
        if not is_reading(why):
            waits[target].add(source)
    return waits


def is_reading(reason: str) -> bool:
    """Whether a reason of the explanation speaks of a column that is read."""
    return reason.startswith("reads ")


def _places(columns: Sequence[Sequence[StepLine]]) -> tuple[list[float], list[float]]:
    """The left edge and the width of each column; one without services holds joints and lanes only."""
    lefts: list[float] = []
    widths: list[float] = []
    for lines in columns:
        needed = [max(cells(_name(one)) * NAME_CELL, cells(_detail(one)) * DETAIL_CELL) + 2 * PADDING for one in lines]
        gap = COLUMN_GAP if lines and widths and widths[-1] else JOINT_GAP
        lefts.append(lefts[-1] + widths[-1] + gap if lefts else 0.0)
        widths.append(max(LEAST_WIDTH, *needed) if needed else 0.0)
    return lefts, widths


def _box(line: StepLine, node: int, grid: _Grid) -> Box:
    return Box(
        line=line,
        name=_name(line),
        detail=_detail(line),
        x=grid.left(node),
        y=grid.ys[node] - BOX_HEIGHT / 2,
        width=grid.width(node),
        height=BOX_HEIGHT,
    )


def _segments(net: _Net, grid: _Grid) -> Iterable[Segment]:
    for (start, end, reads), reasons in net.links.items():
        yield Segment(
            start=(grid.left(start) + grid.width(start), grid.ys[start]),
            end=(grid.left(end), grid.ys[end]),
            straight=grid.width(end) if net.is_lane(end) else 0.0,
            reads=reads,
            arrow=end < net.services,
            reasons=tuple(reasons),
        )


def _name(line: StepLine) -> str:
    return shorten_middle(line.name, NAME_CELLS)


def _detail(line: StepLine) -> str:
    reads = ", ".join(_plain(column) for column in line.reads)
    writes = ", ".join(_plain(column) for column in line.writes)
    return shorten(f"{reads} → {writes}" if writes else reads, DETAIL_CELLS)


def _plain(column: str) -> str:
    return column.rpartition("@")[0]
