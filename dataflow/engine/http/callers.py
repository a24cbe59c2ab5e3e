"""Everything that one process holds to call APIs for one graph: a loop, a client for each API, what is remembered.

The calls themselves are made in `calls`; a partition hands a step over here and gets its answers.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dataflow.engine.calling import Answers
from dataflow.engine.control.gate import Gate, Impatient
from dataflow.engine.control.home import LocalLine, process_plane
from dataflow.engine.control.limits import Limits
from dataflow.engine.control.wallet import Wallet
from dataflow.engine.http.access import AccessCheck
from dataflow.engine.http.answering import EndpointCall
from dataflow.engine.http.attempts import Terms
from dataflow.engine.http.batches import make_batches
from dataflow.engine.http.batching import BatchCall
from dataflow.engine.http.billing import Billing, billed_whole
from dataflow.engine.http.calls import MOST, Calling, Check, make_calls, recalled
from dataflow.engine.http.chat import ChatCall
from dataflow.engine.http.functions import InLanes, apply, in_turn, perform
from dataflow.engine.http.losses import Losses
from dataflow.engine.http.memory import Memory
from dataflow.engine.http.offline import SESSIONS, Session
from dataflow.engine.http.provider import Provider
from dataflow.engine.http.quality import QualityCheck
from dataflow.engine.http.quota import QuotaCheck
from dataflow.engine.http.sampling import sample_calls
from dataflow.engine.http.settings import RUN_PURSE, CallSettings, Execution, Halted, Money, purse_of
from dataflow.engine.http.sharing import Shared, share, spread_answers
from dataflow.engine.http.tracking import tracking
from dataflow.engine.keys import is_unlike, key_of, keys_of
from dataflow.engine.marks import Rows
from dataflow.engine.spending import spent_on
from dataflow.engine.waiting import IOLoop
from dataflow.services.keys import Keys
from dataflow.services.signature import Form, Injected

if TYPE_CHECKING:
    from dataflow.plan.graph import Step
    from dataflow.services.api import API
    from dataflow.services.service import Service


@dataclass(slots=True, kw_only=True)
class _Asked:
    """Some records of a service on their way.

    Attributes:
        io: The loop that calls for them.
        shared: Which of them share a call.
        answers: What is known of the distinct calls.
        making: Makes those that are left; None where none is.
    """

    io: IOLoop
    shared: Shared
    answers: Answers
    making: Callable[[], Coroutine[Any, Any, Answers]] | None = None


class Callers:
    """The APIs of one graph, as one process calls them; nothing is opened before the first call.

    Args:
        settings: How this process calls out.
        secret: Gives the value of a secret by its name.
        clock: Seconds that only grow.
        wall: Seconds since 1970.
        session: What answers in place of all providers; None for the network.
    """

    def __init__(
        self,
        settings: CallSettings,
        *,
        secret: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        session: Session | None = None,
    ) -> None:
        self._settings = settings
        self._losses = settings.losses or Losses()
        self._secret = secret
        self._session = session
        self._double: Callers | None = None
        self._line = session.line if session is not None else settings.line or LocalLine(process_plane())
        self._clock = clock
        self._wall = wall
        self._io: IOLoop | None = None
        self._providers: dict[int, Provider] = {}
        self._clients: dict[int, Any] = {}
        self._callings: dict[str, tuple[Calling, Keys, Check]] = {}
        self._lock = threading.Lock()
        self._halted = threading.Event()
        self._wallet: Wallet | None = None

    def call(
        self,
        step: Step,
        function: Callable[..., Any] | None,
        *,
        columns: Sequence[Sequence[Any]],
        size: int,
        on: Execution,
        group_of: Rows | None = None,
    ) -> Answers:
        """Call a service of an API for some records.

        Args:
            step: The step.
            function: What is called where it is a function; None for an endpoint.
            columns: The values of each argument.
            size: Records, or groups of records with the same inputs.
            on: What the calls are made for.
            group_of: For each record its group; None where every record stands for itself.

        Raises:
            Impatient: A breaker is open, or a rate used up, for longer than this process waits.
            Halted: Calls are left, and no new ones may be made.
            GuardrailReached: The API refuses access at the first calls.
            LimitReached: The quota of its account is used up.
        """
        with self.asking(step, function, columns=columns, size=size, on=on, group_of=group_of) as asked:
            if asked.making is not None:
                asked.answers = _wait(on.flights.start(asked.io, asked.making()))
        return spread_answers(asked.answers, asked.shared)

    async def acall(
        self,
        step: Step,
        function: Callable[..., Any] | None,
        *,
        columns: Sequence[Sequence[Any]],
        size: int,
        on: Execution,
    ) -> Answers:
        """`call` for whoever awaits the answers on another loop; cancelling it cancels the calls."""
        with self.asking(step, function, columns=columns, size=size, on=on, group_of=None) as asked:
            if asked.making is not None:
                asked.answers = await asyncio.wrap_future(on.flights.start(asked.io, asked.making()))
        return spread_answers(asked.answers, asked.shared)

    @contextmanager
    def asking(
        self,
        step: Step,
        function: Callable[..., Any] | None,
        *,
        columns: Sequence[Sequence[Any]],
        size: int,
        on: Execution,
        group_of: Rows | None,
    ) -> Iterator[_Asked]:
        """What is known of some records, and what is to be awaited for the others; notes what it has spent."""
        if (session := SESSIONS.current) is not None and self._session is None:
            double = self._offline(session)
            with double.asking(step, function, columns=columns, size=size, on=on, group_of=group_of) as asked:
                yield asked
            return
        io, made, keys, check = self._calling(step, function)
        patience = 0.0 if on.fail_fast else self._settings.patience
        calling = replace(
            made,
            terms=replace(made.terms, patience=patience),
            prefix=f"{on.run}-{made.prefix}",
            kept=on.kept,
            tally=on.flights.tally(step.service.name),
            sample=sample_calls(step.service),
        )
        shared = share(columns, size, key=key_of(step, keys))
        if group_of is not None:
            shared = replace(shared, call_of=[shared.call_of[group] for group in group_of.tolist()])
        make = make_calls if calling.batch is None else make_batches
        with (
            io.watching(step.service),
            _noting(on, step.service),
            tracking(step, calling, shared=shared, on=on) as tracked,
        ):
            asked = _Asked(io=io, shared=shared, answers=recalled(tracked, shared))
            calling.tally.recall(asked.answers)
            if len(asked.answers.remembered) < len(shared.inputs):
                making = partial(make, tracked, shared, check=check, known=asked.answers)
                asked.making = partial(tracked.effects.flushed, making)
            yield asked
            on.flights.spent.append((step.service, spent_on(asked.answers)))
        for sentence in () if self._settings.losses is not None else self._losses.news():
            self._settings.warn(sentence)

    def client(self, api: API) -> Any:
        """The `httpx.AsyncClient` for functions of an API."""
        from dataflow.engine.http.client import make_client

        if (session := SESSIONS.current) is not None and self._session is None:
            return self._offline(session).client(api)
        with self._lock:
            if id(api) not in self._clients:
                terms = Terms(timeout=api.timeout, retry=api.retry, patience=self._settings.patience)
                self._clients[id(api)] = make_client(
                    self._provider(api), terms=terms, clock=self._clock, wall=self._wall
                )
            return self._clients[id(api)]

    def halt(self) -> None:
        """Make no new calls; those in flight are paid for and may end."""
        self._halted.set()

    def close(self) -> None:
        """Close all connections, then the loop."""
        if self._double is not None:
            self._double.close()
        if self._io is None:
            return
        for provider in self._providers.values():
            self._io.run(provider.close())
        if self._wallet is not None:
            self._io.run(self._wallet.close())
        self._io.close()

    def _offline(self, session: Session) -> Callers:
        """The same for a block that is offline, with limits, breakers and clients of its own."""
        with self._lock:
            if self._double is None or self._double._session is not session:
                settings = replace(self._settings, store=self._settings.store_apart)
                double = Callers(settings, secret=self._secret, clock=self._clock, wall=self._wall, session=session)
                double._io, double._halted = IOLoop(self._loop().loop), self._halted
                self._double = double
            return self._double

    def _loop(self) -> IOLoop:
        if self._io is None:
            self._io = IOLoop(warn=self._settings.warn)
        return self._io

    def _calling(self, step: Step, function: Any) -> tuple[IOLoop, Calling, Keys, Check]:
        with self._lock:
            io = self._loop()
            if step.service.name not in self._callings:
                provider = self._provider(step.service.api)
                calling = self._make(step, function, provider)
                keys = keys_of(step)
                check = self._check(step)
                self._callings[step.service.name] = calling, keys, check
            return io, *self._callings[step.service.name]

    def _check(self, step: Step) -> Check:
        """What looks at how the calls of a step end, and may end the run."""
        texts = self._settings.error_texts
        checks: list[Check] = [
            one(step.service, strict=self._settings.strict, texts=texts) for one in (QuotaCheck, AccessCheck)
        ]
        if (limits := self._settings.limits.get(step.service.name)) is not None:
            checks.append(QualityCheck(step, limits=limits, texts=texts))

        def check(error: BaseException | None) -> None:
            for one in checks:
                one(error)

        return check

    def _make(self, step: Step, function: Any, provider: Provider) -> Calling:
        service, api = step.service, step.service.api
        assert service.returns is not None
        terms = self._terms(step)
        if service.endpoint is not None:
            reader = service.endpoint.reader(service.returns, name=service.name)
            made: Any = _asking(service)(service.endpoint, reader, provider)
        elif any(read.parameter.injected is Injected.CLIENT for read in step.reads):
            made = billed_whole(partial(apply, provider, function, self._clock))
        elif service.form is Form.ASYNC:
            made = partial(perform, provider, function)
        else:
            lanes = InLanes(function, service=service.name, timeout=terms.timeout, warn=self._settings.warn)
            made = in_turn(partial(perform, provider, lanes), service.policy.threads)
        remembers = terms.repeatable and not is_unlike(step)
        return Calling(
            function=made,
            terms=terms,
            side_by_side=MOST if api.concurrency is None else min(api.concurrency, MOST),
            memory=Memory(
                self._settings.store if remembers else None,
                service=service.name,
                returns=service.returns,
                from_json=service.endpoint is not None and not getattr(service.endpoint, "allow_nan", False),
                losses=self._losses,
            ),
            keyed=service.endpoint is not None and service.endpoint.keyed,
            prefix=f"{service.name}-{service.policy.version}",
            halted=self._halted.is_set,
            may_call=self._settings.may_call,
            offline=self._settings.offline,
            clock=self._clock,
            batch=None if service.endpoint is None else service.endpoint.batch,
            billing=self._billing(step),
            till=None if self._settings.till is None else self._settings.till(service.name),
            texts=self._settings.error_texts,
            lacks_probes=lambda: provider.gate.lacks_probes,
        )

    def _billing(self, step: Step) -> Billing | None:
        """How the calls of a step are paid, or None where they are free."""
        service = step.service
        if (price := service.policy.price) is None:
            return None
        asks = any(read.parameter.injected is Injected.CLIENT for read in step.reads)
        money = self._settings.money
        titles = {} if money is None else money.titles
        purses = tuple(name for name in (RUN_PURSE, purse_of(service.name)) if name in titles)
        return Billing(
            service=service.name,
            price=price,
            whole=asks and price.function is not None,
            warn=self._settings.warn,
            wallet=self._wallet_of(money) if money is not None and purses else None,
            purses=purses,
            desk=service.api.name,
            keeps=money is not None and money.keeps,
        )

    def _wallet_of(self, money: Money) -> Wallet:
        """The money of the run in this process; what is offline spends from the same."""
        if self._wallet is None:
            self._wallet = self._loop().run(self._open_wallet(money))
        return self._wallet

    async def _open_wallet(self, money: Money) -> Wallet:
        line = self._settings.line or LocalLine(process_plane())
        return Wallet(money.run, titles=money.titles, line=line)

    def _terms(self, step: Step) -> Terms:
        service, api = step.service, step.service.api
        return Terms(
            timeout=service.policy.timeout or api.timeout,
            retry=service.policy.retry or api.retry,
            patience=self._settings.patience,
            repeatable=service.repeatable,
            repeats_posts=service.policy.repeats_posts,
        )

    def _provider(self, api: API) -> Provider:
        if id(api) not in self._providers:
            self._providers[id(api)] = self._loop().run(self._open(api))
        return self._providers[id(api)]

    async def _open(self, api: API) -> Provider:
        shared = self._settings.shared if self._session is None else None
        warn = self._settings.warn
        gate = Gate(api.name, limits=limits_of(api), line=self._line, shared=shared, warn=warn)
        return Provider(api, gate=gate, secret=self._secret, session=self._session, warn=warn)


def _asking(service: Service) -> type[EndpointCall] | type[BatchCall] | type[ChatCall]:
    """What makes the calls of a service that is declared without a function."""
    if service.form is Form.LLM:
        return ChatCall
    return EndpointCall if service.endpoint.batch is None else BatchCall


def limits_of(api: API) -> Limits:
    """The limits of an API as the control plane takes them."""
    breaker = api.breaker
    if breaker is not None:
        # A probe may take as long as any other call.
        breaker = replace(breaker, probe_deadline=max(breaker.probe_deadline, api.timeout))
    return Limits(rates=api.rates, concurrency=api.concurrency, breaker=breaker, timeout=api.timeout)


def _wait(started: Future[Answers]) -> Answers:
    try:
        return started.result()
    finally:
        # Whoever does not wait any more, such as after Ctrl-C, wants no answer either.
        started.cancel()


@contextmanager
def _noting(on: Execution, service: Service) -> Iterator[None]:
    """Note what calls have spent that are ended before their time."""
    try:
        yield
    except (Impatient, Halted) as error:
        if error.spent is not None:
            on.flights.spent.append((service, error.spent))
        raise
