"""`best_of`: several candidates for one answer, the most fitting of them called side by side, one answer picked.

An inert value. It is bound as the candidates that were chosen and what picks from their answers, so that each of them
is called, limited, cached, paid for and counted like any service.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import pyarrow as pa

from dataflow.errors import AllFailed, DeclarationError, NotFound
from dataflow.policies.money import amount
from dataflow.policies.scoring import Budget, Candidate, Quality, Speed, Wanted, best, score
from dataflow.services.composite import (
    OUTCOMES,
    Answer,
    asked,
    check_members,
    check_taken,
    choosing,
    common_answer,
    computing,
    declared,
    member_of,
    plain_answer,
    read_by,
    reading,
    renamed,
    spread_out,
)
from dataflow.services.contract import check_name
from dataflow.services.options import Options
from dataflow.services.service import Service
from dataflow.services.told import failures_told
from dataflow.services.types import Declared

TOP = 3
"""Candidates that are called: enough to choose from, and no more than three bills."""

CHOSEN, ALTERNATIVES = "*chosen", "*alternatives"
CANDIDATES = "candidates"
"""What a service that picks is given: the answers as JSON texts."""

_TEXTS = Declared(text="list[str] | None", arrow=pa.list_(pa.string()), nullable=True)

Pick = Callable[[Sequence[Any]], int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BestOf:
    """Candidates for one answer.

    Attributes:
        services: They, as their author gave them.
        wanted: What they are scored by.
        top: How many are called.
        pick: Picks from the answers: a function, "vote", a service, or None for the highest score.
        chosen_column: The column that names the chosen one; None for `<name>_chosen`.
        alternatives_column: The column of the other answers; None for `<name>_alternatives`.
        members: The candidates under the name of the whole, and the service that picks.
    """

    services: tuple[Service, ...]
    wanted: Wanted
    top: int
    pick: Any
    chosen_column: str | None
    alternatives_column: str | None
    members: tuple[Service, ...] = ()

    def declare(self, options: Options) -> Service:
        """The service that calls the best of them.

        Raises:
            DeclarationError: An option does not fit.
        """
        name = options["name"]
        check_name(name)
        check_members(self.services, name=name, what="best_of")
        check_taken(options, name=name, what="best_of")
        answer = common_answer(self.services, options, name=name)
        candidates = [member_of(one, name) for one in self.services]
        judge = _judge(self.pick, name=name) if isinstance(self.pick, Service) else ()
        read = [one for one in read_by([*candidates, *judge]) if one.name != f"{name}.{CANDIDATES}"]
        return declared(
            replace(self, members=(*candidates, *judge)),
            options,
            parameters=read,
            answer=answer,
            beside=self._beside(name),
        )

    def named(self, service: Service, name: str) -> Service:
        """The composite under another name; its columns keep theirs."""
        chosen, alternatives = self._beside(service.name)
        kept = replace(self, chosen_column=chosen, alternatives_column=alternatives)
        return kept.declare(renamed(service, name))

    def scores(self, name: str, durations: Mapping[str, float]) -> list[int]:
        """The points of each candidate, by what is known of its duration."""
        return [score(_candidate(one, name, durations), self.wanted) for one in self.services]

    def expand(self, service: Service, durations: Mapping[str, float]) -> tuple[Service, ...]:
        """The best candidates, a service that picks where there is one, and what takes the answer that is picked."""
        name, whole = service.name, service.policy.when
        answer = common_answer(self.services, service.options, name=name)
        scores = self.scores(name, durations)
        places = best(scores, top=self.top)
        chosen = [self.members[place] for place in places]
        found = [part for member in chosen for part in asked(member, whole)]
        names = tuple(member.name for member in chosen)
        given = [reading(one) for one in names]
        judge = self.members[len(self.services) :]
        if judge:
            column = f"{name}.{CANDIDATES}"
            found.append(computing(column, _texts(answer), given, returns=_TEXTS, composite=name, when=whole))
            found += asked(judge[0], whole)
        pick = self.pick if callable(self.pick) and not isinstance(self.pick, Service) else None
        points = {one: scores[place] for one, place in zip(names, places, strict=True)}
        chosen_column, alternatives_column = self._beside(name)
        return (
            *found,
            choosing(
                service,
                _picked(answer, points, composite=name, pick=pick, vote=self.pick == "vote", judged=bool(judge)),
                [*given, *(reading(one.name) for one in judge), OUTCOMES],
                answer=answer,
                beside={
                    CHOSEN: (chosen_column, pa.string()),
                    ALTERNATIVES: (alternatives_column, _alternatives(answer)),
                },
            ),
        )

    def _beside(self, name: str) -> tuple[str, str]:
        return self.chosen_column or f"{name}_chosen", self.alternatives_column or f"{name}_alternatives"


def best_of(
    name: str,
    candidates: Iterable[Service],
    /,
    *,
    quality: Quality | None = None,
    speed: Speed | None = None,
    budget: Budget | None = None,
    top: int = TOP,
    pick: Pick | Service | str | None = None,
    chosen_column: str | None = None,
    alternatives_column: str | None = None,
    **options: Any,
) -> Service:
    """Declare an enrichment that scores candidates, calls the best of them side by side, and picks one answer.

    Points are those of `dataflow.policies.scoring`: by the candidate's `quality=`, by the median duration of its calls
    in past runs of the catalog, and by its price. Who is called is decided when the pipeline is planned, and stays for
    a run that goes on. Each candidate has its own line in statistics and bill, under `company.acme`. Where one has
    failed the others serve; where none has an answer it is not found, or failed where one has failed.

    Args:
        name: Of the whole, and of its column where an answer is one value.
        candidates: Services that return the same, such as `registry.find("company")`.
        quality: "premium", "high", "medium" or "low".
        speed: "fast", "balanced" or "thorough".
        budget: "low", "medium", "high" or "unlimited", for one call.
        top: How many are called.
        pick: None takes the highest score that has answered; "vote" the answer that most have given; a function is
            given the answers, best score first, and returns the place of one; a service such as a `flow.judge` returns
            it too, and reads `candidates`, the answers as JSON texts. It is asked where two have answered. What is no
            place falls back to the highest score.
        chosen_column: The column that names whose answer it is. Default: `<name>_chosen`.
        alternatives_column: The column of the other answers, a list of service, score and answer. Default:
            `<name>_alternatives`.
        **options: Those of every service that are not about calls.

    Raises:
        DeclarationError: The candidates return different things, or an option does not fit.
    """
    listed = tuple(candidates)
    check_members(listed, name=name, what="best_of")
    for option, given, levels in (("quality", quality, Quality), ("speed", speed, Speed), ("budget", budget, Budget)):
        if given is not None and given not in get_args(levels):
            known = ", ".join(repr(one) for one in get_args(levels))
            raise DeclarationError(f"`{name}`: {option} takes {known}, not {given!r}")
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise DeclarationError(f"`{name}`: top takes a whole number from 1")
    if pick not in (None, "vote") and not callable(pick):
        raise DeclarationError(f'`{name}`: pick takes "vote", a function of the answers, or a service')
    composite = BestOf(
        services=listed,
        wanted=Wanted(quality=quality, speed=speed, budget=budget),
        top=top,
        pick=pick,
        chosen_column=chosen_column,
        alternatives_column=alternatives_column,
    )
    return composite.declare({**options, "name": name})  # type: ignore[typeddict-item]


def _candidate(service: Service, name: str, durations: Mapping[str, float]) -> Candidate:
    price = service.policy.price
    nominal = 0 if price is None else price.nominal()
    return Candidate(
        quality=service.options.get("quality"),
        seconds=durations.get(f"{name}.{service.name}", durations.get(service.name)),
        price=None if nominal is None else amount(nominal),
    )


def _judge(pick: Service, *, name: str) -> tuple[Service]:
    """The service that picks, as a member that reads the answers."""
    if pick.returns is None or pick.returns.arrow != pa.int64():
        raise DeclarationError(
            f"`{name}` picks by `{pick.name}`, which does not return int, the place of the best candidate"
        )
    if CANDIDATES not in {one.name for one in pick.parameters}:
        raise DeclarationError(f"`{name}` picks by `{pick.name}`, which does not read `{CANDIDATES}`, the answers")
    columns = {**pick.options.get("columns", {}), CANDIDATES: f"{name}.{CANDIDATES}"}
    return (member_of(pick.with_(columns=columns), name),)


def _alternatives(answer: Answer) -> pa.DataType:
    fields = [("service", pa.string()), ("score", pa.int64()), ("answer", answer.declared.arrow)]
    return pa.list_(pa.struct(fields))


def _texts(answer: Answer) -> Callable[..., list[str] | None]:
    """The answers as JSON texts, best score first; None where there is nothing to choose."""

    def texts(*values: Any) -> list[str] | None:
        given = [_text(plain_answer(answer, value)) for value in values if value is not None]
        return given if len(given) > 1 else None

    return texts


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str, sort_keys=True)


def _picked(
    answer: Answer, points: Mapping[str, int], *, composite: str, pick: Pick | None, vote: bool, judged: bool
) -> Callable[..., dict[str, Any]]:
    """Takes the answer that is picked, and names the others."""
    names = list(points)

    def choose(*values: Any) -> dict[str, Any]:
        given = [(name, plain_answer(answer, one)) for name, one in zip(names, values, strict=False) if one is not None]
        if not given:
            if told := failures_told(values[-1], names, composite=composite):
                whole = failures_told(values[-1], names, composite=composite, whole=True)
                raise AllFailed(f"no candidate has answered: {told}", f"no candidate has answered: {whole}")
            raise NotFound
        answers = [one for _, one in given]
        place = _most_given(answers) if vote else values[-2] if judged else pick(answers) if pick is not None else 0
        chosen = place if _is_place(place, len(given)) else 0
        return {
            **spread_out(answer, answers[chosen]),
            CHOSEN: given[chosen][0].removeprefix(f"{composite}."),
            ALTERNATIVES: [
                {"service": name.removeprefix(f"{composite}."), "score": points[name], "answer": one}
                for at, (name, one) in enumerate(given)
                if at != chosen
            ],
        }

    return choose


def _is_place(value: Any, size: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < size


def _most_given(answers: Sequence[Any]) -> int:
    texts = [_text(one) for one in answers]
    counts = Counter(texts)
    return max(range(len(texts)), key=lambda place: (counts[texts[place]], -place))
