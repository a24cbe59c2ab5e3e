"""Keys, answers and origins that the tests of the cache share, and processes that put answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from dataflow.outcomes import Status
from dataflow.store.cache.answers import Answer, Origin
from dataflow.store.cache.cache import Cache

COMPANY = Origin(service="company", version="1", definition="0123456789ab")
NEWS = Origin(service="news", version="2", definition="ba9876543210", code="abc")


def key(number: int) -> bytes:
    """A key that is spread over all there may be, as hashes are."""
    return (number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big") + number.to_bytes(12, "big")


def answer(value: bytes = b'"x"', **changes: Any) -> Answer:
    return Answer(**{"status": Status.SUCCEEDED, "value": value, "created": 1.5} | changes)


def fill(cache: Cache, *numbers: int, origin: Origin = COMPANY, **changes: Any) -> None:
    for number in numbers:
        cache.put(key(number), answer(b"%d" % number, **changes), origin=origin)


def kept(root: str, path: Path, *numbers: int, origin: Origin = COMPANY) -> dict[int, bytes]:
    """What a cache that is opened anew finds."""
    with Cache(root, path=path) as opened:
        opened.know([origin])
        found = opened.get_many([key(number) for number in numbers])
    return {number: found[key(number)].value for number in numbers if key(number) in found}


WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from keys import COMPANY, answer, key
from dataflow.store.cache.cache import Cache
start, stop, pause, export = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), sys.argv[6] == "True"
cache = Cache(sys.argv[1], path=Path(sys.argv[2]))
for number in range(start, stop):
    cache.put(key(number), answer(b"%d" % number, created=float(number)), origin=COMPANY)
    if export and number % 500 == 0:
        cache.export()
        if number % 2000 == 0:
            cache.know([COMPANY])
            cache.compact()
    if pause:
        print(number, time.monotonic(), flush=True)
        time.sleep(pause)
"""


def writer(
    root: str, path: Path, start: int, stop: int, *, pause: float = 0.0, export: bool = False
) -> subprocess.Popen[str]:
    """A process that puts answers, and ends without closing."""
    script = WRITER.format(here=str(Path(__file__).parent))
    command = [sys.executable, "-c", script, root, str(path), str(start), str(stop), str(pause), str(export)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
