"""What providers and an author's exceptions say: told to the owner of a run, and kept from everybody else."""

from __future__ import annotations

import base64
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataflow as flow

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import Running, serve

MESSAGE = "Unsupported parameter: use max_completion_tokens"
CANARY = "jane.doe@canary.example"
ONCE = flow.Retry(attempts=1)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serve(unknown=0) as running:
        yield running


@pytest.fixture(autouse=True)
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))


def asking(server: Running, **options: Any) -> flow.Service:
    """A service whose answer is the fault that a column names."""
    api = flow.API(f"says{server.url.rpartition(':')[2]}", server.url, retry=ONCE, breaker=False)
    given = {"returns": {"title": str}, "select": {"title": "name"}, "priority": "optional", **options}
    return api.get("company", "/v2/companies/{key}?fault={fault}", **given)


def job_of(services: list[Any], columns: dict[str, list[Any]], **options: Any) -> flow.Job:
    table = pa.table({"key": [f"d{at}.example" for at in range(len(next(iter(columns.values()))))], **columns})
    given = {"max_failures": "100%", **options}
    return flow.Job(flow.Pipeline("told", services), source=table, output="out", key="key", **given)


def errors(run: Any) -> list[str]:
    found: list[str] = run.failures()["error"].to_pylist()
    return found


@pytest.mark.parametrize("form", ["error", "message", "detail", "errors", "problem", "oauth", "fault", "html", "text"])
@pytest.mark.parametrize("status", [400, 502])
def test_what_the_provider_said_stands_in_the_failures(server: Running, tmp_path: Path, form: str, status: int) -> None:
    job = job_of([asking(server)], {"fault": [f"says:{status}:{form}:{MESSAGE}"]})
    (row,) = job.run(catalog=tmp_path).failures().to_pylist()
    assert row["reason"] == f"HTTP {status}"
    assert row["http_status"] == status
    assert row["error"].startswith(f"answered {status}: ")
    assert MESSAGE in row["error"]


def test_a_list_of_details_says_which_field_is_meant(server: Running, tmp_path: Path) -> None:
    run = job_of([asking(server)], {"fault": ["says:422:details:field required"]}).run(catalog=tmp_path)
    assert errors(run) == ["answered 422: body.email: field required"]


def test_an_unexpected_answer_names_its_path_in_the_failures(server: Running, tmp_path: Path) -> None:
    odd = asking(server, returns={"title": int}, select={"title": "name"})
    run = job_of([odd], {"fault": [""]}).run(catalog=tmp_path)
    (row,) = run.failures().to_pylist()
    assert row["reason"] == "unexpected answer"
    assert row["error"] == "the answer is not what returns= says: field `title` (`name`): expected int, got str"
    assert "(`name`): expected int, got str" in str(flow.why(run.dataset, "d0.example"))


def test_what_a_good_status_says_is_wrong_stands_in_the_failures(server: Running, tmp_path: Path) -> None:
    run = job_of([asking(server)], {"fault": ["error_200", "html_200"]}).run(catalog=tmp_path)
    inside, page = errors(run)
    assert inside.endswith("missing: something went wrong")
    assert page == "the answer cannot be read: no JSON: it looks like HTML: We will be back soon"


def test_the_owner_is_told_everywhere(
    server: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataflow.faces.commands.running import print_run

    job = job_of([asking(server, priority="important")], {"fault": ["", f"says:400:error:{MESSAGE}"]})
    with caplog.at_level(logging.DEBUG, logger="dataflow.errors"):
        run = job.run(catalog=tmp_path)
    assert MESSAGE in caplog.text
    assert MESSAGE in str(flow.why(run.dataset, "d1.example"))
    assert MESSAGE in flow.why(run.dataset, "d1.example")._repr_html_()
    assert [(one.service, one.reason, one.records, one.error) for one in run.errors] == [
        ("company", "HTTP 400", 1, f"answered 400: {MESSAGE}")
    ]
    assert MESSAGE in run._repr_html_()
    print_run(run, as_json=False)
    assert f"error: `company` failed for 1 record: answered 400: {MESSAGE}" in capsys.readouterr().out
    print_run(run, as_json=True)
    assert json.loads(capsys.readouterr().out)["errors"][0]["error"] == f"answered 400: {MESSAGE}"


def test_a_sample_shows_what_was_said(server: Running, tmp_path: Path) -> None:
    job = job_of([asking(server)], {"fault": ["", f"says:400:error:{MESSAGE}"]})
    sample = job.pipeline.sample(job.source, catalog=str(tmp_path))
    assert f"error: `company` for record 2: answered 400: {MESSAGE}" in str(sample)
    assert MESSAGE in sample._repr_html_()
    assert MESSAGE in json.dumps(sample.to_dict())


def test_a_call_tells_what_was_said(server: Running, tmp_path: Path) -> None:
    record = {"key": "d.example", "fault": f"says:400:error:{MESSAGE}"}
    found = flow.Pipeline("told", [asking(server)]).call(record, catalog=str(tmp_path))
    assert found.metadata.failures[0].error == f"answered 400: {MESSAGE}"
    critical = flow.Pipeline("told", [asking(server, priority="critical")])
    with pytest.raises(flow.errors.CriticalServiceFailed, match=MESSAGE) as raised:
        critical.call(record, catalog=str(tmp_path))
    assert MESSAGE not in raised.value.plain


def test_a_guardrail_tells_its_owner_what_was_said(server: Running, tmp_path: Path) -> None:
    events: list[Any] = []
    columns = {"fault": [f"says:400:error:{MESSAGE}"] * 200}
    job = job_of([asking(server, priority="important")], columns, max_failures=5)
    with pytest.raises(flow.errors.GuardrailReached, match=MESSAGE) as raised:
        job.run(catalog=tmp_path, on_event=events.append)
    assert MESSAGE not in raised.value.plain
    stopped = next(one for one in events if one.kind == "stopped")
    assert MESSAGE in stopped.said
    assert MESSAGE not in stopped.message


def test_a_refused_access_tells_what_was_said(server: Running, tmp_path: Path) -> None:
    job = job_of([asking(server)], {"fault": ["says:403:error:your plan has no companies"] * 2})
    with pytest.raises(flow.errors.GuardrailReached, match=r"refuses access.*your plan has no companies"):
        job.run(catalog=tmp_path)


@flow.transformation(priority="optional")
def record_form(key: str) -> str:
    raise ValueError(f"bad {CANARY}")


@flow.transformation(priority="optional", returns=str)
def column_form(key: pa.Array) -> pa.Array:
    raise KeyError(CANARY)


@flow.enrichment(priority="optional")
async def async_form(key: str) -> str:
    raise LookupError(CANARY)


@flow.validation(priority="optional")
def validation(key: str) -> bool:
    raise ArithmeticError(CANARY)


@flow.enrichment(priority="optional", threads=2)
def threaded(key: str) -> str:
    raise RuntimeError(CANARY)


FORMS = [record_form, column_form, async_form, validation, threaded]


def of_api(server: Running) -> list[Any]:
    api = flow.API("own", server.url, retry=ONCE, breaker=False)

    @flow.enrichment(api=api, priority="optional")
    def plain_call(key: str) -> str:
        raise IndexError(CANARY)

    @flow.enrichment(api=api, priority="optional")
    async def awaited_call(key: str) -> str:
        raise NameError(CANARY)

    return [plain_call, awaited_call]


def test_an_authors_exception_tells_class_text_file_and_line_in_every_form(server: Running, tmp_path: Path) -> None:
    run = job_of([*FORMS, *of_api(server)], {"x": [1]}).run(catalog=tmp_path)
    found = {row["service"]: row["error"] for row in run.failures().to_pylist()}
    names = {"record_form": "ValueError", "column_form": "KeyError", "async_form": "LookupError"}
    names |= {"validation": "ArithmeticError", "threaded": "RuntimeError"}
    names |= {"plain_call": "IndexError", "awaited_call": "NameError"}
    assert found.keys() == names.keys()
    source = Path(__file__).read_text().splitlines()
    for service, name in names.items():
        assert found[service].startswith(f"{name}: ")
        assert CANARY in found[service]
        line = int(found[service].rpartition("(test_error_texts.py, line ")[2].removesuffix(")"))
        assert f"raise {name}(" in source[line - 1]


def test_a_function_that_raises_for_a_status_tells_what_the_provider_said(server: Running, tmp_path: Path) -> None:
    api = flow.API("own", server.url, retry=ONCE, breaker=False)

    @flow.enrichment(api=api, priority="optional")
    async def fetched(fault: str, http: httpx.AsyncClient) -> str:
        answer = await http.get(f"/v2/companies/a.example?fault={fault}")
        answer.raise_for_status()
        return answer.text

    run = job_of([fetched], {"fault": [f"says:400:error:{MESSAGE}"]}).run(catalog=tmp_path)
    (row,) = run.failures().to_pylist()
    assert row["reason"] == "HTTP 400"
    assert re.fullmatch(rf"answered 400 \(test_error_texts.py, line \d+\): {re.escape(MESSAGE)}", row["error"])


def test_what_is_called_once_for_equal_inputs_tells_it_for_every_record(server: Running, tmp_path: Path) -> None:
    table = pa.table({"key": ["a.example"] * 40, "at": range(40)})
    api = flow.API("own", server.url, retry=ONCE, breaker=False)
    path = f"/v2/companies/{{key}}?fault=says:400:error:{CANARY}"
    service = api.get("company", path, returns=str, select="name", priority="optional")
    job = flow.Job(flow.Pipeline("told", [service]), source=table, output="out", key="at", max_failures="100%")
    run = job.run(catalog=tmp_path, partition_size=10)
    assert run.statistics["services"]["company"]["calls"] == 1
    assert errors(run) == [f"answered 400: {CANARY}"] * 40


@flow.enrichment
def first(item: str) -> str:
    raise ValueError(f"bad {CANARY}")


def composites(server: Running) -> list[Any]:
    api = flow.API("own", server.url, retry=ONCE, breaker=False)

    def members(name: str, *services: str) -> list[flow.Service]:
        options: dict[str, Any] = {"returns": {name: str}, "select": {name: "name"}}
        faults = (f"says:400:error:{CANARY}", f"says:402:detail:{CANARY}")
        return [
            api.get(service, f"/v2/companies/{{key}}?fault={fault}", **options)
            for service, fault in zip(services, faults, strict=True)
        ]

    return [
        flow.waterfall("fall", members("a", "one", "two"), priority="optional"),
        flow.best_of("best", members("b", "three", "four"), priority="optional"),
        flow.for_each("items", [first.with_(priority="critical")], into="each", priority="optional"),
    ]


def test_members_of_composite_services_tell_what_each_was_told(server: Running, tmp_path: Path) -> None:
    run = job_of(composites(server), {"items": [["a", "b"]]}).run(catalog=tmp_path)
    found = {row["service"]: row["error"] for row in run.failures().to_pylist()}
    assert f"`one`: answered 400: {CANARY}; `two`: answered 402: {CANARY}" in found["fall"]
    assert f"answered 400: {CANARY}" in found["best"]
    assert found["each"].startswith(f"item 1: `each.first`: ValueError: bad {CANARY} (test_error_texts.py, line ")


def everything(server: Running) -> list[Any]:
    rejecting = flow.transformation(name="rejecting", priority="optional")(_reject)
    api = flow.API("all", server.url, retry=ONCE, breaker=False)
    faults = {"said": f"says:400:error:{CANARY}", "text": f"says:500:text:{CANARY}", "page": "html_200"}
    asked = [
        api.get(name, f"/v2/companies/{{key}}?fault={fault}", returns=str, select="name", priority="optional")
        for name, fault in faults.items()
    ]
    return [*asked, *FORMS, *of_api(server), *composites(server), rejecting]


def _reject(key: str) -> str:
    if key == "d1.example":
        raise flow.Reject(f"no {CANARY}")
    return key


COLUMNS: dict[str, list[Any]] = {"items": [["a"]] * 3}


def kept_files(folder: Path) -> list[Path]:
    """The files in which the canary is found."""
    found = []
    for file in [one for one in folder.rglob("*") if one.is_file()]:
        data = repr(pq.read_table(file).to_pylist()).encode() if file.suffix == ".parquet" else file.read_bytes()
        if CANARY.encode() in data:
            found.append(file)
    return found


def test_without_texts_no_file_event_page_or_error_holds_one(
    server: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    events: list[Any] = []
    job = job_of(everything(server), COLUMNS, error_texts=False)
    with caplog.at_level(logging.DEBUG):
        run = job.run(catalog=tmp_path / "catalog", on_event=events.append)
    found = errors(run)
    assert "answered 400" in found
    assert any(one.startswith("ValueError (test_error_texts.py, line ") for one in found)
    shown = [repr(run), run._repr_html_(), repr(run.errors), repr(events), repr(run.rejects().to_pylist()), *found]
    shown += [str(flow.why(run.dataset, "d0.example").chapters), caplog.text, *capfd.readouterr()]
    assert not [text for text in shown if CANARY in text]
    assert kept_files(tmp_path / "catalog") == []


def test_with_texts_they_are_in_rejects_and_failures_and_nothing_else_that_is_kept(
    server: Running, tmp_path: Path
) -> None:
    job_of(everything(server), COLUMNS).run(catalog=tmp_path / "catalog")
    folders = {file.parent.name for file in kept_files(tmp_path / "catalog")}
    assert folders == {"failures", "rejects"}


def test_error_texts_is_true_or_false() -> None:
    with pytest.raises(flow.errors.DeclarationError, match="error_texts takes True or False"):
        job_of([record_form], {"x": [1]}, error_texts="no")


class Loud(Exception):
    """An exception of an author whose reason is what somebody has said."""

    reason = CANARY
    status = CANARY
    timed_out = False


@flow.transformation(priority="optional")
def loud(key: str) -> str:
    raise Loud


def test_counts_are_by_class_whatever_an_exception_calls_its_reason(tmp_path: Path) -> None:
    run = job_of([loud], {"x": [1, 2]}).run(catalog=tmp_path)
    assert run.statistics["services"]["loud"]["errors"] == {"Loud": 2}
    assert set(run.failures()["reason"].to_pylist()) == {"Loud"}


def as_of_old(dataset: Any) -> None:
    """Let a version be as an older dataflow has written it: its failures without what was said."""
    from dataflow.store.parts import checksum

    path = Path(dataset.meta) / "dataset.json"
    manifest = json.loads(path.read_text())
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(manifest["schemas"]["failures"])))
    older = schema.remove(schema.get_field_index("error"))
    manifest["schemas"]["failures"] = base64.b64encode(older.serialize()).decode()
    for part in manifest["parts"]:
        if part["failures"]:
            file = Path(dataset.meta) / "failures" / part["failures"]["name"]
            pq.write_table(pq.read_table(file).drop_columns(["error"]), file)
            part["failures"] |= {"bytes": file.stat().st_size, "checksum": checksum(file.read_bytes())}
    path.write_text(json.dumps(manifest))


def test_a_version_of_an_older_dataflow_is_read_told_and_repaired(server: Running, tmp_path: Path) -> None:
    service = asking(server, priority="important")
    columns = {"fault": ["", f"says:400:error:{MESSAGE}"], "items": [["a"]] * 2}
    job = job_of([service, *composites(server)[2:]], columns)
    run = job.run(catalog=tmp_path)
    as_of_old(run.dataset)
    old = flow.open("out@v1", catalog=tmp_path)
    assert "error" not in old.failures().column_names
    old.verify()
    told = next(one for one in flow.why(old, "d1.example").chapters if one.service == "company")
    assert (told.reason, told.error) == ("HTTP 400", None)
    repaired = run.repair(service="each")
    texts = {row["service"]: row["error"] for row in repaired.failures().to_pylist()}
    assert "was not tried again" in texts["company"]
    assert texts["each"].startswith("item 1: ")


def test_a_repair_of_one_service_keeps_what_the_others_have_said(server: Running, tmp_path: Path) -> None:
    columns = {"fault": [f"says:400:error:{MESSAGE}"], "items": [["a"]]}
    run = job_of([asking(server), *composites(server)[2:]], columns).run(catalog=tmp_path)
    repaired = run.repair(service="each")
    assert f"answered 400: {MESSAGE}" in errors(repaired)


def test_what_is_carried_over_from_an_older_dataflow_is_read_beside_what_is_new(
    server: Running, tmp_path: Path
) -> None:
    from dataflow.store.parts import decode, encode

    schema = pa.schema([("service", pa.string()), ("error", pa.string())])
    old = encode(pa.table({"service": ["a"]}))
    assert decode(pa.BufferReader(old), schema, older={"error"}).to_pylist() == [{"service": "a", "error": None}]
    with pytest.raises(KeyError):
        decode(pa.BufferReader(old), schema)


JOB = """
import dataflow as flow

once = flow.Retry(attempts=1)
api = flow.API("said", "URL", retry=once)
company = api.get("company", "/v2/companies/{key}?fault={fault}", returns=str, select="name", priority="PRIORITY")

@flow.enrichment(api=api, priority="optional")
async def own(key: str) -> str:
    raise ValueError("no luck with CANARY")

@flow.validation(priority="optional")
def judged(key: str) -> str | None:
    return "not CANARY"

pipeline = flow.Pipeline("said", [company, own, judged], invalid="reject")
job = flow.Job(pipeline, source="SOURCE", output="out", key="key", max_failures=MOST)
"""


def job_file(folder: Path, server: Running, *, most: str, priority: str, records: int) -> Path:
    faults = [f"says:400:error:{CANARY}"] * records
    source = folder / "keys.parquet"
    pq.write_table(pa.table({"key": [f"d{at}.example" for at in range(records)], "fault": faults}), source)
    text = JOB.replace("URL", server.url).replace("SOURCE", str(source)).replace("MOST", most)
    path = folder / "said_job.py"
    path.write_text(text.replace("PRIORITY", priority).replace("CANARY", CANARY))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("most", "priority"), [("'100%'", "optional"), ("3", "important")])
def test_what_was_said_is_on_no_page_metric_board_or_log_of_a_scheduler(
    server: Running, tmp_path: Path, cluster: Any, most: str, priority: str
) -> None:
    import urllib.request

    from distributed import Client

    from dataflow.wiring.jobs import find_job

    def known(dask_scheduler: Any) -> str:
        """All that a scheduler knows of its tasks and plugins; defined here, so that it travels as code."""
        tasks = [
            (one.key, one.annotations, one.exception_text, one.traceback_text, repr(one.exception))
            for one in dask_scheduler.tasks.values()
        ]
        plugins = {name: vars(plugin) for name, plugin in dask_scheduler.plugins.items() if "dataflow" in name}
        return repr(tasks) + repr(plugins)

    found = find_job(str(job_file(tmp_path, server, most=most, priority=priority, records=40)))
    address, _ = cluster()
    with Client(address, set_as_default=False) as client:
        told = ""
        try:
            run = found.job.run(catalog=str(tmp_path / "catalog"), client=client, program=found.program)
        except flow.errors.GuardrailReached as error:
            run, told = error.run, str(error)
        assert run.page is not None
        base = run.page.removesuffix("/dataflow")
        for path in ("dataflow", "dataflow.json", "dataflow/panels", "metrics", "info/main/workers.html"):
            with urllib.request.urlopen(f"{base}/{path}") as answer:
                assert CANARY.encode() not in answer.read(), path
        assert CANARY not in repr(client.get_worker_logs()) + repr(client.get_scheduler_logs())
        assert CANARY not in repr(client.get_events()) + repr(client.story())
        assert CANARY not in client.run_on_scheduler(known)
    if priority == "important":
        assert CANARY in told
    else:
        assert CANARY in repr(run.errors)
        assert CANARY in repr(run.failures().to_pylist())


@pytest.mark.slow
def test_the_command_line_tells_what_was_said(server: Running, tmp_path: Path) -> None:
    path = job_file(tmp_path, server, most="'100%'", priority="optional", records=3)

    def dataflow(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dataflow", *arguments, "--catalog", str(tmp_path / "catalog")]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert f"answered 400: {CANARY}" in dataflow("sample", str(path)).stdout
    assert f"answered 400: {CANARY}" in dataflow("run", str(path)).stdout
    assert f"answered 400: {CANARY}" in dataflow("failures", "out", "--csv").stdout
    assert f"answered 400: {CANARY}" in dataflow("why", "out", "d1.example").stdout


def test_a_run_that_ends_before_its_first_call_tells_why(server: Running, tmp_path: Path) -> None:
    critical = record_form.with_(priority="critical")
    job = job_of([critical, asking(server)], {"fault": [""] * 150}, max_failures="1%")
    with pytest.raises(flow.errors.GuardrailReached, match="before anything was called") as raised:
        job.run(catalog=tmp_path)
    assert f"ValueError: bad {CANARY} (test_error_texts.py, line " in str(raised.value)
    assert CANARY not in raised.value.plain


def test_what_ends_a_run_stays_behind_when_its_error_travels() -> None:
    import pickle

    error = flow.errors.GuardrailReached("too many")
    error.said = CANARY
    again = pickle.loads(pickle.dumps(error))
    assert (str(error), str(again)) == (f"too many; {CANARY}", "too many")
    assert CANARY not in repr(error)
