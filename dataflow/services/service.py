"""Services: named units of work on records, declared by decorators.

A service is an inert value around a function that stays callable. Running it over records, binding its
columns and enacting its policy are the business of other rooms.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Unpack, overload

from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind
from dataflow.services.annotations import declare, declare_fields
from dataflow.services.options import Options, Policy, check_options, read_policy
from dataflow.services.signature import REQUIRED, Binding, Form, Injected, Parameter, Signature, read_signature
from dataflow.services.types import Declared, is_list, is_text, partial_mismatch

RESERVED = ("is_valid", "validations", "completeness", "degraded", "rejected")
"""Columns that a run writes by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A column that a service writes.

    Attributes:
        column: Its name.
        declared: Its type; None where a column form keeps the type of the column it overwrites.
        field: The field of the returned record, or None where the whole value fills the column.
    """

    column: str
    declared: Declared | None
    field: str | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Service:
    """A named unit of work on records; calling it calls the function it was made of.

    Attributes:
        name: Unique in a pipeline; names the output column, errors, statistics.
        kind: Transformation, validation or enrichment.
        form: How it is called: record, column, async, lookup or http.
        parameters: What it reads.
        outputs: What it writes; empty for validations, and for lookups until their table is known.
        returns: What one call returns, or None where only the table of a lookup or the input says it.
        policy: How it may be called and what its failure means.
        function: The author's function or class; None for a lookup and for an endpoint.
        options: As the author gave them, for `with_`.
        lookup: The reference table of a lookup, else None.
        endpoint: Where an HTTP service asks, else None.
    """

    name: str
    kind: Kind
    form: Form
    parameters: tuple[Parameter, ...]
    outputs: tuple[Output, ...]
    returns: Declared | None
    policy: Policy
    function: Callable[..., Any] | None
    options: Options
    lookup: Any = None
    endpoint: Any = None
    constants: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for name in functools.WRAPPER_ASSIGNMENTS if self.function is not None else ():
            if hasattr(self.function, name):
                object.__setattr__(self, name, getattr(self.function, name))
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.function is None:
            raise DeclarationError(f"`{self.name}` is declared without a function; use it in a pipeline")
        return self.make()(*args, **kwargs)

    def make(self) -> Callable[..., Any]:
        """What is called for each record: the function itself, or a new instance of a decorated class."""
        assert self.function is not None
        made: Callable[..., Any] = self.function(**self.policy.setup) if self.is_class else self.function
        return made

    def __repr__(self) -> str:
        reads = ", ".join(column for parameter in self.parameters for column in parameter.columns)
        writes = ", ".join(output.column for output in self.outputs)
        return f"<{self.kind} {self.name}({reads}){' -> ' + writes if writes else ''}>"

    @property
    def is_class(self) -> bool:
        """Whether it was declared on a class, which is set up once per worker."""
        return inspect.isclass(self.function)

    @property
    def calls_out(self) -> bool:
        """Whether calling it waits for something outside: such calls are made side by side."""
        return self.form in (Form.ASYNC, Form.HTTP) or self.policy.threads > 1 or self.policy.api is not None

    @property
    def api(self) -> Any:
        """The account under whose limits it calls, or None."""
        return self.policy.api if self.endpoint is None else self.endpoint.api

    @property
    def repeatable(self) -> bool:
        """Whether a call may be made again, and its answer serve other records with the same inputs."""
        return self.policy.idempotent if self.endpoint is None else bool(self.endpoint.repeatable)

    @property
    def batch(self) -> int:
        """Records that share a call at most."""
        return 1 if self.endpoint is None or self.endpoint.batch is None else int(self.endpoint.batch.size)

    def with_(self, **options: Unpack[Options]) -> Service:
        """The same service under other options, such as another name or other columns.

        Raises:
            DeclarationError: The options do not fit the function.
        """
        merged: Options = {**self.options, **options}
        declared = self.lookup or self.endpoint
        if declared is not None:
            return declared.declare(merged)  # type: ignore[no-any-return]
        assert self.function is not None
        return declare_service(self.function, kind=self.kind, options=merged)


def declare_service(function: Callable[..., Any], *, kind: Kind, options: Options) -> Service:
    """Read a function's contract into a service.

    Raises:
        DeclarationError: The signature, the return type or an option cannot be understood.
    """
    if isinstance(function, Service):
        raise DeclarationError(f"`{function.name}` is a service already; use with_(...) for a variant of it")
    if not callable(function):
        raise DeclarationError(f"a {kind} is declared on a function or a class, not on {type(function).__name__}")
    name = options.get("name", getattr(function, "__name__", ""))
    check_name(name)
    check_options(options, name=name)
    binding = Binding(
        columns=options.get("columns", {}), reads=options.get("reads"), constants=options.get("constants", {})
    )
    signature = read_signature(function, binding, name=name)
    returns = read_returns(signature, options, kind=kind, name=name)
    outputs = () if kind is Kind.VALIDATION else name_outputs(returns, options, name=name)
    service = Service(
        name=name,
        kind=kind,
        form=signature.form,
        parameters=signature.parameters,
        outputs=outputs,
        returns=returns,
        policy=read_policy(options, kind=kind, name=name),
        function=function,
        options=options,
        constants=MappingProxyType(dict(binding.constants)),
    )
    check_bound_columns(service, binding.columns)
    check_default(service)
    check_cache(service)
    if service.form is Form.COLUMN and service.policy.api is not None:
        raise DeclarationError(f"`{name}` reads whole columns and has an api=; a service of an API reads one record")
    if kind is Kind.VALIDATION and not service.repeatable:
        raise DeclarationError(
            f"`{name}` is a validation and has idempotent=False; what has an effect is an enrichment"
        )
    if service.api is None and not service.repeatable:
        raise DeclarationError(
            f"`{name}` has idempotent=False and no api=; that its calls are made once is seen to for services of an "
            "API: give api=flow.API(...)"
        )
    if service.api is None and any(one.injected is Injected.CLIENT for one in service.parameters):
        raise DeclarationError(f"`{name}` asks for an httpx.AsyncClient, which belongs to an API; give api=")
    check_price(service)
    return service


def check_price(service: Service) -> None:
    """Refuse a price where nobody could tell what was bought.

    Raises:
        DeclarationError: It calls no API, or its price is in an answer that it does not give away.
    """
    price = service.policy.price
    if price is not None and service.api is None:
        raise DeclarationError(f"`{service.name}` has a price= and calls no API; give api= the account that is paid")
    asks = any(one.injected is Injected.CLIENT for one in service.parameters)
    if price is not None and price.tokens is not None and service.endpoint is None and not asks:
        raise DeclarationError(
            f"`{service.name}` returns no answer that counts tokens; ask for its client by http: httpx.AsyncClient, or "
            "give price= a function of what it returns"
        )


def check_default(service: Service) -> None:
    """Refuse a `default=` that the service could not return.

    Raises:
        DeclarationError: It is of another type.
    """
    returns, default = service.returns, service.policy.default
    wrong = None if returns is None or default in (REQUIRED, None) else partial_mismatch(returns, default)
    if wrong is not None:
        raise DeclarationError(f"`{service.name}` has a default= that it could not return: {wrong}")


def check_cache(service: Service) -> None:
    """Refuse a `cache=` for what has no answers that could be kept.

    Raises:
        DeclarationError: It calls no API, may be called only once, or answers by what became of the record.
    """
    if service.policy.cache is None or "cache" not in service.options:
        return
    problem = None
    if service.api is None:
        problem = "only answers of an API are kept; give api=, or leave cache= away"
    elif not service.policy.idempotent or (service.endpoint is not None and not service.endpoint.repeatable):
        problem = "with idempotent=False every call counts, so no answer is kept; leave cache= away"
    elif any(one.injected is Injected.OUTCOMES for one in service.parameters):
        problem = "it asks for flow.Outcomes, so its answers are for one record each; leave cache= away"
    if problem is not None:
        raise DeclarationError(f"`{service.name}` has a cache=, but {problem}")


def check_name(name: str) -> None:
    """Refuse a service name that could not stand in a column, a folder and a message.

    Raises:
        DeclarationError: It is empty, reserved, or has other characters than letters, digits, `_`, `-`, `.`.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][\w.\-]*", name):
        raise DeclarationError(f"{name!r} is no name for a service; give one with name=, of letters, digits, _ and -")
    if name in RESERVED:
        raise DeclarationError(f"`{name}` is a column that every run writes; give the service another name=")


def read_returns(signature: Signature, options: Options, *, kind: Kind, name: str) -> Declared | None:
    """What one call returns, by `returns=` or by the annotation.

    Raises:
        DeclarationError: Neither says it, or a validation returns no verdict.
    """
    given = options.get("returns", REQUIRED)
    if given is REQUIRED and signature.form is not Form.COLUMN:
        given = signature.returns
    if kind is Kind.VALIDATION:
        return _read_verdict(given, signature.form, name=name)
    if given is REQUIRED and signature.form is Form.COLUMN:
        return None
    if given is REQUIRED or given in (None, type(None)):
        raise DeclarationError(f"`{name}` does not say what it returns; annotate it, or give returns=")
    return read_declared(given, name=name)


def read_declared(returns: Any, *, name: str) -> Declared:
    """The type of what a service returns: an annotation, or {field: type}.

    Raises:
        DeclarationError: It has no Arrow type.
    """
    where = f"`{name}` returns"
    declared = declare_fields(returns, where=where) if isinstance(returns, Mapping) else declare(returns, where=where)
    if declared.arrow is None:
        raise DeclarationError(f"{where} Any; a column needs one type")
    return declared


def _read_verdict(given: Any, form: Form, *, name: str) -> Declared | None:
    if given is REQUIRED and form is Form.COLUMN:
        return declare(bool, where="")
    if given is REQUIRED:
        raise DeclarationError(
            f"`{name}` does not say what it returns; annotate -> bool, -> str | None or -> list[str]"
        )
    if given in (None, type(None)):
        return None
    declared = declare(given, where=f"`{name}` returns")
    verdict = declared.text in ("bool", "str | None", "str") or (
        declared.arrow is not None and is_list(declared.arrow) and is_text(declared.arrow.value_type)
    )
    if not verdict:
        raise DeclarationError(
            f"`{name}` is a validation and returns {declared.text}; "
            "a verdict is bool, str | None (the error) or list[str]"
        )
    return declared


def name_outputs(returns: Declared | None, options: Options, *, name: str) -> tuple[Output, ...]:
    """The columns that the returned value fills.

    Raises:
        DeclarationError: A column is reserved.
    """
    columns, into = options.get("columns", {}), options.get("into")
    if returns is not None and returns.fields is not None and into is None:
        outputs = tuple(
            Output(column=columns.get(key, key), declared=one, field=key) for key, one in returns.fields.items()
        )
    else:
        outputs = (Output(column=into or columns.get(name, name), declared=returns),)
    for output in outputs:
        if output.column in RESERVED:
            raise DeclarationError(
                f"`{name}` writes `{output.column}`, which every run writes; choose another with into="
            )
    written = [output.column for output in outputs]
    if twice := sorted({column for column in written if written.count(column) > 1}):
        raise DeclarationError(f"`{name}` writes `{twice[0]}` twice; rename one of its fields with columns=")
    return outputs


def check_bound_columns(service: Service, columns: Mapping[str, str]) -> None:
    """Refuse names in `columns=` that the service neither reads nor writes.

    Raises:
        DeclarationError: It names them, and those that there are.
    """
    known = {one.name for one in service.parameters} | {service.name}
    for parameter in service.parameters:
        known |= set(parameter.declared.fields or ())
    known |= {output.field for output in service.outputs if output.field}
    unknown = sorted(set(columns) - known)
    if unknown:
        raise DeclarationError(
            f"`{service.name}` has no parameter or output {', '.join(f'`{one}`' for one in unknown)}, "
            f"which columns= names; it has {', '.join(f'`{one}`' for one in sorted(known))}"
        )


Decorator = Callable[[Callable[..., Any]], Service]


@overload
def transformation(function: Callable[..., Any], /) -> Service: ...
@overload
def transformation(**options: Unpack[Options]) -> Decorator: ...
def transformation(function: Callable[..., Any] | None = None, /, **options: Unpack[Options]) -> Service | Decorator:
    """Declare a function that rewrites or adds columns.

    Its parameters are columns, its name is the output column; see `Options` for what may be said beside it.

    Raises:
        DeclarationError: The signature cannot be understood; nothing has been called.
    """
    return _decorate(function, Kind.TRANSFORMATION, options)


@overload
def validation(function: Callable[..., Any], /) -> Service: ...
@overload
def validation(**options: Unpack[Options]) -> Decorator: ...
def validation(function: Callable[..., Any] | None = None, /, **options: Unpack[Options]) -> Service | Decorator:
    """Declare a function that judges a record: None or True is valid, a text or False is not.

    `-> bool` takes only bools, `-> str | None` gives the error, `-> list[str]` all of them; it may raise
    `flow.Invalid`. Any other exception is a failure of the service, not a verdict.

    Raises:
        DeclarationError: The signature cannot be understood; nothing has been called.
    """
    return _decorate(function, Kind.VALIDATION, options)


@overload
def enrichment(function: Callable[..., Any], /) -> Service: ...
@overload
def enrichment(**options: Unpack[Options]) -> Decorator: ...
def enrichment(function: Callable[..., Any] | None = None, /, **options: Unpack[Options]) -> Service | Decorator:
    """Declare a function that adds columns from outside the record.

    None, where the return type does not hold it, means that nothing was found.

    Raises:
        DeclarationError: The signature cannot be understood; nothing has been called.
    """
    return _decorate(function, Kind.ENRICHMENT, options)


def _decorate(function: Callable[..., Any] | None, kind: Kind, options: Options) -> Service | Decorator:
    def declared(called: Callable[..., Any]) -> Service:
        return declare_service(called, kind=kind, options=options)

    return declared if function is None else declared(function)
