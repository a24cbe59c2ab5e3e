"""Cluster objects by their own constructors, and by the surface that other libraries give theirs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from distributed import Client, LocalCluster, Security, Worker, WorkerPlugin
from distributed.comm import CommClosedError

from dataflow.engine.arrival import Arrival
from dataflow.engine.cluster import current_client
from dataflow.engine.foreign import is_cluster, join
from dataflow.engine.submission import register_plugin
from dataflow.errors import ClusterError, DeclarationError

Until = Callable[..., None]


def local(workers: int = 1, **options: Any) -> LocalCluster:
    return LocalCluster(n_workers=workers, threads_per_worker=1, processes=False, dashboard_address=":0", **options)


def silent(message: str) -> None:
    pytest.fail(message)


def arrival() -> Arrival:
    return Arrival(stop=threading.Event(), say=silent, patience=60)


class Gateway:
    """As `dask_gateway.GatewayCluster`: of no class of distributed, with its own way to a client."""

    asynchronous = False

    def __init__(self) -> None:
        self.inner = local(0)
        self.scheduler_address = self.inner.scheduler_address
        self.security = Security()
        self.asked: list[Any] = []

    def get_client(self, set_as_default: bool = True) -> Client:
        self.asked.append("client")
        return Client(self.scheduler_address, security=self.security, set_as_default=set_as_default)

    def scale(self, n: int, **kwargs: Any) -> None:
        self.asked.append(n)
        self.inner.scale(n)

    def adapt(self, minimum: Any = None, maximum: Any = None, active: bool = True, **kwargs: Any) -> None:
        self.asked.append((minimum, maximum, active))
        self.inner.adapt(minimum=minimum, maximum=maximum, interval="50ms")

    def close(self, shutdown: bool | None = None) -> None:
        self.asked.append("closed")
        self.inner.close()


class Slurm(LocalCluster):
    """As `dask_jobqueue.SLURMCluster`: jobs of several workers each; without a number it has none."""

    def __init__(self) -> None:
        super().__init__(n_workers=0, threads_per_worker=1, processes=False, dashboard_address=":0")

    def scale(self, n: int | None = None, jobs: int = 0, memory: str | None = None, cores: int | None = None) -> Any:
        return super().scale(jobs if n is None else n, memory=memory, cores=cores)

    def adapt(self, *args: Any, minimum_jobs: int | None = None, maximum_jobs: int | None = None, **kwargs: Any) -> Any:
        assert minimum_jobs is None
        assert maximum_jobs is None
        return super().adapt(*args, interval="50ms", **kwargs)


class Kube(LocalCluster):
    """As `dask_kubernetes.operator.KubeCluster`: groups of workers."""

    def __init__(self) -> None:
        super().__init__(n_workers=0, threads_per_worker=1, processes=False, dashboard_address=":0")

    def scale(self, n: int, worker_group: str = "default") -> Any:
        return super().scale(n)

    def adapt(self, minimum: int | None = None, maximum: int | None = None) -> Any:
        return super().adapt(minimum=minimum, maximum=maximum, interval="50ms")


class Coiled(Kube):
    """As `coiled.Cluster`: a class of distributed with its own way to a client."""

    got = 0

    def get_client(self) -> Client:
        self.got += 1
        return Client(self)


KINDS = [Gateway, Slurm, Kube, Coiled]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_of_any_library_is_scaled_and_closed_where_it_is_ours(kind: Any) -> None:
    made = kind()
    with join(made, ours=True, workers=2, warn=silent, arrival=arrival()) as cluster:
        cluster.client.wait_for_workers(2, timeout=60)
        assert len(cluster.on_every_worker(threading.get_ident)) == 2
    assert cluster.client.status == "closed"
    assert getattr(made, "inner", made).status.name == "closed"
    assert current_client() is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_of_any_library_that_may_have_none_gets_a_worker_to_begin_with(kind: Any) -> None:
    made = kind()
    with join(made, ours=True, adapt=(0, 2), warn=silent, arrival=arrival()) as cluster:
        assert cluster.client.submit(int, "5").result(timeout=60) == 5


def test_a_cluster_with_its_own_way_to_a_client_is_asked_for_it() -> None:
    gateway, coiled = Gateway(), Coiled()
    join(gateway, ours=True, workers=1, warn=silent).close()
    assert gateway.asked == ["client", 1, "closed"]
    join(coiled, ours=True, warn=silent).close()
    assert coiled.got == 1


def test_a_cluster_that_is_not_ours_stays_open_without_our_client() -> None:
    with local() as given:
        with join(given, ours=False, warn=silent) as cluster:
            assert current_client() is None
        assert cluster.client.status == "closed"
        assert given.status.name == "running"


def test_the_client_that_a_cluster_already_has_stays_open() -> None:
    with Coiled() as given, Client(given) as client:
        given.get_client = lambda: client
        Coiled.get_client, kept = lambda self: client, Coiled.get_client
        try:
            with join(given, ours=False, warn=silent) as cluster:
                assert cluster.client is client
        finally:
            Coiled.get_client = kept
        assert client.status == "running"


def test_a_client_may_stand_for_its_cluster_and_both_are_closed() -> None:
    made = local()
    client = Client(made, set_as_default=False)
    with join(client, ours=True, workers=2, warn=silent) as cluster:
        assert cluster.client is client
        client.wait_for_workers(2, timeout=60)
    assert (client.status, made.status.name) == ("closed", "closed")


def test_fewer_workers_are_settled_before_anybody_asks_them() -> None:
    with join(local(3), ours=True, workers=1, warn=silent) as cluster:
        assert len(cluster.client.nthreads()) == 1


def test_a_worker_that_leaves_while_it_is_told_something_is_not_missed() -> None:
    class Leaving(WorkerPlugin):
        name = "leaving"
        told = 0

        async def setup(self, worker: Worker) -> None:
            Leaving.told += 1
            if Leaving.told == 1:
                raise CommClosedError("the worker has left")

    with local() as given, Client(given, set_as_default=False) as client:
        register_plugin(client, Leaving())
        assert Leaving.told == 2
        given.scale(0)
        with join(given, ours=False, warn=silent) as cluster:
            assert cluster.on_every_worker(threading.get_ident).keys() == client.nthreads().keys()


def test_what_cannot_be_sized_is_told_so() -> None:
    class Fixed(LocalCluster):
        adapt = None

    with Fixed(n_workers=0, processes=False, dashboard_address=":0") as made:
        with pytest.raises(DeclarationError, match=r"--adapt.*Fixed, which has no adapt\(\)"):
            join(made, ours=False, adapt=(0, 1), warn=silent)
        with (
            Client(made.scheduler_address, set_as_default=False) as client,
            pytest.raises(DeclarationError, match=r"--workers.*a client without a cluster object"),
        ):
            join(client, ours=False, workers=1, warn=silent)


def test_a_cluster_that_refuses_its_size_is_named_with_what_was_asked() -> None:
    class Full(LocalCluster):
        def scale(self, n: int = 0, memory: Any = None, cores: Any = None) -> None:
            if n:
                raise ValueError("the quota is 0")

    made = Full(n_workers=0, processes=False, dashboard_address=":0")
    with pytest.raises(ClusterError, match=r"Full\.scale\(3\) has failed: ValueError: the quota is 0") as caught:
        join(made, ours=True, workers=3, warn=silent)
    assert isinstance(caught.value.__cause__, ValueError)
    assert made.status.name == "closed"


def test_a_cluster_that_cannot_be_closed_ends_no_run_but_is_told() -> None:
    class Sticky(Gateway):
        def close(self, shutdown: bool | None = None) -> None:
            super().close()
            raise RuntimeError("no answer")

    told: list[str] = []
    join(Sticky(), ours=True, warn=told.append).close()
    assert told == ["Sticky could not be closed (RuntimeError: no answer); see that it does not go on and cost money"]


def test_a_closed_cluster_gives_no_client() -> None:
    made = local()
    made.close()
    with pytest.raises(ClusterError, match=r"LocalCluster gives no client.*is it running\?"):
        join(made, ours=False, warn=silent)


def test_what_looks_like_no_cluster_is_none() -> None:
    assert not is_cluster(LocalCluster)
    assert not is_cluster("tcp://127.0.0.1:1")
    assert not is_cluster(Gateway)


def test_an_asynchronous_cluster_is_sized_on_its_own_loop_and_used_from_a_thread() -> None:
    async def use() -> int:
        async with local(0, asynchronous=True) as given:

            def count() -> int:
                with join(given, ours=False, workers=2, warn=silent, arrival=arrival()) as cluster:
                    cluster.client.wait_for_workers(2, timeout=60)
                    return len(cluster.on_every_worker(threading.get_ident))

            with pytest.raises(DeclarationError, match="wait=False"):
                join(given, ours=False, warn=silent)
            return await asyncio.to_thread(count)

    assert asyncio.run(use()) == 2


def test_an_asynchronous_cluster_cannot_be_ours() -> None:
    class Later(Gateway):
        asynchronous = True

    made = Later()
    with pytest.raises(DeclarationError, match="asynchronous=False"):
        join(made, ours=True, warn=silent)
    made.close()
