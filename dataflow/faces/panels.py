"""The panels of a board, as HTML: for the live page of a scheduler and for a notebook alike.

Pure, and standard library only, since the scheduler's process draws them. What a board holds is decided in
`telemetry.board`; every text of it is escaped in `meters`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dataflow.faces.meters import (
    OUTCOMES,
    meter,
    outcome_bar,
    outcome_legend,
    outcome_rects,
    outcome_words,
    percentage,
    pill,
    text,
)
from dataflow.faces.queues import Queue, queues_of
from dataflow.faces.texts import cause, count, counted, duration, money, rate, remaining, shorten, size

SILENT = 10.0
"""Seconds after which a driver that has said nothing of a running run is missed: it tells once a second."""
FORM = 1

Board = Mapping[str, Any]

_KINDS = {"transformation": "#3f87d9", "validation": "#c77a17", "enrichment": "#259b6f"}
_STATES = {
    "running": ("running", "busy"),
    "stopping": ("stopping", "warn"),
    "published": ("published", "good"),
    "unchanged": ("unchanged", "good"),
    "stopped": ("stopped", "warn"),
    "failed": ("failed", "bad"),
}
_BREAKERS = {"open": ("open", "bad"), "half_open": ("half open", "warn"), "held": ("held open", "bad")}
_NOTICED = 0.01
_MARK = re.compile(r"<!--([tb])(\d+)-->")


def draw(board: Board, *, heard_ago: float = 0.0) -> dict[str, str]:
    """The panels of a board by name, in the order in which they stand.

    Args:
        board: As `telemetry.board` makes it.
        heard_ago: Seconds since its driver was heard.
    """
    if board.get("form") != FORM:
        return {"head": '<p class="word">This page does not know such a board; use one version of dataflow.</p>'}
    silent = heard_ago > SILENT and board["status"] in ("running", "stopping")
    panels = {
        "head": _head(board, silent=silent),
        "word": _word(board, heard_ago=heard_ago, silent=silent),
        "progress": _progress(board),
        "tiles": _tiles(board),
        "graph": _graph(board),
        "services": _services(board),
        "rejects": _rejects(board["rejects"]),
        "workers": _workers(board["workers"]),
        "notes": _notes(board),
    }
    return {name: html for name, html in panels.items() if html}


def _head(board: Board, *, silent: bool) -> str:
    word, tone = ("not heard", "bad") if silent else _STATES.get(board["status"], (board["status"], "calm"))
    version = "" if board["version"] is None else f"@v{board['version']}"
    return (
        f"<h1>{text(board['pipeline'], 80)} <small>→ {text(board['dataset'] + version, 80)}</small></h1>"
        f'<div class="facts">{pill(word, tone)} <span>run {text(board["run"], 60)}</span>'
        f"<span>{duration(board['seconds'])}</span></div>"
    )


def _word(board: Board, *, heard_ago: float, silent: bool) -> str:
    """One sentence for whoever looks at a run that does not simply go on."""
    kept = "What is committed is kept; the same command goes on."
    if silent:
        said = f"Its driver has not been heard for {duration(heard_ago)}: it has died, or lost its connection. {kept}"
        return f'<p class="word bad">{said}</p>'
    match board["status"]:
        case "published":
            done = counted(board["records"]["done"], "record")
            return f'<p class="word good">Published after {duration(board["seconds"])}: {done}.</p>'
        case "unchanged":
            return '<p class="word good">Nothing has changed since the newest version, so nothing was done.</p>'
        case "stopping":
            return '<p class="word warn">Stopping: no new calls begin, those in flight may end.</p>'
        case "stopped":
            return f'<p class="word warn">Stopped: {text(board["reason"] or "by hand")}. {kept}</p>'
        case "failed":
            return f'<p class="word bad">Failed: {text(board["reason"] or "for no known reason")}</p>'
    return ""


def _progress(board: Board) -> str:
    parts = board["partitions"]
    planned, done, running = parts["planned"], parts["done"], min(parts["running"], parts["planned"] - parts["done"])
    words = [f"<b>{count(done)}</b> of {counted(planned, 'partition')}"]
    words += [f"{count(running)} running"] if running > 0 else []
    words += [f"{count(planned - done - max(running, 0))} left"] if done < planned else []
    speed = board["records"]["per_second"]
    words += [rate(speed)] if speed and board["status"] == "running" else []
    ends = board["status"] == "running" and board["left"] is not None and done < planned
    words += [f"<b>{remaining(board['left'])}</b> left"] if ends else []
    if (stage := board["stage"]) is not None and stage["planned"]:
        words.append(f"{text(stage['title'])}: {count(stage['done'])} of {count(stage['planned'])}")
    whole = max(planned, 1)
    return (
        f'<div class="bar"><i class="done" style="width:{100 * done / whole:.2f}%"></i>'
        f'<i class="running" style="width:{100 * max(running, 0) / whole:.2f}%"></i></div>'
        f'<div class="words">{" · ".join(words)}</div>'
    )


def _tiles(board: Board) -> str:
    records = board["records"]
    tiles = [("records", count(records["done"]), _of(records["planned"]))]
    tiles.append(
        ("valid", count(records["valid"]), f"{count(records['invalid'])} invalid" if records["invalid"] else "")
    )
    tiles.append(("rejected", count(records["rejected"]), _share(records["rejected"], records["done"])))
    if records["degraded"]:
        tiles.append(("degraded", count(records["degraded"]), _share(records["degraded"], records["done"])))
    if records["not_attempted"]:
        tiles.append(("not attempted", count(records["not_attempted"]), ""))
    run = next((one for one in board["budgets"] if one["title"] == "budget"), None)
    if board["cost"] or run is not None:
        limit = "" if run is None else f"of {_money(run['limit'], board)}"
        bar = "" if run is None else meter(run["spent"], run["limit"], tone=_fill(run["spent"], run["limit"]))
        tiles.append(("cost", _money(run["spent"] if run else board["cost"], board), limit + bar))
    return "".join(
        f'<div class="tile"><span>{name}</span><b>{value}</b><small>{more}</small></div>' for name, value, more in tiles
    )


def _of(planned: int | None) -> str:
    return "" if planned is None else f"of {count(planned)}"


def _share(part: int, whole: int) -> str:
    return percentage(part / whole) if part and whole else ""


def _money(value: float, board: Board) -> str:
    return " ".join(filter(None, [text(board["currency"], 8) if board["currency"] else "", money(value)]))


def _fill(value: float, most: float) -> str:
    return "bad" if value >= most else "warn" if value >= 0.8 * most else "busy"


def _graph(board: Board) -> str:
    services = board["services"]
    if not board["graph"]:
        return ""

    def fill(mark: re.Match[str]) -> str:
        one = services[int(mark[2])] if int(mark[2]) < len(services) else {}
        if mark[1] == "b":
            return outcome_rects(one)
        return text(shorten(_told(one), 34)).removeprefix("<bdi>").removesuffix("</bdi>")

    return f'<h2>graph</h2><div class="scroll">{_MARK.sub(fill, board["graph"])}</div>'


def _told(service: Mapping[str, Any]) -> str:
    """What a box of the graph says of its service."""
    if not service.get("records"):
        calls = service.get("calls")
        return counted(calls, "call") if calls else "waiting"
    bad = service["failed"] + service["timed_out"]
    return f"{count(service['records'])}{f' · {count(bad)} failed' if bad else ''}"


def _services(board: Board) -> str:
    apis = {one["name"]: one for one in board["apis"]}
    budgets = {one["title"]: one for one in board["budgets"]}
    queues = queues_of((one["name"], one) for one in board["services"])
    rows = [
        _row(one, apis.get(one["api"]), budgets.get(f"budget of `{one['name']}`"), board, queue=queues.get(one["name"]))
        for one in board["services"]
    ]
    if not rows:
        return ""
    heads = ("service", "outcomes", "found", "calls/s", "in flight", "breaker", "p50 / p95", "waits for", "cost")
    used = [at for at in range(len(heads)) if at < 2 or any(row[at] for row in rows)]
    head = "".join(f"<th>{heads[at]}</th>" for at in used)
    body = "".join("<tr>" + "".join(_cell(heads[at], row[at]) for at in used) + "</tr>" for row in rows)
    legend = outcome_legend(name for one in board["services"] for name in OUTCOMES if one[name])
    return f'<h2>services</h2>{legend}<table class="cards"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(label: str, html: str) -> str:
    return f'<td data-label="{label}">{f"<div>{html}</div>" if html else ""}</td>'


def _row(
    service: Mapping[str, Any],
    api: Mapping[str, Any] | None,
    budget: Mapping[str, Any] | None,
    board: Board,
    *,
    queue: Queue | None,
) -> tuple[str, ...]:
    name = f'<i class="dot" style="background:{_KINDS.get(service["kind"], "#848d97")}"></i>{text(service["name"], 80)}'
    beside = [text(service["api"], 60)] if service["api"] else []
    beside += [f"in {text(service['member_of'], 60)}"] if service["member_of"] else []
    under = f'<small class="under">{" · ".join(beside)}</small>' if beside else ""
    words = outcome_words(service)[:3]
    return (
        f'<span class="name">{name}</span>{under}',
        f'{outcome_bar(service)}<small class="under">{", ".join(words) or "nothing yet"}{_errors(service)}</small>',
        percentage(service["found"]),
        "" if api is None else _rate(api),
        "" if api is None else _in_flight(api),
        "" if api is None else _breaker(api),
        _latency(service),
        "" if queue is None else _waits(queue, api),
        _cost(service, budget, board),
    )


def _errors(service: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{text(name, 60)} {count(number)}" for name, number in service["errors"].items())
    return f"; {listed}" if listed else ""


def _rate(api: Mapping[str, Any]) -> str:
    now = f"{api['rate']:.3g}"
    limits = ", ".join(api.get("rates", ()))
    label = f"{now} of {api['allowed']:.3g}" if api["allowed"] else now
    told = f'<small class="under">{text(limits, 40)}</small>' if limits else ""
    return meter(api["rate"], api["allowed"], label=label) + told


def _in_flight(api: Mapping[str, Any]) -> str:
    cap = api["concurrency"]
    label = f"{count(api['in_flight'])} of {count(cap)}" if cap else count(api["in_flight"])
    return meter(api["in_flight"], cap, label=label)


def _breaker(api: Mapping[str, Any]) -> str:
    if api["breaker"] in _BREAKERS:
        word, tone = _BREAKERS[api["breaker"]]
        return pill(f"{word}, {remaining(api['rest'])}" if api["rest"] > 0 else word, tone)
    if api["pause"] > 0:
        return pill(f"paused, {remaining(api['pause'])}", "warn", title="the provider asked for a pause")
    return '<span class="calm">closed</span>'


def _latency(service: Mapping[str, Any]) -> str:
    if service["p50"] is None or not service["api"]:
        return ""
    return f"{duration(service['p50'])} / {duration(service['p95'])}"


def _waits(queue: Queue, api: Mapping[str, Any] | None) -> str:
    now = (
        []
        if api is None
        else [f"{count(calls)} for {text(cause(why), 40)}" for why, calls in sorted(api["waiting"].items())]
    )
    calls = max(queue.calls, 1)
    past = [f"{duration(s / calls)} a call for {text(cause(why), 40)}" for why, s in queue.reasons if s / calls >= 0.01]
    under = f'<small class="under">{", ".join(past)}</small>' if past else ""
    return ", ".join(now) + under


def _cost(service: Mapping[str, Any], budget: Mapping[str, Any] | None, board: Board) -> str:
    if budget is not None:
        label = f"{_money(budget['spent'], board)} of {_money(budget['limit'], board)}"
        return meter(budget["spent"], budget["limit"], tone=_fill(budget["spent"], budget["limit"]), label=label)
    return _money(service["cost"], board) if service["cost"] else ""


def _rejects(rejects: Sequence[Mapping[str, Any]]) -> str:
    if not rejects:
        return ""
    items = "".join(
        f"<li><b>{count(one['records'])}</b> {text(one['service'], 80)}: {text(one['reason'], 80)}"
        f"<ul>{''.join(_example(example) for example in one['examples'])}</ul></li>"
        for one in rejects
    )
    return f'<h2>rejects</h2><ul class="rejects">{items}</ul>'


def _example(example: Mapping[str, str]) -> str:
    return f"<li><code>{text(example['record'], 120)}</code> {text(example['error'], 200)}</li>"


def _workers(workers: Sequence[Mapping[str, Any]]) -> str:
    if not workers:
        return ""
    rows = "".join(_worker(one) for one in workers)
    heads = ("worker", "tasks", "memory", "processor", "leases")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f'<h2>workers</h2><table class="cards"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _worker(worker: Mapping[str, Any]) -> str:
    leases = "; ".join(_lease(api, one) for api, one in worker["leases"].items())
    memory = meter(worker["memory"], worker["memory_limit"] or None, label=size(int(worker["memory"])))
    cells = (
        ("worker", f'<span class="name">{text(worker["address"], 80)}</span>'),
        ("tasks", f"{count(worker['tasks'])} on {counted(worker['threads'], 'thread')}"),
        ("memory", memory),
        ("processor", f"{worker['cpu']:.0f} %"),
        ("leases", leases),
    )
    return "<tr>" + "".join(_cell(name, value) for name, value in cells) + "</tr>"


def _lease(api: str, lease: Mapping[str, Any]) -> str:
    held = f"{count(lease['in_flight'])} of {count(lease['share'])}" if lease["share"] else count(lease["in_flight"])
    waiting = f", {count(lease['waiting'])} waiting" if lease["waiting"] else ""
    return f"{text(api, 60)} {held} in flight{waiting}"


def _notes(board: Board) -> str:
    said = [f'<li class="warn">{text(one)}</li>' for one in board["warnings"]]
    said += [f"<li>{text(one)}</li>" for one in board["notes"]]
    return f'<h2>notes</h2><ul class="notes">{"".join(said)}</ul>' if said else ""
