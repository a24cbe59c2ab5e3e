"""What a step did for the records of one partition, kept sparse: only what did not simply succeed is written down.

Values and set arithmetic on row numbers. Nothing is called here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.engine.arrow import arrow_array
from dataflow.outcomes import Priority, Status
from dataflow.policies.guardrail import Stretch
from dataflow.telemetry.tokens import NO_TOKENS, Tokens

if TYPE_CHECKING:
    from dataflow.services.service import Service
    from dataflow.telemetry.services import ServiceStatistics

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Moments = npt.NDArray[np.float64]
"""Seconds since 1970; NaN for none."""

NO_ROWS: Rows = np.empty(0, np.int64)

MISSING = "missing input"
"""The reason of a skip, or the error of a required validation, where an input is null."""

REJECTED = "its service has raised Reject"
"""What anybody may read of a record that an author's code has rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Records that share an outcome other than success, such as `skipped: missing input`."""

    status: Status
    reason: str
    rows: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A record whose service failed, or was not attempted for it: what it lacks then is the same.

    Attributes:
        row: Its place in the partition.
        reason: The class of the error, for counting.
        error: The text of the error; it may hold values, and what somebody else has said.
        plain: The same without anything of that; None where it says nothing else.
        status: `failed`, `timed_out` or `not_attempted`.
        attempts: Calls made for it.
        duration: Seconds spent on it.
        http_status: Of the last answer, or None where there was none.
        cost: Money spent on it.
    """

    row: int
    reason: str
    error: str
    status: Status = Status.FAILED
    attempts: int = 1
    duration: float = 0.0
    http_status: int | None = None
    cost: float = 0.0
    plain: str | None = None

    @property
    def sentence(self) -> str:
        """What anybody may read of its text."""
        return self.error if self.plain is None else self.plain

    def without_texts(self) -> Failure:
        """The same without what somebody else has said."""
        return self if self.plain is None else replace(self, error=self.plain, plain=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What a validation judged.

    Attributes:
        valid: For each record; True where it was not judged.
        judged: For each record, or None where all were.
        error_rows: The record of each error text, ascending; a record may have several.
        errors: The error texts.
    """

    valid: Mask
    judged: Mask | None = None
    error_rows: Rows = field(default_factory=lambda: NO_ROWS)
    errors: pa.Array = field(default_factory=lambda: pa.nulls(0, pa.string()))

    def first_error(self, row: int) -> str | None:
        """The first error text of a record, or None."""
        at = int(np.searchsorted(self.error_rows, row))
        if at < len(self.error_rows) and self.error_rows[at] == row:
            return str(self.errors[at])
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberEffect:
    """What a service inside a `for_each` did.

    Attributes:
        service: The service.
        statistics: Its counts, by items, or by records where it was called once for each.
        failures: The items that it failed for, with the row of their record.
        items: The place of each of these items among all; empty where it was called once for each record.
    """

    service: Service
    statistics: ServiceStatistics
    failures: tuple[Failure, ...] = ()
    items: tuple[int, ...] = ()

    def without_texts(self) -> MemberEffect:
        """The same without what somebody else has said."""
        return replace(self, failures=tuple(one.without_texts() for one in self.failures))


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a step did for the records it was given; rows are their places among these.

    Attributes:
        values: The columns it made, one value for each record; null where it failed or did not apply.
        marks: Records that were skipped or not found.
        failures: Records it failed for, or was not attempted for.
        rejections: Records it rejected, with the text.
        verdicts: What a validation judged.
        calls: Calls made, with those that repeated an attempt.
        retries: Calls among them that repeated an attempt.
        cost: Money that all of them cost.
        tokens: That models used for them.
        shared: Records that shared the call of an earlier one.
        raised: The longest stretch of calls of a local service that raised what nobody expects, or None.
        given: When the answer of each record was given that is kept, or None where none is.
        waited: Seconds of waiting before calls, by reason.
        seconds: Time spent calling.
        durations: Seconds of each call, where they were taken one by one.
        members: What the services inside a `for_each` did.
    """

    values: tuple[Any, ...] = ()
    marks: tuple[Mark, ...] = ()
    failures: tuple[Failure, ...] = ()
    rejections: tuple[tuple[int, str], ...] = ()
    verdicts: Verdicts | None = None
    calls: int = 0
    retries: int = 0
    cost: float = 0.0
    tokens: Tokens = NO_TOKENS
    shared: Rows = field(default_factory=lambda: NO_ROWS)
    raised: Stretch | None = None
    given: Moments | None = None
    waited: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    durations: tuple[float, ...] = ()
    members: tuple[MemberEffect, ...] = ()

    def without_texts(self) -> Effect:
        """The same without what providers and an author's exceptions have said."""
        if not (self.failures or self.rejections or self.members):
            return self
        return replace(
            self,
            failures=tuple(one.without_texts() for one in self.failures),
            rejections=tuple((row, rejection_sentence(text)) for row, text in self.rejections),
            members=tuple(one.without_texts() for one in self.members),
        )

    @property
    def degraded_rows(self) -> Rows:
        """The records for which an important service inside has failed; each as often as it has."""
        important = [one for one in self.members if one.service.policy.priority is Priority.IMPORTANT]
        return rows_of([failure.row for one in important for failure in one.failures])

    @property
    def failed_rows(self) -> Rows:
        """The places of the failures, ascending."""
        return rows_of([failure.row for failure in self.failures])

    @property
    def unattempted_rows(self) -> Rows:
        """The places of those among them that were not attempted, ascending."""
        return rows_of([failure.row for failure in self.failures if failure.status is Status.NOT_ATTEMPTED])


def rejection_sentence(text: str) -> str:
    """What anybody may read of the text of a rejection."""
    return text if text == MISSING else REJECTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusions:
    """What a service does not do.

    Attributes:
        rows: The records it is called for, or None for all of them.
        marks: The outcomes of the others.
        rejections: Records rejected because a required input is missing, with the text.
        invalid: Records that a validation finds invalid because a required input is missing.
        kept: Records whose columns keep their earlier values.
        tainted: Records whose input is null because another service failed, with the reason of their skip.
    """

    rows: Rows | None = None
    marks: tuple[Mark, ...] = ()
    rejections: tuple[tuple[int, str], ...] = ()
    invalid: Rows = field(default_factory=lambda: NO_ROWS)
    kept: Rows = field(default_factory=lambda: NO_ROWS)
    tainted: tuple[tuple[str, Rows], ...] = ()

    def verdicts_of(self, verdicts: Verdicts | None, size: int) -> Verdicts | None:
        """The verdicts with those of missing required inputs added."""
        if verdicts is None or len(self.invalid) == 0:
            return verdicts
        valid, missing = verdicts.valid.copy(), mask_of(self.invalid, size)
        valid[missing] = False
        judged = None if verdicts.judged is None else verdicts.judged | missing
        rows = np.concatenate([verdicts.error_rows, self.invalid])
        order = np.argsort(rows, kind="stable")
        errors = pa.concat_arrays([verdicts.errors, pa.array([MISSING] * len(self.invalid), pa.string())])
        return Verdicts(valid=valid, judged=judged, error_rows=rows[order], errors=errors.take(arrow_array(order)))


NONE_EXCLUDED = Exclusions()


def rows_of(rows: Collection[int]) -> Rows:
    """Row numbers as an array, ascending."""
    return np.sort(np.fromiter(rows, np.int64)) if rows else NO_ROWS


def mask_of(rows: Rows, size: int) -> Mask:
    """True at the given rows."""
    mask = np.zeros(size, np.bool_)
    mask[rows] = True
    return mask


def moments_of(given: Mapping[int, float], size: int) -> Moments | None:
    """When something was given for some of so many records; None where nothing was."""
    if not given:
        return None
    moments = np.full(size, np.nan)
    moments[np.fromiter(given, np.int64, len(given))] = np.fromiter(given.values(), np.float64, len(given))
    return moments


def nulls_of(column: Any) -> Mask | None:
    """True where a column is null, or None where it never is."""
    if column.null_count == 0:
        return None
    return to_mask(pc.is_null(column))


def join_chunks(column: Any) -> Any:
    """A column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def to_mask(column: Any) -> Mask:
    """A bool column as a mask; null is False."""
    filled = pc.fill_null(column, False) if column.null_count else column
    mask: Mask = join_chunks(filled).to_numpy(zero_copy_only=False).astype(np.bool_, copy=False)
    return mask


def spread(effect: Effect, rows: Rows | None, size: int) -> Effect:
    """The effect on some rows of a partition as an effect on all of it; the others get nulls."""
    if rows is None:
        return effect
    places = np.full(size, -1, np.int64)
    places[rows] = np.arange(len(rows))
    indices = arrow_array(places, nulls=places < 0)
    return replace(
        effect,
        values=tuple(pc.take(value, indices) for value in effect.values),
        marks=tuple(replace(mark, rows=rows[mark.rows]) for mark in effect.marks),
        failures=tuple(replace(failure, row=int(rows[failure.row])) for failure in effect.failures),
        rejections=tuple((int(rows[row]), text) for row, text in effect.rejections),
        verdicts=None if effect.verdicts is None else _spread_verdicts(effect.verdicts, rows, size),
        shared=rows[effect.shared],
        given=None if effect.given is None else _spread_moments(effect.given, rows, size),
        raised=None if effect.raised is None else replace(effect.raised, start=int(rows[effect.raised.start])),
        members=tuple(
            replace(member, failures=tuple(replace(failure, row=int(rows[failure.row])) for failure in member.failures))
            for member in effect.members
        ),
    )


def merge_effects(types: Sequence[Any], parts: Sequence[tuple[Effect, Rows]], *, size: int) -> Effect:
    """What was done for different records as one effect; records in none of the parts get nulls.

    Args:
        types: The types of the values.
        parts: Effects, each with the places of its records.
        size: Records in all.
    """
    spreads = [spread(effect, rows, size) for effect, rows in parts]
    masks = [arrow_array(mask_of(rows, size)) for _, rows in parts]
    values = []
    for at, arrow in enumerate(types):
        value = pa.nulls(size, arrow)
        for mask, one in zip(masks, spreads, strict=True):
            value = pc.if_else(mask, one.values[at], value) if one.values else value
        values.append(value)
    waited: dict[str, float] = {}
    for reason, seconds in (pair for one in spreads for pair in one.waited.items()):
        waited[reason] = waited.get(reason, 0.0) + seconds
    return Effect(
        values=tuple(values),
        marks=tuple(mark for one in spreads for mark in one.marks),
        failures=tuple(sorted((one for part in spreads for one in part.failures), key=lambda one: one.row)),
        rejections=tuple(sorted(pair for one in spreads for pair in one.rejections)),
        verdicts=_merged_verdicts([one.verdicts for one in spreads if one.verdicts is not None], size),
        calls=sum(one.calls for one in spreads),
        retries=sum(one.retries for one in spreads),
        cost=math.fsum(one.cost for one in spreads),
        tokens=Tokens.merged(one.tokens for one in spreads),
        shared=np.sort(np.concatenate([one.shared for one in spreads])) if spreads else NO_ROWS,
        given=_merged_moments([one.given for one in spreads if one.given is not None]),
        waited=waited,
        seconds=sum(one.seconds for one in spreads),
        durations=tuple(second for one in spreads for second in one.durations),
    )


def _merged_verdicts(parts: Sequence[Verdicts], size: int) -> Verdicts | None:
    if not parts:
        return None
    valid, judged = np.ones(size, np.bool_), np.zeros(size, np.bool_)
    for one in parts:
        valid &= one.valid
        judged |= True if one.judged is None else one.judged
    rows = np.concatenate([one.error_rows for one in parts])
    order = np.argsort(rows, kind="stable")
    errors = pa.concat_arrays([join_chunks(one.errors) for one in parts]).take(arrow_array(order))
    return Verdicts(valid=valid, judged=judged, error_rows=rows[order], errors=errors)


def _spread_moments(given: Moments, rows: Rows, size: int) -> Moments:
    moments = np.full(size, np.nan)
    moments[rows] = given
    return moments


def _merged_moments(parts: Sequence[Moments]) -> Moments | None:
    """The moments of different records together."""
    return functools.reduce(np.fmin, parts) if parts else None


def _spread_verdicts(verdicts: Verdicts, rows: Rows, size: int) -> Verdicts:
    valid, judged = np.ones(size, np.bool_), np.zeros(size, np.bool_)
    valid[rows] = verdicts.valid
    judged[rows] = True if verdicts.judged is None else verdicts.judged
    return replace(verdicts, valid=valid, judged=judged, error_rows=rows[verdicts.error_rows])


Clock = Callable[[], float]
