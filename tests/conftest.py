"""What holds for all tests: Ctrl-C reaches them, no answer of another test serves them, no example is timed."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from dataflow.store.cache.cache import Cache
from dataflow.store.files import rooted
from dataflow.wiring import memory
from dataflow.wiring.preparation import DEFAULT_CATALOG

HOME = rooted(DEFAULT_CATALOG)


def pytest_configure() -> None:
    """A shell starts what runs in its background without SIGINT, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A machine that others use too may take its time for one example.
    settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test begins with an empty cache of its own, also in the processes that it starts."""
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path_factory.mktemp("index")))
    opened, home = memory._cache_of_process, str(tmp_path_factory.mktemp("catalog"))

    def elsewhere(root: str) -> Cache:
        """The cache of a catalog, that of the project's own in another place."""
        return opened(home if root == HOME else root)

    monkeypatch.setattr(memory, "_cache_of_process", elsewhere)
    yield
    for cache in memory._caches.values():
        cache.close()
    memory._caches.clear()
