"""One endpoint of an API: how a record becomes a request, and what its answer means.

Inert: templates and paths are read here, requests are made and sent by the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind
from dataflow.policies.retry import IDEMPOTENT_METHODS
from dataflow.services.answers import AnswerReader
from dataflow.services.batch import Batch, BatchOptions, check_batch, read_batch
from dataflow.services.batch_template import Templates, read_templates
from dataflow.services.contract import (
    check_bound_columns,
    check_cache,
    check_default,
    check_name,
    name_outputs,
    read_declared,
)
from dataflow.services.headers import IDEMPOTENCY_KEY, holds, read_headers
from dataflow.services.options import Options, check_options, read_policy
from dataflow.services.selection import read_select
from dataflow.services.service import Service
from dataflow.services.signature import Form, Parameter
from dataflow.services.template import Template, read_json, read_params, read_url
from dataflow.services.types import Declared

if TYPE_CHECKING:
    from dataflow.services.api import API

_WHOLE = ("http://", "https://")
ANY_VALUE = Declared(text="a value", arrow=None)
"""What a template takes: anything but null, since a null has no place in a request."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Endpoint:
    """How one service asks its API.

    Attributes:
        api: The account.
        method: Of the request, in capitals.
        url: The whole URL with its path; it and the others take sequences of values where records share requests.
        params: The query, or None.
        json: The body, or None.
        headers: Sent as they are.
        select: Where in the answer the value is, as the author wrote it.
        accept: Judges a parsed answer, or None.
        not_found: Statuses that mean that nothing is known.
        repeatable: Whether a call whose answer was lost may be sent again.
        keyed: Whether an Idempotency-Key of its own goes with each call.
        batch: How records share requests, or None for one request each.
        allow_nan: Whether NaN and the infinities are taken as floats.
    """

    api: API
    method: str
    url: Template[str]
    params: Template[Any] | None
    json: Template[Any] | None
    headers: Mapping[str, str] = field(repr=False)
    select: Any
    accept: Callable[[Any], Any] | None
    not_found: tuple[int, ...]
    repeatable: bool
    keyed: bool
    batch: Batch | None = None
    allow_nan: bool = False

    def allowing(self, nan: Any, *, name: str) -> Endpoint:
        """The same, with NaN and the infinities taken as floats or not.

        Raises:
            DeclarationError: It is neither True nor False.
        """
        if not isinstance(nan, bool):
            raise DeclarationError(f"`{name}`: allow_nan takes True or False")
        return replace(self, allow_nan=nan)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names in its templates, each once, in order."""
        return Templates(url=self.url, params=self.params, json=self.json).columns

    def declare(self, options: Options) -> Service:
        """The service that asks here.

        Raises:
            DeclarationError: An option does not fit.
        """
        name = options["name"]
        check_name(name)
        check_options(options, name=name)
        if not self.columns:
            raise DeclarationError(f"`{name}` reads no column; name one in its path, params or json as {{column}}")
        if "returns" not in options:
            raise DeclarationError(f"`{name}` does not say what it returns; give returns= a type or a TypedDict")
        returns = read_declared(options["returns"], name=name)
        names = options.get("columns", {})
        service = Service(
            name=name,
            kind=Kind.ENRICHMENT,
            form=Form.HTTP,
            parameters=tuple(
                Parameter(name=column, columns=(names.get(column, column),), declared=ANY_VALUE)
                for column in self.columns
            ),
            outputs=name_outputs(returns, options, name=name),
            returns=returns,
            policy=read_policy(options, kind=Kind.ENRICHMENT, name=name),
            function=None,
            options=options,
            endpoint=self,
        )
        for option in ("constants", "api"):
            if option in options:
                raise DeclarationError(f"`{name}` is an endpoint of {self.api.name} and takes no {option}=")
        if "idempotent" in options:
            raise DeclarationError(f"`{name}` is an endpoint; say idempotent= where it is declared on its API")
        check_bound_columns(service, names)
        check_default(service)
        check_cache(service)
        self.reader(returns, name=name)
        return service

    def reader(self, returns: Declared, *, name: str) -> AnswerReader:
        """What turns the body of an answer into the value of the service.

        Raises:
            DeclarationError: `select=` names a field that is not declared, or is no path.
        """
        select = None if self.select is None else read_select(self.select, returns, where=f"`{name}`: select")
        return AnswerReader(returns=returns, select=select, accept=self.accept, allow_nan=self.allow_nan)


def _check_kinds(accept: Any, not_found: Sequence[int], idempotent: Any, *, where: str) -> None:
    if accept is not None and not callable(accept):
        raise DeclarationError(f"{where}: accept takes a function of the parsed answer")
    if idempotent not in (None, True, False):
        raise DeclarationError(f"{where}: idempotent takes True or False")
    if not all(isinstance(status, int) and 100 <= status < 600 for status in not_found):
        raise DeclarationError(f"{where}: not_found takes HTTP statuses, as numbers")


def _read_templates(api: API, path: str, params: Any, json: Any, *, where: str) -> Templates:
    return Templates(
        url=_url(api, path, where=where),
        params=None if params is None else read_params(params, where=f"{where}: params"),
        json=None if json is None else read_json(json, where=f"{where}: json"),
    )


def _read_batch_templates(api: API, path: str, params: Any, json: Any, *, where: str) -> Templates:
    if path.startswith(_WHOLE):
        raise DeclarationError(f"{where}: the path begins with /; the records of a batch have one host")
    return read_templates(_below(api, path), params, json, where=where)


def _below(api: API, path: str) -> str:
    return f"{api.url}/{path.removeprefix('/')}"


def _url(api: API, path: str, *, where: str) -> Template[str]:
    """The url of an endpoint: below that of the API, or at one of the other hosts that it allows."""
    if not path.startswith(_WHOLE):
        return read_url(_below(api, path), where=f"{where}: path")
    if not api.allow_hosts:
        raise DeclarationError(
            f"{where}: the path begins with /; another host is another flow.API, or one that allow_hosts= of "
            f"{api.name} lists"
        )
    if path.startswith("http://") and not api.url.startswith("http://"):
        raise DeclarationError(f"{where}: the path begins with / or https://, as the url of {api.name} does")
    own = urlsplit(api.url).hostname or ""
    # A number of IPv6 is no name, and no template can write one.
    hosts = api.allow_hosts if ":" in own else (own, *api.allow_hosts)
    return read_url(path, where=f"{where}: path", allow_hosts=hosts)


def read_endpoint(
    api: API,
    name: str,
    *,
    method: str,
    path: str,
    params: Mapping[str, Any] | None,
    json: Any,
    headers: Mapping[str, str] | None,
    select: Any,
    accept: Callable[[Any], Any] | None,
    not_found: Sequence[int],
    idempotent: bool | None,
    batch: BatchOptions,
) -> Endpoint:
    """Read the templates of an endpoint; see `API.request` for its arguments.

    Raises:
        DeclarationError: A template cannot be understood.
    """
    where = f"`{name}`"
    method = method.upper()
    _check_kinds(accept, not_found, idempotent, where=where)
    shares = check_batch(batch, where=where)
    read = _read_batch_templates if shares else _read_templates
    templates = read(api, path, params, json, where=where)
    own = read_headers(headers, auth=api.auth, where=where)
    has_key = holds(own, IDEMPOTENCY_KEY) or holds(api.headers, IDEMPOTENCY_KEY)
    return Endpoint(
        api=api,
        method=method,
        url=templates.url,
        params=templates.params,
        json=templates.json,
        headers=dict(own),
        select=select,
        accept=accept,
        not_found=tuple(not_found),
        repeatable=idempotent is not False,
        keyed=method not in IDEMPOTENT_METHODS and idempotent is not False and not has_key,
        batch=read_batch(batch, templates, where=where) if shares else None,
    )
