"""Chooses who runs the partitions: threads of this process, worker processes, or a cluster that is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from dataflow.engine.arrival import Arrival
from dataflow.engine.cluster import Cluster, connect, current_client
from dataflow.engine.drive import Engine
from dataflow.engine.http.offline import refuse_processes
from dataflow.engine.local import LocalEngine, available_processors
from dataflow.engine.program import Program
from dataflow.engine.result import Completion
from dataflow.engine.turns import Turns
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import SourcePlan
from dataflow.plan.resolve import Task
from dataflow.store.commit import RunFolder
from dataflow.wiring.agreeing import expected_of
from dataflow.wiring.clusters import make_cluster
from dataflow.wiring.keeping import CountKeeper
from dataflow.wiring.planning import Planned
from dataflow.wiring.reach import check_reach
from dataflow.wiring.secrets import require_secrets, secrets_to_send, warn_if_open
from dataflow.wiring.settings import PLACES, SCHEDULERS, SMALL_BYTES, Settings
from dataflow.wiring.treasury import Treasury
from dataflow.wiring.worker import FACTORY

if TYPE_CHECKING:
    from dataflow.engine.plugin import Assignment


def uses_processes(settings: Settings, graph: Graph, source: SourcePlan) -> bool:
    """Whether a run goes to Dask: a cluster is named or current, or the work is worth worker processes.

    How slow its services are does not count: threads serve those that wait, and whoever computes names `workers`.
    """
    named = ("workers", *PLACES)
    if any(getattr(settings, name) is not None for name in named) or any(os.environ.get(one) for one in SCHEDULERS):
        return True
    if graph.isolated or current_client() is not None:
        return True
    return sum(file.size for file in source.files) > SMALL_BYTES


def scope_of(*, ours: bool) -> str:
    """How far the limits of APIs hold, for whoever starts a run.

    Args:
        ours: Whether the processes that call are of this host, and not of a cluster of somebody else.
    """
    where = "all processes of this host that use this catalog" if ours else "this cluster only"
    return f"the limits of the APIs hold for {where}"


def local_turns(graph: Graph, settings: Settings) -> Turns | None:
    """The turns of partitions on threads of this process; None where nothing of the graph waits."""
    return Turns(settings.threads or available_processors()) if graph.waits else None


def local_engine(
    work: Callable[[Task], Completion], settings: Settings, stack: ExitStack, *, turns: Turns | None
) -> Engine:
    """Threads of this process, ended with the stack."""
    engine = LocalEngine(work, threads=settings.threads if turns is None else turns.most)
    stack.callback(engine.close)
    return engine


def cluster_engine(
    program: Program,
    setup: Mapping[str, Any],
    settings: Settings,
    stack: ExitStack,
    *,
    home: ExitStack,
    planned: Planned,
    keeper: CountKeeper,
    arrival: Arrival,
    warn: Callable[[str], None],
    tell: Callable[[str], None],
    treasury: Treasury | None = None,
) -> Engine:
    """Worker processes, or the cluster that the settings name; what is started ends with `home`, the job before.

    A cluster that is open to others is told to `warn`, and to `tell` how far limits hold.

    Raises:
        ClusterError: It cannot be made or reached, or has other versions.
        DeclarationError: The job cannot be loaded there, or is another one there than here, `flow.testing.offline` is
            on, which cannot reach it, or what should make the cluster cannot be called.
        Interrupted: The run was stopped while it waited for the first worker.
        CatalogError: A worker of that cluster does not see the catalog.
        SourceError: A worker of that cluster does not see the source.
    """
    graph = planned.graph
    calls = graph.calls_apis and setup["may_call"]
    if calls:
        refuse_processes()
    cluster = home.enter_context(_cluster(settings, arrival=arrival, warn=warn))
    if cluster.workers is None:
        warn_if_open(cluster, warn)
        check_reach(cluster, RunFolder.from_dict(setup["folder"]), planned.source)
    if calls:
        tell(scope_of(ours=cluster.workers is not None))
        ask_there = _open_plane(cluster, keeper)
        stack.callback(keeper.keep)
        if treasury is not None:
            stack.callback(treasury.close)
            treasury.open(ask_there)
    if calls and cluster.workers is not None:
        require_secrets(graph)
    assignment = _assigned(program, setup, planned=planned, cluster=cluster, calls=calls)
    page = cluster.show() if settings.live else None
    engine = cluster.engine(assignment, run=setup["folder"]["run"], stretch=setup["folder"]["epoch"], page=page)
    stack.callback(engine.close)
    return engine


def _assigned(
    program: Program, setup: Mapping[str, Any], *, planned: Planned, cluster: Cluster, calls: bool
) -> Assignment:
    """What every worker is given once: the job, its setup, and on a foreign cluster the secrets of its calls."""
    from dataflow.engine.plugin import Assignment

    foreign = cluster.workers is None
    services = [step.service for step in planned.graph.every]
    secrets = secrets_to_send(services, cluster) if calls and foreign else {}
    # Its scheduler may be on another host: there, limits hold for the cluster and nothing else.
    shared = {"shared": None} if foreign else {}
    given = {**setup, **shared, "agreed": expected_of(program, planned, foreign=foreign)}
    return Assignment(program=program, setup=given, factory=FACTORY, secrets=secrets, variables=planned.variables)


def _cluster(settings: Settings, *, arrival: Arrival, warn: Callable[[str], None]) -> Cluster:
    if settings.cluster is None:
        return connect(
            settings.client,
            scheduler=settings.scheduler,
            scheduler_file=settings.scheduler_file,
            workers=settings.workers,
            threads=settings.threads,
            arrival=arrival,
        )
    from dataflow.engine.foreign import join

    ours = isinstance(settings.cluster, str)
    if ours:
        # Some take minutes for their scheduler alone, and say nothing.
        arrival.say(f"starting a cluster: {settings.cluster}")
    cluster = make_cluster(settings.cluster) if ours else settings.cluster
    return join(cluster, ours=ours, workers=settings.workers, adapt=settings.adapt, arrival=arrival, warn=warn)


def _open_plane(cluster: Cluster, keeper: CountKeeper) -> Callable[..., Any]:
    """See that the scheduler has a control plane, and that it knows what has been counted before; how to ask it."""
    from dataflow.engine.control.scheduler import ask, install

    install(cluster.client)

    def ask_there(do: str, **given: Any) -> Any:
        if (trouble := cluster.trouble()) is not None:
            raise trouble
        return ask(cluster.client, do, **given)

    keeper.open(ask_there("identity"), ask_there)
    return ask_there
