"""Sees to it that a worker has loaded the same job as the client, before anything is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dataflow.engine.program import Program, load, loaded_from
from dataflow.errors import DeclarationError
from dataflow.plan.code import Looks
from dataflow.plan.fingerprint import fingerprints, reasons
from dataflow.plan.graph import Graph
from dataflow.plan.pipeline import Job
from dataflow.wiring.binding import bind_pipeline
from dataflow.wiring.looking import look_at

if TYPE_CHECKING:
    from dataflow.wiring.planning import Planned

_WAY_OUT = "name the variable in Job(environ=[...]) or --environ NAME"

_TRIES = 3
"""Loadings after which a difference is one: two orders of a set of two are the same half of the time."""


def expected_of(program: Program, planned: Planned, *, foreign: bool) -> dict[str, Any] | None:
    """What the workers of a cluster compare their job to; None where they cannot have another one.

    Args:
        program: As it travels: what is packed as values is the same wherever it is.
        planned: The job as it was planned.
        foreign: Whether somebody else has started the workers, so that their environment is another one.

    Raises:
        DeclarationError: The job cannot be loaded.
    """
    pipeline, graph = planned.job.pipeline, planned.graph
    if program.tree is None:
        return None
    if loaded_from(pipeline) is None:
        # Somebody has imported it and worked with it, so what it holds by now is not what is loaded elsewhere.
        if not foreign:
            return None
        loaded = load(program, planned.variables)
        pipeline = loaded.pipeline if isinstance(loaded, Job) else loaded
        graph = bind_pipeline(pipeline, planned.source.schema, planned.tables, **planned.binding)
    return agreed(graph, looks=look_at(pipeline)[0])


def agreed(graph: Graph, *, looks: Looks) -> dict[str, Any]:
    """What a worker compares its own job to, as plain JSON values.

    Args:
        graph: The bound pipeline.
        looks: What was seen of its code.
    """
    parts = fingerprints(graph, files=(), options={}, key=(), looks=looks, shared=True)
    apis = [step.service.api for step in graph.every if step.service.api is not None]
    return {
        "services": {name: part for name, part in parts.items() if name.startswith("service ") or name == "order"},
        "apis": {api.name: api.url for api in apis},
    }


def require_agreed(
    expected: Mapping[str, Any],
    graph: Graph,
    *,
    looks: Looks,
    where: str,
    again: Callable[[], Mapping[str, Any] | None] = lambda: None,
) -> None:
    """Refuse to work on another job than the one that was planned.

    Args:
        expected: What `agreed` gave where the run was started.
        graph: The pipeline, bound here.
        looks: What was seen of its code when it was loaded here.
        where: The address of this worker.
        again: What `agreed` gives of the job where it is loaded once more beside this process; None where it cannot
            be. What differs there too is another at each loading, such as the clock, and no reason to refuse.

    Raises:
        DeclarationError: It names what differs.
    """
    found = agreed(graph, looks=looks)
    for _ in range(_TRIES if found["apis"] == expected["apis"] else 0):
        if found == expected or (other := again()) is None:
            break
        expected = {**expected, "services": _settled(expected["services"], found["services"], other["services"])}
    if found != expected:
        raise DeclarationError("; ".join([*_differing(expected, found, where=where), _WAY_OUT]))


def _settled(expected: Mapping[str, str], found: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """What is expected of each service; what is found of those that are another at each loading."""
    return {name: found[name] if found.get(name) != other.get(name) else one for name, one in expected.items()}


def _differing(expected: Mapping[str, Any], found: Mapping[str, Any], *, where: str) -> Iterator[str]:
    """What differs, APIs first: what calls them differs for that reason."""
    apis = {name: (expected["apis"].get(name), url) for name, url in found["apis"].items()}
    others = {name: urls for name, urls in apis.items() if urls[0] != urls[1]}
    for name, (here, there) in others.items():
        yield f"API `{name}` is {here} here and {there} on worker {where}"
    if others:
        yield "it is read from the environment while loading"
        return
    for one in reasons(expected["services"], found["services"]):
        yield f"{one} is not the same here and on worker {where}"
    yield "it works with what is read from the environment, a file or the clock while loading"
