"""The `validations` column and the columns beside it, built by kernels from the effects of the services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.engine.arrow import arrow_array
from dataflow.engine.environment import Environment
from dataflow.engine.marks import Effect, Mask, Verdicts
from dataflow.outcomes import Kind, Priority, Status
from dataflow.plan.graph import VALIDATIONS, Step


def everything(size: int) -> Mask:
    """A mask that keeps every record."""
    return np.ones(size, np.bool_)


def validity(environment: Environment) -> Mask:
    """True for each record that no validation found invalid."""
    valid = np.ones(environment.size, np.bool_)
    for _, effect in environment.of_kind(Kind.VALIDATION):
        if effect.verdicts is not None:
            valid &= effect.verdicts.valid
    return valid


def validations(environment: Environment) -> pa.Array:
    """The list of verdicts of each record, in listed order; a validation that did not judge has no entry."""
    judged = [(step, effect.verdicts) for step, effect in environment.of_kind(Kind.VALIDATION) if effect.verdicts]
    size, width = environment.size, len(judged)
    valid = np.empty((size, width), np.bool_)
    for at, (_, verdicts) in enumerate(judged):
        valid[:, at] = verdicts.valid
    names = np.broadcast_to(np.arange(width, dtype=np.int32), (size, width))
    present = _present([verdicts for _, verdicts in judged], size)
    if present is None:
        entries, offsets = valid.ravel(), np.arange(0, size * width + 1, width or 1, dtype=np.int32)
        validators, places = names.ravel(), None
        offsets = offsets if width else np.zeros(size + 1, np.int32)
    else:
        entries, validators = valid[present], names[present]
        offsets = _offsets(present.sum(axis=1))
        places = np.cumsum(present.ravel()) - 1
    struct = pa.StructArray.from_arrays(
        [
            pa.DictionaryArray.from_arrays(
                arrow_array(validators), pa.array([step.service.name for step, _ in judged], pa.string())
            ),
            arrow_array(entries),
            _errors([verdicts for _, verdicts in judged], len(entries), width, places),
        ],
        fields=list(VALIDATIONS.value_type),
    )
    return pa.ListArray.from_arrays(arrow_array(offsets), struct, type=VALIDATIONS)


def _present(verdicts: Sequence[Verdicts], size: int) -> Mask | None:
    if all(one.judged is None for one in verdicts):
        return None
    columns = [np.ones(size, np.bool_) if one.judged is None else one.judged for one in verdicts]
    return np.stack(columns, axis=1)


def _offsets(counts: Any) -> Any:
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _errors(verdicts: Sequence[Verdicts], entries: int, width: int, places: Any) -> pa.Array:
    if not any(len(one.error_rows) for one in verdicts):
        return pa.ListArray.from_arrays(arrow_array(np.zeros(entries + 1, np.int32)), pa.nulls(0, pa.string()))
    cells = np.concatenate([one.error_rows * width + at for at, one in enumerate(verdicts)])
    texts = pa.concat_arrays([one.errors for one in verdicts])
    order = np.argsort(cells, kind="stable")
    positions = cells if places is None else places[cells]
    counts = np.bincount(positions, minlength=entries)
    return pa.ListArray.from_arrays(arrow_array(_offsets(counts)), texts.take(arrow_array(order)))


def completeness(environment: Environment) -> pa.Array:
    """Found over applicable enrichments of each record; null where none applied."""
    counted = [effect for step, effect in environment.of_kind(Kind.ENRICHMENT) if not step.service.member_of]
    found = np.full(environment.size, len(counted), np.int32)
    applicable = found.copy()
    for effect in counted:
        if effect.failures or effect.marks:
            _discount(effect, found, applicable)
    some = applicable > 0
    share = np.divide(found, applicable, out=np.zeros(environment.size), where=some)
    return arrow_array(share, nulls=~some)


def _discount(effect: Effect, found: Any, applicable: Any) -> None:
    found[effect.failed_rows] -= 1
    for mark in effect.marks:
        if mark.status is not Status.CACHED:
            found[mark.rows] -= 1
        if mark.status is Status.SKIPPED:
            applicable[mark.rows] -= 1


def degraded(environment: Environment) -> Mask:
    """True for each record that lacks an important service."""
    mask = np.zeros(environment.size, np.bool_)
    for step, effect in _effects(environment):
        if effect.failures and step.service.policy.priority is Priority.IMPORTANT:
            mask[effect.failed_rows] = True
        if effect.members:
            mask[effect.degraded_rows] = True
    return mask


def _effects(environment: Environment) -> list[tuple[Step, Effect]]:
    return [(step, environment.effects[step.index]) for step in environment.graph.steps]
