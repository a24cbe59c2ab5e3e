"""Waiting for the first worker of a cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from distributed import Client, LocalCluster

from dataflow.engine.arrival import Arrival
from dataflow.errors import ClusterError, Interrupted


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=0, threads_per_worker=1, processes=False, dashboard_address=":0") as empty:
        yield empty


def test_where_there_is_a_worker_nothing_is_said(cluster: LocalCluster) -> None:
    said: list[str] = []
    with Client(cluster, set_as_default=False) as client:
        cluster.scale(1)
        client.wait_for_workers(1, timeout=60)
        Arrival(stop=threading.Event(), say=said.append, patience=0).wait(client, cluster="it")
    assert said == []


def test_the_waiting_is_told_once_and_ends_with_the_first_worker(cluster: LocalCluster) -> None:
    said: list[str] = []

    def say(message: str) -> None:
        said.append(message)
        cluster.scale(1)

    with Client(cluster, set_as_default=False) as client:
        Arrival(stop=threading.Event(), say=say, patience=0).wait(client, cluster="LocalCluster at x")
        assert client.nthreads()
    assert said == ["waiting for the first worker of LocalCluster at x; Ctrl-C ends the waiting"]


def test_a_stop_ends_the_waiting_and_says_how_to_go_on(cluster: LocalCluster) -> None:
    stop = threading.Event()
    with (
        Client(cluster, set_as_default=False) as client,
        pytest.raises(Interrupted, match="first worker of it; run the same command again"),
    ):
        Arrival(stop=stop, say=lambda message: stop.set(), patience=0).wait(client, cluster="it")


def test_a_cluster_that_goes_meanwhile_is_an_error(cluster: LocalCluster) -> None:
    client = Client(cluster, set_as_default=False)
    with pytest.raises(ClusterError, match="gone before its first worker came"):
        Arrival(stop=threading.Event(), say=lambda message: client.close(), patience=0).wait(client, cluster="it")
