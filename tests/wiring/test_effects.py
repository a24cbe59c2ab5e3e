"""What may be sent only once, over whole runs: stopped, gone on with, published, told; every form of service."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import dataflow as flow
from dataflow.faces.cli import run_command
from dataflow.store.catalog import Catalog

HEAD = """
import httpx
import dataflow as flow

api = flow.API("acme", "https://acme.example", concurrency=1, retry=1, breaker=False)
"""
TAIL = """
job = flow.Job(flow.Pipeline("mails", [mail]), source="source.csv", output="mails", key="key", max_failures=1000)
"""
ENDPOINT = 'mail = api.post("mail", "/mail/{key}", returns={"sent": str}, idempotent=False)'
CLIENT = """
@flow.enrichment(api=api, idempotent=False, returns={"sent": str})
async def mail(key: str, http: httpx.AsyncClient):
    (await http.get(f"/address/{key}")).raise_for_status()
    answer = await http.post(f"/mail/{key}")
    answer.raise_for_status()
    return {"sent": answer.json()["sent"]}
"""
BATCH = """
mail = api.post("mail", "/mails", json={"to": ["{key}"]}, batch=2, match="to", returns={"sent": str}, idempotent=False)
"""
FORMS = {"endpoint": ENDPOINT, "client": CLIENT, "batch": BATCH}
KEYS = [f"k{at}" for at in range(6)]


class Desk:
    """A job that sends mails for six records, and a provider that counts them and may break the run at one."""

    def __init__(self, form: str) -> None:
        self.form = form
        Path("job.py").write_text(HEAD + FORMS[form] + TAIL)
        Path("source.csv").write_text("key\n" + "".join(f"{key}\n" for key in KEYS))
        self.sent: Counter[str] = Counter()
        self.statuses: dict[str, int] = {}
        self.breaks_at: str | None = None

    def command(self, *arguments: str) -> int:
        def answer(request: Any) -> Any:
            if request.path.startswith("/address"):
                return {}
            keys = request.json()["to"] if request.body else [request.path.split("/")[-1]]
            self.sent.update(keys)
            if self.breaks_at in keys:
                raise RuntimeError("the test ends the run here")
            status = next((self.statuses[key] for key in keys if key in self.statuses), None)
            found = [{"to": key, "sent": f"to {key}"} for key in keys]
            return status or (found if request.body else found[0])

        with flow.testing.offline(acme=answer):
            return run_command([*arguments, "--no-progress"])

    def reasons(self) -> dict[str, str]:
        return {row["key"]: row["reason"] for row in Catalog("datasets").open("mails").failures().to_pylist()}


@pytest.fixture(params=FORMS)
def desk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    return Desk(request.param)


def test_a_run_that_goes_on_sends_only_what_was_not_sent(desk: Desk) -> None:
    desk.breaks_at = "k3"
    assert desk.command("run", "job.py") == 2
    desk.breaks_at = None
    assert desk.command("run", "job.py") == 0
    assert desk.sent == dict.fromkeys(KEYS, 1)
    lost = {"k3"} if len(desk.reasons()) == 1 else {"k2", "k3"}
    assert desk.reasons() == dict.fromkeys(lost, "unknown")
    found = Catalog("datasets").open("mails").to_arrow().to_pylist()
    assert [row["sent"] for row in found] == [None if key in lost else f"to {key}" for key in KEYS]


def test_a_run_after_one_that_was_published_as_it_was_sends_the_rest(desk: Desk) -> None:
    desk.breaks_at = "k3"
    assert desk.command("run", "job.py") == 2
    desk.breaks_at = None
    assert desk.command("publish", "latest") == 0
    before = dict(desk.sent)
    assert desk.command("run", "job.py", "--no-resume") == 0
    assert desk.sent == dict.fromkeys(KEYS, 1)
    assert before.keys() < desk.sent.keys()
    assert set(desk.reasons().values()) == {"unknown"}


def test_a_run_over_another_source_sends_what_is_new_and_says_what_was_sent(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.breaks_at = "k3"
    assert desk.command("run", "job.py") == 2
    desk.breaks_at = None
    Path("source.csv").write_text("key\nk0\nk9\n")
    assert desk.command("run", "job.py") == 0
    assert "records were sent by run" in capsys.readouterr().out
    assert (desk.sent["k0"], desk.sent["k9"]) == (1, 1)
    found = Catalog("datasets").open("mails").to_arrow().to_pylist()
    assert [row["sent"] for row in found] == ["to k0", "to k9"]


def test_a_refusal_is_sent_again_by_a_repair_and_a_doubt_never(desk: Desk) -> None:
    desk.statuses = {"k1": 400, "k5": 503}
    assert desk.command("run", "job.py") == 0
    desk.statuses = {}
    failed = desk.reasons()
    assert desk.command("repair", "latest") == 0
    # The first request of the function was answered, and nobody but its author knows what that has done.
    again = {key for key in failed if key < "k4"} if desk.form != "client" else set()
    assert desk.sent == {key: 2 if key in again else 1 for key in KEYS}
    assert desk.reasons() == {key: reason for key, reason in failed.items() if key not in again}


def test_the_story_of_a_record_tells_its_effect(desk: Desk) -> None:
    desk.breaks_at = "k3"
    assert desk.command("run", "job.py") == 2
    desk.breaks_at = None
    assert desk.command("run", "job.py") == 0
    with flow.testing.offline():
        known, doubtful = flow.why("mails", "k0"), flow.why("mails", "k3")
    assert known.notes == ()
    assert known.chapters[0].status in ("succeeded", "cached")
    assert known.chapters[0].wrote == {"sent": "to k0"}
    assert known.chapters[0].age is not None
    assert (doubtful.chapters[0].status, doubtful.chapters[0].reason) == ("failed", "unknown")


def test_an_answer_that_cannot_be_read_any_more_is_none_and_nothing_is_sent(desk: Desk) -> None:
    assert desk.command("run", "job.py") == 0
    text = Path("job.py").read_text()
    Path("job.py").write_text(text.replace('returns={"sent": str}', 'returns={"sent": int}'))
    assert desk.command("run", "job.py") == 2
    assert desk.command("run", "job.py", "--keep-sent", "mail") == 0
    assert desk.sent == dict.fromkeys(KEYS, 1)
    assert set(desk.reasons().values()) == {"unknown"}


def test_the_story_of_a_record_of_an_unfinished_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dataflow.engine.turns.SIDE_BY_SIDE", 1)
    one = Desk("endpoint")
    Path("source.csv").unlink()
    for name, keys in (("a", KEYS[:3]), ("b", KEYS[3:])):
        Path(name).mkdir()
        Path(f"{name}/0.csv").write_text("key\n" + "".join(f"{key}\n" for key in keys))
    Path("job.py").write_text(Path("job.py").read_text().replace("source.csv", "*/0.csv"))
    one.breaks_at = "k4"
    assert one.command("run", "job.py", "--threads", "1") == 2
    with flow.testing.offline():
        story = flow.why("latest", "k1")
        assert flow.why("latest", "k4").ended == "nowhere"
    assert (story.ended, story.version, story.notes) == ("output", None, ())
    assert story.chapters[0].wrote == {"sent": "to k1"}
