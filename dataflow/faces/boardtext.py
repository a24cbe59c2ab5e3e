"""A board as text for a terminal: where a run stands, in a few lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataflow.faces.meters import outcome_words
from dataflow.faces.queues import queues_of
from dataflow.faces.render import table_text
from dataflow.faces.texts import count, counted, duration, money, printable, rate, remaining

_BAR = 32
_STATES = ("valid", "invalid", "rejected", "degraded")


def board_text(board: Mapping[str, Any], *, status: str) -> str:
    """A board in lines.

    Args:
        board: As `telemetry.board` makes it.
        status: That of the run, or that its driver is missed.
    """
    lines = [_head(board, status), _progress(board), _records(board)]
    queues = queues_of((one["name"], one) for one in board["services"])
    rows = [_service(one, board, waits=one["name"] in queues) for one in board["services"]]
    lines += [table_text(("service", "outcomes", "calls/s", "in flight", "breaker", "waits for"), rows)] if rows else []
    lines += [
        f"rejected by {printable(one['service'])}, {printable(one['reason'])}: {count(one['records'])}"
        for one in board["rejects"][:3]
    ]
    lines += [f"warning: {printable(one)}" for one in board["warnings"][-3:]]
    lines += [printable(board["reason"])] if board["reason"] else []
    lines += [f"live page: {board['page']}"] if board["page"] and status in ("running", "stopping") else []
    return "\n".join(lines)


def _head(board: Mapping[str, Any], status: str) -> str:
    version = "" if board["version"] is None else f"@v{board['version']}"
    return f"run {board['run']} of {printable(board['dataset'])}{version}: {status}, {duration(board['seconds'])}"


def _progress(board: Mapping[str, Any]) -> str:
    parts = board["partitions"]
    filled = _BAR * parts["done"] // max(parts["planned"], 1)
    words = [f"{count(parts['done'])} of {counted(parts['planned'], 'partition')}"]
    words += [f"{count(parts['running'])} running"] if parts["running"] else []
    going = board["status"] == "running"
    words += [rate(board["records"]["per_second"])] if going and board["records"]["per_second"] else []
    words += [f"{remaining(board['left'])} left"] if going and board["left"] is not None else []
    if board["stage"] is not None and going:
        words.append(f"{board['stage']['title']}: {board['stage']['done']} of {board['stage']['planned']}")
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {', '.join(words)}"


def _records(board: Mapping[str, Any]) -> str:
    records = board["records"]
    words = [counted(records["done"], "record")]
    words += [
        f"{count(records[name])} {name}" for name in ("valid", "invalid", "rejected", "degraded") if records[name]
    ]
    words += [f"cost {printable(board['currency'])} {money(board['cost'])}"] if board["cost"] else []
    return ", ".join(words)


def _service(service: Mapping[str, Any], board: Mapping[str, Any], *, waits: bool) -> tuple[str, ...]:
    api = next((one for one in board["apis"] if one["name"] == service["api"]), None)
    if api is None:
        return (service["name"], ", ".join(outcome_words(service)[:3]), "", "", "", "")
    allowed = f" of {api['allowed']:.3g}" if api["allowed"] else ""
    cap = f" of {count(api['concurrency'])}" if api["concurrency"] else ""
    rest = f", {remaining(api['rest'])}" if api["rest"] > 0 else ""
    return (
        service["name"],
        ", ".join(outcome_words(service)[:3]),
        f"{api['rate']:.3g}{allowed}",
        f"{count(api['in_flight'])}{cap}",
        f"{api['breaker'].replace('_', ' ')}{rest}",
        ", ".join(f"{count(calls)} {why}" for why, calls in api["waiting"].items() if waits),
    )


def line_text(line: Mapping[str, Any]) -> str:
    """A line of a log: time of day, level where it is a warning, what happened."""
    level = "" if line["level"] == "info" else f"{line['level']}: "
    message, event = printable(line["message"]), line["event"]
    told = message if event in message else f"{event}: {message}" if message else event
    return f"{line['at'][11:19]} {level}{told}"
