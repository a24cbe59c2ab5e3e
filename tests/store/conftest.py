"""Lets the tests of the store import what they share, which processes of their own import too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from dataflow.store.catalog import Catalog

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one, since what is synced thousands of times would wait for the disk."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(params=["local", "memory"])
def catalog(request: pytest.FixtureRequest, quick_path: Path) -> Catalog:
    """An empty catalog, once on a local path and once in an object store."""
    return Catalog(quick_path if request.param == "local" else f"memory://{uuid4().hex}")
