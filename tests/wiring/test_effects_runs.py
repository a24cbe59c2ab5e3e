"""What may be sent only once, over the runs of an output: a real server counts, whatever is edited in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.faces.cli import run_command
from dataflow.wiring.repairing import repair_run
from dataflow.wiring.settings import read_settings

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import Running, serve

PHONES = "/v2/phones/check"
MAIL = """
    answer = await http.post("/v2/phones/check", json={"phone": to})
    answer.raise_for_status()
    return {"valid": answer.json()["valid"]}
"""
JOB = """
import os
import httpx
import dataflow as flow
from {helpers} import greeting

api = flow.API("desk{unique}", os.environ["SERVER"], concurrency=8, retry=1, breaker=False)

def address(to: str) -> str:
    return to

@flow.enrichment(api=api, idempotent=False, returns={{"valid": bool}})
async def mail(to: str, http: httpx.AsyncClient):
{mail}

@flow.enrichment(priority="critical")
def shown(to: str, valid: bool | None) -> str:
    {later}

job = flow.Job(flow.Pipeline("desk", [mail, shown]), source="source", output="{output}"{options})
"""


class Desk:
    """A job that sends a mail for each record and does something local then; any part of it can be edited."""

    def __init__(self, server: Running, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.parts = {
            "helpers": f"helpers_{folder.name.replace('-', '_')}",
            "unique": folder.name,
            "mail": MAIL.strip("\n"),
            "later": "return greeting(to)",
            "output": "mails",
            "options": ', key="id"',
        }
        self.helper = "def greeting(to):\n    return f'dear {to}'\n"
        self.rows([f"a{at}" for at in range(40)])

    def rows(self, to: Sequence[str], ids: Sequence[int] | None = None, *, files: int = 1) -> None:
        """Write the source anew."""
        table = pa.table({"id": list(ids or range(len(to))), "to": list(to)})
        (self.folder / "source").mkdir(exist_ok=True)
        for old in (self.folder / "source").iterdir():
            old.unlink()
        size = -(-len(to) // files)
        for part in range(files):
            pq.write_table(table.slice(part * size, size), self.folder / "source" / f"{part}.parquet")

    def write(self, **parts: str) -> None:
        self.parts |= parts
        (self.folder / "job.py").write_text(JOB.format(**self.parts))
        (self.folder / f"{self.parts['helpers']}.py").write_text(self.helper)
        # The job is loaded anew for each command; a module beside it is not, in one process.
        sys.modules.pop(self.parts["helpers"], None)

    def run(self, *options: str, **parts: str) -> int:
        self.write(**parts)
        return run_command(["run", "job.py", "--no-progress", "--threads", "2", *options])

    def sent(self) -> Counter[str]:
        return Counter(self.server.counts()["services"].get(PHONES, {"by_key": {}})["by_key"])

    def calls(self) -> int:
        return sum(self.sent().values())

    def values(self) -> dict[int, bool | None]:
        rows = flow.open(self.parts["output"]).to_arrow().to_pylist()
        return {row["id"]: row["valid"] for row in rows}

    def reasons(self) -> dict[int, str]:
        return {row["id"]: row["reason"] for row in flow.open(self.parts["output"]).failures().to_pylist()}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serve(latency=0.005) as running:
        yield running


@pytest.fixture
def desk(server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    server.control(restore=True)
    server.reset()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERVER", server.url)
    monkeypatch.syspath_prepend(str(tmp_path))
    return Desk(server, tmp_path)


KEYED = pytest.mark.parametrize("options", [', key="id"', ""], ids=["key", "inputs"])


@KEYED
def test_mending_a_later_service_sends_nothing_again_and_says_so_first(
    desk: Desk, options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.rows([f"a{at}" for at in range(300)])
    assert desk.run(later="raise ValueError('not yet')", options=options) != 0
    assert desk.calls() == 300
    capsys.readouterr()
    assert desk.run(later="return to.upper()") == 0
    assert desk.calls() == 300
    told = capsys.readouterr()
    assert "`mail`: 300 records were sent by run " in told.out
    assert told.err.startswith("`mail`: 300 records were sent by run ")
    assert "--send-again mail" in told.out
    assert set(desk.values().values()) == {False}


def test_what_was_sent_is_said_before_anything_is_sent(desk: Desk) -> None:
    assert desk.run() == 0
    desk.rows([f"a{at}" for at in range(60)])
    told: list[tuple[str, int]] = []
    from dataflow.wiring.jobs import find_job, require_source
    from dataflow.wiring.running import run

    job = require_source(find_job("job.py"), "job.py")
    run(job, on_event=lambda event: told.append((event.message, desk.calls())))
    (calls,) = [calls for message, calls in told if message.startswith("`mail`: 40 records were sent by run ")]
    assert (calls, desk.calls()) == (40, 60)


@KEYED
def test_a_plain_second_run_a_new_start_and_another_host_send_nothing(
    desk: Desk, options: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert desk.run(options=options) == 0
    assert desk.run() == 0
    assert desk.run("--no-resume") == 0
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "elsewhere"))
    assert desk.run("--no-resume") == 0
    assert desk.calls() == 40
    assert set(desk.values().values()) == {False}


@KEYED
def test_an_edit_that_the_service_does_not_see_sends_nothing(desk: Desk, options: str) -> None:
    assert desk.run(options=options) == 0
    desk.helper = desk.helper.replace("dear", "hello")
    assert desk.run(later="return greeting(to) + '!'") == 0
    assert flow.open("mails").to_arrow()["shown"][0].as_py() == "hello a0!"
    assert desk.calls() == 40


EDITS = {
    "code": {"mail": MAIL.replace("json={", "headers={'x': '1'}, json={").strip("\n")},
    "a name that it reaches": {"mail": MAIL.replace('"phone": to', '"phone": address(to)').strip("\n")},
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_service_that_has_changed_sends_nothing_before_somebody_says_what_that_means(
    desk: Desk, edit: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.run() == 0
    assert desk.run(**edit) == 2
    told = capsys.readouterr().err
    assert "40 records were sent by run " in told
    assert "--keep-sent mail" in told
    assert "--send-again mail" in told
    assert "its code" in told
    assert desk.calls() == 40
    assert desk.run("--keep-sent", "mail") == 0
    assert desk.calls() == 40
    # From then on they are notes of what the service is now.
    assert desk.run("--no-resume") == 0
    assert desk.run("--send-again", "mail") == 0
    assert desk.sent() == {f"a{at}": 2 for at in range(40)}
    assert desk.run("--no-resume") == 0
    assert desk.calls() == 80


def test_everything_is_sent_again_where_that_is_said(desk: Desk) -> None:
    assert desk.run() == 0
    assert desk.run(mail=EDITS["code"]["mail"]) == 2
    assert desk.run("--send-again", "mail") == 0
    assert desk.run("--no-resume") == 0
    assert desk.sent() == {f"a{at}": 2 for at in range(40)}


def test_a_change_of_an_endpoint_is_one_of_the_service(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint = 'mail = api.post("mail", "/v2/phones/check", json={body}, returns={"valid": bool}, idempotent=False)'

    def edit(body: str) -> None:
        desk.write()
        head, _, rest = (desk.folder / "job.py").read_text().partition("@flow.enrichment(api=api")
        tail = rest[rest.index("@flow.enrichment(priority") :]
        (desk.folder / "job.py").write_text(f"{head}{endpoint.replace('{body}', body)}\n\n{tail}")

    command = ["run", "job.py", "--no-progress", "--no-resume"]
    edit('{"phone": "{to}"}')
    assert run_command(command) == 0
    edit('{"phone": "{to}" }')
    assert run_command(command) == 0
    edit('{"phone": "{to}", "text": "hello"}')
    assert run_command(command) == 2
    assert "its request" in capsys.readouterr().err
    assert desk.calls() == 40


@KEYED
def test_only_what_is_new_is_sent_of_a_source_that_has_grown_or_is_in_another_order(desk: Desk, options: str) -> None:
    assert desk.run(options=options) == 0
    desk.rows([f"a{at}" for at in range(60)], files=3)
    assert desk.run() == 0
    assert desk.calls() == 60
    desk.rows([f"a{at}" for at in reversed(range(60))], [*reversed(range(60))], files=2)
    assert desk.run() == 0
    assert desk.sent() == {f"a{at}": 1 for at in range(60)}
    assert list(desk.values().values()) == [False] * 60


def test_a_record_that_was_sent_with_other_inputs_fails_with_that_reason(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.run() == 0
    desk.rows([f"a{at}" if at != 7 else "b7" for at in range(40)])
    assert desk.run() == 0
    assert desk.reasons() == {7: "sent before with other inputs"}
    assert "--send-again mail" in capsys.readouterr().out
    assert desk.calls() == 40
    assert run_command(["repair", "latest", "--no-progress"]) == 0
    assert desk.calls() == 40
    assert desk.run("--send-again", "mail") == 0
    assert (desk.reasons(), desk.sent()["b7"], desk.calls()) == ({}, 1, 80)


def test_a_source_whose_key_has_another_type_by_now_names_the_same_records(desk: Desk) -> None:
    assert desk.run() == 0
    table = pq.read_table("source/0.parquet")
    named = table.set_column(0, "id", table["id"].cast(pa.string()))
    pq.write_table(named, "source/0.parquet")
    assert desk.run() == 0
    assert desk.calls() == 40


@pytest.mark.parametrize("options", [', key="id"', ""])
@pytest.mark.parametrize("files", [1, 2])
def test_equal_records_are_each_sent_in_the_first_run_and_in_no_later_one(desk: Desk, options: str, files: int) -> None:
    desk.rows(["a", "b", "a", "a"], [1, 2, 1, 1], files=files)
    assert desk.run(options=options) == 0
    assert desk.sent() == {"a": 3, "b": 1}
    for again in (1, 2, 4):
        desk.rows(["a", "a", "a", "b"], [1, 1, 1, 2], files=again)
        assert desk.run("--no-resume") == 0
        assert desk.sent() == {"a": 3, "b": 1}


def test_records_of_one_key_that_differ_are_each_sent_once(desk: Desk) -> None:
    desk.rows(["a", "b", "c"], [1, 1, 2])
    assert desk.run() == 0
    desk.rows(["c", "b", "a", "d"], [2, 1, 1, 3], files=2)
    assert desk.run() == 0
    assert desk.sent() == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert desk.reasons() == {}


def test_each_output_has_effects_of_its_own(desk: Desk) -> None:
    assert desk.run() == 0
    assert desk.run(output="others") == 0
    assert desk.sent() == {f"a{at}": 2 for at in range(40)}
    assert desk.run(output="mails") == 0
    assert desk.calls() == 80


def test_a_refusal_is_sent_again_by_the_next_run(desk: Desk) -> None:
    desk.server.control(keys={"a3": "status:422"})
    assert desk.run(options=', key="id", max_failures=40') == 0
    assert set(desk.reasons().values()) == {"HTTP 422"} or desk.reasons()
    desk.server.control(keys={"a3": None})
    assert desk.run("--no-resume") == 0
    # Of what a function has caught nobody but its author knows what it has done.
    assert desk.sent()["a3"] == 1 + (desk.reasons() == {})
    assert desk.calls() - desk.sent()["a3"] == 39


def test_prune_does_not_forget_what_was_sent(desk: Desk) -> None:
    assert desk.run() == 0
    assert desk.run(later="return to") == 0
    assert run_command(["prune", "mails", "--keep", "1"]) == 0
    assert desk.run("--no-resume") == 0
    assert desk.calls() == 40


def test_a_repair_after_another_run_sends_nothing_that_was_sent(desk: Desk) -> None:
    assert desk.run(options=', key="id", max_failures="100%"', later="raise ValueError") == 0
    assert run_command(["repair", "latest", "--no-progress"]) == 0
    assert desk.calls() == 40


def test_names_of_services_are_looked_at(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.run("--send-again", "mial") == 2
    assert "did you mean `mail`?" in capsys.readouterr().err
    assert desk.run("--keep-sent", "shown") == 2
    assert "may be called again" in capsys.readouterr().err
    assert desk.run("--keep-sent", "mail", "--send-again", "mail") == 2
    assert desk.calls() == 0
    with pytest.raises(DeclarationError, match="list of names"):
        read_settings({"send_again": "mail"})


def test_a_service_that_may_be_repeated_by_now_sends_nothing_unasked(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.run() == 0
    desk.write()
    text = (desk.folder / "job.py").read_text().replace("idempotent=False, ", "")
    (desk.folder / "job.py").write_text(text)
    command = ["run", "job.py", "--no-progress", "--no-resume"]
    assert run_command(command) == 2
    assert "whether it may be called again" in capsys.readouterr().err
    assert desk.calls() == 40
    assert run_command([*command, "--send-again", "mail"]) == 0
    assert desk.calls() == 80


def test_what_has_no_meaning_for_effects_is_refused_with_what_has(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.run("--recall", "mail") == 2
    assert "--send-again mail" in capsys.readouterr().err
    assert desk.run() == 0
    with pytest.raises(DeclarationError, match="a repair sends what has failed"):
        repair_run("latest", send_again=["mail"])


def test_what_was_answered_in_a_test_was_not_sent(desk: Desk) -> None:
    desk.write()
    with flow.testing.offline(**{f"desk{desk.folder.name}": lambda request: {"valid": True}}) as calls:
        assert desk.run() == 0
        assert desk.run("--no-resume") == 0
    assert (len(calls), desk.calls()) == (40, 0)
    assert desk.run("--no-resume") == 0
    assert desk.calls() == 40


def test_another_key_for_records_that_were_sent_is_refused(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.run(options="") == 0
    assert desk.run("--keep-sent", "mail", options=', key="id"') == 2
    assert "what names its records" in capsys.readouterr().err
    assert desk.calls() == 40


def start(desk: Desk, *options: str) -> subprocess.Popen[bytes]:
    desk.write()
    return subprocess.Popen(
        [sys.executable, "-m", "dataflow", "run", "job.py", "--no-progress", *options],
        cwd=desk.folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(desk.folder), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def wait_for_calls(desk: Desk, count: int) -> None:
    deadline = time.monotonic() + 60
    while desk.server.counts(keys=False)["calls"] < count:
        assert time.monotonic() < deadline, "the server was not called in time"
        time.sleep(0.02)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
@KEYED
def test_a_run_that_is_killed_and_edited_elsewhere_sends_no_record_twice_and_loses_none(
    desk: Desk, options: str
) -> None:
    desk.server.control(latency=0.05)
    desk.parts["options"] = f"{options}, max_failures=400"
    desk.rows([f"a{at}" for at in range(400)], files=4)
    process = start(desk)
    wait_for_calls(desk, 120)
    kill(process)
    assert desk.run(later="return to.upper()") == 0
    assert max(desk.sent().values()) == 1
    unknown = {f"a{row['id']}" if options else row["to"] for row in _failed()}
    assert desk.sent().keys() | unknown == {f"a{at}" for at in range(400)}
    assert len(unknown) <= 8 + 2 * 8 / 0.05 * 0.25


def _failed() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = flow.open("mails").failures(inputs=True).to_pylist()
    assert {row["reason"] for row in rows} <= {"unknown"}
    return rows


@pytest.mark.slow
def test_a_killed_run_that_sends_everything_again_goes_on_with_that(desk: Desk) -> None:
    desk.server.control(latency=0.05)
    desk.parts["options"] = ', key="id", max_failures=200'
    desk.rows([f"a{at}" for at in range(200)], files=4)
    assert desk.run() == 0
    process = start(desk, "--send-again", "mail")
    wait_for_calls(desk, 280)
    kill(process)
    assert desk.run("--send-again", "mail") == 0
    assert max(desk.sent().values()) == 2
    assert desk.run("--no-resume") == 0
    assert max(desk.sent().values()) == 2
    assert desk.calls() >= 400 - (8 + 2 * 8 / 0.05 * 0.25)
