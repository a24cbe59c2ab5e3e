"""Whether the libraries here fit those of a cluster: the answer of `read_versions` in, findings out."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dataflow.wiring.doctor.findings import Finding, ok, problem, some, warning

TOLD = ("python", "dataflow", "dask", "distributed", "pyarrow", "pandas")
_SUBJECT = "versions"
_LOOSE = ("pandas",)
"""What a run does not insist on; a difference shows in services that use it."""
_PAGES = {"bokeh": "the live page", "prometheus_client": "metrics"}
_SAME = "use the same version in all places"


def installed() -> dict[str, str | None]:
    """The versions in this process of what is told; nothing is imported for it."""
    return {name: platform.python_version() if name == "python" else _installed(name) for name in TOLD}


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def judge_here(packages: Mapping[str, str | None]) -> list[Finding]:
    """What this process has, by package."""
    told = ", ".join(f"{name} {_short(packages.get(name))}" for name in TOLD)
    return [ok(f"{_SUBJECT} here", told)]


def judge_cluster(versions: Mapping[str, Any], *, refused: Sequence[str]) -> list[Finding]:
    """What the scheduler and the workers have beside what is here.

    Args:
        versions: As `Client.get_versions` gives them.
        refused: The differences for which a run refuses this cluster, in sentences.
    """
    here = versions["client"]["packages"]
    places = {"the scheduler": versions["scheduler"]["packages"]}
    places |= {f"worker {address}": one["packages"] for address, one in versions["workers"].items()}
    found = [problem(_SUBJECT, one, advice="a run refuses this cluster, use the same versions") for one in refused]
    found += _own(here["dataflow"], places)
    found += [one for package in _LOOSE for one in _loose(package, here=here[package], places=places)]
    if not found:
        workers = len(versions["workers"])
        found = [ok(_SUBJECT, f"those of the scheduler and of {workers} worker{'s' * (workers != 1)} fit")]
    return [*found, *_pages(versions["scheduler"]["packages"])]


def _own(here: str | None, places: Mapping[str, Mapping[str, str | None]]) -> Iterator[Finding]:
    """Another dataflow that is installed there; where there is none, a run brings its own."""
    for there, where in _differing("dataflow", here=here, places=places).items():
        if there is not None:
            yield problem(
                _SUBJECT,
                f"dataflow is {there} on {some(where)} and {here or 'an uninstalled copy'} here",
                advice=f"{_SAME}, or remove it there, since a run brings its own",
            )


def _loose(package: str, *, here: str | None, places: Mapping[str, Mapping[str, str | None]]) -> Iterator[Finding]:
    for there, where in _differing(package, here=here, places=places).items():
        yield warning(_SUBJECT, f"{package} is {there or 'missing'} on {some(where)} and {here} here", advice=_SAME)


def _differing(
    package: str, *, here: str | None, places: Mapping[str, Mapping[str, str | None]]
) -> dict[str | None, list[str]]:
    """The places of each other version."""
    found: dict[str | None, list[str]] = {}
    for place, packages in places.items():
        if packages.get(package) != here:
            found.setdefault(packages.get(package), []).append(place)
    return found


def _pages(scheduler: Mapping[str, str | None]) -> Iterator[Finding]:
    for package, use in _PAGES.items():
        there = scheduler.get(package)
        fact = f"{package} is not on the scheduler" if there is None else f"{package} {there} is on the scheduler"
        advice = f"install it there for {use}" if there is None else ""
        yield ok(use, fact, advice=advice)


def _short(found: str | None) -> str:
    return "is not installed" if found is None else found
