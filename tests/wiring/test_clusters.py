"""Clusters that a run makes, is given, or reaches beside an asynchronous client."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from distributed import Client, LocalCluster

import dataflow as flow
from dataflow.errors import ClusterError, DataflowError, DeclarationError, Interrupted
from dataflow.wiring.clusters import make_cluster
from dataflow.wiring.settings import moved

MAKERS = """
from distributed import Client, LocalCluster

made = []

def make(workers=1):
    made.append(LocalCluster(n_workers=workers, threads_per_worker=1, processes=False, dashboard_address=":0"))
    return made[-1]

def empty():
    return make(0)

def client():
    return Client(make(), set_as_default=False)

def needy(account):
    pass

def lacking():
    import no_such_library_of_clusters

def refused():
    raise PermissionError("no quota")

def ended():
    raise SystemExit("usage")

def nothing():
    pass

async def later():
    return make()

ready = 5
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a file into the current folder; its module is forgotten at the end."""
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)

    def write(name: str, text: str = MAKERS) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    yield write
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@flow.transformation
def double(number: int) -> int:
    return 2 * number


@pytest.fixture
def doubled(tmp_path: Path) -> Callable[..., Any]:
    """Runs a small job with some settings."""

    def run(**settings: Any) -> Any:
        table = pa.table({"number": [1, 2, 3]})
        return flow.Pipeline("p", [double]).run(table, "out", catalog=str(tmp_path / "catalog"), **settings)

    return run


def local(**options: Any) -> LocalCluster:
    given = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    return LocalCluster(**given | options)


@pytest.mark.parametrize("text", ["my_makers:make", "my_makers.py:make", "below/my_makers.py:make"])
def test_a_module_of_the_current_folder_and_a_file_are_found_and_called(write: Write, text: str) -> None:
    write(text.partition(":")[0].removesuffix(".py") + ".py")
    path = list(sys.path)
    with make_cluster(text) as made:
        assert isinstance(made, LocalCluster)
    assert sys.path == path


def test_a_file_finds_the_modules_next_to_it(write: Write) -> None:
    write("below/sizes_of_mine.py", "WORKERS = 0")
    write(
        "below/near.py", f"{MAKERS}\ndef sized():\n    import sizes_of_mine\n    return make(sizes_of_mine.WORKERS)\n"
    )
    with make_cluster("below/near.py:sized") as made:
        assert made.scheduler_info["workers"] == {}


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("mae", DeclarationError, r"my_makers\.py has no `mae`; did you mean `made`\?|`make`"),
        ("ready", DeclarationError, "my_makers:ready is a int; name a function"),
        ("needy", DeclarationError, "called without arguments: missing a required argument: 'account'"),
        ("lacking", DeclarationError, r"my_makers\.py, line 20: ModuleNotFoundError: No module.*install what it needs"),
        ("refused", ClusterError, r"my_makers:refused has failed: .*line 23: PermissionError: no quota"),
        ("ended", ClusterError, "my_makers:ended has failed: .*SystemExit: usage"),
        ("nothing", DeclarationError, "my_makers:nothing gives a NoneType, which is no cluster"),
        ("later", DeclarationError, "my_makers:later gives a coroutine, which is no cluster"),
    ],
)
def test_what_makes_no_cluster_is_named_with_the_reason(
    write: Write, name: str, kind: type[DataflowError], message: str
) -> None:
    write("my_makers.py")
    with pytest.raises(kind, match=message) as caught:
        make_cluster(f"my_makers:{name}")
    if name in ("lacking", "refused", "ended"):
        assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("absent:make", "there is no module absent"),
        ("absent.below:make", "there is no module absent"),
        ("absent.py:make", r"there is no file absent\.py"),
        ("broken:make", r"broken:make cannot be imported: .*broken\.py, line 2: SyntaxError"),
        ("broken.py:make", r"broken\.py:make cannot be imported: .*broken\.py, line 2: SyntaxError"),
        ("leaning:make", r"leaning:make cannot be imported: .*leaning\.py, line 1: ModuleNotFoundError"),
        ("make", "'make' names no cluster; give MODULE:CALLABLE"),
        ("broken:", "'broken:' names no cluster"),
        ("tcp://host:8786", "'tcp://host:8786' names no cluster"),
    ],
)
def test_what_cannot_be_imported_is_named(write: Write, text: str, message: str) -> None:
    write("broken.py", "x = 1\ndef make(:\n")
    write("leaning.py", "import no_such_library_of_clusters\n")
    with pytest.raises(DeclarationError, match=message):
        make_cluster(text)


def test_a_run_makes_its_cluster_anew_each_time_and_closes_it(write: Write, doubled: Any) -> None:
    write("my_makers.py")
    told: list[Any] = []
    for number in (1, 2):
        run = doubled(cluster="my_makers:make", resume=False, on_event=told.append)
        assert (run.version, run.to_arrow()["double"].to_pylist()) == (number, [2, 4, 6])
    assert [made.status.name for made in sys.modules["my_makers"].made] == ["closed", "closed"]
    assert [one.message for one in told if one.kind == "waiting"] == ["starting a cluster: my_makers:make"] * 2


def test_a_client_that_a_callable_makes_is_closed_with_its_cluster(write: Write, doubled: Any) -> None:
    write("my_makers.py")
    assert doubled(cluster="my_makers:client").version == 1
    assert [made.status.name for made in sys.modules["my_makers"].made] == ["closed"]


@pytest.mark.parametrize("size", [{"workers": 1}, {"adapt": "0:1"}, {"adapt": (1, 2)}])
def test_a_cluster_without_workers_gets_the_size_that_is_asked_for(write: Write, doubled: Any, size: Any) -> None:
    write("my_makers.py")
    assert doubled(cluster="my_makers:empty", **size).version == 1


def test_a_cluster_object_is_used_and_stays_open(doubled: Any) -> None:
    with local() as given:
        assert doubled(cluster=given).version == 1
        assert given.status.name == "running"
        assert doubled(cluster=given, resume=False, workers=2).version == 2


def test_a_run_that_waits_for_its_first_worker_can_be_stopped_and_goes_on(doubled: Any) -> None:
    with local(n_workers=0) as given:
        run = doubled(cluster=given, wait=False)
        run.stop()
        with pytest.raises(Interrupted, match="first worker of LocalCluster at inproc"):
            run.wait()
        assert doubled(cluster=given, workers=1).id == run.id


def test_an_asynchronous_client_is_used_from_a_thread_and_in_the_background(doubled: Any) -> None:
    async def use() -> list[int]:
        async with local(asynchronous=True) as given, Client(given, asynchronous=True) as client:
            with pytest.raises(DeclarationError, match="wait=False"):
                doubled(client=client)
            first = await asyncio.to_thread(doubled, client=client, resume=False)
            second = doubled(client=client, resume=False, wait=False)
            await asyncio.to_thread(second.wait)
            current = await asyncio.to_thread(doubled, resume=False)
            assert client.status == "running"
            return [first.version, second.version, current.version]

    assert asyncio.run(use()) == [1, 2, 3]


def test_an_asynchronous_client_of_a_cluster_elsewhere_may_be_waited_for_on_its_loop(doubled: Any) -> None:
    async def use(address: str) -> Any:
        async with Client(address, asynchronous=True, set_as_default=False) as client:
            return doubled(client=client)

    with local(protocol="tcp", host="127.0.0.1") as cluster:
        assert asyncio.run(use(cluster.scheduler_address)).version == 1


def test_an_asynchronous_client_that_was_not_awaited_is_refused(doubled: Any) -> None:
    async def use(address: str) -> None:
        client = Client(address, asynchronous=True, set_as_default=False)
        with pytest.raises(ClusterError, match=r"not connected.*await it first"):
            doubled(client=client)
        async with client:
            pass

    with local(protocol="tcp", host="127.0.0.1") as cluster:
        asyncio.run(use(cluster.scheduler_address))


def test_whoever_goes_on_elsewhere_is_not_held_to_the_size_of_the_run() -> None:
    given = {"cluster": "my:cluster", "adapt": "0:2", "limit": 5}
    assert moved(given, client=1) == {"client": 1, "limit": 5}
    assert moved(given, workers=2) == {"cluster": "my:cluster", "workers": 2, "limit": 5}
    assert moved(given, on_event=None) == {**given, "on_event": None}
