"""Joins the cache of a catalog to the services of a graph that call out: which answers serve, and which are kept."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any, Protocol

from dataflow.engine.http.offline import SESSIONS
from dataflow.engine.keys import definition
from dataflow.errors import StoreError
from dataflow.outcomes import Status
from dataflow.plan.code import code_digest, stable
from dataflow.plan.graph import Graph, Step
from dataflow.policies.cache import CachePolicy
from dataflow.policies.leaving import SOON, Leaving, leaving
from dataflow.services.keys import SIZE, canonical
from dataflow.services.signature import Injected
from dataflow.store.cache.answers import Answer, Origin, short_definition
from dataflow.store.cache.cache import Cache
from dataflow.store.cache.connection import journal_path
from dataflow.store.commit import RunFolder

APART = 60.0
"""Seconds by which the clocks of hosts may differ without a word."""


class Keeper(Protocol):
    """Whatever holds answers by key: the cache, or a dict for what must not reach it."""

    def get_many(self, keys: Sequence[bytes], *, asker: Origin | None = None) -> dict[bytes, Answer]:
        """The answers there are; of the run of `asker`, where it has one, as own ones."""

    def put(self, key: bytes, answer: Answer, *, origin: Origin, private: bool = False) -> None:
        """Keep an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Which answers of a service serve, and as what new ones are kept.

    Attributes:
        origin: Whose answers they are.
        policy: For how long answers of others serve; None where only those of the run itself do.
        own_since: Since when an answer was paid for by the run itself, so that it serves whatever its age; infinite
            without a run. New ones are dated no earlier, whatever the clock of this host says.
        salt: What goes into the key beside the call, so that it serves only where this is the same; may be empty.
        private: Whether new answers stay on this host.
        by_call: Whether the parameters of each call go into the key too; without a call nothing is remembered.
    """

    origin: Origin
    policy: CachePolicy | None
    own_since: float = math.inf
    salt: bytes = b""
    private: bool = False
    by_call: bool = False

    def salted(self, keys: Sequence[bytes]) -> list[bytes] | None:
        """The keys under which answers are kept; None where they may be for other parameters."""
        if not self.by_call:
            return [salted(key, self.salt) for key in keys] if self.salt else list(keys)
        given = _given.get()
        return None if given is None else [salted(key, _salt(None, given)) for key in keys]


_given: ContextVar[str | None] = ContextVar("dataflow_parameters", default=None)


@contextmanager
def calling_with(parameters: Mapping[str, Any]) -> Iterator[None]:
    """Let what is called for a single record be remembered for these parameters."""
    token = _given.set(stable(parameters))
    try:
        yield
    finally:
        _given.reset(token)


class Memory:
    """The cache as the engine sees it.

    Args:
        keeper: Where answers are.
        services: The terms of each service, by its name; the others are not remembered.
        clock: Seconds since 1970.
        warn: Called with what the user should see.
    """

    def __init__(
        self,
        keeper: Keeper,
        services: Mapping[str, Terms],
        *,
        clock: Callable[[], float] = time.time,
        warn: Callable[[str], object] = lambda sentence: None,
    ) -> None:
        self._keeper = keeper
        self._services = services
        self._clock = clock
        self._warn = warn
        self._ahead: set[str] = set()

    def get_many(self, keys: Sequence[bytes], *, service: str) -> dict[bytes, Answer]:
        """The answers of a service that serve now."""
        terms = self._services.get(service)
        kept_under = None if terms is None else terms.salted(keys)
        if terms is None or kept_under is None:
            return {}
        asked = dict(zip(kept_under, keys, strict=True)) if terms.salt or terms.by_call else None
        found = self._keeper.get_many(kept_under, asker=terms.origin)
        now = self._clock()
        since = {status: _serves_since(terms, status, now=now) for status in (Status.SUCCEEDED, Status.NOT_FOUND)}
        served = {key: answer for key, answer in found.items() if answer.created >= since[answer.status]}
        others = terms.policy is not None and service not in self._ahead
        if others and any(answer.created > now + APART for answer in served.values()):
            self._tell_ahead(service)
        return served if asked is None else {asked[key]: answer for key, answer in served.items()}

    def _tell_ahead(self, service: str) -> None:
        self._ahead.add(service)
        self._warn(
            f"`{service}`: answers of its cache are dated in the future, by a clock that was wrong; they serve as if "
            f"they had just been given; --recall {service} (recall=) calls again"
        )

    def put_answer(
        self, key: bytes, *, status: Status, value: bytes, created: float, service: str, cost: float
    ) -> None:
        """Keep an answer."""
        terms = self._services.get(service)
        kept_under = None if terms is None else terms.salted([key])
        if terms is not None and kept_under is not None:
            given = created if math.isinf(terms.own_since) else max(created, terms.own_since)
            answer = Answer(status, value, given, cost)
            self._keeper.put(kept_under[0], answer, origin=terms.origin, private=terms.private)

    @property
    def apart(self) -> bool:
        """Whether it holds what no provider gave, and so is no part of the cache."""
        return isinstance(self._keeper, Apart)

    def keep(self) -> None:
        """Bring everything to the disk, and what others may use to the catalog.

        Raises:
            StoreError: It cannot be written.
        """
        if isinstance(self._keeper, Cache):
            self._keeper.export()

    def refresh(self) -> None:
        """Take up what other hosts were answered meanwhile: a partition that is begun may have been begun there.

        Raises:
            StoreError: It cannot be read.
        """
        if isinstance(self._keeper, Cache):
            self._keeper.refresh(after=SOON.seconds)

    def news(self) -> list[str]:
        """What the user should be told about the cache, each once."""
        return self._keeper.news() if isinstance(self._keeper, Cache) else []

    def close(self) -> None:
        """Write what is not written, and let go of the cache."""
        if isinstance(self._keeper, Cache):
            self._keeper.close()


def _serves_since(terms: Terms, status: Status, *, now: float) -> float:
    if terms.policy is None:
        return terms.own_since
    return min(terms.policy.serves_since(now, found=status is Status.SUCCEEDED), terms.own_since)


def salted(key: bytes, salt: bytes) -> bytes:
    """The key of an answer that serves only where the salt is the same."""
    return blake2b(key + salt, digest_size=SIZE).digest() if salt else key


class Apart(dict[bytes, tuple[Answer, str | None]]):
    """Answers that were given in a block of `flow.testing.offline`: they never reach a cache, nor come from one."""

    def get_many(self, keys: Sequence[bytes], *, asker: Origin | None = None) -> dict[bytes, Answer]:
        """The answers there are; of the run of `asker`, where it has one, as own ones."""
        run = None if asker is None else asker.run
        found = {key: self[key] for key in keys if key in self}
        return {key: one._replace(own=run is not None and by == run) for key, (one, by) in found.items()}

    def put(self, key: bytes, answer: Answer, *, origin: Origin, private: bool = False) -> None:
        """Keep an answer."""
        self[key] = answer, origin.run


_apart: dict[str, Apart] = {}
"""What runs in such blocks have been answered, by catalog, so that they can be resumed in this process."""


def recalled(folder: RunFolder) -> dict[str, str]:
    """The services of which a run takes no answers from before, and since when they count, as ISO text in UTC."""
    return dict(folder.head().get("recall", {}))


def origin_of(step: Step, *, run: str | None = None) -> Origin:
    """Whose answers those of a step are, and which run pays for new ones."""
    service = step.service
    judged = service.function if service.endpoint is None else service.endpoint.accept
    return Origin(
        service=service.name,
        version=service.policy.version,
        definition=short_definition(service.policy.version, definition(step)),
        code=None if judged is None else code_digest(judged),
        run=run,
    )


def open_memory(
    graph: Graph,
    folder: RunFolder,
    *,
    parameters: Mapping[str, Any] | None = None,
    warn: Callable[[str], object] = lambda sentence: None,
) -> Memory | None:
    """What is remembered for one run, where a service of the graph has an API; else None.

    Args:
        graph: The bound pipeline.
        folder: The run.
        parameters: What `flow.Context.parameters` holds.
        warn: Called with what the user should see.

    Raises:
        StoreError: The cache cannot be opened.
    """
    if not graph.calls_apis:
        return None
    head, late = folder.head(), recalled(folder)
    run, own = head.get("answers_of", folder.run), _seconds(head.get("answers_since", head["started"]))
    terms = {}
    for step in _calling(graph):
        name, policy = step.service.name, step.service.policy.cache
        since = _seconds(late[name]) if name in late else own
        terms[name] = Terms(
            origin=origin_of(step, run=folder.run),
            policy=None if name in late else policy,
            own_since=since,
            salt=_salt(None if policy is not None else run, _parameters(step, parameters)),
            private=policy is None,
        )
    if SESSIONS.current is not None:
        own_only = {name: replace(one, policy=None) for name, one in terms.items()}
        return Memory(_apart.setdefault(folder.root, Apart()), own_only)
    for shared in _caches.values():
        if shared.path == journal_path(folder.root) and not shared.closed:
            # What single records have paid for a moment ago.
            shared.flush()
    cache = Cache(folder.root)
    take_up(cache, terms, warn=warn)
    runs = dict.fromkeys((folder.run, run))
    leave = {terms[step.service.name].origin.id: leaving_of(step) for step in _calling(graph)}
    cache.serve(leave, runs=[replace(folder, run=one).path() for one in runs])
    return Memory(cache, terms, warn=warn)


def leaving_of(step: Step) -> Leaving:
    """When the answers of a step leave this host."""
    service = step.service
    return leaving(priced=service.policy.price is not None, rates=() if service.api is None else service.api.rates)


def take_up(cache: Cache, terms: Mapping[str, Terms], *, warn: Callable[[str], object]) -> None:
    """Let a cache know what the services will ask for, and say what the user should know about it.

    Raises:
        StoreError: The catalog or the index cannot be read.
    """
    shared = [one for one in terms.values() if one.policy is not None]
    cache.know(one.origin for one in shared)
    for sentence in cache.news():
        warn(sentence)
    for one in shared:
        if count := cache.others(one.origin):
            name, answers = one.origin.service, "1 answer" if count == 1 else f"{count:,} answers"
            warn(
                f"the code of `{name}` differs from what filled its cache ({answers}); they are used; raise version= "
                f"or give --recall {name} (recall=) to call again"
            )


class OfProcess:
    """The cache of a catalog for single records and tables: one for all of a process, opened at the first answer.

    What cannot be opened is told once, and then nothing is remembered.

    Args:
        root: The catalog.
        terms: Those of the services that will ask.
        warn: Called with what the user should see.
    """

    def __init__(self, root: str, terms: Mapping[str, Terms], *, warn: Callable[[str], object]) -> None:
        self._root = root
        self._terms = terms
        self._warn = warn
        self._lock = threading.Lock()
        self._process = 0
        self._cache: Cache | None = None

    def get_many(self, keys: Sequence[bytes], *, asker: Origin | None = None) -> dict[bytes, Answer]:
        """The answers there are."""
        cache = self._opened()
        return {} if cache is None else cache.get_many(keys, asker=asker)

    def put(self, key: bytes, answer: Answer, *, origin: Origin, private: bool = False) -> None:
        """Keep an answer."""
        cache = self._opened()
        if cache is not None:
            cache.put(key, answer, origin=origin, private=private)

    def _opened(self) -> Cache | None:
        if self._is_open():
            return self._cache
        with self._lock:
            # A process that was forked opens its own.
            if not self._is_open():
                try:
                    self._cache = _cache_of_process(self._root)
                    take_up(self._cache, self._terms, warn=self._warn)
                except StoreError as error:
                    self._cache = None
                    self._warn(f"nothing is remembered: {error}")
                self._process = os.getpid()
        return self._cache

    def _is_open(self) -> bool:
        return self._process == os.getpid() and (self._cache is None or not self._cache.closed)


_caches: dict[tuple[int, str], Cache] = {}
_opening = threading.Lock()


def _cache_of_process(root: str) -> Cache:
    path = journal_path(root)
    with _opening:
        place = os.getpid(), str(path)
        if place not in _caches or _caches[place].closed:
            _caches[place] = Cache(root, path=path)
        return _caches[place]


def shared_memory(graph: Graph, root: str, *, warn: Callable[[str], object]) -> Memory | None:
    """What is remembered of single records and tables; None where no service of the graph has answers to share.

    Args:
        graph: The bound pipeline.
        root: The catalog.
        warn: Called with what the user should see.
    """
    terms = {
        step.service.name: Terms(origin=origin_of(step), policy=step.service.policy.cache, by_call=reads_context(step))
        for step in _calling(graph)
        if step.service.policy.cache is not None
    }
    return Memory(OfProcess(root, terms, warn=warn), terms, warn=warn) if terms else None


def _calling(graph: Graph) -> list[Step]:
    return [step for step in graph.every if step.service.api is not None]


def reads_context(step: Step) -> bool:
    """Whether a service is given `flow.Context`, so that its answer may depend on the parameters of a run."""
    return any(read.parameter.injected is Injected.CONTEXT for read in step.reads)


def _salt(run: str | None, parameters: str | None) -> bytes:
    return b"" if run is parameters is None else canonical([run, parameters])


def _parameters(step: Step, parameters: Mapping[str, Any] | None) -> str | None:
    return stable(parameters or {}) if reads_context(step) else None


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
