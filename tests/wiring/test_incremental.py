"""What has changed is called again and nothing else: a service, what reads of it what is new, new keys of a source."""

from __future__ import annotations

import http.server
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dataflow as flow
from dataflow.faces.cli import run_command
from dataflow.store.catalog import Catalog
from dataflow.store.dataset import Dataset

JOB = """
import httpx
import dataflow as flow

api = flow.API("acme", "URL", retry=1)

@flow.transformation
def domain(key: str) -> str:
    return key.lower()

company = api.get("company", "/company/{domain}", returns={"title": str})
score = api.get("score", "/score/{domain}", returns={"points": int})
news = api.get("news", "/news/{title}", returns={"headline": str})

@flow.enrichment(api=api)
async def people(domain: str, http: httpx.AsyncClient) -> str:
    return (await http.get(f"/people/{domain}")).json()["title"]

services = [domain, company, score, news, people]
job = flow.Job(flow.Pipeline("companies", services), source="source", output="companies", key="key")
"""
KEYS = ["A", "B", "C", "D"]


class Provider(http.server.ThreadingHTTPServer):
    """Answers every path, and notes it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.titles = "T"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = self.path.split("/")[-1]
        body = json.dumps({"title": f"{self.server.titles}{name}", "points": 1, "headline": f"N{name}"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


class Desk:
    """A job over a folder of files, and a provider that counts what it is asked."""

    def __init__(self, provider: Provider) -> None:
        Path("source").mkdir()
        self.provider = provider
        self.job = JOB
        self.asked: list[str] = []
        self.write(first=KEYS)

    def write(self, **files: list[str]) -> None:
        for name, keys in files.items():
            Path(f"source/{name}.csv").write_text("key\n" + "".join(f"{key}\n" for key in keys))

    def change(self, before: str, after: str) -> None:
        assert before in self.job
        self.job = self.job.replace(before, after)

    def run(self, *options: str) -> Counter[str]:
        """Run the job; the calls by service."""
        Path("job.py").write_text(self.job.replace("URL", f"http://127.0.0.1:{self.provider.server_port}"))
        self.provider.asked.clear()
        assert run_command(["run", "job.py", "--no-progress", *options]) == 0
        self.asked = sorted(self.provider.asked)
        return Counter(path.split("/")[1] for path in self.asked)

    def open(self) -> Dataset:
        return Catalog("datasets").open("companies")


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def desk(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    made = Desk(provider)
    assert made.run() == dict.fromkeys(("company", "score", "news", "people"), 4)
    return made


def test_a_second_run_calls_nothing(desk: Desk) -> None:
    assert desk.run() == {}
    assert desk.run("--no-resume") == {}
    assert desk.open().version == 3


def test_raising_the_version_of_a_service_calls_it_again_and_nothing_else(desk: Desk) -> None:
    desk.change('returns={"points": int}', 'returns={"points": int}, version="2"')
    assert desk.run() == {"score": 4}
    desk.change("@flow.enrichment(api=api)", '@flow.enrichment(api=api, version="2")')
    assert desk.run() == {"people": 4}
    assert desk.run() == {}


def test_what_depends_on_a_service_is_called_again_where_it_gives_something_else(desk: Desk) -> None:
    desk.change('returns={"title": str}', 'returns={"title": str}, version="2"')
    assert desk.run() == {"company": 4}
    desk.provider.titles = "U"
    desk.change('version="2"', 'version="3"')
    assert desk.run() == {"company": 4, "news": 4}
    assert desk.open().to_arrow()["headline"].to_pylist() == [f"NU{key.lower()}" for key in KEYS]


def test_changing_what_a_service_asks_calls_it_again(desk: Desk) -> None:
    desk.change('"/score/{domain}"', '"/score/{domain}", headers={"X-Form": "2"}')
    assert desk.run() == {"score": 4}
    desk.change('returns={"points": int}', 'returns={"points": int}, select={"points": "points"}')
    assert desk.run() == {"score": 4}


def test_going_back_to_an_earlier_definition_finds_its_answers(desk: Desk) -> None:
    desk.change('returns={"points": int}', 'returns={"points": int}, version="2"')
    assert desk.run() == {"score": 4}
    desk.change(', version="2"', "")
    assert desk.run() == {}


def test_a_changed_local_service_calls_only_for_what_it_gives_that_is_new(desk: Desk) -> None:
    desk.change("key.lower()", 'key.lower().replace("c", "x")')
    assert desk.run() == dict.fromkeys(("company", "score", "news", "people"), 1)
    assert [path for path in desk.asked if not path.endswith("x")] == []


def test_an_added_service_is_called_and_a_removed_one_costs_nothing(desk: Desk) -> None:
    desk.change("services = [", 'more = api.get("more", "/more/{domain}", returns=str, select="title")\nservices = [')
    desk.change("news, people]", "news, people, more]")
    assert desk.run() == {"more": 4}
    desk.change("[domain, company, score,", "[domain, company,")
    assert desk.run() == {}
    assert "points" not in desk.open().schema.names


def test_limits_and_threads_are_no_change(desk: Desk) -> None:
    desk.change('"URL", retry=1', '"URL", retry=3, concurrency=2, rate="100/s"')
    assert desk.run("--if-changed") == {}
    assert desk.open().version == 1


def test_a_new_file_is_called_for_its_new_keys_only_and_what_was_done_may_be_taken_over(desk: Desk) -> None:
    before = {Path(path).stat().st_ino for path in desk.open().files}
    desk.write(second=["B", "E", "A"])
    assert desk.run("--incremental") == dict.fromkeys(("company", "score", "news", "people"), 1)
    assert {path.split("/")[-1] for path in desk.asked} == {"e", "Te"}
    found = desk.open()
    assert found.to_arrow()["key"].to_pylist() == [*KEYS, "B", "E", "A"]
    assert found.to_arrow()["headline"].null_count == 0
    assert before < {Path(path).stat().st_ino for path in found.files}


def test_a_changed_file_is_called_for_its_new_keys_only(desk: Desk) -> None:
    desk.write(first=["D", "C", "F"])
    assert desk.run() == dict.fromkeys(("company", "score", "news", "people"), 1)
    assert desk.open().to_arrow()["key"].to_pylist() == ["D", "C", "F"]


def test_if_changed_does_nothing_until_source_or_job_change(desk: Desk) -> None:
    assert desk.run("--if-changed") == {}
    assert desk.open().version == 1
    desk.write(second=["E"])
    assert desk.run("--if-changed") == dict.fromkeys(("company", "score", "news", "people"), 1)
    assert desk.run("--if-changed") == {}
    assert desk.open().version == 2
    desk.change('returns={"points": int}', 'returns={"points": int}, version="2"')
    assert desk.run("--if-changed") == {"score": 5}
    assert desk.run("--if-changed") == {}
    assert desk.open().version == 3


EFFECT = """
import dataflow as flow

api = flow.API("acme", "URL", retry=1)
mail = api.post("mail", "/mail/{key}", returns={"title": str}, idempotent=False)
job = flow.Job(flow.Pipeline("companies", [mail]), source="source", output="companies", key="key")
"""


def test_what_has_an_effect_is_sent_for_new_records_only(desk: Desk) -> None:
    desk.job = EFFECT
    assert desk.run() == {"mail": 4}
    desk.write(second=["A", "E"])
    assert desk.run() == {"mail": 1}
    assert desk.run() == {}
    assert desk.run("--incremental") == {}


def test_the_story_of_a_record_tells_what_was_called_and_what_the_cache_has_answered(desk: Desk) -> None:
    desk.change('returns={"points": int}', 'returns={"points": int}, version="2"')
    assert desk.run() == {"score": 4}
    desk.provider.asked.clear()
    story = flow.why("companies", "B")
    found = {chapter.service: (chapter.status, chapter.age is not None) for chapter in story.chapters}
    cached = dict.fromkeys(("company", "news", "people"), ("cached", True))
    assert found == {"domain": ("succeeded", False), "score": ("succeeded", True), **cached}
    assert story.notes == ()
    assert desk.provider.asked == []
