"""The statistics of a run as a notebook shows them: numbers as a table, and beside them small pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataflow.faces.markup import faint, marked, plain, sentences, table_of_markup, unbroken
from dataflow.faces.plots import (
    Axis,
    axis_of,
    duration_marks,
    legend,
    marks_legend,
    outcome_parts,
    record_parts,
    share_bar,
    stacked_bar,
)
from dataflow.faces.texts import brief
from dataflow.faces.view import view_statistics


def statistics_html(report: Mapping[str, Any]) -> str:
    """Statistics in their public form: where records ended, and for each service its outcomes and its durations."""
    view = view_statistics(report)
    failed = sentences("failed", (f"{name}: {errors}" for name, errors in view.errors))
    waited = sentences("waited", (f"{name}: {reasons}" for name, reasons in view.waits))
    return _summary(report, view.summary) + (_services(report) if view.services.rows else "") + failed + waited


def _summary(report: Mapping[str, Any], phrases: tuple[str, ...]) -> str:
    parts, complete = record_parts(report), report.get("completeness")
    bars = f"{stacked_bar(parts)}&emsp;{legend(parts)}" if parts else ""
    bars += f"{share_bar(complete)}&nbsp;{faint('complete')}" if complete is not None else ""
    return f"<div>{plain(' · '.join(phrases))}</div>" + (f'<div style="margin:4px 0">{bars}</div>' if bars else "")


def _services(report: Mapping[str, Any]) -> str:
    """The numbers of each service, behind a bar of them and before the marks of its durations."""
    services: Mapping[str, Mapping[str, Any]] = report["services"]
    table = view_statistics(report).services
    axis = axis_of(one.get("duration") or {} for one in services.values())
    parts = {name: outcome_parts(one) for name, one in services.items()}
    rows = [
        [
            f"<b>{marked(row[0])}</b>",
            stacked_bar(parts[name]),
            *map(marked, row[1:-1]),
            *_times(one.get("duration") or {}, axis),
        ]
        for (name, one), row in zip(services.items(), table.rows, strict=True)
    ]
    numbers = [plain(header) for header in table.headers[1:-1]]
    scale = [unbroken(faint(axis.label)), *map(faint, ("median", "longest"))] if axis else []
    shown = legend(part for one in parts.values() for part in one) + (marks_legend() if axis else "")
    first, marks = 2, 2 + len(numbers)
    right = {*range(first, marks), *range(marks + 1, marks + 3)}
    return table_of_markup(["service", "outcomes", *numbers, *scale], rows, right=right) + f"<div>{shown}</div>"


def _times(marks: Mapping[str, float | None], axis: Axis | None) -> list[str]:
    if axis is None:
        return []
    drawn, known = duration_marks(marks, axis), [marks.get(name) for name in ("p50", "max")]
    return [drawn, *(unbroken(brief(one)) if drawn and one is not None else "" for one in known)]
