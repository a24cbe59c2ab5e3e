"""Composite services: what those that are made of other services have in common, whatever they are made of.

Each kind has a file of its own. Members call; what is between and behind them computes from their answers. How all of
them are bound and run is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pyarrow as pa

from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind, Priority
from dataflow.services.contract import Output, check_default
from dataflow.services.options import Condition, Options, Policy, read_policy
from dataflow.services.service import Service
from dataflow.services.signature import REQUIRED, Form, Injected, Parameter
from dataflow.services.types import ANYTHING, Declared

OPTIONS = (
    *("name", "into", "columns", "publish", "when", "priority", "default", "overwrite", "version"),
    *("capabilities", "quality"),
)
"""What a composite service takes beside its own options; all others belong to its members."""

ANSWER = "*answer"
"""The key of an answer in one piece in what the last service of a composite returns; no field begins with a star."""

FLAG = Declared(text="bool", arrow=pa.bool_(), exact=frozenset({bool}))
TEXT = Declared(text="str | None", arrow=pa.string(), nullable=True, exact=frozenset({str, type(None)}))


class Composite(Protocol):
    """What a composite service is made of."""

    @property
    def members(self) -> tuple[Service, ...]:
        """Every service that it may call, in listed order, each under the name of the composite: `phone.acme`."""

    def named(self, service: Service, name: str) -> Service:
        """The composite service under another name, its members too; the columns that it writes keep theirs."""

    def declare(self, options: Options) -> Service:
        """The composite service under these options.

        Raises:
            DeclarationError: An option does not fit.
        """


class Flat(Composite, Protocol):
    """A composite service that is bound as members, and computing services between and behind them."""

    def expand(self, service: Service, durations: Mapping[str, float]) -> tuple[Service, ...]:
        """All of them in listed order; the last one bears the name of the composite and writes its columns.

        Args:
            service: The composite.
            durations: Average seconds of a call by name of a service, as far as they are known.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the answers of several members have in common.

    Attributes:
        declared: The type of an answer.
        columns: For each field of it the column that it fills; one, with the field None, for an answer in one piece.
    """

    declared: Declared
    columns: tuple[tuple[str | None, str], ...]


def check_members(services: Sequence[Service], *, name: str, what: str) -> None:
    """Refuse what cannot be a member.

    Raises:
        DeclarationError: It is no enrichment, has a name twice, or may be called only once.
    """
    check_listed(services, name=name, shown=f"{what}({name!r}, [first, second])")
    for one in services:
        if one.kind is not Kind.ENRICHMENT:
            raise DeclarationError(
                f"`{name}` tries `{one.name}`, a {one.kind}; only enrichments have answers to choose"
            )
        if not one.repeatable:
            raise DeclarationError(
                f"`{name}` tries `{one.name}`, which has idempotent=False: what has an effect is listed by itself"
            )


def check_listed(services: Sequence[Service], *, name: str, shown: str) -> None:
    """Refuse what is no list of services with different names; `shown` is how one is written.

    Raises:
        DeclarationError: It is none.
    """
    if not services or not all(isinstance(one, Service) for one in services):
        raise DeclarationError(f"`{name}` takes a list of services: {shown}")
    names = [one.name for one in services]
    if twice := sorted({one for one in names if names.count(one) > 1}):
        raise DeclarationError(f"`{name}` lists two services called `{twice[0]}`; use with_(name=...)")


def check_taken(options: Mapping[str, Any], *, name: str, what: str, takes: Sequence[str] = OPTIONS) -> None:
    """Refuse options that only members can have.

    Raises:
        DeclarationError: There is one.
    """
    if others := sorted(set(options) - set(takes)):
        raise DeclarationError(
            f"`{name}` is a {what} and takes no {', '.join(f'{one}=' for one in others)}; "
            f"it takes {', '.join(f'{one}=' for one in takes)}, and its services take the others"
        )


def member_of(service: Service, composite: str) -> Service:
    """A service as a member: its whole answer is in one column, `phone.acme`, and its failure is counted only."""
    name = f"{composite}.{service.name}"
    read = {one.name for one in service.parameters}.union(*(one.declared.fields or () for one in service.parameters))
    columns = {key: column for key, column in service.options.get("columns", {}).items() if key in read}
    if service.lookup is not None:
        columns = {}
    apart: Options = {
        "name": name,
        "into": name,
        "columns": columns,
        "priority": "optional",
        "default": REQUIRED,
        "overwrite": "never",
        "publish": True,
    }
    if service.policy.required:
        apart["required"] = False
    return replace(service.with_(**apart), member_of=composite)


def common_answer(services: Sequence[Service], options: Options, *, name: str) -> Answer:
    """The type that the answers of all services have, and the columns that it fills.

    A lookup says nothing before its table is read; it follows the others.

    Raises:
        DeclarationError: They differ, or none says it.
    """
    known = [one for one in services if one.returns is not None]
    if not known:
        raise DeclarationError(f"`{name}`: no service of it says what it returns; give one of them returns=")
    first, returns = known[0], known[0].returns
    assert returns is not None
    for other in known[1:]:
        if _shape(other) != _shape(first):
            raise DeclarationError(
                f"`{name}`: `{first.name}` returns {returns.text} and `{other.name}` returns "
                f"{other.returns and other.returns.text}; the answers of all of them fill the same columns, so give "
                "them the same returns="
            )
    renamed = {**dict(first.options.get("columns", {})), **options.get("columns", {})}
    into = options.get("into")
    if returns.fields is None or into is not None:
        return Answer(declared=returns, columns=((None, into or options.get("columns", {}).get(name, name)),))
    return Answer(declared=returns, columns=tuple((field, renamed.get(field, field)) for field in returns.fields))


def _shape(service: Service) -> tuple[Any, bool]:
    assert service.returns is not None
    return service.returns.arrow, service.returns.fields is not None


def declared(
    composite: Composite,
    options: Options,
    *,
    parameters: Sequence[Parameter],
    answer: Answer,
    beside: Sequence[str],
) -> Service:
    """A flat composite service, before it is taken apart.

    Args:
        composite: With its members.
        options: Its own, with its name.
        parameters: What its members read from outside.
        answer: The type of the answer, and its columns.
        beside: Further columns that it writes.

    Raises:
        DeclarationError: An option does not fit.
    """
    name = options["name"]
    columns = [*(column for _, column in answer.columns), *beside]
    service = Service(
        name=name,
        kind=Kind.ENRICHMENT,
        form=Form.COMPOSITE,
        parameters=tuple(parameters),
        outputs=tuple(Output(column=column, declared=None) for column in columns),
        returns=answer.declared,
        policy=read_policy(options, kind=Kind.ENRICHMENT, name=name),
        function=None,
        options=options,
        composite=composite,
    )
    check_default(service)
    return service


def renamed(service: Service, name: str) -> Options:
    """The options of a composite under another name, with which the column of its answer keeps its own."""
    columns = dict(service.options.get("columns", {}))
    if service.name in columns or "into" not in service.options:
        columns[name] = columns.pop(service.name, service.name)
    return {**service.options, "name": name, "columns": columns}


def read_by(services: Sequence[Service]) -> tuple[Parameter, ...]:
    """What members read, each column once, as the first of them declares it."""
    found: dict[str, Parameter] = {}
    for service in services:
        for parameter in service.parameters:
            fields = list((parameter.declared.fields or {}).values()) if parameter.is_record else []
            defaults = parameter.field_defaults()
            for at, column in enumerate(parameter.columns):
                declared = fields[at] if fields else parameter.declared
                default = defaults.get(column, parameter.default)
                found.setdefault(column, Parameter(name=column, columns=(column,), declared=declared, default=default))
        when = service.policy.when
        if when is not None and when.column:
            found.setdefault(when.column, reading(when.column))
    return tuple(found.values())


def reading(column: str) -> Parameter:
    """A parameter that takes whatever is in a column, null too."""
    return Parameter(name=column, columns=(column,), declared=ANYTHING)


OUTCOMES = Parameter(name="outcomes", injected=Injected.OUTCOMES)
"""What the members did for the record."""


def computing(
    name: str,
    function: Callable[..., Any],
    parameters: Sequence[Parameter],
    *,
    returns: Declared,
    composite: str,
    when: Condition | None = None,
) -> Service:
    """A service between members: computes one hidden column of its own name from what they have answered."""
    return Service(
        name=name,
        kind=Kind.TRANSFORMATION,
        form=Form.COMPOSITE,
        parameters=tuple(parameters),
        outputs=(Output(column=name, declared=returns),),
        returns=returns,
        policy=Policy(priority=Priority.OPTIONAL, overwrite="always", when=when),
        function=function,
        options={},
        member_of=composite,
    )


def asked(
    member: Service,
    whole: Condition | None,
    *,
    before: Sequence[str] = (),
    is_open: Callable[..., bool] | None = None,
) -> tuple[Service, ...]:
    """A member under all that decides whether it is asked, with what tells that where it takes more than one column.

    Args:
        member: It may have a `when=` of its own.
        whole: That of its composite.
        before: The members whose answers decide as well.
        is_open: Whether they leave it open, by their answers.

    Raises:
        DeclarationError: One of the two conditions is `valid`, and the other looks at a column.
    """
    own = member.policy.when
    if is_open is None and (own is None or whole is None):
        return (_under(member, own or whole),)
    if own is not None and own.test == "valid":
        if whole is not None and whole.test != "valid":
            raise DeclarationError(
                f'`{member.name}` has when="valid" and `{member.member_of}` when="{whole.text}"; say both by one bool '
                "column, which a transformation computes"
            )
        whole, own = own, None
    flag = computing(
        f"{member.name}.asked",
        _deciding(own, is_open),
        [*(reading(name) for name in before), *(() if own is None else (reading(own.column),))],
        returns=FLAG,
        composite=member.member_of,
        when=whole,
    )
    text = "nobody has answered" if is_open is not None else f"{own.text if own else ''} and the whole"
    return flag, _under(member, Condition(test="flag", column=flag.name, text=text))


def _under(service: Service, condition: Condition | None) -> Service:
    return service if condition is None else replace(service, policy=replace(service.policy, when=condition))


def _deciding(own: Condition | None, is_open: Callable[..., bool] | None) -> Callable[..., bool]:
    """Whether a member is asked, by the answers before it and the column that its own condition looks at."""
    if own is None:
        assert is_open is not None
        return is_open
    return lambda *values: (is_open is None or is_open(*values[:-1])) and _holds(own, values[-1])


def _holds(condition: Condition, value: Any) -> bool:
    if condition.test == "flag":
        return bool(value)
    return (value is None) == (condition.test == "null")


def choosing(
    service: Service,
    function: Callable[..., Any],
    parameters: Sequence[Parameter],
    *,
    answer: Answer,
    beside: Mapping[str, tuple[str, pa.DataType]],
) -> Service:
    """The last service of a composite: fills its columns from the answers of its members.

    Args:
        service: The composite.
        function: Gives what `spread_out` makes of the answer, and a value for each key of `beside`.
        parameters: What it is given.
        answer: The type of the answer, and its columns.
        beside: Further columns with their types, by key.
    """
    keys = [(name or ANSWER, column, _field(answer, name)) for name, column in answer.columns]
    keys += [(key, column, Declared(text=str(kind), arrow=kind)) for key, (column, kind) in beside.items()]
    return Service(
        name=service.name,
        kind=Kind.ENRICHMENT,
        form=Form.COMPOSITE,
        parameters=tuple(parameters),
        outputs=tuple(Output(column=column, declared=declared, field=key) for key, column, declared in keys),
        returns=Declared(
            text="an answer",
            arrow=pa.struct([pa.field(key, declared.arrow) for key, _, declared in keys]),
            exact=frozenset({dict}),
        ),
        policy=_with_default(service.policy, answer),
        function=function,
        options=service.options,
        member_of=service.member_of,
    )


def _field(answer: Answer, name: str | None) -> Declared:
    fields = answer.declared.fields
    return answer.declared if name is None or fields is None else fields[name]


def _with_default(policy: Policy, answer: Answer) -> Policy:
    """The policy with its default by the keys that the last service returns."""
    if policy.default is REQUIRED or policy.default is None or answer.columns[0][0] is not None:
        return policy
    return replace(policy, default={ANSWER: policy.default})


def spread_out(answer: Answer, value: Any) -> dict[str, Any]:
    """An answer by the keys that the last service returns."""
    return {ANSWER: value} if answer.columns[0][0] is None else dict(value)


def plain_answer(answer: Answer, value: Any) -> Any:
    """An answer in the common shape: that of a lookup is a record, also where the others have one piece."""
    alone = answer.declared.fields is None and isinstance(value, dict) and len(value) == 1
    return next(iter(value.values())) if alone and not pa.types.is_struct(answer.declared.arrow) else value
