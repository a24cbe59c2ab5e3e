"""Whether the APIs of a job are there, which secrets they lack, and what limits them. Pure: nothing is asked here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from dataflow.services.api import API
from dataflow.services.service import Service
from dataflow.wiring.doctor.findings import Finding, ok, problem, some, warning


def apis_of(services: Sequence[Service]) -> dict[API, list[Service]]:
    """The APIs that services call, each once, with these."""
    found: dict[API, list[Service]] = {}
    for service in services:
        if service.api is not None:
            found.setdefault(service.api, []).append(service)
    return found


def may_be_asked(api: API, services: Sequence[Service]) -> bool:
    """Whether a request to the base URL can be no call of a service, so that it cannot cost anything.

    A function may call any path; without a secret it is not known whose call it is.
    """
    base = _place(api.url)
    urls = [one.endpoint.url for one in services if one.endpoint is not None]
    # That of a model is a text, that of an endpoint a template.
    ends = [_place(one if isinstance(one, str) else one.source) for one in urls]
    return base not in ends and (api.auth is not None or len(ends) == len(services))


def _place(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.netloc.lower(), parts.path.rstrip("/")


def judge_reach(api: API, *, here: Mapping[str, Any], there: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Whether the server of an API answers where calls are made.

    Args:
        api: The account.
        here: What `reach` found in this process.
        there: What it found on workers, by address; empty without a cluster, and then calls are made here.
    """
    found = [_reached(api, here, "here", calls=not there)]
    return found + [_reached(api, one, f"worker {worker}", calls=True) for worker, one in there.items()]


def _reached(api: API, answer: Mapping[str, Any], place: str, *, calls: bool) -> Finding:
    subject, host = f"API {api.name}", urlsplit(api.url).netloc
    source = "from here" if place == "here" else f"from {place}"
    if "status" in answer:
        return ok(subject, f"{host} answers {source}, HTTP {answer['status']}")
    if "connected" in answer:
        return ok(subject, f"{host} can be connected to {source}; nothing was asked, since that might be a call")
    fact = f"{host} is not reached {source}: {answer['trouble']}"
    if calls:
        return problem(subject, fact, advice="check the url of the API, the network and its firewall")
    return warning(subject, fact, advice="calls are made on workers, but a sample or a single record is called here")


def judge_secrets(
    api: API, *, unset_here: Sequence[str], unset_there: Mapping[str, Sequence[str]] | None, private: bool
) -> list[Finding]:
    """Whether those who call find the secrets of an API; neither values nor their lengths are told.

    Args:
        api: The account.
        unset_here: Names that this process lacks.
        unset_there: Names that workers lack, by address; None without a cluster.
        private: Whether secrets may be sent to the workers.
    """
    if api.auth is None:
        return []
    subject, names = f"secrets of {api.name}", ", ".join(api.auth.secrets)
    if unset_there is None:
        if unset_here:
            advice = "set them in the environment, or give --env-file FILE"
            return [problem(subject, f"not set: {', '.join(unset_here)}", advice=advice)]
        return [ok(subject, f"set here: {names}")]
    lacking = {name: [worker for worker, found in unset_there.items() if name in found] for name in api.auth.secrets}
    lacking = {name: workers for name, workers in lacking.items() if workers}
    nowhere = [name for name in lacking if name in unset_here]
    if nowhere:
        fact = f"set neither here nor on worker {some(lacking[nowhere[0]])}: {', '.join(nowhere)}"
        return [problem(subject, fact, advice="set them in one of the two, or give --env-file FILE")]
    if lacking and not private:
        fact = (
            f"worker {some(next(iter(lacking.values())))} lacks {', '.join(lacking)}, and without TLS nothing is sent"
        )
        return [problem(subject, fact, advice="set them where the workers start, or use a scheduler with tls://")]
    return [ok(subject, f"set here and sent to the workers: {names}" if lacking else f"set on the workers: {names}")]


def judge_limits(api: API, status: Mapping[str, Any] | None) -> list[Finding]:
    """What limits the calls of an API, and how its breaker stands on a cluster.

    Args:
        api: The account.
        status: What the control plane says of it; None where it knows nothing of it.
    """
    subject = f"limits of {api.name}"
    rates = ", ".join(one.text for one in api.rates) or "no rate"
    cap = "any number" if api.concurrency is None else f"at most {api.concurrency}"
    told = f"{rates}, {cap} in flight, {api.timeout:g} s for an attempt"
    if status is None:
        return [ok(subject, f"{told}, {'no breaker' if api.breaker is None else 'a breaker'}")]
    breaker, flying = status["breaker"], f"{status['in_flight']} in flight now"
    if breaker["held"] == "open":
        advice = f"`dataflow breaker {api.name} auto` lets them"
        return [warning(subject, f"{told}, {flying}, the breaker is held open and lets no call start", advice=advice)]
    state = "held closed" if breaker["held"] == "closed" else breaker["state"]
    if breaker["held"] is None and state != "closed":
        advice = "a run waits until it answers again"
        return [warning(subject, f"{told}, {flying}, the breaker is {state}, since calls have failed", advice=advice)]
    return [ok(subject, f"{told}, {flying}, the breaker is {state}")]
