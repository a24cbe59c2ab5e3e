"""A dataset as a notebook shows it: how much and where, its columns with their nulls, its first records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dataflow.errors import DataflowError
from dataflow.faces.markup import faint, marked, named, plain, sentences, table_of_markup, unbroken
from dataflow.faces.plots import share_bar
from dataflow.faces.render import amounts, places
from dataflow.faces.texts import count, counted
from dataflow.faces.view import DatasetView, view_dataset
from dataflow.store.filesystem import is_remote
from dataflow.wiring.records import to_records

if TYPE_CHECKING:
    from dataflow.store.dataset import Dataset

_COLUMNS = 60
"""Columns that a notebook lists; a table with more is scrolled through by nobody."""

_RECORDS = 5
_LONGEST = 48
"""Characters of one value of a record."""


def dataset_page(dataset: Dataset) -> str:
    """A dataset with its first records; of one behind a URL none are read, since a page does not wait for a network."""
    problems, first = [], []
    if not is_remote(dataset.path):
        try:
            first = to_records(dataset.head(_RECORDS).select(dataset.schema.names[:_COLUMNS]))
        except (DataflowError, ValueError, OverflowError) as error:
            problems.append(str(error))
    return dataset_html(view_dataset(dataset, first=first)) + sentences("no records", problems)


def dataset_html(view: DatasetView) -> str:
    """A dataset as a notebook shows it; of very many columns the first ones."""
    more = len(view.columns) - _COLUMNS
    return (
        named(view.target, amounts(view))
        + "".join(sentences(name, [text]) for name, text in places(view))
        + _columns(view)
        + (f"<div>and {counted(more, 'more column')}</div>" if more > 0 else "")
        + (_first(view.first) if view.first else "")
    )


def _columns(view: DatasetView) -> str:
    rows = [
        [f"<b>{marked(name)}</b>", marked(kind, _LONGEST), *_filled(view.nulls.get(name), view.rows)]
        for name, kind in view.columns[:_COLUMNS]
    ]
    return table_of_markup(["column", "type", "filled", "nulls"], rows, right={3})


def _filled(nulls: int | None, rows: int) -> list[str]:
    if nulls is None or not rows:
        return ["", ""]
    return [share_bar(1 - nulls / rows), count(nulls) if nulls else faint("0")]


def _first(records: Sequence[Mapping[str, Any]]) -> str:
    rows = [[unbroken(marked(value, _LONGEST)) for value in record.values()] for record in records]
    return f"<div>{faint('the first records:')}</div>" + table_of_markup([plain(name) for name in records[0]], rows)
