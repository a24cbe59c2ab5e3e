"""How a run cuts its source: as somebody says, as the run that goes on has it, or as its slow services need it."""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.engine.local import available_processors
from dataflow.faces.cli import run_command
from dataflow.outcomes import Event
from dataflow.store.catalog import Catalog
from dataflow.wiring.explaining import explain


class Stopped(Exception):
    """Raised by a listener to end a run in the middle."""


@flow.transformation
def double(x: int) -> int:
    if x % 50 == 7:
        raise flow.Reject("seven")
    return 2 * x


@flow.transformation
def slow(x: int) -> int:
    time.sleep(0.03)
    return os.getpid()


QUICK = flow.Pipeline("quick", [double])
SLOW = flow.Pipeline("slow", [slow])


def numbers(folder: Path, count: int, name: str = "x.csv") -> str:
    path = folder / name
    path.write_text("x\n" + "".join(f"{at}\n" for at in range(count)))
    return str(path)


def cuts(catalog: Path, dataset: str = "out") -> list[int]:
    """The records of the partitions that the newest run has planned."""
    run = Catalog(str(catalog)).runs(dataset)[0]
    return [spec["rows"] for spec in Catalog(str(catalog)).run(run.id).plan()["specs"]]


def test_the_run_is_heard_before_the_source_and_the_source_before_the_job(tmp_path: Path) -> None:
    path = numbers(tmp_path, 100)
    source = flow.csv(path, partition_size=40)
    for given, job_size, settings, expected in (
        (path, 30, {}, [30, 30, 30, 10]),
        (source, 30, {}, [40, 40, 20]),
        (source, 30, {"partition_size": 60}, [60, 40]),
        (source, None, {"partition_size": "1MiB"}, [-1]),
        (path, "100B", {}, [36, 33, 31]),
    ):
        job = flow.Job(QUICK, source=given, output="out", partition_size=job_size)
        job.run(catalog=tmp_path / "c", resume=False, **settings)
        assert cuts(tmp_path / "c") == expected


def test_tables_are_cut_like_files(tmp_path: Path) -> None:
    table = pa.table({"x": list(range(100))})
    run = QUICK.run(table, "out", catalog=tmp_path, partition_size=30)
    assert (run.partitions, cuts(tmp_path)) == (4, [30, 30, 30, 10])
    frame = QUICK.run(table.to_pandas(), "out", catalog=tmp_path, partition_size=30, resume=False)
    assert frame.partitions == 4


@pytest.mark.parametrize("size", [1, 3, 64, "50B", "1MiB"])
def test_data_and_rejects_do_not_depend_on_the_size(tmp_path: Path, size: Any) -> None:
    path = numbers(tmp_path, 130)
    run = QUICK.run(path, "out", catalog=tmp_path / "c", max_failures="100%", partition_size=size)
    assert run.to_arrow()["double"].to_pylist() == [2 * x for x in range(130) if x % 50 != 7]
    assert run.rejects()["source_row"].to_pylist() == [8, 58, 108]


def test_the_size_is_no_part_of_the_plan(tmp_path: Path) -> None:
    path = numbers(tmp_path, 100)
    QUICK.run(path, "out", catalog=tmp_path / "c")
    again = QUICK.run(path, "out", catalog=tmp_path / "c", partition_size=10, if_changed=True)
    assert again.status == "unchanged"


def stopped(path: str, catalog: Path, **settings: Any) -> str:
    """The id of a run that ended after some partitions."""
    seen: list[str] = []

    def listen(event: Event) -> None:
        seen.append(event.kind)
        if seen.count("committed") == 2:
            raise Stopped

    with pytest.raises(Stopped):
        QUICK.run(path, "out", catalog=catalog, threads=1, on_event=listen, **settings)
    return Catalog(str(catalog)).runs("out")[0].id


def test_a_run_that_goes_on_keeps_its_partitions(tmp_path: Path) -> None:
    path, catalog = numbers(tmp_path, 100), tmp_path / "c"
    first = stopped(path, catalog, partition_size=20)
    run = QUICK.run(path, "out", catalog=catalog, partition_size=70, max_failures="100%")
    assert (run.id, run.partitions, cuts(catalog)) == (first, 5, [20] * 5)
    assert run.notes[0] == "the run goes on with the 5 partitions that it has; 70 records each would be for a new run"
    assert run.to_arrow().num_rows == 98


def test_a_packed_file_that_was_left_whole_stays_so(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz", "c.csv.gz"):
        text = "x\n" + "".join(f"{at}\n" for at in range(30))
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    first = stopped(str(tmp_path / "*.gz"), tmp_path / "c", partition_size="1GiB")
    run = QUICK.run(str(tmp_path / "*.gz"), "out", catalog=tmp_path / "c", partition_size=7, max_failures="100%")
    assert (run.id, run.partitions, run.to_arrow().num_rows) == (first, 3, 87)


def test_a_stopped_run_is_published_and_a_version_repaired_with_the_same_partitions(tmp_path: Path) -> None:
    path, catalog = numbers(tmp_path, 100), tmp_path / "c"
    job = tmp_path / "job.py"
    job.write_text(
        "import dataflow as flow\n\n"
        "@flow.enrichment\ndef odd(x: int) -> int:\n"
        "    if x == 5 and not flow_fixed():\n        raise ValueError(x)\n    return x\n\n"
        "def flow_fixed():\n    import pathlib\n    return pathlib.Path(__file__).with_name('fixed').exists()\n\n"
        f"job = flow.Job(flow.Pipeline('p', [odd]), source={path!r}, output='out', partition_size=30)\n"
    )
    options = ["--catalog", str(catalog), "--no-progress"]
    assert run_command(["run", str(job), "--partition-size", "25", *options]) == 0
    assert cuts(catalog) == [25] * 4
    (tmp_path / "fixed").write_text("")
    assert run_command(["repair", "latest", *options]) == 0
    assert cuts(catalog) == [25] * 4
    assert flow.open("out", catalog=str(catalog)).to_arrow()["odd"].null_count == 0


def test_slow_services_cut_a_small_source_and_a_run_says_so(tmp_path: Path) -> None:
    path = numbers(tmp_path, 200)
    run = SLOW.run(path, "out", catalog=tmp_path / "c", threads=3)
    assert 5 <= run.partitions <= 12
    assert run.notes[0].startswith(f"cut into {run.partitions} partitions for 3 threads: a record takes about ")
    assert (sum(cuts(tmp_path / "c")), len(cuts(tmp_path / "c"))) == (200, run.partitions)
    again = SLOW.run(path, "out", catalog=tmp_path / "c", threads=3)
    assert again.notes[0] == f"cut into {run.partitions} partitions for 3 threads, as before"
    (told,) = [note for note in SLOW.explain(path).notes if note.startswith("cut into")]
    assert f"for {available_processors()} thread" in told


def test_a_limited_version_in_between_changes_no_cut(tmp_path: Path) -> None:
    path, settings = numbers(tmp_path, 150), {"catalog": str(tmp_path / "c"), "threads": 3}
    run = SLOW.run(path, "out", **settings)
    SLOW.run(path, "out", limit=5, **settings)
    again = SLOW.run(path, "out", incremental=True, **settings)
    assert f"{run.partitions} of {run.partitions} partitions taken over from v1" in again.notes


def test_what_is_said_counts_more_than_what_is_measured(tmp_path: Path) -> None:
    path = numbers(tmp_path, 150)
    assert SLOW.run(path, "out", catalog=tmp_path / "c", threads=3, partition_size=100).partitions == 2
    explained = SLOW.explain(flow.csv(path, partition_size=50))
    assert "cut into 3 partitions, since partition_size says 50 records each" in explained.notes


def test_quick_and_small_sources_stay_whole(tmp_path: Path) -> None:
    called: list[int] = []

    @flow.transformation
    def counted(x: int) -> int:
        called.append(x)
        return x

    pipeline = flow.Pipeline("counted", [counted])
    assert pipeline.run(numbers(tmp_path, 1000), "out", catalog=tmp_path / "c").partitions == 1
    assert len(called) < 1300
    called.clear()
    assert pipeline.run(numbers(tmp_path, 90, "y.csv"), "small", catalog=tmp_path / "c").partitions == 1
    assert sorted(called) == list(range(90))


def test_services_that_call_out_are_not_called_for_it(tmp_path: Path) -> None:
    called = {"api": 0, "async": 0, "after": 0, "class": 0}
    api = flow.API("sizing", "http://127.0.0.1:9", retry=1)

    @flow.enrichment(api=api)
    def paid(x: int) -> int:
        called["api"] += 1
        return x

    @flow.enrichment
    async def waits(x: int) -> int:
        called["async"] += 1
        return x

    @flow.enrichment
    def after(paid: int | None) -> int:
        called["after"] += 1
        return 1

    @flow.enrichment
    class model:
        def __init__(self) -> None:
            called["class"] += 1

        def __call__(self, x: int) -> int:
            return x

    pipeline = flow.Pipeline("p", [slow, paid, waits, after, model])
    explained = pipeline.explain(numbers(tmp_path, 200), catalog=str(tmp_path / "c"))
    assert any(note.startswith("cut into") for note in explained.notes)
    assert called == {"api": 0, "async": 0, "after": 0, "class": 0}


def test_what_is_explained_is_tried_once(tmp_path: Path) -> None:
    called: list[int] = []

    @flow.transformation
    def counted(x: int, context: flow.Context) -> int:
        called.append(x)
        time.sleep(0.03)
        return x * int(context.parameters["factor"])

    job = flow.Job(flow.Pipeline("p", [counted]), source=numbers(tmp_path, 200), output="out")
    told = explain(job.pipeline, job.source, parameters={"factor": 2}, catalog=str(tmp_path / "c"))
    assert any(note.startswith("cut into") for note in told.notes)
    assert not any("would be rejected" in note for note in told.notes)
    # One record, and then the first ten.
    assert called == [0, *range(10)]


def test_a_service_that_fails_or_never_returns_is_met_when_it_is_run(tmp_path: Path) -> None:
    gate = threading.Event()

    @flow.enrichment(timeout=0.2)
    def stuck(x: int) -> int:
        if x == 1:
            gate.wait(30)
        raise ValueError(x)

    explained = flow.Pipeline("p", [stuck]).explain(numbers(tmp_path, 200), catalog=str(tmp_path / "c"))
    gate.set()
    assert explained.lines[0].name == "stuck"


def test_commands_take_the_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = numbers(tmp_path, 100)
    job = tmp_path / "job.py"
    job.write_text(
        "import dataflow as flow\n\n@flow.transformation\ndef double(x: int) -> int:\n    return 2 * x\n\n"
        f"job = flow.Job(flow.Pipeline('p', [double]), source={path!r}, output='out', partition_size=30)\n"
    )
    for given, told in (([], "4 partitions, since"), (["--partition-size", "50"], "2 partitions, since")):
        assert run_command(["explain", str(job), "--json", *given]) == 0
        assert any(told in note for note in json.loads(capsys.readouterr().out)["notes"])
    assert run_command(["run", str(job), "--partition-size", "many", "--catalog", str(tmp_path / "c")]) == 2
    assert "takes a number of records" in capsys.readouterr().err


@pytest.mark.slow
def test_every_worker_process_gets_its_share_of_a_small_slow_source(tmp_path: Path) -> None:
    @flow.transformation
    def process(x: int) -> int:
        time.sleep(0.05)
        return os.getpid()

    pipeline = flow.Pipeline("p", [process])
    run = pipeline.run(numbers(tmp_path, 400), "out", catalog=tmp_path / "c", workers=4)
    assert run.partitions >= 12
    assert len(set(run.to_arrow()["process"].to_pylist())) == 4
