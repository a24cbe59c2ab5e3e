"""A sample as a notebook shows it: records after the pipeline, with what was changed, added or failed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dataflow.faces.markup import (
    GOOD,
    WEAK,
    WRONG,
    dot,
    faint,
    marked,
    named,
    plain,
    sentences,
    table_of_markup,
    unbroken,
)
from dataflow.faces.picture import COLOURS
from dataflow.faces.quote import quote_html
from dataflow.faces.texts import cell, counted, printable, shorten
from dataflow.outcomes import Kind, Outcome, Status
from dataflow.wiring.records import to_records

if TYPE_CHECKING:
    from dataflow.wiring.trial import Sample

CHANGED, ADDED = COLOURS[Kind.TRANSFORMATION], COLOURS[Kind.ENRICHMENT]

_TEXTS = 20
"""Texts of errors that are shown below the records."""
_RECORDS, _COLUMNS, _LONGEST = 100, 60, 48
"""Records, columns and characters of a value that are shown."""

_FAILED = (Status.FAILED, Status.TIMED_OUT)
_WITHOUT = (Status.NOT_FOUND, Status.SKIPPED, Status.NOT_ATTEMPTED)
_OWN = ("validations", "is_valid", "rejected")
"""Columns that stand in front of the others, as one: what became of the record."""


def sample_html(sample: Sample) -> str:
    """The records with the values that services have changed or added, what failed, what it cost and what all would."""
    before, after = _rows(sample.before), _rows(sample.table)
    names = _shown_names(sample)[:_COLUMNS]
    rows = [
        [str(at), _end(record), *(unbroken(_cell(sample, name, at - 1, old=old, record=record)) for name in names)]
        for at, (old, record) in enumerate(zip(before, after, strict=True), start=1)
    ]
    phrases = ["sample", counted(sample.table.num_rows, "record"), *_more(sample, names)]
    return (
        named(", ".join(phrases[:2]), phrases[2:])
        + table_of_markup(["", "record", *map(plain, names)], rows, right={0})
        + _legend()
        + sentences("error", _errors(sample))
        + sentences("note", sample.notes)
        + ("" if sample.bill is None else sentences("bill", [sample.bill.told]))
        + ("" if sample.quote is None else f"<div>{faint('the whole source:')}</div>{quote_html(sample.quote)}")
    )


def _shown_names(sample: Sample) -> list[str]:
    """The columns that services write, then the others: what is of interest is seen without scrolling."""
    names = [name for name in sample.table.column_names if name not in _OWN]
    return sorted(names, key=lambda name: name not in sample.writers)


def _rows(table: Any) -> list[dict[str, Any]]:
    return to_records(table.slice(0, _RECORDS))


def _more(sample: Sample, names: Sequence[str]) -> list[str]:
    records = sample.table.num_rows - _RECORDS
    columns = len(_shown_names(sample)) - len(names)
    hidden = [counted(records, "more record")] if records > 0 else []
    return [*hidden, *([counted(columns, "more column")] if columns > 0 else [])]


def _end(record: Mapping[str, Any]) -> str:
    """Where a record ends, with the words of those who have judged it."""
    if record.get("rejected"):
        return f"{unbroken(f'{dot(WRONG)} rejected')} {faint(plain(record['rejected'], _LONGEST))}"
    if record.get("is_valid") is False:
        judged = [one for one in record.get("validations") or () if not one["is_valid"]]
        texts = [f"{one['validator']}: {'; '.join(one['errors'] or ()) or 'invalid'}" for one in judged]
        return f"{unbroken(f'{dot(WEAK)} invalid')} {faint('<br>'.join(plain(text, _LONGEST) for text in texts))}"
    if record.get("degraded"):
        return unbroken(f"{dot(WEAK)} degraded")
    return unbroken(f"{dot(GOOD)} {'valid' if 'is_valid' in record else 'output'}")


def _cell(sample: Sample, name: str, row: int, *, old: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """A value, tinted where a service has changed or added it; in place of one that is missing, why it is."""
    value = record[name]
    fate = _last_fate(sample, name, row)
    if fate is None:
        return marked(value, _LONGEST)
    if fate.status in _FAILED:
        told = _why(fate) if value is None else f"{_why(fate)} {marked(value, _LONGEST)}"
        error = f": {fate.error}" if fate.error else ""
        return _tinted(WRONG, told, f"{fate.service} failed{error}")
    if value is None:
        return faint(_why(fate)) if fate.status in _WITHOUT else marked(None)
    if name not in old:
        return _tinted(ADDED, marked(value, _LONGEST), f"{fate.service} added it")
    if _is_same(old[name], value):
        return marked(value, _LONGEST)
    return _tinted(CHANGED, marked(value, _LONGEST), f"{fate.service} changed it, before: {_told(old[name])}")


def _last_fate(sample: Sample, name: str, row: int) -> Outcome | None:
    """What the last service has done that was called for this value, or else why the last one was not."""
    fates = [sample.fates[row][writer] for writer in reversed(sample.writers.get(name, ()))]
    return next((one for one in fates if one.status is not Status.SKIPPED), fates[0] if fates else None)


def _why(fate: Outcome) -> str:
    status = fate.status.value.replace("_", " ")
    return plain(status if fate.reason in (None, status) else f"{status}: {fate.reason}", _LONGEST)


def _errors(sample: Sample) -> list[str]:
    """What failed, each text once: that of a cell is seen only where the mouse rests."""
    told = {(name, one.error) for fate in sample.fates for name, one in fate.items() if one.error}
    return [f"{name}: {error}" for name, error in sorted(told)[:_TEXTS]]


def _told(value: Any) -> str:
    return "null" if value is None else shorten(cell(value), _LONGEST)


def _is_same(old: Any, new: Any) -> bool:
    return type(old) is type(new) and bool(old == new or (old != old and new != new))  # noqa: PLR0124 - two NaN


def _tinted(colour: str, markup: str, why: str) -> str:
    return (
        f'<span title="{plain(printable(why))}" style="border-left:3px solid {colour};padding-left:5px;'
        f'background:{colour}22">{markup}</span>'
    )


def _legend() -> str:
    words = {"changed by a service": CHANGED, "added by a service": ADDED, "failed": WRONG}
    return f"<div>{'&emsp;'.join(_tinted(colour, faint(text), text) for text, colour in words.items())}</div>"
