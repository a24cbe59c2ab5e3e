"""Parts for tests of jobs and of dataflow itself: no network, a settable clock, a catalog in memory, a local engine.

They are the real parts or small real ones, no mocks.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from dataflow.engine.http.offline import SESSIONS, Calls, Handler, Request, Response, Session
from dataflow.engine.local import LocalEngine

__all__ = ["Calls", "LocalEngine", "Request", "Response", "SettableClock", "memory_catalog", "offline"]


@contextmanager
def offline(**handlers: Handler) -> Iterator[Calls]:
    """Answer the requests of APIs from functions, so that a pipeline runs in CI without the network.

    `with flow.testing.offline(acme=lambda request: {"employees": 7}) as calls: ...`

    A handler is given a `Request` and returns a value (JSON with 200), a status, or a `Response`; it may be a
    coroutine function. `OSError` stands for a lost connection, `ConnectionRefusedError` for none at all,
    `TimeoutError` for no answer. Any other exception is a mistake of the test and comes out of the pipeline as a
    `DeclarationError`, and so does a call of an API that has no handler.

    It holds for all threads of this process, for `call`, `acall`, `apply` and `run`, for declared services and for
    the injected `httpx.AsyncClient`, also in pipelines that were used before; what was begun in the block is
    answered by it to its end. Worker processes are not reached: a run that would need them is refused, and a Dask
    collection is computed with Dask's threads. What a service calls by other ways is not seen.

    Retries, timeouts, rates, breakers and the memory of a run stay in force, on limits of the block's own that
    begin and end with it; `retry=flow.Retry(initial=0)` spares the waits. Secrets are neither looked up nor sent.
    The cache is neither read nor written: a run remembers what the block has answered, to be resumed, and nothing
    else. Give it a catalog of its own, such as `memory_catalog()`, for what it publishes. Blocks may be nested; the
    innermost one answers, alone. Handlers run on dataflow's I/O loop: one that waits is a coroutine.

    Args:
        **handlers: By the name of the API; `**{"my-api": handler}` for one that is no identifier.

    Yields:
        The requests so far: `calls.total`, `len(calls)`, `calls["acme"]`.

    Raises:
        DeclarationError: A handler is no function.
    """
    session = Session(handlers)
    SESSIONS.begin(session)
    try:
        yield session.calls
    finally:
        SESSIONS.end(session)


class SettableClock:
    """A clock that stands still until it is moved; call it for the time in seconds.

    Args:
        now: Where it starts.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move it forward."""
        self.now += seconds


def memory_catalog() -> str:
    """The URL of a new, empty catalog in the memory of this process; give it as `catalog=`."""
    return f"memory://catalog-{uuid.uuid4().hex[:12]}"
