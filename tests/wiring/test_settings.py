"""The settings of a run, and who runs its partitions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import SourceFile, SourcePlan
from dataflow.wiring.binding import bind_pipeline
from dataflow.wiring.engines import uses_processes
from dataflow.wiring.settings import SMALL_BYTES, Settings, read_settings


@flow.transformation
def double(number: int) -> int:
    return 2 * number


SCHEMA = pa.schema({"number": pa.int64()})


def graph(**options: Any) -> Graph:
    return bind_pipeline(flow.Pipeline("p", [double.with_(**options)]), SCHEMA, {})


def source(size: int) -> SourcePlan:
    files = tuple(SourceFile(path=f"/{at}", size=size // 2, fingerprint="f") for at in range(2))
    return SourcePlan(schema=SCHEMA, specs=(), files=files, options={})


def test_settings_have_defaults_and_keep_what_is_given(tmp_path: Path) -> None:
    assert read_settings({}) == Settings()
    assert read_settings({"catalog": tmp_path, "workers": 2, "resume": False}).workers == 2


def test_a_range_of_workers_is_read_from_a_text_or_a_pair() -> None:
    assert read_settings({"cluster": "a:b", "adapt": "0:10"}).adapt == (0, 10)
    assert read_settings({"cluster": "a:b", "adapt": [2, 2]}).adapt == (2, 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"worker": 2}, "a run has no setting `worker`; did you mean `workers`"),
        ({"speed": 5}, "a run has no setting `speed`; there are catalog, client"),
        ({"budget": -1}, "budget takes a number from 0"),
        ({"recall": 5}, "recall takes a list of names of services"),
        ({"workers": 0}, "workers takes a whole number from 1"),
        ({"threads": 1.5}, "threads takes a whole number from 1"),
        ({"limit": -1}, "limit takes a whole number from 1"),
        ({"limit": True}, "limit takes a whole number from 1"),
        ({"catalog": None}, "catalog takes the path or URL of a folder"),
        ({"parameters": ["a"]}, "parameters takes a mapping"),
        ({"on_event": 5}, "on_event takes a function"),
        ({"cluster": 5}, "cluster takes a cluster object or the text MODULE:CALLABLE, not int"),
        ({"cluster": "make"}, "'make' names no cluster; give MODULE:CALLABLE"),
        ({"cluster": "a:b", "scheduler": "tcp://h:1"}, "cluster= and scheduler= name two clusters"),
        ({"cluster": "a:b", "workers": 1, "adapt": "0:2"}, "fixed size.*a range; give one of them"),
        ({"cluster": "a:b", "threads": 2}, "say it where the cluster is made"),
        ({"adapt": "0:2"}, "sizes the cluster that --cluster"),
        ({"cluster": "a:b", "adapt": "2:1"}, "adapt takes MIN:MAX"),
        ({"cluster": "a:b", "adapt": "0:0"}, "adapt takes MIN:MAX"),
        ({"cluster": "a:b", "adapt": "3"}, "adapt takes MIN:MAX"),
        ({"cluster": "a:b", "adapt": "a:b"}, "adapt takes MIN:MAX"),
        ({"cluster": "a:b", "adapt": (-1, 2)}, "adapt takes MIN:MAX"),
        ({"cluster": "a:b", "adapt": (True, 2)}, "adapt takes MIN:MAX"),
        ({"cluster": "a:b", "adapt": 4}, "adapt takes MIN:MAX"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_else(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        flow.Pipeline("p", [double]).run("missing.csv", "out", **given)


def test_a_small_source_runs_on_threads_and_a_large_one_on_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    monkeypatch.delenv("DASK_SCHEDULER_FILE", raising=False)
    assert not uses_processes(Settings(), graph(), source(SMALL_BYTES))
    assert uses_processes(Settings(), graph(), source(SMALL_BYTES + 2))
    assert not uses_processes(Settings(threads=8), graph(), source(10))


@pytest.mark.parametrize(
    "settings",
    [{"workers": 1}, {"scheduler": "tcp://h:1"}, {"scheduler_file": "f"}, {"client": object()}, {"cluster": "a:b"}],
)
def test_a_cluster_that_is_named_is_used(settings: dict[str, Any]) -> None:
    assert uses_processes(Settings(**settings), graph(), source(10))


def test_a_cluster_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DASK_SCHEDULER_ADDRESS", "DASK_SCHEDULER_FILE"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "somewhere")
            assert uses_processes(Settings(), graph(), source(10))


def test_an_isolated_service_runs_in_a_process() -> None:
    assert uses_processes(Settings(), graph(isolate=True), source(10))


def test_a_client_of_this_process_is_used_while_it_is_open() -> None:
    from distributed import Client, LocalCluster

    assert "distributed" in sys.modules
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster),
    ):
        assert uses_processes(Settings(), graph(), source(10))
    assert not uses_processes(Settings(), graph(), source(10))


def test_a_run_on_the_client_of_this_process(tmp_path: Path) -> None:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        run = flow.Pipeline("p", [double]).run(pa.table({"number": [1, 2]}), "out", catalog=str(tmp_path))
        assert run.to_arrow()["double"].to_pylist() == [2, 4]
        assert client.status == "running"
