"""Opens the engine of a run: what workers are told once, and everything that must be there before the first task."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from dataflow.engine.arrival import Arrival
from dataflow.engine.control.home import ask, process_plane
from dataflow.engine.drive import Engine
from dataflow.engine.http.offline import SESSIONS
from dataflow.engine.program import Program, pack_object
from dataflow.services.context import Context
from dataflow.store.cache.connection import limits_prefix
from dataflow.store.commit import RunFolder
from dataflow.wiring.binding import prepare_arrow
from dataflow.wiring.engines import cluster_engine, local_engine, local_turns, scope_of, uses_processes
from dataflow.wiring.keeping import CountKeeper
from dataflow.wiring.planning import Planned
from dataflow.wiring.secrets import require_secrets
from dataflow.wiring.settings import Settings
from dataflow.wiring.treasury import Treasury
from dataflow.wiring.worker import make_setup, make_work


def open_engine(
    planned: Planned,
    folder: RunFolder,
    stack: ExitStack,
    *,
    home: ExitStack,
    settings: Settings,
    program: Program | None,
    may_call: bool,
    keeper: CountKeeper,
    treasury: Treasury | None,
    arrival: Arrival,
    warn: Callable[[str], None],
    tell: Callable[[str], None],
) -> Engine:
    """Whoever does the tasks of a run, ready for them; closed with the stack.

    Args:
        planned: The job, bound to its source.
        folder: Where its partitions are committed.
        stack: Closes what is opened.
        home: Closes the connection to a cluster, which goes on to show how the run has ended.
        settings: Of the run.
        program: How the job travels to workers; None to pack it.
        may_call: Whether APIs may be called.
        keeper: Keeps long windows.
        treasury: Hands out the money, or None.
        arrival: How to wait for the first worker of a cluster.
        warn: Told what deserves a look.
        tell: Told how far the limits of APIs hold.

    Raises:
        DataflowError: A worker cannot do the job, or a secret is missing.
    """
    setup = _setup_of(planned, folder, settings=settings, may_call=may_call, treasury=treasury)
    if uses_processes(settings, planned.graph, planned.source):
        return cluster_engine(
            (program or pack_object(planned.job.pipeline)).given(planned.variables),
            setup,
            settings,
            stack,
            home=home,
            planned=planned,
            keeper=keeper,
            treasury=treasury,
            arrival=arrival,
            warn=warn,
            tell=tell,
        )
    _keep_limits(planned, stack, may_call=may_call, keeper=keeper, treasury=treasury, tell=tell)
    return _open_here(planned, folder, stack, settings=settings, setup=setup)


def _setup_of(
    planned: Planned, folder: RunFolder, *, settings: Settings, may_call: bool, treasury: Treasury | None
) -> dict[str, Any]:
    """What every worker is told once."""
    return make_setup(
        folder,
        options=planned.source.options,
        schema=planned.source.schema,
        key=planned.job.keys,
        catalog=folder.root,
        parameters=settings.parameters,
        profile=settings.profile,
        may_call=may_call,
        offline=settings.offline,
        limits=limits_of(planned),
        money=None if treasury is None else treasury.money,
        binding=planned.binding,
    ) | {
        "live": settings.live,
        "shared": limits_prefix(folder.root) if may_call else None,
        "error_texts": planned.job.error_texts,
    }


def _keep_limits(
    planned: Planned,
    stack: ExitStack,
    *,
    may_call: bool,
    keeper: CountKeeper,
    treasury: Treasury | None,
    tell: Callable[[str], None],
) -> None:
    """See that the limits of calls are known and kept in this process, and that no secret is missing."""
    if SESSIONS.current is None and may_call:
        require_secrets(planned.graph)
        if planned.graph.calls_apis:
            tell(scope_of(ours=True))
    if planned.graph.calls_apis:
        keeper.open(process_plane().id, ask)
    stack.callback(keeper.keep)
    if treasury is not None:
        stack.callback(treasury.close)
        treasury.open(ask)


def _open_here(
    planned: Planned, folder: RunFolder, stack: ExitStack, *, settings: Settings, setup: dict[str, Any]
) -> Engine:
    """Threads of this process, ready for tasks."""
    prepare_arrow(planned.graph)
    context = Context(run=folder.run, started_at=folder.started_at, parameters=settings.parameters)
    turns = local_turns(planned.graph, settings)
    work = make_work(planned.graph, folder, tables=planned.tables, context=context, setup=setup, turns=turns)
    stack.callback(work.close)
    return local_engine(work, settings, stack, turns=turns)


def limits_of(planned: Planned) -> dict[str, tuple[float | None, int | None]]:
    """What workers judge the calls of a service by, before a partition is whole: share to find, failures."""
    guardrails, rows = planned.job.guardrails, planned.rows
    known = rows is not None or guardrails.max_failures.count is not None
    most = guardrails.max_failures.limit(rows or 0) if known else None
    # A member that fails has others beside it, and how many items there are nobody knows beforehand.
    alone = {
        step.service.name
        for step in planned.graph.steps
        if not step.service.member_of and guardrails.heed(step.service)
    }
    names = [step.service.name for step in planned.graph.every if step.service.api is not None]
    return {name: (guardrails.min_found.get(name), most if name in alone else None) for name in names}
