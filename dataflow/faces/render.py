"""Draws view values as text for a terminal and as HTML for a notebook.

Every text that comes from data or from a pipeline goes through `escape` or `printable` on its way out; there is
no markup but what is written here. The graph itself is drawn in `picture`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dataflow.errors import DataflowError
from dataflow.faces.counts import statistics_html
from dataflow.faces.markup import (
    GOOD,
    WRONG,
    dot,
    faint,
    folded,
    named,
    plain,
    sentences,
    table_html,
    table_of_markup,
)
from dataflow.faces.picture import COLOURS, explanation_svg, inline_svg
from dataflow.faces.texts import cell, cells, count, counted, padded, printable, shorten, size
from dataflow.faces.view import DatasetView, RunView, Table, view_result, view_statistics

if TYPE_CHECKING:
    from dataflow.plan.explain import Explanation, StepLine
    from dataflow.plan.pipeline import Pipeline
    from dataflow.services.service import Service
    from dataflow.wiring.result import Result

__all__ = [
    "dataset_text",
    "explanation_html",
    "explanation_svg",
    "named",
    "pipeline_html",
    "result_html",
    "run_html",
    "run_text",
    "sentences",
    "statistics_html",
    "statistics_text",
    "table_html",
    "table_text",
]

CELL = 60
"""Columns of a terminal that one cell of a table takes at most."""


def table_text(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Collection[int] = ()) -> str:
    """Rows in aligned columns; null is empty, long cells are shortened.

    Args:
        headers: One for each column.
        rows: Values of any kind; columns that hold only numbers stand flush right.
        right: Other columns, by position, that do.
    """
    listed = [tuple(row) for row in rows]
    flush = {*right, *(at for at in range(len(headers)) if _is_numeric([row[at] for row in listed]))}
    texts = [[shorten(cell(value), CELL) for value in row] for row in [headers, *listed]]
    widths = [max(map(cells, column)) for column in zip(*texts, strict=True)]
    texts.insert(1, ["─" * width for width in widths])
    lines = [
        [padded(text, width, right=at in flush) for at, (text, width) in enumerate(zip(row, widths, strict=True))]
        for row in texts
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _is_numeric(values: Sequence[Any]) -> bool:
    found = [value for value in values if value is not None]
    return bool(found) and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in found)


def explanation_html(explanation: Explanation) -> str:
    """The graph as a picture, its services as a table, and the notes."""
    rows = [_line(line) for line in explanation.lines]
    levels = 1 + max(line.level for line in explanation.lines)
    output = ", ".join(f"{name} {kind}" for name, kind in explanation.columns)
    services = table_of_markup(["service", "level", "kind", "reads", "writes", "waits for"], rows, right={1})
    return (
        named(explanation.name, [counted(len(rows), "service"), counted(levels, "level")])
        + f'<div style="overflow-x:auto">{inline_svg(explanation)}</div>'
        + folded("all services and the output", services + sentences("output", [output]))
        + sentences("note", explanation.notes)
    )


def _line(line: StepLine) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, why in zip(line.after, line.why, strict=True):
        reasons.setdefault(why, []).append(name)
    waits = [f"{plain(', '.join(names))} {faint(f'({plain(why)})')}" for why, names in reasons.items()]
    return [
        f"<b>{plain(line.name)}</b>",
        str(line.level + 1),
        f"{dot(COLOURS[line.kind])} {line.kind} {faint(plain(f'({line.called}, {line.priority})'))}",
        plain(", ".join(line.reads)),
        plain(", ".join(line.writes)),
        "<br>".join(waits),
    ]


def pipeline_html(pipeline: Pipeline) -> str:
    """The graph of a pipeline where it can be bound without a source, else the list of its services.

    Only what is at hand is read: a lookup whose table is behind a URL leaves it at the list.
    """
    if not any(_is_remote(service) for service in pipeline.every):
        try:
            return explanation_html(pipeline.explain())
        except DataflowError as error:
            reason = str(error)
    else:
        reason = "a lookup reads from a URL; explain() draws the graph"
    rows = [_service(service) for service in pipeline.services]
    return (
        named(pipeline.name, [counted(len(rows), "service")])
        + table_of_markup(["service", "kind", "reads", "writes"], rows)
        + sentences("no graph", [reason])
    )


def _is_remote(service: Service) -> bool:
    return service.lookup is not None and isinstance(service.lookup.table, str) and "://" in service.lookup.table


def _service(service: Service) -> list[str]:
    return [
        f"<b>{plain(service.name)}</b>",
        f"{dot(COLOURS[service.kind])} {service.kind} {faint(f'({service.form}, {service.policy.priority})')}",
        plain(", ".join(column for parameter in service.parameters for column in parameter.columns)),
        plain(", ".join(output.column for output in service.outputs)),
    ]


def result_html(result: Result) -> str:
    """One record: what happened, its values, the verdicts and what failed."""
    view = view_result(result)
    verdicts = [
        [f'<span style="color:{GOOD if valid else WRONG}">{"✓" if valid else "✗"}</span>', plain(name), plain(errors)]
        for name, valid, errors in view.verdicts
    ]
    rejected = [view.rejected] if view.rejected else []
    return (
        named("Result", view.summary)
        + sentences("a run rejects this record", rejected)
        + table_html((), view.data)
        + (table_of_markup(["", "validation", "errors"], verdicts) if verdicts else "")
        + (table_html(("failed", "status", "reason", "error"), view.failures) if view.failures else "")
    )


def statistics_text(report: Mapping[str, Any]) -> str:
    """Statistics in their public form as a compact table, without what is zero."""
    view = view_statistics(report)
    lines = [", ".join(view.summary)]
    lines += [_table_text(view.services)] if view.services.rows else []
    lines += [f"{printable(name)} failed: {errors}" for name, errors in view.errors]
    return "\n".join([*lines, *(f"{printable(name)} waited: {reasons}" for name, reasons in view.waits)])


def _table_text(table: Table) -> str:
    return table_text(table.headers, table.rows, right=table.right)


def run_text(view: RunView) -> str:
    """A run in a few lines: where it stands, where its output is, what came of its records."""
    lines = [f"{view.status} {printable(view.target)} by run {view.id}{_progress(view)}"]
    lines += [f"path: {printable(view.path)}"] if view.path else []
    lines += [statistics_text(view.statistics)] if view.statistics else []
    lines += [f"error: {printable(error)}" for error in view.errors]
    lines += [f"note: {printable(note)}" for note in view.notes]
    return "\n".join([*lines, *(f"warning: {printable(warning)}" for warning in view.warnings)])


def run_html(view: RunView) -> str:
    """A run as a notebook shows it."""
    phrases = [f"{view.status} by run {view.id}{_progress(view)}"]
    return (
        named(view.target, phrases)
        + (_bar(view) if view.status == "running" else "")
        + sentences("reason", [view.reason] if view.reason else [])
        + sentences("path", [view.path] if view.path else [])
        + (statistics_html(view.statistics) if view.statistics else "")
        + sentences("error", view.errors)
        + sentences("note", view.notes)
        + sentences("warning", view.warnings)
    )


def _progress(view: RunView) -> str:
    if view.done >= view.partitions:
        return ""
    return f", {count(view.done)} of {counted(view.partitions, 'partition')}"


def _bar(view: RunView) -> str:
    return f'<progress value="{view.done}" max="{max(view.partitions, 1)}" style="width:16em"></progress>'


def dataset_text(view: DatasetView) -> str:
    """A dataset: how much, where, since when, and its columns."""
    facts = [f"{name + ':':<9}{printable(text)}" for name, text in places(view)]
    head = f"{printable(view.target)}: {', '.join(amounts(view))}"
    return "\n".join([head, *facts, table_text(("column", "type"), view.columns)])


def amounts(view: DatasetView) -> list[str]:
    """How much is in a dataset."""
    amounts = [counted(view.rows, "record")]
    amounts += [f"{count(view.rejected)} rejected"] if view.rejected else []
    amounts += [counted(len(view.columns), "column")] if view.columns else []
    parts = counted(view.parts, "part")
    return [*amounts, f"{parts} ({size(view.bytes)})" if view.bytes else parts]


def places(view: DatasetView) -> list[tuple[str, str]]:
    """Where a dataset is and where it comes from, each with its label."""
    facts = [("path", view.path), ("key", ", ".join(view.key)), ("run", view.run), ("state", view.state)]
    facts += [("lacks", view.lacks), ("created", view.created)]
    return [(name, text) for name, text in facts if text]
