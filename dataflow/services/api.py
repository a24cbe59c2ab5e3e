"""A provider's account as the author declares it, and the services that its endpoints become.

An inert value: its limits are enacted, its secrets looked up and its requests sent by the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack
from urllib.parse import urlsplit

from dataflow.errors import DeclarationError
from dataflow.policies.breaker import Breaker, read_breaker
from dataflow.policies.rate import Rate, read_rates
from dataflow.policies.retry import Retry, read_retry
from dataflow.services.auth import Auth
from dataflow.services.batch import BatchOptions
from dataflow.services.contract import check_name
from dataflow.services.endpoint import read_endpoint
from dataflow.services.headers import read_headers
from dataflow.services.options import Options
from dataflow.services.service import Service
from dataflow.services.template import read_hosts
from dataflow.services.units import seconds, size

CONCURRENCY = 16
"""Calls in flight over the whole cluster unless the author says more: polite to a server that nobody asked."""


@dataclass(frozen=True, slots=True, init=False, eq=False, repr=False)
class API:
    """One account of a provider: its services share its limits, its breaker and its connections.

    Args:
        name: Under which all runs and clients of a cluster share the limits.
        url: `https://host/base`, what the paths of its services are added to; http is for this machine and for
            hosts of your own.
        auth: `flow.bearer`, `flow.basic`, `flow.api_key` or `flow.oauth2_client`.
        rate: `"100/s"`, `"60/min"`, `"50000/day"`, `"200k tokens/min"`, or several, which all hold; none by default.
        concurrency: Calls in flight over the cluster, 16 by default; None lifts the limit.
        timeout: Seconds, or "5s", for one attempt in total; 30 by default.
        retry: Attempts in all, or a `flow.Retry`; 3 attempts by default.
        breaker: `flow.Breaker(...)`, or False for none.
        headers: Sent with every request, as they are; they go before what is sent by itself, such as Accept and
            User-Agent, and those of a service or of one request go before them.
        max_answer: Bytes, or "10MB", that an answer may have after decompression; a longer one is a failure.
        ca_file: A PEM file of certificates to trust beside the usual ones, such as those of a company.
        allow_hosts: Other hosts of the account, `eu.acme.example` or `*.acme.example` (all below it): a path may
            then be a whole url whose host comes from a record, `https://{host}/companies`. They get the secrets
            too, and no host beside them does: a record that names one fails, and nothing is sent for it.
        later: Statuses besides 429 by which it asks to be called later, such as `[403, 420]`: a call waits as long as
            the answer says and is made again, and no access counts as refused. Where the answer itself says when, by
            Retry-After, or for 403 and 420 by the header of a limit that is used up, that is known without it.

    Raises:
        DeclarationError: A limit or the URL cannot be understood.
    """

    name: str
    url: str
    auth: Auth | None
    rates: tuple[Rate, ...]
    concurrency: int | None
    timeout: float
    retry: Retry
    breaker: Breaker | None
    headers: Mapping[str, str]
    max_answer: int
    ca_file: str | None
    allow_hosts: tuple[str, ...]
    later: frozenset[int]

    def __init__(  # noqa: PLR0913
        self,
        name: str,
        url: str,
        *,
        auth: Auth | None = None,
        rate: str | float | Rate | Sequence[str | float | Rate] | None = None,
        concurrency: int | None = CONCURRENCY,
        timeout: float | str = 30.0,
        retry: int | bool | Retry | None = None,
        breaker: bool | Mapping[str, Any] | Breaker | None = None,
        headers: Mapping[str, str] | None = None,
        max_answer: int | str = "10MB",
        ca_file: str | None = None,
        allow_hosts: str | Sequence[str] = (),
        later: int | Sequence[int] = (),
    ) -> None:
        check_name(name)
        where = f"API `{name}`"
        _check_url(url, where=where)
        _check_concurrency(concurrency, where=where)
        if auth is not None and not isinstance(auth, Auth):
            raise DeclarationError(f"{where}: auth takes flow.bearer, flow.basic, flow.api_key or flow.oauth2_client")
        values = {
            "name": name,
            "url": url.rstrip("/"),
            "auth": auth,
            "rates": () if rate is None else read_rates(rate, where=f"{where}: rate"),
            "concurrency": concurrency,
            "timeout": seconds(timeout, where=f"{where}: timeout"),
            "retry": Retry() if retry is None else read_retry(retry, where=f"{where}: retry"),
            "breaker": read_breaker(breaker, where=f"{where}: breaker"),
            "headers": read_headers(headers, auth=auth, where=where),
            "max_answer": size(max_answer, where=f"{where}: max_answer"),
            "ca_file": ca_file,
            "allow_hosts": read_hosts(allow_hosts, where=where),
            "later": _read_later(later, where=where),
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)

    def __repr__(self) -> str:
        return f"<API {self.name} {self.url}>"

    def _repr_html_(self) -> str:
        from dataflow.faces.cards import api_html

        return api_html(self)

    def get(self, name: str, /, path: str, **options: Any) -> Service:
        """Declare an enrichment that gets an answer for each record; see `request`."""
        return self.request(name, "GET", path=path, **options)

    def post(self, name: str, /, path: str, **options: Any) -> Service:
        """Declare an enrichment that posts each record; see `request`.

        It carries an Idempotency-Key, so that it may be tried again; `idempotent=False` sends none, and then a
        record is called for once, whatever becomes of the answer and however often the job is run.
        """
        return self.request(name, "POST", path=path, **options)

    def put(self, name: str, /, path: str, **options: Any) -> Service:
        """Declare an enrichment that puts each record; see `request`."""
        return self.request(name, "PUT", path=path, **options)

    def request(  # noqa: PLR0913
        self,
        name: str,
        /,
        method: str,
        *,
        path: str,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        select: str | Mapping[str, str] | None = None,
        accept: Callable[[Any], Any] | None = None,
        not_found: int | Sequence[int] = (404,),
        batch: int | None = None,
        items: str | None = None,
        match: str | Mapping[str, str] | None = None,
        allow_nan: bool = False,
        **options: Unpack[Options],
    ) -> Service:
        """Declare an enrichment that makes one request for each distinct input, or for up to `batch` of them.

        Args:
            name: The name of the service.
            method: `GET`, `POST`, `PUT`, ...
            path: A template such as `/companies/{domain}`; the columns that it names are what the service reads, and
                `{{domain}}` sends `{domain}` itself, as in all templates. A whole url where the API has `allow_hosts`.
            params: Templates of the query; a list repeats its parameter.
            json: The template of a JSON body; a text that is just `"{column}"` becomes the typed value. GraphQL in a
                member `query` reads no column: its data goes into `variables`.
            headers: Sent as they are, in place of those of the API and of what is sent by itself, such as Content-Type
                and Idempotency-Key; a name is the same in capitals and small letters. No templates.
            select: Where in the answer the value is, such as `"data.items"`, or {field: path}.
            accept: Called with the parsed answer; False, or a text that says why, refuses it.
            not_found: Statuses that mean that nothing is known about the record. 204 means that too; any other
                success without a body is a failure, `empty answer`, unless `returns` holds null.
            batch: Distinct inputs that may share a request. A list of one template in json or params, such as
                `["{domain}"]`, then holds it once for each of them (the outermost such list does); `{domain}`
                elsewhere in params or in the path is all values joined by commas. `select`, `returns` and `accept`
                are about an item of the answer. A request that is refused as a whole (400, 413, 414, 422) is sent
                again in halves.
            items: Where in the answer of a batch the items are, such as `"data.results"`: a list, or an object whose
                names are the inputs. Default: the whole answer.
            match: Where an item repeats the input, such as `"domain"`, or {column: path}; an input without an item is
                not found. Default: items come in the order of the request, as many as were asked for.
            allow_nan: True takes NaN and the infinities, which JSON does not have, as floats; by default they fail.
            **options: As for every service; `returns=` is needed. `idempotent=` says whether a call may be repeated;
                by default yes, where the method does not say so with an Idempotency-Key.

        Raises:
            DeclarationError: A template, a path or an option cannot be understood.
        """
        endpoint = read_endpoint(
            self,
            name,
            method=method,
            path=path,
            params=params,
            json=json,
            headers=headers,
            select=select,
            accept=accept,
            not_found=(not_found,) if isinstance(not_found, int) else not_found,
            idempotent=options.pop("idempotent", None),
            batch=BatchOptions(size=batch, items=items, match=match),
        )
        named: Options = {**options, "name": name}
        return endpoint.allowing(allow_nan, name=name).declare(named)


def _check_concurrency(concurrency: Any, *, where: str) -> None:
    whole = isinstance(concurrency, int) and not isinstance(concurrency, bool)
    if concurrency is not None and not (whole and concurrency > 0):
        raise DeclarationError(f"{where}: concurrency takes a whole number from 1, or None for no limit")


def _read_later(later: Any, *, where: str) -> frozenset[int]:
    listed = (later,) if isinstance(later, int) else later
    known = isinstance(listed, (list, tuple, set, frozenset)) and all(
        isinstance(one, int) and not isinstance(one, bool) and 400 <= one <= 599 for one in listed
    )
    if not known:
        raise DeclarationError(
            f"{where}: later takes statuses from 400 to 599, such as later=[403, 420]; for an answer with a good "
            "status raise flow.RetryLater in accept="
        )
    return frozenset(listed)


def _check_url(url: str, *, where: str) -> None:
    if not isinstance(url, str) or any(one.isspace() for one in url):
        raise DeclarationError(f"{where}: the url is a text without blanks that begins with https://host")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise DeclarationError(f"{where}: the url is none: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DeclarationError(f"{where}: the url begins with https://host")
    if parts.password or parts.username:
        raise DeclarationError(f"{where}: a secret in a url ends up in logs; use auth=flow.basic(...)")
    if parts.query or parts.fragment:
        raise DeclarationError(f"{where}: the url has a query; give params= to its services")
