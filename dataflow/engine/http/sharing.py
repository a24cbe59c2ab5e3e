"""Which records of a partition share a call, and what its answer is to each of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dataflow.engine.calling import Answers


@dataclass(frozen=True, slots=True)
class Shared:
    """Which records share a call.

    Attributes:
        inputs: The values of each distinct call.
        keys: Their keys.
        call_of: For each record, the place of its call.
    """

    inputs: list[tuple[Any, ...]]
    keys: list[bytes]
    call_of: list[int]


def share(columns: Sequence[Sequence[Any]], size: int, *, key: Callable[[Sequence[Any]], bytes]) -> Shared:
    """Find the distinct inputs, in the order of the records."""
    rows = list(zip(*columns, strict=True)) if columns else [()] * size
    places: dict[bytes, int] = {}
    inputs: list[tuple[Any, ...]] = []
    keys: list[bytes] = []
    call_of: list[int] = []
    for row in rows:
        digest = key(row)
        place = places.setdefault(digest, len(keys))
        if place == len(keys):
            inputs.append(row)
            keys.append(digest)
        call_of.append(place)
    return Shared(inputs=inputs, keys=keys, call_of=call_of)


def spread_answers(answers: Answers, shared: Shared) -> Answers:
    """The answers of distinct calls as answers of the records that share them."""
    call_of = shared.call_of
    if len(call_of) == len(shared.inputs):
        return answers
    whole = Answers(values=[answers.values[place] for place in call_of], costs=_first_costs(answers, call_of))
    seen: set[int] = set()
    for row, place in enumerate(call_of):
        # Records without an answer share no call: there was none.
        if place in seen and place not in answers.not_attempted:
            whole.shared.append(row)
        seen.add(place)
        if place in answers.raised:
            whole.take_at(row, answers, place)
        if place in answers.timed_out:
            whole.timed_out.add(row)
        if place in answers.remembered:
            whole.remembered.add(row)
        if place in answers.given:
            whole.given[row] = answers.given[place]
        if place in answers.own:
            whole.own.add(row)
        if place in answers.not_attempted:
            whole.not_attempted.add(row)
        if place in answers.statuses:
            whole.statuses[row] = answers.statuses[place]
        whole.attempts[row] = answers.attempts.get(place, 0)
    whole.calls, whole.retries, whole.waited = answers.calls, answers.retries, answers.waited
    whole.tokens = answers.tokens
    whole.seconds = answers.seconds or list(answers.durations.values())
    whole.durations = {row: answers.durations.get(call_of[row], 0.0) for row in whole.raised}
    return whole


def _first_costs(answers: Answers, call_of: Sequence[int]) -> dict[int, int]:
    """What the calls cost by record: the first one of those that share a call pays for it."""
    first: dict[int, int] = {}
    for row, place in enumerate(call_of) if answers.costs else ():
        first.setdefault(place, row)
    return {first[place]: cost for place, cost in answers.costs.items()}
