"""Draws view values as text for a terminal and as HTML for a notebook.

Every text that comes from data or from a pipeline goes through `escape` or `printable` on its way out; there is
no markup but what is written here. The graph itself is drawn in `picture`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from dataflow.errors import DataflowError
from dataflow.faces.picture import COLOURS, explanation_svg, inline_svg
from dataflow.faces.texts import cell, cells, count, counted, padded, printable, shorten, size
from dataflow.faces.view import DatasetView, RunView, Table, view_result, view_statistics

if TYPE_CHECKING:
    from dataflow.plan.explain import Explanation, StepLine
    from dataflow.plan.pipeline import Pipeline
    from dataflow.services.service import Service
    from dataflow.wiring.result import Result

__all__ = [
    "dataset_html",
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

_VALUE = 400
"""Characters of one value in a notebook."""

_COLUMNS = 60
"""Columns of a dataset that a notebook lists."""

_GOOD, _BAD = "#259b6f", "#d1584a"
_CELL = "padding:2px 12px 2px 0;vertical-align:top"


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


def table_html(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Collection[int] = ()) -> str:
    """Rows as an HTML table, escaped; `right` names the columns, by position, that stand flush right."""
    marked = [[_marked(value) for value in row] for row in rows]
    return _table([_plain(header) for header in headers], marked, right=right)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> str:
    """A table of cells that are escaped already."""
    sides = ["right" if at in right else "left" for at in range(max(len(headers), *map(len, rows), 0))]
    head = "".join(
        f'<th style="{_CELL};text-align:{side}">{text}</th>' for side, text in zip(sides, headers, strict=False)
    )
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{_CELL};text-align:{side}">{text}</td>' for side, text in zip(sides, row, strict=False))
        + "</tr>"
        for row in rows
    )
    top = f"<thead><tr>{head}</tr></thead>" if headers else ""
    return (
        f'<div style="overflow-x:auto"><table style="border-collapse:collapse;margin:6px 0">{top}'
        f"<tbody>{body}</tbody></table></div>"
    )


def _plain(text: str) -> str:
    return escape(printable(text))


def _marked(value: Any) -> str:
    """A value as escaped text: null is faint, a long one is shortened."""
    if value is None:
        return '<span style="opacity:.6">null</span>'
    return escape(shorten(cell(value), _VALUE))


def _faint(text: str) -> str:
    return f'<span style="opacity:.75">{text}</span>'


def named(title: str, phrases: Iterable[str]) -> str:
    """A title in bold and phrases behind it, as HTML."""
    return f"<div><b>{_plain(title)}</b> {_faint(_plain(' · '.join(phrases)))}</div>"


def sentences(label: str, texts: Iterable[str]) -> str:
    """Sentences as HTML, each behind a label."""
    return "".join(f"<div>{_faint(f'{label}:')} {_plain(one)}</div>" for one in texts)


def explanation_html(explanation: Explanation) -> str:
    """The graph as a picture, its services as a table, and the notes."""
    rows = [_line(line) for line in explanation.lines]
    levels = 1 + max(line.level for line in explanation.lines)
    output = ", ".join(f"{name} {kind}" for name, kind in explanation.columns)
    return (
        named(explanation.name, [counted(len(rows), "service"), counted(levels, "level")])
        + f'<div style="overflow-x:auto">{inline_svg(explanation)}</div>'
        + f'<details><summary style="cursor:pointer">{_faint("all services and the output")}</summary>'
        + _table(["service", "level", "kind", "reads", "writes", "waits for"], rows, right={1})
        + f"<div>{_faint('output:')} {_plain(output)}</div></details>"
        + sentences("note", explanation.notes)
    )


def _line(line: StepLine) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, why in zip(line.after, line.why, strict=True):
        reasons.setdefault(why, []).append(name)
    waits = [f"{_plain(', '.join(names))} {_faint(f'({_plain(why)})')}" for why, names in reasons.items()]
    return [
        f"<b>{_plain(line.name)}</b>",
        str(line.level + 1),
        f"{_dot(COLOURS[line.kind])} {line.kind} {_faint(_plain(f'({line.called}, {line.priority})'))}",
        _plain(", ".join(line.reads)),
        _plain(", ".join(line.writes)),
        "<br>".join(waits),
    ]


def _dot(colour: str) -> str:
    return f'<span style="color:{colour}">●</span>'


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
        + _table(["service", "kind", "reads", "writes"], rows)
        + sentences("no graph", [reason])
    )


def _is_remote(service: Service) -> bool:
    return service.lookup is not None and isinstance(service.lookup.table, str) and "://" in service.lookup.table


def _service(service: Service) -> list[str]:
    return [
        f"<b>{_plain(service.name)}</b>",
        f"{_dot(COLOURS[service.kind])} {service.kind} {_faint(f'({service.form}, {service.policy.priority})')}",
        _plain(", ".join(column for parameter in service.parameters for column in parameter.columns)),
        _plain(", ".join(output.column for output in service.outputs)),
    ]


def result_html(result: Result) -> str:
    """One record: what happened, its values, the verdicts and what failed."""
    view = view_result(result)
    verdicts = [
        [f'<span style="color:{_GOOD if valid else _BAD}">{"✓" if valid else "✗"}</span>', _plain(name), _plain(errors)]
        for name, valid, errors in view.verdicts
    ]
    rejected = [view.rejected] if view.rejected else []
    return (
        named("Result", view.summary)
        + sentences("a run rejects this record", rejected)
        + table_html((), view.data)
        + (_table(["", "validation", "errors"], verdicts) if verdicts else "")
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


def statistics_html(report: Mapping[str, Any]) -> str:
    """Statistics in their public form as a compact table, without what is zero."""
    view = view_statistics(report)
    table = table_html(view.services.headers, view.services.rows, right=view.services.right)
    failed = sentences("failed", (f"{name}: {errors}" for name, errors in view.errors))
    waited = sentences("waited", (f"{name}: {reasons}" for name, reasons in view.waits))
    return f"<div>{_plain(' · '.join(view.summary))}</div>{table if view.services.rows else ''}{failed}{waited}"


def run_text(view: RunView) -> str:
    """A run in a few lines: where it stands, where its output is, what came of its records."""
    lines = [f"{view.status} {printable(view.target)} by run {view.id}{_progress(view)}"]
    lines += [f"path: {printable(view.path)}"] if view.path else []
    lines += [statistics_text(view.statistics)] if view.statistics else []
    lines += [f"note: {printable(note)}" for note in view.notes]
    return "\n".join([*lines, *(f"warning: {printable(warning)}" for warning in view.warnings)])


def run_html(view: RunView) -> str:
    """A run as a notebook shows it."""
    phrases = [f"{view.status} by run {view.id}{_progress(view)}"]
    return (
        named(view.target, phrases)
        + sentences("path", [view.path] if view.path else [])
        + (statistics_html(view.statistics) if view.statistics else "")
        + sentences("note", view.notes)
        + sentences("warning", view.warnings)
    )


def _progress(view: RunView) -> str:
    if view.done >= view.partitions:
        return ""
    return f", {count(view.done)} of {counted(view.partitions, 'partition')}"


def dataset_text(view: DatasetView) -> str:
    """A dataset: how much, where, since when, and its columns."""
    facts = [f"{name + ':':<9}{printable(text)}" for name, text in _facts(view)]
    head = f"{printable(view.target)}: {', '.join(_amounts(view))}"
    return "\n".join([head, *facts, table_text(("column", "type"), view.columns)])


def dataset_html(view: DatasetView) -> str:
    """A dataset as a notebook shows it; of very many columns the first ones."""
    more = len(view.columns) - _COLUMNS
    return (
        named(view.target, _amounts(view))
        + "".join(sentences(name, [text]) for name, text in _facts(view))
        + table_html(("column", "type"), view.columns[:_COLUMNS])
        + (f"<div>and {counted(more, 'more column')}</div>" if more > 0 else "")
    )


def _amounts(view: DatasetView) -> list[str]:
    amounts = [counted(view.rows, "record")]
    amounts += [f"{count(view.rejected)} rejected"] if view.rejected else []
    amounts += [counted(len(view.columns), "column")] if view.columns else []
    parts = counted(view.parts, "part")
    return [*amounts, f"{parts} ({size(view.bytes)})" if view.bytes else parts]


def _facts(view: DatasetView) -> list[tuple[str, str]]:
    facts = [("path", view.path), ("key", ", ".join(view.key)), ("run", view.run), ("state", view.state)]
    facts.append(("created", view.created))
    return [(name, text) for name, text in facts if text]
