"""What is made ready for a pipeline is closed when the pipeline is gone, or the process ends."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dataflow as flow
from dataflow.engine.waiting import IOLoop
from dataflow.wiring import preparation

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import serve


def loop_of_calls(url: str, *, closed: threading.Event) -> IOLoop:
    """The loop of the calls of a pipeline that nobody holds but itself."""

    @flow.transformation
    class tagged:
        def __call__(self, key: str) -> str:
            return key

        def close(self) -> None:
            closed.set()

    api = flow.API("prepared", url)
    title = api.get("title", "/v2/companies/{key}", returns=str, select="name")
    pipeline = flow.Pipeline("p", [tagged, title])
    assert pipeline.call({"key": "a.example"}).data["title"]
    circle: list[Any] = [pipeline]
    circle.append(circle)
    (prepared,) = preparation._prepared[pipeline].values()
    assert prepared.resources.callers is not None
    assert prepared.resources.callers._io is not None
    return prepared.resources.callers._io


@pytest.fixture
def _garbage_lies_about() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_garbage_lies_about")
def test_a_pipeline_that_is_gone_is_closed_also_where_its_own_loop_collects_the_garbage() -> None:
    closed = threading.Event()

    async def collect() -> int:
        return gc.collect()

    with serve() as server:
        io = loop_of_calls(server.url, closed=closed)
        assert io.start(collect()).result(timeout=30) > 0
    assert closed.wait(30)
    io._thread.join(30)
    assert not io._thread.is_alive()


def test_what_is_left_is_closed_when_the_process_ends(tmp_path: Path) -> None:
    script = (
        "import dataflow as flow\n"
        "@flow.transformation\n"
        "class tagged:\n"
        "    def __call__(self, x: int) -> int:\n"
        "        return x\n"
        "    def close(self) -> None:\n"
        "        print('closed', flush=True)\n"
        "pipeline = flow.Pipeline('p', [tagged])\n"
        "print(pipeline.call({'x': 1}).data['tagged'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["1", "closed"], "")
