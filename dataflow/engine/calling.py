"""What the calls of a service gave, and what that means: values, verdicts, skips and failures, each at its record.

What an exception means and whether a value is of the declared type is decided here, so that all forms agree. How a
function is called, and for which records, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dataflow.engine.marks import Effect, Failure, Mark, Verdicts, moments_of, rows_of
from dataflow.engine.patience import LateError
from dataflow.engine.texts import ErrorText, reason_of, text_of
from dataflow.errors import Invalid, NotFound, Reject, Skip, Verdict
from dataflow.outcomes import Kind, Status
from dataflow.plan.graph import Read, Step
from dataflow.policies.guardrail import Stretch, longest_stretch
from dataflow.policies.money import amount
from dataflow.services.signature import Form, Parameter
from dataflow.services.types import Declared
from dataflow.telemetry.tokens import NO_TOKENS, Tokens

_UNTOLD = (Invalid, NotFound, Skip)
"""Words of an author that are no error."""


@dataclass(slots=True)
class Answers:
    """What the calls gave, by place: a value, or the exception that came instead.

    Attributes:
        values: The values; None where an exception came.
        raised: The exceptions.
        texts: What they say, as far as somebody may read it.
        timed_out: Places whose call ran out of time.
        durations: Seconds of the call of each place, where they are taken one by one.
        seconds: Seconds of each call, where places share calls; else those of the places.
        attempts: Requests made, where a call may take several.
        statuses: HTTP statuses of the last answers.
        costs: What the calls cost, in trillionths; 0 where a place is missing.
        tokens: That models used for all of them.
        remembered: Places that needed no call, since the answer was known.
        given: When the answer of a place was given that is kept, in seconds since 1970.
        own: Those among them whose answer the same run has paid for, before it began their partition again.
        not_attempted: Places whose call was not made and will not be, each with its reason in `raised`.
        waited: Seconds of waiting before calls, by reason.
        calls: Calls in all; None for one at each place.
        shared: Places that shared the call of an earlier one.
    """

    values: list[Any] = field(default_factory=list)
    raised: dict[int, BaseException] = field(default_factory=dict)
    texts: dict[int, ErrorText] = field(default_factory=dict)
    timed_out: set[int] = field(default_factory=set)
    durations: dict[int, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    attempts: dict[int, int] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    costs: dict[int, int] = field(default_factory=dict)
    tokens: Tokens = NO_TOKENS
    remembered: set[int] = field(default_factory=set)
    given: dict[int, float] = field(default_factory=dict)
    own: set[int] = field(default_factory=set)
    not_attempted: set[int] = field(default_factory=set)
    waited: dict[str, float] = field(default_factory=dict)
    calls: int | None = None
    retries: int = 0
    shared: list[int] = field(default_factory=list)

    def end_late(self, row: int, error: LateError) -> None:
        """Let a place end whose call takes too long."""
        self.raise_at(row, error)
        self.timed_out.add(row)

    @property
    def cost(self) -> float:
        """What all calls cost."""
        return amount(sum(self.costs.values())) if self.costs else 0.0

    def pay(self, row: int, cost: int) -> None:
        """Add trillionths that were spent for a place."""
        if cost:
            self.costs[row] = self.costs.get(row, 0) + cost

    def own_at(self, row: int, *, cost: int) -> None:
        """Note that the run itself has paid for the answer of a place: it counts as called here, and as paid."""
        self.own.add(row)
        self.attempts[row] = 1
        self.pay(row, cost)

    def give(self, row: int, moment: float | None) -> None:
        """Note when the answer of a place was given, if it is kept."""
        if moment is not None:
            self.given[row] = moment

    def raise_at(self, row: int, error: BaseException, *, text: ErrorText | None = None) -> None:
        """Keep an exception and what it says, which tells where it came through.

        The frames are not kept: they would hold a kilobyte for each record.
        """
        if not isinstance(error, _UNTOLD):
            self.texts[row] = text or text_of(error)
        error.__traceback__ = error.__cause__ = error.__context__ = None
        self.raised[row] = error
        if getattr(error, "not_attempted", False):
            self.not_attempted.add(row)

    def text_at(self, row: int) -> ErrorText:
        """What the exception of a place says."""
        return self.texts.get(row) or text_of(self.raised[row])

    def take_at(self, row: int, other: Answers, place: int) -> None:
        """Let a place end with the exception with which one of others has ended."""
        self.raised[row] = other.raised[place]
        if (text := other.texts.get(place)) is not None:
            self.texts[row] = text

    def end_at(self, row: int, error: BaseException) -> None:
        """Let a place end as it has ended before, without a call."""
        self.raise_at(row, error)
        self.remembered.add(row)
        self.attempts[row] = 0
        if (status := getattr(error, "status", None)) is not None:
            self.statuses[row] = status
        if getattr(error, "timed_out", False):
            self.timed_out.add(row)


class _Told(NamedTuple):
    """What is not simply a value, for all records of a call."""

    marks: tuple[Mark, ...] = ()
    failures: tuple[Failure, ...] = ()
    rejections: tuple[tuple[int, str], ...] = ()


_NOTHING_TOLD = _Told()


def judge(step: Step, answers: Answers, *, seconds: float = 0.0) -> Effect:
    """What the answers of a service mean: values, verdicts, skips and failures."""
    told = _sort_raised(answers) if answers.raised or answers.remembered else _NOTHING_TOLD
    unexpected = answers.raised and step.service.api is None and step.service.form is not Form.COMPOSITE
    values: tuple[pa.Array, ...] = ()
    verdicts = None
    if step.service.kind is Kind.VALIDATION:
        verdicts, told = _verdicts(step, answers, told)
    else:
        values, told = _values(step, answers, told)
    calls = len(answers.values) if answers.calls is None else answers.calls
    return Effect(
        values=values,
        marks=told.marks,
        failures=told.failures,
        rejections=told.rejections,
        verdicts=verdicts,
        calls=0 if step.service.form is Form.COMPOSITE else calls,
        retries=answers.retries,
        cost=answers.cost,
        tokens=answers.tokens,
        shared=rows_of(answers.shared),
        raised=_unexpected(answers) if unexpected else None,
        given=moments_of(answers.given, len(answers.values)),
        waited=answers.waited,
        seconds=seconds,
        durations=tuple(answers.seconds or answers.durations.values()),
    )


def writable(text: str) -> str:
    """The text with what UTF-8 cannot hold, such as half a surrogate pair, written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _sort_raised(answers: Answers) -> _Told:
    marks: dict[tuple[Status, str], list[int]] = {}
    failures: list[Failure] = []
    rejections: list[tuple[int, str]] = []
    for row, error in answers.raised.items():
        if isinstance(error, NotFound):
            marks.setdefault((Status.NOT_FOUND, "not found"), []).append(row)
        elif isinstance(error, Skip):
            marks.setdefault((Status.SKIPPED, "skip"), []).append(row)
        elif isinstance(error, Reject):
            rejections.append((row, answers.text_at(row).whole))
        elif not isinstance(error, Invalid):
            text = answers.text_at(row)
            failures.append(
                Failure(
                    row=row,
                    reason=reason_of(error),
                    error=text.whole,
                    plain=None if text.plain == text.whole else text.plain,
                    status=_status(answers, row),
                    attempts=answers.attempts.get(row, 1),
                    duration=answers.durations.get(row, error.seconds if isinstance(error, LateError) else 0.0),
                    http_status=answers.statuses.get(row),
                    cost=amount(answers.costs.get(row, 0)),
                )
            )
    cached = [row for row in answers.remembered if row not in answers.raised and row not in answers.own]
    if cached:
        marks[Status.CACHED, "cached"] = cached
    listed = tuple(Mark(status=status, reason=reason, rows=rows_of(rows)) for (status, reason), rows in marks.items())
    return _Told(listed, tuple(failures), tuple(rejections))


def _unexpected(answers: Answers) -> Stretch | None:
    """The longest stretch of calls that raised what is neither a word of dataflow's own nor a lack of time."""
    rows = [row for row, error in answers.raised.items() if not isinstance(error, Verdict)]
    return longest_stretch((row, row + 1) for row in sorted(rows) if row not in answers.timed_out)


def _status(answers: Answers, row: int) -> Status:
    if row in answers.not_attempted:
        return Status.NOT_ATTEMPTED
    return Status.TIMED_OUT if row in answers.timed_out else Status.FAILED


def _values(step: Step, answers: Answers, told: _Told) -> tuple[tuple[pa.Array, ...], _Told]:
    returns = step.service.returns
    assert returns is not None
    values, raised = answers.values, answers.raised
    misfits = [] if _all_exact(values, returns, raised) else _misfits(values, returns, raised)
    column, unwritable = _column(returns, values, {row for row, _ in misfits})
    misfits += unwritable
    if not misfits and not raised:
        return _split(step, column), told
    absent = []
    if step.service.kind is Kind.ENRICHMENT and not returns.nullable:
        absent = [row for row, _ in misfits if values[row] is None]
        misfits = [(row, wrong) for row, wrong in misfits if values[row] is not None]
    failures = [Failure(row=row, reason="TypeError", error=f"returned a wrong type: {wrong}") for row, wrong in misfits]
    invalid = [(row, error) for row, error in raised.items() if isinstance(error, Invalid)]
    only = "only a validation may raise Invalid"
    failures += [
        Failure(row=row, reason="Invalid", error=f"{only}: {answers.text_at(row).whole}", plain=only)
        for row, _ in invalid
    ]
    marks = told.marks
    if absent:
        marks = (*marks, Mark(status=Status.NOT_FOUND, reason="not found", rows=rows_of(absent)))
    return _split(step, column), told._replace(marks=marks, failures=(*told.failures, *failures))


def _all_exact(values: list[Any], returns: Declared, raised: dict[int, BaseException]) -> bool:
    if not returns.exact:
        return False
    kinds = set(map(type, values))
    if kinds <= returns.exact:
        return _fits_64_bits(values, returns)
    return bool(raised) and kinds <= returns.exact | {type(None)} and values.count(None) == len(raised)


def _fits_64_bits(values: list[Any], returns: Declared) -> bool:
    if int not in returns.exact:
        return True
    numbers = [value for value in values if value is not None] if returns.nullable else values
    return not numbers or (min(numbers) >= -(2**63) and max(numbers) < 2**63)


def _misfits(values: list[Any], returns: Declared, raised: dict[int, BaseException]) -> list[tuple[int, str]]:
    wrong = returns.mismatch
    found = []
    for row, value in enumerate(values):
        problem = wrong(value)
        if problem is not None and row not in raised:
            found.append((row, problem))
    return found


def _column(returns: Declared, values: list[Any], wrong: set[int]) -> tuple[pa.Array, list[tuple[int, str]]]:
    """The values as Arrow, null where they are wrong or raised, and what Arrow itself cannot hold."""
    plain = returns.plain or (lambda value: value)
    if wrong or returns.plain is not None:
        values = [None if row in wrong or value is None else plain(value) for row, value in enumerate(values)]
    try:
        return pa.array(values, returns.arrow), []
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        unwritable = [row for row, value in enumerate(values) if not _is_writable(value, returns.arrow)]
    dropped = set(unwritable)
    rest = [None if row in dropped else value for row, value in enumerate(values)]
    return pa.array(rest, returns.arrow), [(row, f"a value that {returns.arrow} cannot hold") for row in unwritable]


def _is_writable(value: Any, arrow: pa.DataType) -> bool:
    try:
        pa.array([value], arrow)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return False
    return True


def _split(step: Step, column: pa.Array) -> tuple[pa.Array, ...]:
    if step.fields == (None,):
        return (column,)
    return tuple(column.flatten()[column.type.get_field_index(name)] for name in step.fields)


def _verdicts(step: Step, answers: Answers, told: _Told) -> tuple[Verdicts, _Told]:
    returns, values, raised = step.service.returns, answers.values, answers.raised
    misfits: list[tuple[int, str]] = []
    if returns is None:
        misfits = [
            (row, f"expected None, got {type(value).__name__}") for row, value in enumerate(values) if value is not None
        ]
    elif not _all_exact(values, returns, raised):
        misfits = _misfits(values, returns, raised)
    failures = [Failure(row=row, reason="TypeError", error=f"returned a wrong type: {wrong}") for row, wrong in misfits]
    dead = {failure.row for failure in (*told.failures, *failures)}
    verdicts = _read_verdicts(values, raised, dead)
    skipped = {int(row) for mark in told.marks for row in mark.rows}
    if dead or skipped:
        judged = np.ones(len(values), np.bool_)
        judged[list(dead | skipped)] = False
        verdicts = replace(verdicts, judged=judged)
    return verdicts, told._replace(failures=(*told.failures, *failures))


def _read_verdicts(values: list[Any], raised: dict[int, BaseException], dead: set[int]) -> Verdicts:
    kinds = set(map(type, values))
    if kinds <= {bool} and not raised:
        return Verdicts(valid=np.array(values, np.bool_))
    valid = np.ones(len(values), np.bool_)
    texts: dict[int, list[str]] = {}
    if kinds != {type(None)}:
        for row, value in enumerate(values):
            if value is None or value is True or row in dead:
                continue
            if value is False or isinstance(value, str) or value:
                valid[row] = False
                texts[row] = [] if value is False else [value] if isinstance(value, str) else list(value)
    for row, error in raised.items():
        if isinstance(error, Invalid):
            valid[row] = False
            texts[row] = list(error.errors)
    rows = sorted(texts)
    return Verdicts(
        valid=valid,
        error_rows=np.repeat(np.array(rows, np.int64), [len(texts[row]) for row in rows]),
        errors=pa.array([writable(text) for row in rows for text in texts[row]], pa.string()),
    )


def bind_call(step: Step, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as it takes one positional value for each argument column of the step."""
    constants = step.service.constants
    if not constants and not any(_is_shaped(read.parameter) for read in step.reads):
        return function
    shapes = [
        (read.parameter, _builder(read), len(read.columns) if read.parameter.is_record else 1) for read in step.reads
    ]

    def call(*values: Any) -> Any:
        positional, named, at = [], dict(constants), 0
        for parameter, build, width in shapes:
            value = build(values[at : at + width]) if build is not None else values[at]
            at += width
            if parameter.keyword or constants:
                named[parameter.name] = value
            else:
                positional.append(value)
        return function(*positional, **named)

    return call


def _is_shaped(parameter: Parameter) -> bool:
    return parameter.keyword or parameter.is_record or parameter.declared.build is not None


def _builder(read: Read) -> Callable[[Sequence[Any]], Any] | None:
    build = read.parameter.declared.build
    if not read.parameter.is_record:
        return build and (lambda values: None if values[0] is None else build(values[0]))
    optional = read.parameter.declared.optional
    names = list(read.parameter.declared.fields or ())
    left_out = {name for name, column in zip(names, read.columns, strict=True) if column is None and name in optional}

    def whole(values: Sequence[Any]) -> Any:
        fields = {name: value for name, value in zip(names, values, strict=True) if name not in left_out}
        return fields if build is None else build(fields)

    return whole
