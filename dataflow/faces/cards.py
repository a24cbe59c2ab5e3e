"""What an author has declared, as a notebook shows it: a service, an API with its limits, a job.

Nothing is called and no file is read. Of secrets there are names only, and of headers too, since values of theirs are
sometimes secrets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from inspect import getdoc
from os import PathLike
from typing import TYPE_CHECKING, Any

from dataflow.faces.markup import dot, facts, faint, named, plain
from dataflow.faces.picture import COLOURS
from dataflow.faces.render import pipeline_html
from dataflow.faces.texts import count, counted, duration, size
from dataflow.plan.guardrails import USUAL
from dataflow.policies.money import written
from dataflow.services.signature import REQUIRED
from dataflow.store.filesystem import shown
from dataflow.store.sources.source import Source

if TYPE_CHECKING:
    from dataflow.plan.pipeline import Job
    from dataflow.policies.breaker import Breaker
    from dataflow.policies.retry import Retry
    from dataflow.services.api import API
    from dataflow.services.prices import Price
    from dataflow.services.service import Service
    from dataflow.services.signature import Parameter
    from dataflow.services.types import Declared


def service_html(service: Service) -> str:
    """A service: what it reads and writes, under which limits it is called, what a failure of it means."""
    policy = service.policy
    title = f"{dot(COLOURS[service.kind])} <b>{plain(service.name)}</b>"
    phrases = f"{service.kind} · {service.form} form · {policy.priority}"
    pairs = [
        ("does", _first_line(service)),
        ("asks", _request(service)),
        ("reads", ", ".join(filter(None, map(_read, service.parameters)))),
        ("writes", _writes(service)),
        ("made of", ", ".join(one.name for one in service.every[1:])),
        *_policy(service),
    ]
    return f"<div>{title} {faint(plain(phrases))}</div>{facts(pairs)}"


def _first_line(service: Service) -> str:
    return "" if service.function is None else (getdoc(service.function) or "").partition("\n")[0]


def _request(service: Service) -> str:
    if service.lookup is not None:
        return _source(service.lookup.table)
    if service.endpoint is None:
        return ""
    return f"{service.endpoint.method} {shown(service.endpoint.url.source)}"


def _read(parameter: Parameter) -> str:
    if parameter.injected is not None:
        return f"{parameter.name} (given: {parameter.injected})"
    if not parameter.columns:
        return ""
    names = ", ".join(parameter.columns)
    if parameter.is_record or parameter.container is not None or parameter.declared.arrow is None:
        return names
    return f"{names} {_type(parameter.declared)}"


def _writes(service: Service) -> str:
    if service.lookup is not None:
        chosen = service.lookup.select
        return ", ".join(chosen) if chosen else "every column of its table but the keys"
    return ", ".join(
        f"{one.column} {_type(one.declared)}" if one.declared is not None else one.column for one in service.outputs
    )


def _type(declared: Declared) -> str:
    """A type without the modules that its classes are from."""
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", declared.text)


def _policy(service: Service) -> list[tuple[str, str]]:
    policy = service.policy
    cached = policy.cache is not None and service.api is not None
    return [
        ("api", "" if service.api is None else f"{service.api.name}: {', '.join(_limits(service.api))}"),
        ("batch", f"{counted(service.batch, 'record')} a call" if service.batch > 1 else ""),
        ("price", "" if policy.price is None else _price(policy.price)),
        ("when", "" if policy.when is None else policy.when.text),
        ("timeout", "" if policy.timeout is None else duration(policy.timeout)),
        ("retry", "" if policy.retry is None else _retry(policy.retry)),
        ("cache", f"answers serve {_age(policy.cache.lifetime)}" if cached and policy.cache is not None else ""),
        ("default", "" if policy.default is REQUIRED else repr(policy.default)),
        ("overwrites", "" if policy.overwrite == "never" or service.api is None else policy.overwrite),
        ("idempotent", "" if policy.idempotent else "no: each call is made once"),
        ("publish", "" if policy.publish else "no: only for the services after it"),
        ("version", "" if policy.version == "1" else policy.version),
    ]


def _price(price: Price) -> str:
    parts = []
    if price.call:
        parts.append(f"{written(price.call, price.currency)} a call")
    if price.record:
        parts.append(f"{written(price.record, price.currency)} a record")
    if price.tokens is not None:
        sent, received = price.tokens
        parts.append(f"{price.currency} {sent:f} in and {received:f} out for a million tokens")
    if price.function is not None:
        parts.append("said by the answer")
    parts += [f"at most {written(price.most, price.currency)}"] if price.most is not None else []
    parts += [f"a budget of {written(price.budget, price.currency)} a run"] if price.budget is not None else []
    return ", ".join(parts) or "free"


def _age(seconds: float) -> str:
    if math.isinf(seconds):
        return "for ever"
    return f"{seconds / 86400:g} days" if seconds >= 86400 else duration(seconds)


def api_html(api: API) -> str:
    """An account: where it is, and the limits that all its services share."""
    auth = api.auth
    pairs = [
        ("secrets", "" if auth is None else f"{', '.join(auth.secrets)} ({auth.scheme})"),
        ("rate", ", ".join(rate.text for rate in api.rates) or "no limit"),
        ("in flight", "no limit" if api.concurrency is None else f"{counted(api.concurrency, 'call')} at most"),
        ("timeout", f"{duration(api.timeout)} an attempt"),
        ("retry", _retry(api.retry)),
        ("breaker", "none" if api.breaker is None else _breaker(api.breaker)),
        ("later by", ", ".join(map(str, sorted(api.later)))),
        ("headers", ", ".join(api.headers)),
        ("answers", f"{size(api.max_answer)} at most"),
        ("other hosts", ", ".join(api.allow_hosts)),
    ]
    return named(api.name, ["API", api.url]) + facts(pairs)


def _limits(api: API) -> list[str]:
    capped = [] if api.concurrency is None else [f"{api.concurrency} in flight"]
    return [*(rate.text for rate in api.rates), *capped]


def _retry(retry: Retry) -> str:
    if retry.attempts == 1:
        return "none"
    waits = f"{retry.backoff} from {duration(retry.initial)} to {duration(retry.maximum)}"
    return f"{counted(retry.attempts, 'attempt')}, {waits}"


def _breaker(breaker: Breaker) -> str:
    return f"opens at {counted(breaker.threshold, 'failure')} in a row, for {duration(breaker.reset)}"


def job_html(job: Job) -> str:
    """A job: from where to where, what ends it before its time, and the graph of its pipeline."""
    found = job.min_found
    shares = ", ".join(f"{name} {least}" for name, least in found.items()) if isinstance(found, Mapping) else found
    pairs = [
        ("source", _source(job.source)),
        ("output", job.output),
        ("key", ", ".join(job.keys) or "file and row"),
        ("failures", f"{_amount(USUAL if job.max_failures is None else job.max_failures)} at most"),
        ("found", "" if shares is None else f"at least {_amount(shares)}"),
        ("deadline", "" if job.deadline is None else _amount(job.deadline)),
        ("budget", "" if job.budget is None else _amount(job.budget)),
        ("record budget", "" if job.record_budget is None else _amount(job.record_budget)),
    ]
    return named(job.output, ["Job"]) + facts(pairs) + pipeline_html(job.pipeline)


def _amount(value: Any) -> str:
    return count(value) if isinstance(value, int) else str(value)


def _source(source: Any) -> str:
    """Where the records come from, without what a URL may hold of secrets; of what is in memory only its kind."""
    if source is None:
        return "none yet"
    paths = source.paths if isinstance(source, Source) else source if isinstance(source, (list, tuple)) else (source,)
    if all(isinstance(path, (str, PathLike)) for path in paths):
        return ", ".join(shown(str(path)) for path in paths)
    return f"a {type(source).__name__} in memory"
