"""Several records in one call share the requests of services with `batch=`; a real server counts them."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import dataflow as flow

Answer = Callable[[list[Any]], Any]


class Server(http.server.ThreadingHTTPServer):
    """Answers a list of domains with a list of items, and notes what it was asked."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[list[Any]] = []

    @property
    def sizes(self) -> list[int]:
        return sorted(len(one) for one in self.asked)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        found = self.server.answer(asked)
        body = b"{}" if isinstance(found, int) else json.dumps(found).encode()
        self.send_response(found if isinstance(found, int) else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


def items(asked: list[Any]) -> Any:
    return [{"domain": one, "title": f"T{one}"} for one in asked]


@contextmanager
def serving(answer: Answer = items) -> Iterator[Server]:
    server = Server(answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is being computed is waited for, however busy the machine."""
    monkeypatch.setattr("dataflow.engine.gathering.LONGEST", 60.0)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


def company(server: Server, *, batch: int = 5, **options: Any) -> flow.Service:
    api = flow.API(f"batched-{server.server_port}", f"http://127.0.0.1:{server.server_port}", retry=1)
    given = {"json": ["{domain}"], "match": "domain", "select": "title", "returns": str, "batch": batch}
    return api.post("company", "/companies", **{**given, **options})


def records(domains: Sequence[str]) -> list[dict[str, Any]]:
    return [{"n": n, "domain": domain} for n, domain in enumerate(domains)]


def names(count: int, start: int = 0) -> list[str]:
    return [f"c{at:03d}" for at in range(start, start + count)]


@pytest.fixture
def many(tmp_path: Path) -> Callable[..., Any]:
    """Records through a pipeline, with a catalog of their own."""

    def call(services: list[flow.Service], domains: Sequence[str], **settings: Any) -> Any:
        pipeline = flow.Pipeline("p", services)
        return pipeline.call_many(records(domains), catalog=str(tmp_path / "catalog"), **settings)

    return call


@flow.transformation
def domain(domain: str) -> str:
    return domain.lower()


@flow.transformation
def label(n: int, company: str) -> str:
    return f"{n} {company}"


@pytest.mark.parametrize(("count", "batch", "sizes"), [(2, 5, [2]), (10, 5, [5, 5]), (12, 5, [2, 5, 5]), (1, 5, [1])])
def test_records_share_requests_as_far_as_batch_lets_them(
    server: Server, many: Any, count: int, batch: int, sizes: list[int]
) -> None:
    results = many([company(server, batch=batch)], names(count))
    assert [one.data["company"] for one in results] == [f"T{name}" for name in names(count)]
    assert server.sizes == sizes


def test_a_hundred_records_that_are_computed_before_and_after_share_two_requests(server: Server, many: Any) -> None:
    results = many([domain, company(server, batch=50), label], names(100))
    assert [one.data["label"] for one in results] == [f"{n} T{name}" for n, name in enumerate(names(100))]
    assert server.sizes == [50, 50]


def test_equal_keys_are_asked_once_and_paid_once(server: Server, many: Any) -> None:
    results = many([company(server, price=0.25), label], ["a", "b", "a", "b", "a"])
    assert [sorted(one) for one in server.asked] == [["a", "b"]]
    assert [one.data["company"] for one in results] == ["Ta", "Tb", "Ta", "Tb", "Ta"]
    assert sum(one.metadata.cost for one in results) == 0.25


def test_what_is_known_takes_no_place_in_a_request(server: Server, many: Any) -> None:
    many([company(server)], names(5))
    server.asked.clear()
    results = many([company(server)], names(10))
    assert server.asked == [names(5, start=5)]
    assert [one.metadata.cached_count for one in results] == [1] * 5 + [0] * 5


def test_only_records_that_are_under_way_at_once_share_a_request(server: Server, many: Any) -> None:
    results = many([company(server, batch=50)], names(10), at_once=4)
    assert [one.data["company"] for one in results] == [f"T{name}" for name in names(10)]
    assert server.sizes == [2, 4, 4]


def test_a_record_that_spoils_a_request_fails_alone_and_in_its_place(many: Any) -> None:
    with serving(lambda asked: 422 if "c003" in asked else items(asked)) as server:
        results = many([company(server, batch=8, priority="critical")], names(8), return_errors=True)
    failed = [at for at, one in enumerate(results) if isinstance(one, flow.CriticalServiceFailed)]
    assert failed == [3]
    assert [one.data["company"] for at, one in enumerate(results) if at != 3] == [
        f"T{name}" for at, name in enumerate(names(8)) if at != 3
    ]
    assert server.sizes == [1, 1, 2, 2, 4, 4, 8]


def test_an_item_that_is_missing_or_wrong_is_the_failure_of_its_record(many: Any) -> None:
    def answer(asked: list[Any]) -> Any:
        return [{"domain": one, "title": 7 if one == "c001" else "T"} for one in asked if one != "c002"]

    with serving(answer) as server:
        results = many([company(server)], names(4))
    assert [one.data["company"] for one in results] == ["T", None, None, "T"]
    assert [one.metadata.failure_count for one in results] == [0, 1, 0, 0]
    assert server.sizes == [4]


def test_a_server_that_is_down_fails_every_record(many: Any) -> None:
    with serving(lambda asked: 500) as server:
        results = many([company(server)], names(3))
    assert [one.metadata.failure_count for one in results] == [1, 1, 1]
    assert server.sizes == [3]


def test_a_record_that_waits_for_another_service_does_not_keep_the_others(many: Any) -> None:
    ended: list[str] = []

    @flow.enrichment
    async def site(domain: str) -> str:
        while domain == "c000" and len(ended) < 3:
            await asyncio.sleep(0.01)
        return domain

    @flow.transformation
    def noted(domain: str, company: str) -> str:
        ended.append(domain)
        return domain

    with serving() as server:
        service = company(server, json=["{site}"], match={"site": "domain"})
        results = many([site, service, noted], names(4))
    assert sorted(ended[:3]) == names(3, start=1)
    assert [one.data["company"] for one in results] == [f"T{name}" for name in names(4)]
    assert server.sizes == [1, 3]


def test_records_that_a_service_does_not_apply_to_are_not_waited_for(server: Server, many: Any) -> None:
    @flow.transformation
    def even(n: int) -> bool:
        return n % 2 == 0

    results = many([even, company(server, when="even")], names(10))
    assert [one.data["company"] for one in results[::2]] == [f"T{name}" for name in names(10)[::2]]
    assert {one.data["company"] for one in results[1::2]} == {None}
    assert server.sizes == [5]


def test_what_may_be_sent_only_once_shares_requests_too(server: Server, many: Any) -> None:
    service = company(server, idempotent=False, match=None, returns=str)
    results = many([service], ["a", "a", "b"])
    assert [one.data["company"] for one in results] == ["Ta", "Ta", "Tb"]
    assert [sorted(one) for one in server.asked] == [["a", "a", "b"]]


def test_two_services_after_each_other_fill_their_requests_each(server: Server, many: Any) -> None:
    first = company(server, batch=4)
    api = first.api
    second = api.post("owner", "/o", json=["{company}"], match="domain", select="title", returns=str, batch=10)
    results = many([first, second], names(8))
    assert [one.data["owner"] for one in results] == [f"TT{name}" for name in names(8)]
    assert server.sizes in ([4, 4, 8], [4, 4, 4, 4])


def test_awaited_records_share_requests_and_can_be_cancelled(tmp_path: Path) -> None:
    free = threading.Event()

    def answer(asked: list[Any]) -> Any:
        free.wait(20 if "slow" in asked else 0)
        return items(asked)

    async def main() -> None:
        pipeline = flow.Pipeline("p", [company(server)])
        results = await pipeline.acall_many(records(names(5)), catalog=str(tmp_path))
        assert [one.data["company"] for one in results] == [f"T{name}" for name in names(5)]
        asked = asyncio.create_task(pipeline.acall_many(records(["slow", "too"]), catalog=str(tmp_path)))
        while len(server.asked) < 2:
            await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    with serving(answer) as server:
        asyncio.run(main())
        free.set()
    assert server.sizes == [2, 5]
