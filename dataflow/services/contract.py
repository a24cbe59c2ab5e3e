"""What a service returns and writes, and what is refused when one is declared, whichever way.

Rules on a service that is being made; reading a signature and the service itself have rooms of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind
from dataflow.services.annotations import declare, declare_fields
from dataflow.services.options import Options
from dataflow.services.signature import REQUIRED, Form, Injected, Signature
from dataflow.services.types import Declared, is_list, is_text, partial_mismatch

if TYPE_CHECKING:
    from dataflow.services.service import Service

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
