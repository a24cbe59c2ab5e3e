"""Which records a service applies to, and the outcome of those it does not: rejected, `when=`, present, missing.

The order of the tests is fixed, so the reason of a skip does not depend on timing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from dataflow.engine.environment import Environment
from dataflow.engine.marks import (
    MISSING,
    NO_ROWS,
    NONE_EXCLUDED,
    Effect,
    Exclusions,
    Mark,
    Mask,
    Rows,
    mask_of,
    nulls_of,
    to_mask,
)
from dataflow.outcomes import Kind, Status
from dataflow.plan.graph import Step
from dataflow.services.signature import Form, Parameter
from dataflow.services.types import Declared

TOO_DEAR = "record budget"
"""The reason of a skip where a service would cost more than a record may."""


def exclude(step: Step, environment: Environment) -> Exclusions:
    """Find the records that the step is not called for, and why."""
    conditions, absent = list(_conditions(step, environment)), list(_missing(step, environment))
    if not conditions and not absent and not step.caps:
        return NONE_EXCLUDED
    left = np.ones(environment.size, np.bool_)
    marks: list[Mark] = []
    kept: list[Rows] = []
    for reason, excluded in conditions:
        rows = _take(left, excluded)
        if len(rows):
            marks.append(Mark(status=Status.SKIPPED, reason=reason, rows=rows))
            kept.append(rows)
    tainted = []
    missing: list[Rows] = []
    for reason, excluded in absent:
        rows = _take(left, excluded)
        if len(rows):
            marks.append(Mark(status=Status.SKIPPED, reason=reason, rows=rows))
            missing.append(rows)
            if reason != MISSING:
                tainted.append((reason, rows))
    rows = _take(left, _too_dear(step, environment, left)) if step.caps else NO_ROWS
    if len(rows):
        marks.append(Mark(status=Status.SKIPPED, reason=TOO_DEAR, rows=rows))
        kept.append(rows)
    if not marks:
        return NONE_EXCLUDED
    lacking = np.sort(np.concatenate(missing)) if missing else NO_ROWS
    required = lacking if step.service.policy.required else NO_ROWS
    judges = step.service.kind is Kind.VALIDATION
    if judges and len(required):
        marks = [mark for mark in marks if not np.isin(mark.rows, required).any()]
    return Exclusions(
        rows=np.flatnonzero(left),
        marks=tuple(marks),
        rejections=() if judges else tuple((int(row), MISSING) for row in required),
        invalid=required if judges else NO_ROWS,
        kept=np.sort(np.concatenate(kept)) if kept else NO_ROWS,
        tainted=tuple(tainted),
    )


def _too_dear(step: Step, environment: Environment, asking: Mask) -> Mask:
    """The records for which a paid service would exceed what such services may cost for one, by their prices."""
    dear = np.zeros(environment.size, np.bool_)
    for cap in step.caps:
        prices = {index: _price(environment.graph.steps[index]) for index in cap.before}
        # In the largest unit of which all prices are whole numbers, so that their sums fit.
        unit = math.gcd(_price(step), *prices.values()) or 1
        spent = np.full(environment.size, _price(step) // unit, np.int64)
        for index, price in prices.items():
            spent += np.where(_applied(environment.effects[index], environment.size), price // unit, 0)
        dear |= spent > cap.most // unit
    return asking & dear


def _applied(effect: Effect, size: int) -> Mask:
    """The records that a service was not skipped for; one that skipped a record by itself was asked."""
    asked = np.ones(size, np.bool_)
    for mark in effect.marks:
        if mark.status is Status.SKIPPED and mark.reason != "skip":
            asked[mark.rows] = False
    return asked


def _price(step: Step) -> int:
    price = step.service.policy.price
    return 0 if price is None else price.nominal() or 0


def _take(left: Mask, excluded: Mask) -> Rows:
    rows = np.flatnonzero(left & excluded)
    left[rows] = False
    return rows


def _conditions(step: Step, environment: Environment) -> Iterator[tuple[str, Mask]]:
    if step.gated_by:
        yield "rejected", environment.rejected_by(step.gated_by)
    when = step.service.policy.when
    if when is not None and when.test == "valid":
        yield "when valid", environment.unfit(step.judged_by)
    elif when is not None and step.condition is not None:
        column = environment.column(step.condition)
        if when.test == "flag":
            yield f"when {when.text}", ~to_mask(column)
        else:
            null = to_mask(pc.is_null(column))
            yield f"when {when.text}", ~null if when.test == "null" else null
    if step.service.policy.overwrite == "nulls":
        present = [to_mask(pc.is_valid(environment.column(one))) for one in step.replaces if one is not None]
        if len(present) == len(step.writes):
            yield "present", np.logical_and.reduce(present)


def _missing(step: Step, environment: Environment) -> Iterator[tuple[str, Mask]]:
    if step.service.form is Form.COLUMN and not step.service.policy.required:
        return
    for read in step.reads:
        for at, column in enumerate(read.columns):
            if column is None or _takes_null(read.parameter, at, step):
                continue
            nulls = nulls_of(environment.column(column))
            if nulls is None:
                continue
            for reason, rows in environment.taints.get(column, ()):
                yield reason, nulls & mask_of(rows, environment.size)
            yield MISSING, nulls


def _takes_null(parameter: Parameter, at: int, step: Step) -> bool:
    if step.service.form in (Form.LOOKUP, Form.COLUMN):
        return False
    declared: Declared = parameter.declared
    if parameter.is_record and declared.fields is not None:
        declared = list(declared.fields.values())[at]
    return declared.nullable
