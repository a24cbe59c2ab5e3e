"""Secrets: looked for before anything is called, sent only where nobody listens, and never written."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import ClusterError, DeclarationError
from dataflow.wiring.binding import bind_pipeline
from dataflow.wiring.secrets import (
    danger_of,
    is_private,
    read_env_file,
    require_secrets,
    secrets_of,
    secrets_to_send,
    warn_if_open,
)

api = flow.API("acme", "https://api.acme.example", auth=flow.basic("ACME_USER", "ACME_PASSWORD"))
open_api = flow.API("other", "https://api.other.example")
services = [one.get(one.name, "/c/{domain}", returns=str) for one in (api, open_api)]
GRAPH = bind_pipeline(flow.Pipeline("secrets", services), pa.schema([("domain", pa.string())]), {})


def cluster(address: str, *lacking: str) -> Any:
    """A cluster of two workers, of which one lacks these."""
    return SimpleNamespace(address=address, on_every_worker=lambda ask, names: {"one": [], "two": list(lacking)})


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_USER", "ada")
    monkeypatch.setenv("ACME_PASSWORD", "canary-4711")


def test_a_graph_names_the_secrets_of_its_apis() -> None:
    assert secrets_of(step.service for step in GRAPH.every) == ("ACME_USER", "ACME_PASSWORD")


def test_a_run_does_not_begin_without_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACME_USER", "ada")
    monkeypatch.delenv("ACME_PASSWORD", raising=False)
    with pytest.raises(DeclarationError, match="not set in the environment: ACME_PASSWORD"):
        require_secrets(GRAPH)
    pipeline = flow.Pipeline("secrets", services)
    with pytest.raises(DeclarationError, match="ACME_PASSWORD"):
        pipeline.run(pa.table({"domain": ["a.example"]}), output="out", catalog=tmp_path)


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("address", ["tls://10.0.0.1:8786", "tcp://127.0.0.1:8786", "tcp://localhost:8786"])
def test_secrets_are_sent_where_nobody_listens_since_workers_may_join_later(address: str) -> None:
    sent = {"ACME_USER": "ada", "ACME_PASSWORD": "canary-4711"}
    assert secrets_to_send([step.service for step in GRAPH.every], cluster(address, "ACME_PASSWORD")) == sent


@pytest.mark.usefixtures("secrets")
def test_nothing_is_sent_over_an_open_connection_where_the_workers_have_it() -> None:
    assert secrets_to_send([step.service for step in GRAPH.every], cluster("tcp://10.0.0.1:8786")) == {}


@pytest.mark.usefixtures("secrets")
def test_an_open_connection_is_refused_and_the_message_holds_no_value() -> None:
    with pytest.raises(ClusterError, match="lack ACME_PASSWORD") as caught:
        secrets_to_send([step.service for step in GRAPH.every], cluster("tcp://10.0.0.1:8786", "ACME_PASSWORD"))
    assert "canary" not in str(caught.value)


def test_what_is_set_nowhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_USER", raising=False)
    with pytest.raises(DeclarationError, match="neither on the workers nor here: ACME_USER"):
        secrets_to_send([step.service for step in GRAPH.every], cluster("tcp://127.0.0.1:8786", "ACME_USER"))


@pytest.mark.parametrize(
    "address",
    [
        "tcp://10.0.0.1:1",
        "ws://scheduler:1",
        "tcp://scheduler.example:1",
        "tcp://127.evil.example:1",
        "tcp://localhost.evil.example:1",
    ],
)
def test_an_address_elsewhere_without_tls_is_not_private(address: str) -> None:
    assert not is_private(address)


def test_a_file_sets_what_is_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACME_USER", "ada")
    monkeypatch.setenv("ACME_PASSWORD", "")
    monkeypatch.delenv("ACME_PASSWORD")
    file = tmp_path / ".env"
    file.write_text("# the account\nexport ACME_USER=eve\n\nACME_PASSWORD='a=b #c'\n")
    read_env_file(file)
    assert (os.environ["ACME_USER"], os.environ["ACME_PASSWORD"]) == ("ada", "a=b #c")


def test_a_line_that_is_none_is_named_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# the account\ncanary-4711\n")
    with pytest.raises(DeclarationError, match="line 2") as caught:
        read_env_file(tmp_path / ".env")
    assert "canary" not in str(caught.value)
    with pytest.raises(DeclarationError, match="cannot be read"):
        read_env_file(tmp_path / "none")


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("tcp://10.0.0.1:8786", "10.0.0.1:8786"),
        ("ws://scheduler.example:80", "scheduler.example:80"),
        ("tcp://0.0.0.0:8786", "port 8786 of its host"),
        ("tcp://[::]:8786", "port 8786 of its host"),
    ],
)
def test_an_open_scheduler_is_named_with_what_may_come_of_it(address: str, place: str) -> None:
    danger = f"the scheduler has no TLS: anyone who reaches {place} can run code on every worker as its user"
    assert danger_of(address) == danger


@pytest.mark.parametrize("address", ["tls://10.0.0.1:8786", "tcp://127.0.0.1:8786", "inproc://10.0.0.1/1/1"])
def test_nobody_else_uses_a_scheduler_with_tls_or_of_this_machine(address: str) -> None:
    assert danger_of(address) is None


@pytest.mark.parametrize(
    ("named", "listening", "warned"),
    [
        ("tcp://10.0.0.1:8786", "tcp://10.0.0.1:8786", "10.0.0.1:8786"),
        ("tcp://127.0.0.1:8786", "tcp://10.0.0.1:8786", "10.0.0.1:8786"),
        ("tls://10.0.0.1:8786", "tls://10.0.0.1:8786", None),
        ("tcp://127.0.0.1:8786", "tcp://127.0.0.1:8786", None),
    ],
)
def test_a_run_warns_of_an_open_scheduler_also_behind_a_tunnel(named: str, listening: str, warned: str | None) -> None:
    said: list[str] = []
    client = SimpleNamespace(scheduler_info=lambda n_workers: {"address": listening})
    fake: Any = SimpleNamespace(address=named, client=client)
    warn_if_open(fake, said.append)
    assert len(said) == (warned is not None)
    assert all(str(warned) in one and "TLS certificates" in one for one in said)
