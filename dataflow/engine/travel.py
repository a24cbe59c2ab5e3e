"""Takes this package to a cluster that lacks it, and refuses a cluster whose versions do not fit.

What arrives at a scheduler or worker travels by value and must run where no dataflow is installed: `arrive`, what
it calls and `PackagePlugin` use the standard library and distributed only. Nothing here knows a job.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import io
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from distributed import Client, Worker, WorkerPlugin

from dataflow.engine.submission import register_plugin
from dataflow.errors import ClusterError
from dataflow.plan.modules import SHIPPED

_AGREEING = {"python": 2, "dask": 3, "distributed": 3, "pyarrow": 1}
"""How many leading numbers of a version must be the same on both sides."""
_ON_WORKERS = ("pyarrow", "msgspec", "datasketches")
"""What the package needs where it runs and does not bring along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """This package as it is on disk.

    Attributes:
        content: A zip of its files.
        digest: 16 hex digits over names and content of the files.
        version: As installed, or None where it runs from a folder.
    """

    content: bytes
    digest: str
    version: str | None


def send_package(client: Client) -> None:
    """Make this package importable on the scheduler and all workers, also on those that join later.

    A process that has the same code already is left as it is; code of another version that an earlier client had
    sent is replaced.

    Raises:
        ClusterError: Another version is installed there.
    """
    package = pack_package()
    with by_value(sys.modules[__name__]):
        problem = client.run_on_scheduler(
            _arrive_at_scheduler, package.content, digest=package.digest, version=package.version
        )
        if problem is None:
            problem = _register(client, PackagePlugin(package))
    if problem is not None:
        raise ClusterError(f"{problem}; install the same version in both places, or remove it there")


def check_versions(client: Client) -> None:
    """Refuse a cluster whose scheduler or workers cannot work with this process.

    Raises:
        ClusterError: Names every package that differs, both versions and where.
    """
    problems = mismatches(client.get_versions(packages=list(_ON_WORKERS)))
    if problems:
        raise ClusterError(
            f"the cluster at {client.scheduler.address} does not fit: {'; '.join(problems)}; "
            "use the same versions in all places"
        )


def mismatches(versions: Mapping[str, Any]) -> list[str]:
    """What differs too much in an answer of `Client.get_versions`, one sentence each."""
    here = versions["client"]["packages"]
    places = {"the scheduler": versions["scheduler"]["packages"]}
    workers = {f"worker {address}": info["packages"] for address, info in versions["workers"].items()}
    found = []
    for package in ("python", "dask", "distributed"):
        found += _differing(package, here=here, places=places | workers)
    for package in _ON_WORKERS:
        found += _differing(package, here=here, places=workers)
    return found


def _differing(package: str, *, here: Mapping[str, str], places: Mapping[str, Mapping[str, str]]) -> list[str]:
    wanted = _leading(package, version=here[package])
    there: dict[str, list[str]] = {}
    for place, packages in places.items():
        version = packages.get(package)
        if version is None or _leading(package, version=version) != wanted:
            there.setdefault(version or "missing", []).append(place)
    return [f"{package} is {version} on {_some(found)} and {here[package]} here" for version, found in there.items()]


def _some(places: list[str]) -> str:
    return places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"


def _leading(package: str, *, version: str) -> list[str]:
    return version.split(".")[: _AGREEING.get(package, 0)]


@functools.cache
def pack_package() -> Package:
    """Zip this package; once per process, since its modules are loaded once too."""
    home = Path(__file__).parents[1]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in package_files(home):
            archive.write(file, f"dataflow/{file.relative_to(home).as_posix()}")
    return Package(content=buffer.getvalue(), digest=package_digest(home), version=installed_version())


def package_files(home: Path) -> list[Path]:
    """The files of a package folder, without what Python compiled."""
    return sorted(file for file in home.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def package_digest(home: Path) -> str:
    """16 hex digits over names and content of a package's files."""
    digest = hashlib.sha256()
    for file in package_files(home):
        digest.update(file.relative_to(home).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def installed_version() -> str | None:
    """The version of the installed package, or None where it is not installed."""
    try:
        return importlib.metadata.version("dataflow")
    except importlib.metadata.PackageNotFoundError:
        return None


class PackagePlugin(WorkerPlugin):  # type: ignore[misc]
    """Brings the package to a worker before any plugin that needs it is unpickled there."""

    name = "dataflow-package"

    def __init__(self, package: Package) -> None:
        # Not the package itself: its class is as unknown there as this one, and travels only with what it is in.
        self.content = package.content
        self.digest = package.digest
        self.version = package.version

    def setup(self, worker: Worker) -> None:
        """Unpack the package; not a coroutine, or a joining worker would go on to the next plugin meanwhile."""
        folder = Path(worker.local_directory)
        problem = arrive(self.content, digest=self.digest, version=self.version, folder=folder)
        if problem is not None:
            raise ImportError(f"{problem} on worker {worker.address}")


def arrive(content: bytes, *, digest: str, version: str | None, folder: Path) -> str | None:
    """Make the package importable in this process, or say why it cannot be."""
    spec = importlib.util.find_spec("dataflow")
    if spec is not None and spec.origin is not None:
        home = Path(spec.origin).parent
        if package_digest(home) == digest:
            return None
        there = None if home.parent.name.startswith("dataflow-") else installed_version()
        if there is not None and there != version:
            return f"dataflow {there} is installed and the client has {version or 'an uninstalled copy'}"
    target = folder / f"dataflow-{digest}"
    if not target.is_dir():
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(target)
    sys.path[:] = [str(target), *(path for path in sys.path if not Path(path).name.startswith("dataflow-"))]
    # Jobs that were loaded here are made of the classes that go.
    for name in [name for name in sys.modules if name.partition(".")[0] == "dataflow" or name.startswith(SHIPPED)]:
        del sys.modules[name]
    importlib.invalidate_caches()
    return None


def _arrive_at_scheduler(content: bytes, digest: str, version: str | None, *, dask_scheduler: Any = None) -> str | None:
    folder = Path(dask_scheduler.local_directory)
    problem = arrive(content, digest=digest, version=version, folder=folder)
    return problem and f"{problem} on the scheduler"


def _register(client: Client, plugin: PackagePlugin) -> str | None:
    try:
        register_plugin(client, plugin)
    except ImportError as error:
        return str(error)
    return None


@contextmanager
def by_value(module: ModuleType) -> Iterator[None]:
    """Let what a module defines travel as code, for a process that cannot import it."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)
