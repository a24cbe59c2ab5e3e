"""Starts the provider for a test or a job, asks it what it has seen, and ends it.

    with serve(latency=0.05, keys={"acme.example": "always_500"}) as provider:
        ...
        assert provider.counts()["services"]["/v2/companies"]["calls"] == 3

The provider runs in a process of its own and ends with the one that started it, also when that is killed: it
reads from a pipe that the system closes then.
"""

from __future__ import annotations

import atexit
import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ADDRESS = "PROVIDER_URL"
"""The environment variable that names a provider which is already there."""
GRACE = 5.0
"""Seconds to end by itself before it is killed."""

_starting = threading.Lock()


class Running:
    """A provider at an address.

    Args:
        url: Its address, without a slash at the end.
        process: The process, where it is ours to end.
    """

    def __init__(self, url: str, process: subprocess.Popen[str] | None = None) -> None:
        self.url = url
        self._process = process
        self._owner = os.getpid()

    @property
    def pid(self) -> int | None:
        """The id of its process, if we started it."""
        return self._process.pid if self._process else None

    def control(self, **changes: Any) -> dict[str, Any]:
        """Change settings while it runs; `restore=True` first goes back to those of the start. Gives those made."""
        made: dict[str, Any] = self._ask("POST", "/_control", body=json.dumps(changes))
        return made

    def counts(self, *, keys: bool = True) -> dict[str, Any]:
        """How many calls it has seen: overall, and for each service by status and key, which are many."""
        counts: dict[str, Any] = self._ask("GET", f"/_counts?keys={keys:d}")
        return counts

    def log(self, since: int = 0) -> list[list[Any]]:
        """Every call in the order of arrival: [monotonic seconds, path, key, status, headers, end]."""
        entries: list[list[Any]] = self._ask("GET", f"/_log?since={since}")
        return entries

    def reset(self) -> None:
        """Forget counts, log, attempts and what limits remember."""
        self._ask("POST", "/_reset")

    def stop(self) -> None:
        """End it, if this process started it."""
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def release(self) -> None:
        """Close the pipes of a process that has ended."""
        for pipe in (self._process.stdin, self._process.stdout) if self._process else ():
            if pipe:
                pipe.close()

    def _ask(self, method: str, path: str, *, body: str | None = None) -> Any:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            value = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(f"the provider refuses {path}: {value['error']['message']}")
        return value


def start(**options: Any) -> Running:
    """Start a provider on a free port; the settings are those of `settings`, also `paths` and `keys`.

    Raises:
        RuntimeError: It did not start; what it said is on stderr.
    """
    home = Path(__file__).resolve().parent
    command = [sys.executable, "-m", f"{home.parent.name}.{home.name}", "--until-stdin-closes"]
    process = subprocess.Popen(
        [*command, "--settings", json.dumps(options)],
        cwd=home.parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the job; it may still wait for answers
    )
    assert process.stdout is not None
    running = Running(process.stdout.readline().strip(), process)
    if not running.url:
        running.stop()
        running.release()
        raise RuntimeError(f"the provider did not start, exit code {process.wait()}; its own words are on stderr")
    return running


@contextmanager
def serve(**options: Any) -> Iterator[Running]:
    """A provider for the length of a `with` block; options as for `start`."""
    running = start(**options)
    try:
        yield running
    finally:
        running.stop()
        running.release()


def ensure_provider(**options: Any) -> str:
    """The address in PROVIDER_URL, or that of a provider which is started now and lives as long as this process.

    The variable is set then, so that processes started later ask the same provider.
    """
    with _starting:
        if not (url := os.environ.get(ADDRESS)):
            running = start(**options)
            atexit.register(running.stop)
            url = os.environ[ADDRESS] = running.url
            _kept.append(running)
        return url.rstrip("/")


_kept: list[Running] = []
"""Holds the pipes of what `ensure_provider` started open."""
