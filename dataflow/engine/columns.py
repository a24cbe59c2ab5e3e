"""Column form: one call for all records of a partition, its result cast back and checked.

A function that raises is bisected to its poison records. pandas is touched only where a service asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.engine.arrow import bring_pandas_in
from dataflow.engine.computing import call_once
from dataflow.engine.marks import NO_ROWS, Effect, Failure, Mark, Rows, Verdicts, mask_of, rows_of, to_mask
from dataflow.engine.patience import LateError, Patience
from dataflow.engine.texts import ErrorText, reason_of, text_of
from dataflow.errors import Verdict
from dataflow.outcomes import Kind, Status
from dataflow.plan.graph import Step
from dataflow.policies.bisection import Poison, bisect
from dataflow.policies.guardrail import Stretch, longest_stretch
from dataflow.services.signature import Container
from dataflow.services.types import Declared, accepts, is_list, is_text

_EXACT = 2.0**53


class WrongShapeError(Exception):
    """The result is of another type or length than declared, whatever the records are."""


_WHOLE = (WrongShapeError, LateError)
"""What is not the fault of single records: smaller calls would meet it too, or take the same time each."""


def call_columns(
    step: Step, function: Callable[..., Any], columns: Sequence[Any], context: Any, *, patience: Patience | None = None
) -> Effect:
    """Call a column service once for all records; if it raises, find the records that make it.

    Args:
        step: The step.
        function: What to call.
        columns: Its argument columns, in the order of its reads.
        context: What a `flow.Context` parameter gets.
        patience: How long a call is waited for; for ever by default.
    """
    size = len(columns[0])
    patience = patience or Patience()

    def call(start: int, stop: int) -> tuple[Any, ...]:
        part = [column.slice(start, stop - start) for column in columns]
        work = partial(patience.function(function), *_positional(step, part), **_named(step, part, context))
        return _checked(step, call_once(work, records=stop - start, patience=patience), stop - start)

    try:
        return _effect(step, call(0, size), calls=1)
    except Exception as error:
        raised = error
    # Outside of the handler: what the smaller calls raise has not come of this.
    if not step.service.policy.rowwise or isinstance(raised, _WHOLE) or size == 0:
        return _all_failed(step, raised, size)
    return _bisected(step, call, size, raised)


def _positional(step: Step, columns: Sequence[Any]) -> list[Any]:
    return [value for keyword, _, value in _arguments(step, columns) if not keyword]


def _named(step: Step, columns: Sequence[Any], context: Any) -> dict[str, Any]:
    named = {name: value for keyword, name, value in _arguments(step, columns) if keyword}
    injected = {read.parameter.name: context for read in step.reads if read.parameter.injected is not None}
    return {**named, **injected, **step.service.constants}


def _arguments(step: Step, columns: Sequence[Any]) -> list[tuple[bool, str, Any]]:
    arguments, at = [], 0
    dtypes = step.service.policy.dtypes
    late = bool(step.service.constants) or any(read.parameter.injected for read in step.reads)
    for read in step.reads:
        if read.parameter.injected is not None:
            continue
        width = len(read.columns)
        part = columns[at : at + width]
        at += width
        names = [column.name for column in read.columns if column is not None]
        value = to_container(part, names, container=read.parameter.container, dtypes=dtypes)
        arguments.append((read.parameter.keyword or late, read.parameter.name, value))
    return arguments


def to_container(part: Sequence[Any], names: Sequence[str], *, container: Container | None, dtypes: str) -> Any:
    """Arrow columns as the container that a parameter is annotated with."""
    if container in (Container.TABLE, Container.DATAFRAME):
        table = pa.table(dict(zip(names, part, strict=True)))
        return table if container is Container.TABLE else table.to_pandas(**_mapper(dtypes))
    (column,) = part
    if container is Container.CHUNKED:
        return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    if container is Container.SERIES:
        series = column.to_pandas(**_mapper(dtypes))
        # numpy's view of Arrow memory is read-only unless there are nulls; a copy behaves the same for all records.
        series = series.copy() if dtypes == "numpy" else series
        return series.rename(names[0]) if names else series
    joined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return joined.to_numpy(zero_copy_only=False, writable=True) if container is Container.NUMPY else joined


def _mapper(dtypes: str) -> dict[str, Any]:
    pandas = bring_pandas_in()
    return {} if dtypes == "numpy" else {"types_mapper": pandas.ArrowDtype}


def _checked(step: Step, result: Any, size: int) -> tuple[Any, ...]:
    if step.service.kind is Kind.VALIDATION:
        return (_verdict_column(step, _to_arrow(result, size)),)
    frame = _frame_columns(result)
    if step.fields == (None,):
        kind = step.types[0]
        if frame is None:
            return (fit(_to_arrow(result, size), kind, classic=_is_classic(result)),)
        if not pa.types.is_struct(kind) or step.writes[0].name in frame:
            return _fitted(frame, [step.writes[0].name], [kind], size=size)
        fields = list(kind)
        columns = _fitted(frame, [field.name for field in fields], [field.type for field in fields], size=size)
        return (pa.StructArray.from_arrays(columns, fields=fields),)
    if frame is None:
        frame = _struct_columns(_to_arrow(result, size), len(step.fields))
    return _fitted(frame, [str(field) for field in step.fields], step.types, size=size)


def _fitted(
    frame: Mapping[str, Any], names: Sequence[str], types: Sequence[pa.DataType], *, size: int
) -> tuple[Any, ...]:
    missing = [name for name in names if name not in frame]
    if missing:
        raise WrongShapeError(f"returned a frame without the declared columns {', '.join(missing)}")
    return tuple(
        fit(_to_arrow(frame[name], size), arrow, classic=_is_classic(frame[name]))
        for name, arrow in zip(names, types, strict=True)
    )


def _struct_columns(array: pa.Array, count: int) -> Mapping[str, Any]:
    if not pa.types.is_struct(array.type):
        raise WrongShapeError(f"returned one column where {count} are declared; return a frame")
    return dict(zip(array.type.names, array.flatten(), strict=True))


def _frame_columns(result: Any) -> Mapping[str, Any] | None:
    if isinstance(result, (pa.Table, pa.RecordBatch)):
        return dict(zip(result.schema.names, result.columns, strict=True))
    if isinstance(result, Mapping) or type(result).__name__ == "DataFrame":
        return {str(name): result[name] for name in result}
    return None


def _is_classic(result: Any) -> bool:
    return isinstance(getattr(result, "dtype", None), np.dtype)


def _to_arrow(result: Any, size: int) -> Any:
    if isinstance(result, pa.ChunkedArray):
        array = result.combine_chunks()
    elif isinstance(result, pa.Array):
        array = result
    elif isinstance(result, np.ndarray):
        array = pa.array(result, from_pandas=True)
    elif type(result).__name__ in ("Series", "Index") or hasattr(result, "__arrow_array__"):
        array = pa.Array.from_pandas(result)
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    else:
        raise WrongShapeError(f"returned {type(result).__name__}; a column form returns a Series, an Array or a frame")
    if len(array) != size:
        raise WrongShapeError(f"returned {len(array)} values for {size} records")
    return array


def fit(array: Any, arrow: pa.DataType, *, classic: bool = False) -> Any:
    """The array under the declared type, if that takes no coercion.

    Args:
        array: What was returned.
        arrow: The declared type.
        classic: Whether it has a numpy dtype, where integers beside a null can only be floats; then floats that
            are whole and exact count as integers.

    Raises:
        WrongShapeError: It is of another family of types.
        pyarrow.ArrowInvalid: Some value does not fit.
    """
    if array.type == arrow:
        return array
    if classic and pa.types.is_integer(arrow) and pa.types.is_floating(array.type):
        return _whole(array).cast(arrow)
    zones = [kind.tz is None for kind in (array.type, arrow) if pa.types.is_timestamp(kind)]
    if not accepts(Declared(text=str(arrow), arrow=arrow), array.type) or zones in ([True, False], [False, True]):
        raise WrongShapeError(f"returned {array.type} where {arrow} is declared")
    return array.cast(arrow)


def _whole(array: pa.Array) -> pa.Array:
    if pc.any(pc.greater_equal(pc.abs(array), _EXACT)).as_py():
        raise ValueError("a float past 2**53 stands for several integers; take pa.Array, or Series with Arrow dtypes")
    return array


def _verdict_column(step: Step, array: pa.Array) -> pa.Array:
    """Verdicts as bools, texts or lists of texts, of the declared sort where returns= names one."""
    given, declared = array.type, step.service.returns
    items = given.value_type if is_list(given) else given
    fine = pa.types.is_boolean(given) or pa.types.is_null(items) or is_text(items)
    if fine and "returns" in step.service.options and declared is not None:
        fine = accepts(declared, given)
    if not fine:
        wanted = "bool, text or lists of text" if declared is None else declared.text
        raise WrongShapeError(f"returned {given}; a column validation returns {wanted}")
    if is_list(given):
        return array.cast(pa.list_(pa.string()))
    return array.cast(pa.string()) if is_text(given) else array


def _text(error: Exception) -> ErrorText:
    if isinstance(error, WrongShapeError):
        return ErrorText.of_ours(str(error))
    text = text_of(error)
    if "NA is ambiguous" in text.whole:
        hint = '; nulls come as pd.NA under Arrow dtypes, and as NaN or None with dtypes="numpy"'
        return ErrorText(text.plain + hint, text.whole + hint)
    return text


def _failures(rows: Iterable[int], error: Exception) -> list[Failure]:
    """What an exception means for some records; its text is made once."""
    text, late = _text(error), error if isinstance(error, LateError) else None
    first = Failure(
        row=-1,
        reason=reason_of(error),
        error=text.whole,
        plain=None if text.plain == text.whole else text.plain,
        status=Status.FAILED if late is None else Status.TIMED_OUT,
        duration=0.0 if late is None else late.seconds,
    )
    return [replace(first, row=row) for row in rows]


def _all_failed(step: Step, error: Exception, size: int) -> Effect:
    failures = tuple(_failures(range(size), error))
    values = tuple(pa.nulls(size, arrow) for arrow in step.types)
    verdicts = None
    if step.service.kind is Kind.VALIDATION:
        verdicts = Verdicts(valid=np.ones(size, np.bool_), judged=np.zeros(size, np.bool_))
    return Effect(values=values, failures=failures, verdicts=verdicts, calls=1)


def _bisected(step: Step, call: Callable[[int, int], tuple[Any, ...]], size: int, error: Exception) -> Effect:
    found = bisect(call, size, error=error, whole=lambda one: isinstance(one, LateError))
    failures = tuple(failure for one in found.poison for failure in _failures(range(one.start, one.stop), one.error))
    types = list(step.types)
    if step.service.kind is Kind.VALIDATION:
        sorts = {values[0].type for _, _, values in found.pieces} - {pa.null()}
        if len(sorts) > 1:
            return _all_failed(step, WrongShapeError("returned verdicts of several types"), size)
        types = [*sorts] or [pa.null()]
    blocks = [*found.pieces]
    blocks += [(one.start, one.stop, tuple(pa.nulls(one.stop - one.start) for _ in types)) for one in found.poison]
    blocks.sort(key=lambda block: block[0])
    values = tuple(pa.concat_arrays([block[2][at].cast(kind) for block in blocks]) for at, kind in enumerate(types))
    poisoned = rows_of([failure.row for failure in failures])
    effect = _effect(step, values, calls=found.calls + 1, failures=failures, poisoned=poisoned)
    return replace(effect, raised=_unexpected(found.poison))


def _unexpected(poison: Sequence[Poison]) -> Stretch | None:
    """The longest stretch of calls that raised of themselves; a slice that was not cut further is one call."""
    known = (*_WHOLE, Verdict)
    return longest_stretch((one.start, one.stop) for one in poison if not isinstance(one.error, known))


def _effect(
    step: Step, values: tuple[Any, ...], *, calls: int, failures: tuple[Failure, ...] = (), poisoned: Rows = NO_ROWS
) -> Effect:
    if step.service.kind is not Kind.VALIDATION:
        return Effect(values=values, failures=failures, calls=calls, marks=_absent(step, values, poisoned))
    verdicts = read_verdicts(values[0])
    if len(poisoned):
        judged = np.ones(len(verdicts.valid), np.bool_) if verdicts.judged is None else verdicts.judged
        verdicts = replace(verdicts, judged=judged & ~mask_of(poisoned, len(judged)))
    return Effect(verdicts=verdicts, failures=failures, calls=calls)


def _absent(step: Step, values: tuple[Any, ...], poisoned: Rows) -> tuple[Mark, ...]:
    returns = step.service.returns
    if step.service.kind is not Kind.ENRICHMENT or returns is None or returns.nullable:
        return ()
    if all(value.null_count == 0 for value in values):
        return ()
    absent = np.logical_and.reduce([to_mask(pc.is_null(value)) for value in values])
    absent[poisoned] = False
    rows = np.flatnonzero(absent)
    return (Mark(status=Status.NOT_FOUND, reason="not found", rows=rows),) if len(rows) else ()


def read_verdicts(judged: Any) -> Verdicts:
    """Bools, error texts or lists of error texts as verdicts.

    A null bool is no judgement: that is what Arrow's kernels answer for a null input.
    """
    if pa.types.is_boolean(judged.type):
        if judged.null_count == 0:
            return Verdicts(valid=to_mask(judged))
        return Verdicts(valid=to_mask(pc.fill_null(judged, True)), judged=to_mask(pc.is_valid(judged)))
    if pa.types.is_null(judged.type):
        return Verdicts(valid=np.ones(len(judged), np.bool_))
    if pa.types.is_list(judged.type):
        rows = pc.list_parent_indices(judged).to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
        valid = np.ones(len(judged), np.bool_)
        valid[rows] = False
        return Verdicts(valid=valid, error_rows=rows, errors=pc.list_flatten(judged))
    valid = to_mask(pc.is_null(judged))
    return Verdicts(valid=valid, error_rows=np.flatnonzero(~valid), errors=judged.drop_null())
