"""Workers with an environment of their own: another job there is refused by name, and named variables travel."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

import dataflow as flow
from dataflow.engine.program import load, pack_object
from dataflow.engine.variables import in_place, read
from dataflow.errors import DeclarationError
from dataflow.plan.binding import bind
from dataflow.plan.code import Looks
from dataflow.plan.pipeline import Job
from dataflow.store.catalog import Catalog
from dataflow.wiring.agreeing import agreed, expected_of, require_agreed
from dataflow.wiring.binding import bind_pipeline
from dataflow.wiring.looking import look_at
from dataflow.wiring.planning import plan_job
from dataflow.wiring.variables import read_variables

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "jobs"))

from provider.serve import serve  # noqa: E402 - a script and no package

JOB = """
import os
import dataflow as flow

acme = flow.API("acme", os.environ.get("ACME_URL", "http://127.0.0.1:9/v2"), rate="1000/s")
technologies = acme.get("technologies", "/tech/{domain}", returns=list[str], select="technologies")
FACTOR = int(os.environ.get("FACTOR", "2"))

@flow.transformation
def double(number: int) -> int:
    return FACTOR * number

job = flow.Job(flow.Pipeline("asked", [double, SERVICES]), source="source.csv", output="asked", ENVIRON)
"""


def write(folder: Path, *, services: str = "technologies", environ: str = "") -> None:
    (folder / "job.py").write_text(JOB.replace("SERVICES", services).replace("ENVIRON", environ))
    (folder / "source.csv").write_text("number,domain\n" + "".join(f"{n},a{n % 7}.example\n" for n in range(40)))


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dataflow", *arguments, "--catalog", "catalog", "--json"]
    given = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=120, check=False)


def plugins(address: str) -> list[str]:
    """What the scheduler holds of our jobs for workers that join."""
    with Client(address, set_as_default=False) as client:
        held = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.worker_plugins))
    return [name for name in held if name.startswith("dataflow-job")]


@pytest.mark.slow
def test_a_worker_of_our_own_that_refuses_a_job_says_so_in_one_sentence(tmp_path: Path) -> None:
    write(tmp_path, services="double")
    elsewhere = 'import multiprocessing\nassert multiprocessing.current_process().name == "MainProcess"\n'
    (tmp_path / "job.py").write_text(
        elsewhere + (tmp_path / "job.py").read_text().replace("[double, double]", "[double]")
    )
    refused = command(tmp_path, "run", "job.py", "--workers", "2")
    assert refused.returncode == 2, refused.stderr
    assert "job.py, line 2: AssertionError" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "distributed" not in refused.stderr


@pytest.mark.slow
def test_a_worker_with_another_url_is_refused_by_name_and_hears_of_it_where_it_is_named(
    tmp_path: Path, cluster: Any
) -> None:
    address, _ = cluster()
    write(tmp_path)
    with serve(latency=0) as provider:
        url = f"{provider.url}/v2"
        there = {"ACME_URL": url}
        refused = command(tmp_path, "run", "job.py", "--scheduler", address, "--output", "refused", **there)
        assert refused.returncode == 2, refused.stderr
        assert f"API `acme` is {url} here and http://127.0.0.1:9/v2 on worker tcp://127.0.0.1" in refused.stderr
        assert "--environ NAME" in refused.stderr
        assert plugins(address) == []
        assert provider.counts()["calls"] == 0
        done = command(tmp_path, "run", "job.py", "--scheduler", address, "--environ", "ACME_URL", **there)
        assert done.returncode == 0, done.stderr
        assert provider.counts()["services"]["/v2/tech"]["calls"] == 7
        submitted = command(
            tmp_path, "submit", "job.py", "--scheduler", address, "--environ", "ACME_URL", "--output", "two", **there
        )
        assert submitted.returncode == 0, submitted.stderr
        deadline = time.monotonic() + 60
        while not (tmp_path / "catalog" / "two" / "latest").exists():
            assert time.monotonic() < deadline, "the submitted run was not published"
            time.sleep(0.1)
    written = [path for name in ("asked", "two") for path in (tmp_path / "catalog" / name).rglob("*") if path.is_file()]
    assert any(path.name == "plan.json" for path in written)
    assert [path for path in written if url.encode() in path.read_bytes()] == []


@pytest.mark.slow
def test_a_constant_of_the_environment_is_refused_too_and_two_values_live_side_by_side(
    tmp_path: Path, cluster: Any
) -> None:
    address, _ = cluster()
    write(tmp_path, services="double")
    (tmp_path / "job.py").write_text((tmp_path / "job.py").read_text().replace("[double, double]", "[double]"))
    refused = command(tmp_path, "run", "job.py", "--scheduler", address, FACTOR="3")
    assert refused.returncode == 2, refused.stderr
    assert "service `double`: its code is not the same here and on worker" in refused.stderr
    for factor in ("3", "5"):
        done = command(tmp_path, "run", "job.py", "--scheduler", address, "--environ", "FACTOR", FACTOR=factor)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["sample_records"][1]["double"] == int(factor)


@pytest.mark.slow
def test_a_shipped_job_makes_the_same_calls_on_two_foreign_workers_as_on_threads(tmp_path: Path, cluster: Any) -> None:
    address, _ = cluster()
    calls = []
    for options in (("--threads", "2"), ("--scheduler", address)):
        job = [sys.executable, "-c", COUNTED, str(ROOT), str(tmp_path / str(len(calls))), *options]
        environment = {name: value for name, value in os.environ.items() if name != "PROVIDER_URL"}
        environment |= {"DATAFLOW_JOURNAL": str(tmp_path / f"journal-{len(calls)}")}
        done = subprocess.run(job, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        calls.append(json.loads(done.stdout.splitlines()[-1]))
    # A busy machine makes some calls late, and these are tried again; a provider for each worker would double many.
    assert calls[1] == {path: pytest.approx(count, rel=0.05, abs=3) for path, count in calls[0].items()}
    assert calls[0]["/v2/companies"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["content_marketing", "lead_intelligence"])
def test_the_other_shipped_jobs_are_the_same_on_workers_too(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "dataflow", "run", f"jobs/{name}.py", "--limit", "4", "--workers", "2"]
    done = subprocess.run(
        [*command, "--catalog", str(tmp_path / "catalog")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


VOLATILE = """
import os, random, time, uuid
from concurrent.futures import ThreadPoolExecutor
import dataflow as flow

HELD = {"clock": time.time(), "chance": random.Random(), "id": uuid.uuid4().hex, "process": os.getpid()}
ORDER = list({"a", "b", "c", "d", "e", "f"})
POOL = ThreadPoolExecutor(1)

@flow.transformation
def told(number: int) -> bool:
    return POOL.submit(len, ORDER).result() == 6 and HELD["process"] > 0 and 0 <= HELD["chance"].random() < 1

FACTOR = int(os.environ.get("FACTOR", "2"))

@flow.transformation
def double(number: int) -> int:
    return FACTOR * number

job = flow.Job(flow.Pipeline("held", [told, double]), source="source.csv", output="held")
"""


@pytest.mark.slow
def test_what_is_another_at_each_loading_is_no_other_job(tmp_path: Path, cluster: Any) -> None:
    address, _ = cluster()
    write(tmp_path)
    (tmp_path / "job.py").write_text(VOLATILE)
    for place in (("--workers", "2"), ("--scheduler", address)):
        done = command(tmp_path, "run", "job.py", *place)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["sample_records"][1]["told"] is True
    refused = command(tmp_path, "run", "job.py", "--scheduler", address, FACTOR="3")
    assert refused.returncode == 2, refused.stderr
    assert "service `double`: its code is not the same here and on worker" in refused.stderr
    assert "service `told`" not in refused.stderr


COUNTED = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from dataflow.wiring.jobs import find_job
from dataflow.wiring.running import run
found = find_job(sys.argv[1] + "/jobs/enrich_leads.py")
place = {"threads": 2} if sys.argv[3] == "--threads" else {"scheduler": sys.argv[4]}
run(found.job, program=found.program, catalog=sys.argv[2], limit=300, **place)
from jobs.provider.serve import Running
counted = Running(os.environ["PROVIDER_URL"]).counts()["services"]
print(json.dumps({name: one["calls"] for name, one in counted.items()}))
"""


def graph(factor: int, url: str = "https://acme.example") -> Any:
    acme = flow.API("acme", url)

    @flow.transformation
    def size(number: int) -> int:
        return factor * number

    @flow.enrichment(api=acme)
    def news(number: int) -> int:
        return number

    import pyarrow as pa

    return bind([size, news], pa.schema({"number": pa.int64()}), name="p", invalid="keep", tables={})


def test_what_differs_is_named_and_an_url_goes_before_what_calls_it() -> None:
    expected = agreed(graph(1), looks=Looks())
    require_agreed(json.loads(json.dumps(expected)), graph(1), looks=Looks(), where="tcp://w")
    with pytest.raises(
        DeclarationError, match=r"^service `size`: its code is not the same here and on worker tcp://w; "
    ):
        require_agreed(expected, graph(2), looks=Looks(), where="tcp://w")
    with pytest.raises(
        DeclarationError, match=r"^API `acme` is https://acme.example here and https://b.example on worker"
    ):
        require_agreed(expected, graph(2, "https://b.example"), looks=Looks(), where="tcp://w")


def test_what_differs_at_each_loading_is_no_difference() -> None:
    expected = agreed(graph(1), looks=Looks())
    require_agreed(expected, graph(2), looks=Looks(), where="w", again=lambda: agreed(graph(3), looks=Looks()))
    for again in (agreed(graph(2), looks=Looks()), None):
        with pytest.raises(DeclarationError, match="service `size`: its code is not the same"):
            require_agreed(expected, graph(2), looks=Looks(), where="w", again=lambda again=again: again)
    with pytest.raises(DeclarationError, match="API `acme` is"):
        require_agreed(
            expected,
            graph(1, "https://b.example"),
            looks=Looks(),
            where="w",
            again=lambda: agreed(graph(1), looks=Looks()),
        )


def test_what_services_have_changed_since_a_job_was_loaded_is_no_difference() -> None:
    seen: dict[int, int] = {}

    def of() -> Any:
        import pyarrow as pa

        return bind([memo], pa.schema({"number": pa.int64()}), name="p", invalid="keep", tables={})

    @flow.transformation
    def memo(number: int) -> int:
        return seen.setdefault(number, number)

    looks = Looks()
    before = agreed(of(), looks=looks)
    seen[1] = 1
    assert agreed(of(), looks=looks) == before
    assert agreed(of(), looks=Looks()) != before


def test_variables_stand_in_the_environment_only_while_a_job_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE", "here")
    monkeypatch.delenv("TWO", raising=False)
    with in_place({"ONE": None, "TWO": "there"}):
        assert (os.environ.get("ONE"), os.environ["TWO"]) == (None, "there")
    assert read(["ONE", "TWO"]) == {"ONE": "here", "TWO": None}


def test_a_secret_is_no_variable_and_neither_is_what_has_no_name() -> None:
    acme = flow.API("acme", "https://acme.example", auth=flow.bearer("ACME_KEY"))
    with pytest.raises(DeclarationError, match="environ names ACME_KEY, a secret of an API"):
        read_variables(["ACME_KEY"], services=[acme.get("size", "/s/{number}", returns=int)])
    pipeline = flow.Pipeline("p", [acme.get("size", "/s/{number}", returns=int)])
    for wrong in ("ACME_URL", ["A=1"], [1], 3):
        with pytest.raises(DeclarationError, match="environ takes a list of names"):
            Job(pipeline, source="s.csv", output="o", environ=wrong)  # type: ignore[arg-type]


def test_a_module_that_somebody_has_worked_with_is_compared_as_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "worked_with.py").write_text(
        "import dataflow as flow\nSEEN = {}\n@flow.transformation\ndef memo(number: int) -> int:\n"
        "    return SEEN.setdefault(number, number)\npipeline = flow.Pipeline('p', [memo])\n"
    )
    (tmp_path / "s.csv").write_text("number\n1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    pipeline = importlib.import_module("worked_with").pipeline
    job = Job(pipeline, source=str(tmp_path / "s.csv"), output="o")
    pipeline.services[0](7)
    planned = plan_job(job, Catalog(tmp_path / "catalog"))
    program = pack_object(pipeline)
    expected = expected_of(program, planned, foreign=True)
    there = load(program)
    looks, _ = look_at(there)
    assert expected is not None
    require_agreed(expected, bind_pipeline(there, planned.source.schema, {}), looks=looks, where="tcp://w")
    assert expected != agreed(planned.graph, looks=planned.looks)
    assert expected_of(program, planned, foreign=False) is None
