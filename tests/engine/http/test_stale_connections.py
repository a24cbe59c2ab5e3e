"""Connections that a real server closes while they are idle: what never arrived is no call, costs nothing, is sent."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import dataflow as flow


class Closing:
    """A server that closes connections, in a process of its own."""

    def __init__(self, idle: float, ends: str = "answered") -> None:
        script = Path(__file__).with_name("closing.py")
        command = [sys.executable, str(script), str(idle), ends]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def count(self) -> int:
        """The requests that it has read."""
        with urllib.request.urlopen(f"{self.url}/count") as answer:
            return int(answer.read())


@pytest.fixture
def closing() -> Iterator[Callable[..., Closing]]:
    made: list[Closing] = []

    def make(*arguments: Any) -> Closing:
        made.append(Closing(*arguments))
        return made[-1]

    yield make
    for one in made:
        one.process.kill()
        one.process.communicate()


def declared(api: flow.API) -> flow.Service:
    return api.get("company", "/c/{key}", returns={"name": str}, price=0.01)


def posted(api: flow.API, **options: Any) -> flow.Service:
    return api.post("company", "/c", json={"key": "{key}"}, returns={"name": str}, price=0.01, **options)


def sent_once(api: flow.API) -> flow.Service:
    return posted(api, idempotent=False)


def with_a_client(api: flow.API) -> flow.Service:
    @flow.enrichment(api=api, price=0.01)
    async def company(key: str, http: httpx.AsyncClient) -> str:
        return str((await http.get(f"/c/{key}")).json()["name"])

    return company


SERVICES = pytest.mark.parametrize("service", [declared, posted, sent_once, with_a_client])


@SERVICES
@pytest.mark.parametrize(("idle", "rate"), [(0.0, None), (0.05, "40/s")])
def test_a_call_that_found_its_connection_closed_is_no_call(
    bench: Any, closing: Callable[..., Closing], service: Callable[..., flow.Service], idle: float, rate: str | None
) -> None:
    server = closing(idle)
    run = bench.run(service(bench.api(server.url, concurrency=4, rate=rate)), [f"k{at}" for at in range(100)])
    said = run.statistics["services"]["company"]
    # Before the first close is seen, one that comes while a request is on its way looks as if that had been read.
    lost = said["retries"]
    assert (said["succeeded"], server.count(), lost <= 1) == (100, 100, True)
    assert (said["calls"], said["cost"]) == (100 + lost, pytest.approx(1 + 0.01 * lost))


@pytest.mark.parametrize("service", [declared, posted, with_a_client])
def test_a_call_that_was_read_and_not_answered_stays_one(
    bench: Any, closing: Callable[..., Closing], service: Callable[..., flow.Service]
) -> None:
    server = closing(30.0, "dropped")
    run = bench.run(service(bench.api(server.url, concurrency=1, breaker=False)), [f"k{at}" for at in range(90)])
    said = run.statistics["services"]["company"]
    assert said["succeeded"] == 90
    assert said["calls"] == server.count() == 90 + said["retries"] == 99
    assert said["cost"] == 0.99


def test_what_must_be_sent_once_and_was_read_is_not_sent_again(bench: Any, closing: Callable[..., Closing]) -> None:
    server = closing(30.0, "dropped")
    run = bench.run(sent_once(bench.api(server.url, concurrency=1, breaker=False)), [f"k{at}" for at in range(30)])
    said = run.statistics["services"]["company"]
    assert (said["succeeded"], said["failed"]) == (27, 3)
    assert said["calls"] == server.count() == 30
