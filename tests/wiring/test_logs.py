"""What a service logs with a logger of its own says where it was, on every way that a record can take."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.errors import GuardrailReached
from dataflow.testing import memory_catalog, offline

logger = logging.getLogger("leads")

API = flow.API("acme", "https://acme.invalid", retry=1)


@flow.transformation
def plain(domain: str) -> str:
    logger.info("here")
    return domain


@flow.enrichment(threads=4)
def threaded(domain: str) -> str:
    logger.info("here")
    return domain


@flow.enrichment
async def awaited(domain: str) -> str:
    await asyncio.sleep(0)
    logger.info("here")
    return domain


@flow.enrichment(api=API)
async def called(domain: str, http: httpx.AsyncClient) -> str:
    logger.info("here")
    return str((await http.get("/")).json())


@flow.enrichment(api=API, threads=2)
def blocking(domain: str) -> str:
    logger.info("here")
    return domain


@flow.enrichment
class Held:
    """A class, whose calls wait for each other."""

    async def __call__(self, domain: str) -> str:
        logger.info("here")
        return domain


SERVICES = [plain, threaded, awaited, called, blocking, Held]
NAMES = ["plain", "threaded", "awaited", "called", "blocking", "Held"]
PIPELINE = flow.Pipeline("leads", SERVICES)


@pytest.fixture
def lines() -> Iterator[Any]:
    """The lines so far, read."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    handler.setFormatter(flow.JsonFormatter())
    root.addHandler(handler)
    root.setLevel(logging.INFO)

    def read(name: str) -> list[dict[str, Any]]:
        written = [json.loads(line) for line in stream.getvalue().splitlines()]
        return [line for line in written if line["logger"] == name]

    yield read
    root.removeHandler(handler)
    root.setLevel(level)


def make_source(folder: Path) -> str:
    for part in range(2):
        pq.write_table(pa.table({"domain": [f"private-{part}.example"]}), folder / f"{part}.parquet")
    return str(folder)


def answer(request: Any) -> Any:
    return "fine"


def test_a_service_in_a_run(lines: Any, tmp_path: Path) -> None:
    job = flow.Job(PIPELINE, source=make_source(tmp_path), output="leads")
    with offline(acme=answer):
        run = job.run(catalog=memory_catalog(), threads=2)
    said = lines("leads")
    assert {(line["run"], line["dataset"]) for line in said} == {(run.id, "leads")}
    assert {(line["service"], line["partition"]) for line in said} == {(name, at) for name in NAMES for at in (0, 1)}


def test_a_service_in_an_execution(lines: Any) -> None:
    with offline(acme=answer):
        result = PIPELINE.call({"domain": "a.example"}, catalog=memory_catalog())
    said = lines("leads")
    assert [line["service"] for line in sorted(said, key=lambda line: NAMES.index(line["service"]))] == NAMES
    assert {line["execution"] for line in said} == {result.metadata.execution_id}
    assert {line["execution"] for line in lines("dataflow.execution")} == {result.metadata.execution_id}
    assert not [line for line in said if "run" in line]


def test_services_of_executions_that_are_awaited_side_by_side(lines: Any) -> None:
    async def several() -> list[Any]:
        catalog = memory_catalog()
        return await asyncio.gather(*(PIPELINE.acall({"domain": f"{at}.example"}, catalog=catalog) for at in range(3)))

    with offline(acme=answer):
        results = asyncio.run(several())
    executions = {result.metadata.execution_id for result in results}
    said = {(line["service"], line["execution"]) for line in lines("leads")}
    assert said == {(name, execution) for name in NAMES for execution in executions}


def test_a_service_that_is_called_for_items_of_a_record(lines: Any) -> None:
    each = flow.for_each("domains", [awaited, plain], item="domain", into="results")
    pipeline = flow.Pipeline("several", [each])
    result = asyncio.run(pipeline.acall({"domains": ["a.example"]}, catalog=memory_catalog()))
    said = {(line["service"], line["execution"]) for line in lines("leads")}
    assert said == {(name, result.metadata.execution_id) for name in ("results.awaited", "results.plain")}


def test_the_events_of_a_run_are_logged_with_counts(lines: Any, tmp_path: Path) -> None:
    job = flow.Job(PIPELINE, source=make_source(tmp_path), output="leads")
    with offline(acme=answer):
        run = job.run(catalog=memory_catalog(), threads=1)
    said = lines("dataflow.run")
    assert [line["run_event"] for line in said if line["run_event"] != "noted"] == [
        "planned",
        "committed",
        "committed",
        "published",
    ]
    assert {(line["run"], line["dataset"], line["level"]) for line in said} == {(run.id, "leads", "INFO")}
    assert said[0]["message"] == f"leads: run {run.id} planned: partitions 2, records 2"
    assert said[0]["run_records"] == 2


def test_what_ends_a_run_is_logged_without_a_value(lines: Any, tmp_path: Path) -> None:
    job = flow.Job(PIPELINE, source=make_source(tmp_path), output="leads", max_failures=0)

    def fails(event: Any) -> None:
        raise ValueError("private")

    with offline(acme=lambda request: 400), pytest.raises(GuardrailReached):
        job.run(catalog=memory_catalog(), threads=1)
    with offline(acme=answer), pytest.raises(ValueError, match="private"):
        job.run(catalog=memory_catalog(), threads=1, on_event=fails)
    said = [line for line in lines("dataflow.run") if line["run_event"] == "stopped"]
    assert [line["level"] for line in said] == ["WARNING", "WARNING"]
    assert "`called`" in said[0]["message"]
    assert said[1]["message"].endswith("stopped: ValueError")
    assert "private" not in json.dumps(lines("dataflow.run"))


def test_a_run_that_nobody_listens_to_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = flow.Job(PIPELINE, source=make_source(tmp_path), output="leads", max_failures=0)
    with offline(acme=lambda request: 400), pytest.raises(GuardrailReached):
        job.run(catalog=memory_catalog(), threads=1)
    assert capsys.readouterr().err == ""
