"""A catalog with a cache, and hosts that share it: each has an index of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from keys import COMPANY

from dataflow.store.cache.cache import Cache


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index" / "cache.sqlite"


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "catalog")


@pytest.fixture
def cache(root: str, path: Path) -> Iterator[Cache]:
    with Cache(root, path=path) as opened:
        opened.know([COMPANY])
        yield opened
