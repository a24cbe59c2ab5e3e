"""Services: named units of work on records, declared by decorators.

A service is an inert value around a function that stays callable. Running it over records, binding its
columns and enacting its policy are the business of other rooms.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Unpack, overload

from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind
from dataflow.services.contract import (
    Output,
    check_bound_columns,
    check_cache,
    check_default,
    check_name,
    check_price,
    name_outputs,
    read_returns,
)
from dataflow.services.options import Options, Policy, check_options, read_policy
from dataflow.services.signature import Binding, Form, Injected, Parameter, read_signature
from dataflow.services.types import Declared

if TYPE_CHECKING:
    from dataflow.services.composite import Composite


@dataclass(frozen=True, eq=False, kw_only=True)
class Service:
    """A named unit of work on records; calling it calls the function it was made of.

    Attributes:
        name: Unique in a pipeline; names the output column, errors, statistics.
        kind: Transformation, validation or enrichment.
        form: How it is called: record, column, async, lookup, http or llm.
        parameters: What it reads.
        outputs: What it writes; empty for validations, and for lookups until their table is known.
        returns: What one call returns, or None where only the table of a lookup or the input says it.
        policy: How it may be called and what its failure means.
        function: The author's function or class; None for a lookup and for an endpoint.
        options: As the author gave them, for `with_`.
        lookup: The reference table of a lookup, else None.
        endpoint: Where and what a service of HTTP or a model asks, else None.
        constants: Parameters that get a value instead of a column.
        composite: What a composite service is made of, else None.
        member_of: The composite service that it works for, whose own it is: its columns are not published.
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
    composite: Composite | None = None
    member_of: str = ""

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

    def _repr_html_(self) -> str:
        from dataflow.faces.cards import service_html

        return service_html(self)

    @property
    def is_published(self) -> bool:
        """Whether its columns are part of the output, unless a later service rewrites them."""
        return self.policy.publish and not self.member_of

    @property
    def is_class(self) -> bool:
        """Whether it was declared on a class, which is set up once per worker."""
        return inspect.isclass(self.function)

    @property
    def calls_out(self) -> bool:
        """Whether calling it waits for something outside: such calls are made side by side."""
        if self.composite is not None:
            return any(member.calls_out for member in self.composite.members)
        return self.form in (Form.ASYNC, Form.HTTP, Form.LLM) or self.policy.threads > 1 or self.policy.api is not None

    @property
    def api(self) -> Any:
        """The account under whose limits it calls, or None."""
        return self.policy.api if self.endpoint is None else self.endpoint.api

    @property
    def repeatable(self) -> bool:
        """Whether a call may be made again, and its answer serve other records with the same inputs."""
        return self.policy.idempotent if self.endpoint is None else bool(self.endpoint.repeatable)

    @property
    def every(self) -> tuple[Service, ...]:
        """The service, and behind it all that it is made of, however deep."""
        members = () if self.composite is None else self.composite.members
        return (self, *(one for member in members for one in member.every))

    @property
    def batch(self) -> int:
        """Records that share a call at most."""
        return 1 if self.endpoint is None or self.endpoint.batch is None else int(self.endpoint.batch.size)

    def named(self, name: str) -> Service:
        """The same service under another name in statistics and messages; its columns keep theirs."""
        return replace(self, name=name) if self.composite is None else self.composite.named(self, name)

    def with_(self, **options: Unpack[Options]) -> Service:
        """The same service under other options, such as another name or other columns.

        Raises:
            DeclarationError: The options do not fit the function.
        """
        merged: Options = {**self.options, **options}
        declared = self.lookup or self.endpoint or self.composite
        if declared is not None:
            return declared.declare(merged)
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
