"""Files on web servers that lack what object stores have: ranges, etags, times."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from email.utils import formatdate
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_reading import read_all

from dataflow.errors import SourceError
from dataflow.store.filesystem import describe
from dataflow.store.sources import csv, infer_source, jsonl, read

RECORDS = [(str(number), "x" * (number % 7)) for number in range(3000)]
TEXT = b"id,name\n" + b"".join(f"{one},{name}\n".encode() for one, name in RECORDS)


class Web(ThreadingHTTPServer):
    """A server of files in memory.

    Attributes:
        files: Bytes by path.
        ranges: Whether it answers a range with a part.
        tags: Whether it sends etags.
        moment: What it sends as Last-Modified, or None.
        size: Whether it tells the size of a file.
        shift: Bytes by which it misses the part that was asked for.
    """

    files: dict[str, bytes]
    ranges = tags = False
    moment: str | None = None
    size = True
    sent = shift = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Web

    def do_HEAD(self) -> None:
        self._answer(head=True)

    def do_GET(self) -> None:
        self._answer(head=False)

    def _answer(self, *, head: bool) -> None:
        data = self.server.files.get(self.path.partition("?")[0])
        if data is None:
            self.send_error(404)
            return
        whole, asked = data, self.headers.get("Range", "")
        if self.server.ranges and asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            if int(first) >= len(data):
                self.send_error(416)
                return
            first = str(int(first) + self.server.shift)
            data = data[int(first) : int(last) + 1 if last else None]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(data) - 1}/{len(whole)}")
        else:
            self.send_response(200)
        if self.server.size:
            self.send_header("Content-Length", str(len(data)))
        if self.server.tags:
            self.send_header("ETag", f'"{hashlib.md5(whole).hexdigest()}"')
        if self.server.moment is not None:
            self.send_header("Last-Modified", self.server.moment)
        self.end_headers()
        if not head:
            self.server.sent += len(data)
            self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web(("127.0.0.1", 0), _Handler)
    server.files = {}
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("ranges", [False, True])
@pytest.mark.parametrize("target", [1 << 26, 5000])
def test_text_is_read_whole_from_a_server_with_and_without_ranges(web, ranges, target):
    web.ranges = ranges
    web.files["/x.csv"] = TEXT
    web.files["/x.jsonl"] = b"".join(b'{"id":"%s","name":"%s"}\n' % (a.encode(), b.encode()) for a, b in RECORDS)
    assert read_all(csv(f"{web.url}/x.csv", null_values=()), target=target).records == RECORDS
    assert read_all(jsonl(f"{web.url}/x.jsonl"), target=target).records == RECORDS


def test_a_small_file_has_no_header_among_its_records(web):
    web.files["/x.csv"] = b"id\n1\n2\n"
    assert read_all(csv(f"{web.url}/x.csv")).records == [("1",), ("2",)]


@pytest.mark.parametrize("ranges", [False, True])
@pytest.mark.parametrize("rows", [10, 300_000])
def test_parquet_is_read_from_a_server_with_and_without_ranges(web, tmp_path, ranges, rows):
    web.ranges = ranges
    pq.write_table(pa.table({"a": range(rows)}), tmp_path / "x.parquet", row_group_size=100_000, compression="none")
    web.files["/x.parquet"] = (tmp_path / "x.parquet").read_bytes()
    found = read_all(infer_source(f"{web.url}/x.parquet?key=1"), target=500_000)
    assert found.table["a"].to_pylist() == list(range(rows))


def test_slices_of_a_server_without_ranges_cost_one_pass_over_the_file(web):
    web.files["/x.csv"] = TEXT * 50
    plan = csv(f"{web.url}/x.csv").plan({}, target_bytes=len(TEXT))
    web.sent, web.moment = 0, "Mon, 01 Jan 2024 00:00:00 GMT"
    plan = csv(f"{web.url}/x.csv").plan({}, target_bytes=len(TEXT))
    web.sent = 0
    for spec in plan.specs:
        read(plan.options, spec, schema=plan.schema)
    assert len(plan.specs) > 40
    assert web.sent < 3 * len(TEXT) * 50


@pytest.mark.parametrize("tags", [False, True])
@pytest.mark.parametrize("moment", [None, "Mon, 01 Jan 2024 00:00:00 GMT"])
def test_a_change_of_the_same_size_is_noticed(web, tags, moment):
    web.tags, web.moment = tags, moment
    web.files["/x.csv"] = b"id\n1\n2\n"
    source = csv(f"{web.url}/x.csv")
    plan = source.plan({}, target_bytes=100)
    assert describe(plan.files[0].path) == plan.files[0]
    read(plan.options, plan.specs[0], schema=plan.schema)
    web.files["/x.csv"] = b"id\n1\n3\n"
    if moment and not tags:
        web.moment = "Mon, 01 Jan 2024 00:00:01 GMT"
    with pytest.raises(SourceError, match="has changed since"):
        read(plan.options, plan.specs[0], schema=plan.schema)
    assert source.plan({}, target_bytes=100).files[0].fingerprint != plan.files[0].fingerprint


def test_a_server_that_tells_no_size_is_refused(web):
    web.size = False
    web.files["/x.csv"] = TEXT
    with pytest.raises(SourceError, match="does not tell its size; download the file first"):
        csv(f"{web.url}/x.csv").plan({}, target_bytes=100)


@pytest.mark.parametrize("moment", ["now", "today", "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_a_time_that_does_not_tell_one_change_from_the_next_is_not_trusted(web, moment):
    web.moment = formatdate(usegmt=True) if moment == "now" else moment
    web.files["/x.csv"] = b"id\n1\n2\n"
    plan = csv(f"{web.url}/x.csv").plan({}, target_bytes=100)
    read(plan.options, plan.specs[0], schema=plan.schema)
    web.files["/x.csv"] = b"id\n1\n3\n"
    with pytest.raises(SourceError, match="has changed since"):
        read(plan.options, plan.specs[0], schema=plan.schema)


def test_a_server_that_sends_another_part_than_was_asked_for_is_refused(web):
    web.ranges = True
    web.shift = 1
    web.files["/x.csv"] = TEXT
    with pytest.raises(SourceError, match="sent another part of the file than was asked for"):
        csv(f"{web.url}/x.csv?key=word").plan({}, target_bytes=100)


@pytest.mark.parametrize("ranges", [False, True])
def test_packed_and_empty_files_are_read_from_a_server(web, ranges):
    web.ranges = ranges
    web.files |= {"/x.csv.gz": gzip.compress(TEXT), "/y.csv": b""}
    assert read_all(csv(f"{web.url}/x.csv.gz?key=1", null_values=()), target=5000).records == RECORDS
    with pytest.raises(SourceError, match=r"y\.csv: is empty"):
        csv(f"{web.url}/y.csv").plan({}, target_bytes=100)


@pytest.fixture
def folder(tmp_path):
    """A folder that the web server of the standard library shows; its URL and its path."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", tmp_path
    server.shutdown()
    thread.join()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


def test_a_folder_of_a_web_server_is_the_same_source_as_on_disk(folder):
    url, path = folder
    for name in ("a.csv", "_old.csv", ".x.csv", "sub/b.csv", "_temporary/0/c.csv"):
        (path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (path / "in" / name).write_text(f"name\n{name}\n")
    for pattern in ("/in", "/in/*.csv", "/in/**/*.csv", "/in/_old.csv", "/in/_*.csv", "/in/_temporary"):
        assert read_all(csv(url + pattern)).records == read_all(csv(f"{path}{pattern}")).records != []
    (path / "in" / "_delta_log").mkdir()
    (path / "in" / "_delta_log" / "0.json").write_text("{}")
    for pattern in ("/in", "/in/*.csv"):
        with pytest.raises(SourceError, match="is a table of Delta"):
            csv(url + pattern).plan({}, target_bytes=100)


def test_a_file_that_is_written_anew_at_once_is_noticed(folder):
    url, path = folder
    (path / "x.csv").write_text("id\n1\n2\n")
    plan = csv(f"{url}/x.csv").plan({}, target_bytes=100)
    (path / "x.csv").write_text("id\n1\n3\n")
    with pytest.raises(SourceError, match="has changed since"):
        read(plan.options, plan.specs[0], schema=plan.schema)
