"""What runs beside what, and why: a graph told in lines. Pure; how it is drawn is the business of the faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataflow.outcomes import Kind
from dataflow.plan.graph import Column, Graph, Step
from dataflow.plan.resolve import stages
from dataflow.services.signature import Form


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """One service in the explanation.

    Attributes:
        name: The service.
        kind: What it is for.
        form: How it is called.
        api: The name of the API under whose limits it calls, or None.
        priority: What its failure means.
        level: The group it runs in, from 0.
        reads: Versions of columns, as `email@1`.
        writes: The same.
        after: The services it waits for directly.
        why: For each of these, the reason.
        when: Its `when=` text, or None.
        batch: Records that share a call at most.
        inside: What runs inside a `for_each`, with levels of its own: first what is called once for each record.
    """

    name: str
    kind: Kind
    form: Form
    api: str | None
    priority: str
    level: int
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    after: tuple[str, ...]
    why: tuple[str, ...]
    when: str | None
    batch: int = 1
    inside: tuple[StepLine, ...] = ()

    @property
    def called(self) -> str:
        """Its form, the API behind it, and how many records share a call."""
        parts = [str(self.form)]
        if self.api is not None:
            parts.append(f"API {self.api}")
        if self.batch > 1:
            parts.append(f"{self.batch:,} records a call")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A planned pipeline in words; `print` it, or show it in a notebook.

    Attributes:
        name: The pipeline.
        lines: A line for each service, in listed order.
        columns: Name and type of each output column.
        notes: What was decided, and what to look at.
    """

    name: str
    lines: tuple[StepLine, ...]
    columns: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(_text(self))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from dataflow.faces.render import explanation_html

        return explanation_html(self)


def explain_graph(graph: Graph, notes: Sequence[str] = ()) -> Explanation:
    """Tell a graph.

    Args:
        graph: The bound pipeline.
        notes: Sentences about the source, put before those about the graph.
    """
    lines = _lines(graph)
    columns = tuple((field.name, _short(str(field.type))) for field in graph.output)
    return Explanation(name=graph.name, lines=lines, columns=columns, notes=(*notes, *graph.notes, *_resolved(graph)))


def _lines(graph: Graph, below: int = 0) -> tuple[StepLine, ...]:
    levels = {step.index: level for level, group in enumerate(graph.levels(), below) for step in group}
    writers = {column: step for step in graph.steps for column in step.writes}
    return tuple(_line(step, graph, writers, levels[step.index]) for step in graph.steps)


def _inside(step: Step) -> tuple[StepLine, ...]:
    found: tuple[StepLine, ...] = ()
    for graph in () if step.nest is None else step.nest.graphs:
        found += _lines(graph, 1 + max((line.level for line in found), default=-1))
    return found


def _resolved(graph: Graph) -> list[str]:
    """What is asked once for each distinct input over all partitions, in which order."""
    called = [", ".join(f"`{graph.steps[at].service.name}`" for at in stage.called) for stage in stages(graph)]
    if not called:
        return []
    return [f"where partitions share inputs, each distinct one is called once before them: {'; then '.join(called)}"]


def _line(step: Step, graph: Graph, writers: dict[Column, Step], level: int) -> StepLine:
    waits = _reduced(step, graph)
    policy = step.service.policy
    return StepLine(
        name=step.service.name,
        kind=step.service.kind,
        form=step.service.form,
        api=None if step.service.api is None else step.service.api.name,
        priority=policy.priority.value,
        level=level,
        reads=tuple(str(column) for column in step.inputs),
        writes=tuple(str(column) for column in step.writes),
        after=tuple(graph.steps[index].service.name for index in waits),
        why=tuple(_why(step, graph.steps[index], writers) for index in waits),
        when=policy.when.text if policy.when else None,
        batch=step.service.batch,
        inside=_inside(step),
    )


def _reduced(step: Step, graph: Graph) -> list[int]:
    """The steps it waits for, without those that one of the others waits for anyway."""
    implied: set[int] = set()
    for index in step.after:
        implied |= _ancestors(index, graph)
    return [index for index in step.after if index not in implied]


def _ancestors(index: int, graph: Graph) -> set[int]:
    found: set[int] = set()
    stack = list(graph.steps[index].after)
    while stack:
        one = stack.pop()
        if one not in found:
            found.add(one)
            stack.extend(graph.steps[one].after)
    return found


def _why(step: Step, other: Step, writers: dict[Column, Step]) -> str:
    reads = [str(column) for column in step.inputs if writers.get(column) is other]
    if reads:
        return f"reads {', '.join(reads)}"
    if step.condition is not None and writers.get(step.condition) is other:
        return f"when {step.condition}"
    if other.index in step.judged_by:
        return "when valid"
    replaced = [str(column) for column in step.replaces if column is not None and writers.get(column) is other]
    if replaced:
        return f"replaces {', '.join(replaced)}"
    return (
        "calls out only for records that it has not rejected" if other.index in step.gated_by else "needs its outcome"
    )


def _text(explanation: Explanation) -> list[str]:
    levels = 1 + max(line.level for line in explanation.lines)
    text = [f"{explanation.name}: {len(explanation.lines)} services in {levels} levels; one level runs side by side"]
    text += _levels_text(explanation.lines)
    text.append("output: " + ", ".join(f"{name} {kind}" for name, kind in explanation.columns))
    return text + [f"note: {note}" for note in explanation.notes]


def _levels_text(lines: Sequence[StepLine]) -> list[str]:
    text: list[str] = []
    width = max(len(line.name) for line in lines)
    for level in sorted({line.level for line in lines}):
        text.append(f"level {level + 1}")
        for line in lines:
            if line.level == level:
                text.append(f"  {line.name:<{width}}  {_details(line)}")
                text += [f"    {one}" for one in _levels_text(line.inside)] if line.inside else []
    return text


def _details(line: StepLine) -> str:
    parts = [f"{line.kind} ({line.called}, {line.priority})", ", ".join(line.reads)]
    if line.writes:
        parts[-1] += " -> " + ", ".join(line.writes)
    if line.when:
        parts.append(f"when {line.when}")
    if line.after:
        parts.append("after " + ", ".join(f"{name} ({why})" for name, why in zip(line.after, line.why, strict=True)))
    return "; ".join(parts)


def _short(arrow: str) -> str:
    return arrow if len(arrow) <= 60 else arrow.partition("<")[0] + "<...>"
