"""What the board of a run says of its job: services, limits and the picture of its graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataflow.plan.explain import StepLine, explain_graph
from dataflow.plan.graph import Graph
from dataflow.policies.money import amount
from dataflow.store.commit import RunFolder
from dataflow.telemetry.board import Head
from dataflow.wiring.planning import Planned
from dataflow.wiring.treasury import Treasury


def head_of(planned: Planned, folder: RunFolder, *, page: str | None) -> Head:
    """What does not change on the board of a run.

    Args:
        planned: The job, bound to its source.
        folder: The run.
        page: The address of the page that shows it, or None.
    """
    from dataflow.faces.picture import live_svg

    explanation = explain_graph(planned.graph)
    members = {step.service.name: step.service.member_of for step in planned.graph.every}
    return Head(
        run=folder.run,
        dataset=folder.dataset,
        catalog=folder.root,
        pipeline=planned.graph.name,
        started=folder.started_at.timestamp(),
        services=[_line(one, members) for line in explanation.lines for one in (line, *line.inside)],
        apis=declared_limits(planned.graph),
        graph=live_svg(explanation),
        page=page,
    )


def _line(line: StepLine, members: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": line.name,
        "kind": line.kind.value,
        "priority": line.priority,
        "api": line.api,
        "level": line.level,
        "member_of": members.get(line.name, ""),
    }


def declared_limits(graph: Graph) -> dict[str, dict[str, Any]]:
    """The limits of each API of a graph, in the order of the services."""
    found: dict[str, dict[str, Any]] = {}
    for step in graph.every:
        if (api := step.service.api) is not None:
            found[api.name] = {"rates": [one.text for one in api.rates], "concurrency": api.concurrency}
    return found


def budgets_of(treasury: Treasury | None) -> list[dict[str, Any]]:
    """What may be spent and what was, by purse, in the currency of the run."""
    if treasury is None:
        return []
    return [
        {"title": title, "spent": amount(spent), "limit": amount(limit)} for title, spent, limit in treasury.standing()
    ]
