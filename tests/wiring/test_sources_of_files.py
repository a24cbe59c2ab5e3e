"""Whole runs over files that other programs have left: every record of the source, and no others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dask
import pytest

import dataflow as flow
from dataflow.errors import SourceError


@flow.transformation
def double(n: int) -> int:
    return 2 * n


pipeline = flow.Pipeline("numbers", [double])


@pytest.fixture(autouse=True)
def _threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with dask.config.set(scheduler="threads"):
        yield


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of the folder on a server that knows no ranges and no etags."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def write(name: str, numbers: range, *, header: str = "n") -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in (header, *numbers)))


def doubled(source: str, **settings: object) -> list[int]:
    run = pipeline.run(source, "numbers", catalog="catalog", **settings)
    assert run.rejects().num_rows == 0
    return run.to_arrow()["double"].to_pylist()


def test_a_run_over_a_web_server_has_all_records_and_no_header(url: str) -> None:
    write("in/n.csv", range(3000))
    assert sorted(doubled(f"{url}/in/n.csv", partition_size=700)) == list(range(0, 6000, 2))


def test_a_folder_its_glob_and_its_address_are_the_same_run(url: str) -> None:
    for name, at in {"a.csv": 0, "b.csv": 2, "_temporary/0/a.csv": 4, "_old.csv": 6, ".c.csv": 8}.items():
        write(f"in/{name}", range(at, at + 2))
    for source in ("in", "in/*.csv", "in/**/*.csv", f"{url}/in", f"{url}/in/*.csv"):
        assert sorted(doubled(source)) == [0, 2, 4, 6]
    assert doubled("in/_old.csv") == [12, 14]


def test_a_change_of_the_same_size_is_another_run(url: str) -> None:
    write("in/n.csv", range(1, 3))
    assert doubled(f"{url}/in/n.csv") == [2, 4]
    write("in/n.csv", range(3, 5))
    assert doubled(f"{url}/in/n.csv") == [6, 8]


def test_files_that_do_not_belong_together_end_a_run_before_it_begins() -> None:
    write("in/a.csv", range(2))
    write("in/b.csv", range(2), header="m")
    with pytest.raises(SourceError, match=r"b\.csv: has no column of .*a\.csv"):
        doubled("in")
    assert not Path("catalog/numbers").exists() or not list(Path("catalog/numbers").glob("v*"))
