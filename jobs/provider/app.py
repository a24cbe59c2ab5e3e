"""The application: what happens to a call, and the endpoints that steer and ask.

A call is counted first and last. Between that it meets, in this order: an outage, the check of its credentials,
the limits, the latency, a fault, its answer. Each of these is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from . import chat, data, services
from .auth import CHALLENGES, Tokens, permitted, token_problem
from .bodies import ODD, odd_body
from .counts import Call, Ending, Tally
from .faults import Fault, Kind, distort, fault_status, parse_fault
from .limits import Gates, RetryAfter, retry_after_headers
from .mischief import ACTS
from .sayings import saying, used_up
from .services import Service
from .settings import Rule, Settings
from .wire import JSON, Exchange, Header, Receive, Send

LOGGED = {b"authorization", b"x-api-key", b"idempotency-key", b"traceparent", b"x-fault"}


class Provider:
    """The ASGI application.

    Args:
        options: Settings that differ from the defaults; `restore` goes back to these.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = dict(options)
        self.tokens = Tokens()
        self.restore()
        self.forget()

    def restore(self) -> None:
        """Go back to the settings of the start."""
        self.settings = Settings()
        self.outage_until = 0.0
        self.change(self.options)
        self._chance = random.Random(self.settings.values["seed"])

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change settings; an outage counts from now."""
        self.settings.change(changes)
        if "outage" in changes:
            self.outage_until = time.monotonic() + self.settings.values["outage"]

    def forget(self) -> None:
        """Begin new counts, limits and attempts; settings and tokens stay, calls in flight belong to the past."""
        names = [*(service.prefix for service in services.SERVICES), services.OTHER]
        self.tally = Tally(names, room=self.settings.values["log"])
        self.gates = Gates()
        self._outages: dict[tuple[str, str], float] = {}

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        path: str = scope["path"]
        if path == "/health":
            await exchange.answer(200, b'{"status": "ok"}')
        elif path.startswith("/_"):
            await self._steer(exchange, path)
        else:
            await self._count(exchange, path)

    async def _count(self, exchange: Exchange, path: str) -> None:
        service = services.find(path)
        headers = _logged(exchange.scope["headers"], LOGGED | self.settings.values["logged"])
        prefix = service.prefix if service else services.OTHER
        call = self.tally.begin(prefix, path, now=time.monotonic(), headers=headers)
        ending: Ending = 500
        try:
            ending = await self._meet(exchange, service, call)
        finally:
            call.end(ending, now=time.monotonic())

    async def _meet(self, exchange: Exchange, service: Service | None, call: Call) -> Ending:
        if service is None:
            return await _refuse(exchange, 404, "no such endpoint")
        if exchange.scope["method"] != service.method:
            return await _refuse(exchange, 405, f"only {service.method} here")
        path: str = exchange.scope["path"]
        query = services.query_fields(exchange.scope["query_string"]) if exchange.scope["query_string"] else {}
        fields: Mapping[str, Any] = query
        if service.method == "POST":
            body = await exchange.body()
            if body is None:
                return "left"
            fields = services.query_fields(body) if service.place == "form" else services.body_fields(body)
        in_path = service.place == "path"
        key = services.key_in_path(service, path) if in_path else services.key_in_fields(service, fields)
        batch = service is services.COMPANY_BATCH
        attempt = call.name(key or "", fields["domains"] if batch and key else [key or ""])
        asked = call.entry[4].get("x-fault") or query.get("fault")
        visit = _Visit(exchange, service, key=key, fields=fields, call=call, attempt=attempt, asked=asked)
        return await self._admit(visit, self.settings.rule(path, key))

    async def _admit(self, visit: _Visit, rule: Rule) -> Ending:
        """Outage, credentials and limits."""
        values, now = self.settings.values, time.monotonic()
        if now < self.outage_until:
            return await self._fail(visit, values["outage_as"], rule)
        shown = {"secret": values["secret"], "tokens": self.tokens, "now": now}
        if visit.service is not services.TOKENS and not permitted(values["auth"], visit.headers, **shown):
            challenge = (b"www-authenticate", CHALLENGES[values["auth"]].encode())
            return await _refuse(visit.exchange, 401, "credentials missing or wrong", headers=(challenge,))
        if values["media"] and visit.service.method == "POST" and _media(visit.exchange) != values["media"]:
            return await _refuse(visit.exchange, 415, f"bodies are of {values['media']} here")
        gates, place = self.gates, rule.origins.get("concurrency", "")
        if rule.rate and (wait := gates.pass_rate(rule.origins.get("rate", ""), rule.rate, now)):
            return await _refuse(visit.exchange, 429, "too many calls", headers=_retry_after(rule.retry_after, wait))
        if rule.concurrency is None:
            return await self._serve(visit, rule)
        if not gates.enter(place, rule.concurrency):
            headers = _retry_after(rule.retry_after, 1.0)
            return await _refuse(visit.exchange, 429, "too many calls at a time", headers=headers)
        try:
            return await self._serve(visit, rule)
        finally:
            gates.leave(place)

    async def _serve(self, visit: _Visit, rule: Rule) -> Ending:
        """Latency, fault and answer."""
        if rule.latency or rule.jitter:
            wait = max(0.0, rule.latency + rule.jitter * (2 * self._chance.random() - 1))
            ends = time.monotonic() + wait
            if not await visit.exchange.connection.pause(wait):
                if self.settings.values["finishes"]:
                    await asyncio.sleep(ends - time.monotonic())
                return "left"
        try:
            fault = parse_fault(visit.asked) if visit.asked else self._planned(visit, rule)
        except ValueError as error:
            return await _refuse(visit.exchange, 400, str(error))
        return await self._answer(visit) if fault is None else await self._fail(visit, fault, rule)

    def _planned(self, visit: _Visit, rule: Rule) -> Fault | None:
        """The fault that the settings have for this call."""
        if rule.fault is None or (rule.times is not None and visit.attempt > rule.times):
            return None
        if rule.every is not None:
            return (
                rule.fault if self.gates.is_due(rule.origins.get("every", ""), rule.every, time.monotonic()) else None
            )
        seed = self.settings.values["seed"]
        draws = data.Draws(seed, "fault", visit.service.prefix, visit.key, visit.attempt)
        return rule.fault if rule.share >= 1 or draws.share() < rule.share else None

    async def _fail(self, visit: _Visit, fault: Fault, rule: Rule) -> Ending:
        exchange, status = visit.exchange, fault_status(fault, visit.attempt)
        if fault.kind is Kind.OUTAGE:
            down = time.monotonic() < self._end_of_outage(fault, visit.service)
            return (
                await self._fail(visit, self.settings.values["outage_as"], rule) if down else await self._answer(visit)
            )
        if status is not None:
            return await _refuse(exchange, status, f"fault {fault.kind}", headers=_asked_for(rule, status))
        if fault.kind is Kind.SAYS:
            told = saying(fault.text)
            headers = ((b"content-type", told.content_type), *_asked_for(rule, told.status))
            return await exchange.answer(told.status, told.body, headers=headers)
        if fault.kind is Kind.QUOTA:
            spent = used_up(fault.text)
            return await exchange.answer(spent.status, spent.body, headers=((b"content-type", spent.content_type),))
        if fault.kind is Kind.SLOW:
            return await self._answer(visit) if await exchange.connection.pause(fault.number(0)) else "left"
        if fault.kind is Kind.THEN_OK:
            return await self._answer(visit)
        if fault.kind in chat.FAULTS:
            return await (self._chat(visit, fault) if visit.service is services.CHAT else self._answer(visit))
        answer = self._facts(visit, force=True)
        if fault.kind in ODD:
            try:
                code, body, headers = odd_body(fault, json.dumps(answer).encode())
            except ValueError as error:
                return await _refuse(exchange, 400, str(error))
            return await exchange.answer(code, body, headers=headers)
        if act := ACTS.get(fault.kind):
            return await act(exchange, fault, json.dumps(answer).encode())
        distorted = distort(fault, answer)
        html = fault.kind is Kind.HTML_200
        return await exchange.answer(
            200, distorted or b"", headers=((b"content-type", b"text/html") if html else JSON,)
        )

    def _end_of_outage(self, fault: Fault, service: Service) -> float:
        """When an outage by fault ends: at a time, so many seconds after its first call, or never."""
        if fault.text.startswith("@"):
            return float(fault.text[1:])
        end = time.monotonic() + fault.number(float("inf"))
        return self._outages.setdefault((fault.text, service.prefix), end)

    async def _answer(self, visit: _Visit) -> Ending:
        exchange = visit.exchange
        if visit.service is services.TOKENS:
            return await self._give_token(visit)
        if visit.service is services.CHAT:
            return await self._chat(visit)
        if visit.key is None:
            return await _refuse(exchange, 400, f"give {' or '.join(visit.service.fields)}")
        if visit.service is services.COMPANY_BATCH and len(visit.fields["domains"]) > services.BATCH:
            return await _refuse(exchange, 413, f"at most {services.BATCH} domains")
        facts = self._facts(visit)
        if facts is None:
            return await _refuse(exchange, 404, "not found")
        if visit.service.effect:
            # Done once for each key; a call without one is always another effect.
            done = visit.headers.get("idempotency-key") or str(len(self.tally.log))
            facts = self.tally.effect(visit.service.prefix, done, facts)
        return await exchange.answer(200, json.dumps(facts).encode())

    async def _chat(self, visit: _Visit, fault: Fault | None = None) -> Ending:
        """What the model says; its tokens are counted."""
        status, answer = chat.complete(self.settings.values["seed"], visit.fields, fault=fault)
        if "usage" in answer:
            visit.call.use(answer["usage"])
        return await visit.exchange.answer(status, json.dumps(answer).encode())

    def _facts(self, visit: _Visit, *, force: bool = False) -> Any:
        """What the service knows of the key, None for nothing; with `force` there is always an answer."""
        seed, unknown = self.settings.values["seed"], self.settings.values["unknown"]
        if visit.service is services.COMPANY_BATCH:
            return data.batch(seed, visit.fields.get("domains", ()) if visit.key else (), unknown=unknown)
        if visit.service is services.CHAT:
            return chat.complete(seed, visit.fields)[1]
        if visit.service.answers is not None:
            return visit.service.answers(seed, visit.fields) or ({} if force else None)
        if visit.service.facts is None:
            return {"access_token": "", "token_type": "Bearer", "expires_in": 0}
        if visit.service.gaps and not force and not data.known(seed, visit.key or "", unknown=unknown):
            return None
        return visit.service.facts(seed, visit.key or "")

    async def _give_token(self, visit: _Visit) -> Ending:
        values = self.settings.values
        if problem := token_problem(visit.fields, visit.headers, secret=values["secret"]):
            status = 401 if problem == "invalid_client" else 400
            return await visit.exchange.answer(status, json.dumps({"error": problem}).encode())
        told, truth = values["expires_in"], values["token_lifetime"]
        token = self.tokens.give(ends=time.monotonic() + (told if truth is None else truth))
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": told}
        return await visit.exchange.answer(200, json.dumps(answer).encode())

    async def _steer(self, exchange: Exchange, path: str) -> None:
        method, query = exchange.scope["method"], services.query_fields(exchange.scope["query_string"])
        match method, path:
            case "GET", "/_counts":
                value: Any = self.tally.values(keys=query.get("keys") != "0")
            case "GET", "/_log":
                start = int(query.get("since", 0))
                value = self.tally.log[start:]
            case "GET", "/_control":
                value = self.settings.given
            case "POST", "/_control":
                try:
                    self._control(json.loads(await exchange.body() or b"{}"))
                except (ValueError, TypeError, AttributeError) as error:
                    await _refuse(exchange, 400, str(error))
                    return
                value = self.settings.given
            case "POST", "/_reset":
                self.forget()
                value = {}
            case _:
                await _refuse(exchange, 404, "no such endpoint")
                return
        await exchange.answer(200, json.dumps(value).encode())

    def _control(self, changes: dict[str, Any]) -> None:
        if changes.pop("restore", False):
            self.restore()
        self.change(changes)


class _Visit:
    """A call whose key is known, on its way through the provider."""

    __slots__ = ("asked", "attempt", "call", "exchange", "fields", "headers", "key", "service")

    def __init__(
        self,
        exchange: Exchange,
        service: Service,
        *,
        key: str | None,
        fields: Mapping[str, Any],
        call: Call,
        attempt: int,
        asked: str | None,
    ) -> None:
        self.exchange = exchange
        self.service = service
        self.key = key
        self.fields = fields
        self.call = call
        self.headers: Mapping[str, str] = call.entry[4]
        self.attempt = attempt
        self.asked = asked


def _logged(sent: Iterable[Header], names: Collection[bytes]) -> dict[str, str]:
    """The headers of these names; one that was sent twice has both its values, as proxies join them."""
    found: dict[str, str] = {}
    for name, value in sent:
        if name in names:
            known = found.get(name.decode())
            text = value.decode("latin-1")
            found[name.decode()] = text if known is None else f"{known}, {text}"
    return found


def _media(exchange: Exchange) -> str:
    """The type of a body as it is told, without its parameters; of several headers all."""
    told = _logged(exchange.scope["headers"], (b"content-type",)).get("content-type", "")
    return told.partition(";")[0].strip().lower()


def _retry_after(form: RetryAfter, wait: float) -> tuple[Header, ...]:
    told = retry_after_headers(form, wait, unix_time=time.time())
    return tuple((name.encode(), text.encode()) for name, text in told.items())


def _asked_for(rule: Rule, status: int) -> tuple[Header, ...]:
    """When to come again, on a fault of which that is asked for."""
    return _retry_after(rule.retry_after, 1.0) if status >= 400 and "retry_after" in rule.origins else ()


async def _refuse(exchange: Exchange, status: int, message: str, *, headers: tuple[Header, ...] = ()) -> Ending:
    body = json.dumps({"error": {"code": status, "message": message}}).encode()
    return await exchange.answer(status, b"" if status in {204, 304} else body, headers=(JSON, *headers))
