"""What the steps of a graph need beside records: functions ready to call, lookup indexes, the I/O loop.

Made once for a worker process and run, and closed with it.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflow.engine.calling import bind_call
from dataflow.engine.http.settings import CallSettings
from dataflow.engine.lookups import Index, build_index
from dataflow.engine.patience import TIMEOUT, Once, Patience
from dataflow.engine.texts import text_of
from dataflow.engine.values import refuse_holes
from dataflow.engine.waiting import Flights, IOLoop
from dataflow.errors import DeclarationError
from dataflow.plan.graph import Graph, Step
from dataflow.services.context import Context
from dataflow.services.signature import Form, Injected

if TYPE_CHECKING:
    from dataflow.engine.http.callers import Callers
    from dataflow.engine.http.effects import EffectJournal
    from dataflow.engine.resolving import AnswerTables


@dataclass(frozen=True, slots=True, kw_only=True)
class Fittings:
    """What belongs to the steps of one graph, by their places.

    Attributes:
        functions: What is called.
        indexes: The index of each lookup.
        locks: What serialises the calls of a decorated class.
        nested: The same for the graphs inside a step, in the order of work.
        instances: The decorated classes that were set up.
    """

    functions: dict[int, Callable[..., Any]]
    indexes: Mapping[int, Index]
    locks: Mapping[int, threading.Lock]
    nested: Mapping[int, tuple[Fittings, ...]]
    instances: dict[int, Any]


@dataclass(slots=True, kw_only=True)
class Resources:
    """What one process holds for one graph.

    Attributes:
        functions: For each step that has one, what is called.
        indexes: The index of each lookup, by step.
        context: What `flow.Context` parameters get.
        io: The loop of async services without an API.
        callers: Where services of an API are called; None where there are none.
        fail_fast: Whether an open breaker fails a call at once, instead of keeping it.
        flights: What is under way for whoever waits for these steps.
        answers: What is known of services that were asked for all distinct inputs before; None where none was.
        effects: Where is noted what may be sent only once, or None.
        kept: Failures that stay as they are, by service and by place in the partition.
        nested: What belongs to the graphs inside a step, by its place.
        warn: Called with a sentence that the user should see, as often as it comes up.
        error_texts: Whether what providers and an author's exceptions say may be kept and told.
    """

    functions: dict[int, Callable[..., Any]]
    indexes: Mapping[int, Index]
    context: Context
    io: IOLoop
    callers: Callers | None
    fail_fast: bool = False
    flights: Flights = field(default_factory=Flights)
    answers: AnswerTables | None = None
    effects: EffectJournal | None = None
    kept: Mapping[str, Mapping[int, Exception]] = field(default_factory=dict)
    nested: Mapping[int, tuple[Fittings, ...]] = field(default_factory=dict)
    warn: Callable[[str], object] = field(default_factory=lambda: Once(warnings.warn))
    error_texts: bool = True
    _instances: dict[int, Any] = field(default_factory=dict)
    _locks: Mapping[int, threading.Lock] = field(default_factory=dict)

    @contextlib.contextmanager
    def hold(self, step: Step) -> Iterator[None]:
        """Serialise the calls of a decorated class over the partitions of this process."""
        lock = self._locks.get(step.index)
        with lock or contextlib.nullcontext():
            yield

    def holds(self, step: Step) -> bool:
        """Whether calls of the step wait for each other."""
        return step.index in self._locks

    def patience(self, step: Step) -> Patience:
        """How long the calls of a plain function are waited for.

        A column form has no timeout of its own accord: how much one call has to do depends on the partition.
        """
        flights, column = self.flights, step.service.form is Form.COLUMN
        return Patience(
            service=step.service.name,
            timeout=step.service.policy.timeout or (None if column else TIMEOUT),
            cancelled=lambda: flights.cancelled,
            halted=lambda: flights.halted,
            warn=self.warn,
            lose=partial(self._lose, step),
            renew=partial(self._renew, step) if self.holds(step) else None,
        )

    def function(self, step: Step) -> Any:
        """What a step calls; None for an endpoint."""
        if step.index not in self.functions and self.holds(step):
            self._renew(step)
        return self.functions.get(step.index)

    def _lose(self, step: Step) -> None:
        """Forget the instance of a decorated class, since a call that nobody waits for is busy with it."""
        if self.holds(step):
            # It is not closed either.
            self._instances.pop(step.index, None)
            self.functions.pop(step.index, None)

    def _renew(self, step: Step) -> Callable[..., Any]:
        """Set up a decorated class again; what is called of it for the rest of some records."""
        self._instances[step.index] = made = _make(step)
        self.functions[step.index] = function = _callable(step, made)
        return function if step.service.form is Form.COLUMN else refuse_holes(function)

    def injected(self, step: Step) -> dict[Injected, Any]:
        """What the parameters of a step get that are no columns, where it is the same for all records."""
        found: dict[Injected, Any] = {Injected.CONTEXT: self.context}
        if any(read.parameter.injected is Injected.CLIENT for read in step.reads):
            assert self.callers is not None
            found[Injected.CLIENT] = self.callers.client(step.service.api)
        return found

    def close(self) -> None:
        """Close what was set up: instances that have a `close`, connections, then the loop."""
        _close(self._instances, self.nested)
        if self.callers is not None:
            self.callers.close()
        self.io.close()


def make_resources(
    graph: Graph,
    *,
    tables: Mapping[str, pa.Table],
    context: Context | None = None,
    io: IOLoop | None = None,
    settings: CallSettings | None = None,
    only: Collection[int] | None = None,
) -> Resources:
    """Set up each decorated class and index each lookup of the graph.

    Args:
        graph: The bound pipeline.
        tables: The table of each lookup, by service name.
        context: The run, for `flow.Context` parameters.
        io: A loop to share; a new one by default.
        settings: How this process calls APIs; by default under limits that hold for this process.
        only: The places of the steps that will be run, none of which calls an API; None for all.

    Raises:
        DeclarationError: A class cannot be set up, or a lookup's table repeats a key.
    """
    context, settings = context or Context(), settings or CallSettings()
    made = _fit(graph, tables, only=only)
    return Resources(
        warn=Once(settings.warn),
        functions=made.functions,
        indexes=made.indexes,
        context=context,
        io=io or IOLoop(warn=settings.warn),
        callers=_callers(graph, settings, context=context) if only is None else None,
        nested=made.nested,
        error_texts=settings.error_texts,
        _instances=made.instances,
        _locks=made.locks,
    )


def _fit(graph: Graph, tables: Mapping[str, pa.Table], *, only: Collection[int] | None = None) -> Fittings:
    functions, instances, locks = {}, {}, {}
    steps = [step for step in graph.steps if only is None or step.index in only]
    for step in steps:
        if step.service.function is None:
            continue
        made = _make(step)
        functions[step.index] = _callable(step, made)
        if step.service.is_class:
            instances[step.index] = made
            if step.service.policy.threads == 1:
                locks[step.index] = threading.Lock()
    lookups = [step for step in steps if step.service.form is Form.LOOKUP]
    nests = [(step.index, step.nest) for step in steps if step.nest is not None]
    nested = {index: tuple(_fit(one, tables) for one in nest.graphs) for index, nest in nests}
    return Fittings(
        functions=functions,
        indexes={step.index: build_index(tables[step.service.name], step) for step in lookups},
        locks=locks,
        nested=nested,
        instances=instances,
    )


def _callable(step: Step, made: Callable[..., Any]) -> Callable[..., Any]:
    """What a step calls."""
    return made if step.service.form is Form.COLUMN else bind_call(step, made)


def _close(instances: Mapping[int, Any], nested: Mapping[int, Sequence[Fittings]]) -> None:
    """Close the instances that have a `close`, also those inside."""
    for instance in instances.values():
        close = getattr(instance, "close", None)
        if callable(close):
            close()
    for several in nested.values():
        for one in several:
            _close(one.instances, one.nested)


def _callers(graph: Graph, settings: CallSettings, *, context: Context) -> Callers | None:
    if not graph.calls_apis:
        return None
    # The client for HTTP takes a while to import, which a job without an API does not wait for.
    from dataflow.engine.http.callers import Callers

    return Callers(settings, secret=context.secret)


def _make(step: Step) -> Callable[..., Any]:
    try:
        return step.service.make()
    except Exception as error:
        refused = DeclarationError(
            f"`{step.service.name}` could not be set up: its class raised {type(error).__name__} "
            "for the arguments of with_(setup={...})"
        )
        refused.said = text_of(error).whole
        raise refused from error
