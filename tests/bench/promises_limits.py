"""The limits of an API over several worker processes, as its provider sees them, with and without a kill."""

from __future__ import annotations

from judging import Finding, most_at_once, share_used, worst_window
from staging import Stage, intervals, stage

RATE, CALLS, WARM = 500, 5_000, 500
MOST = 525
USED = 0.97
RATE_WORKERS, RATE_LATENCY = 4, 0.02
CAP, CAPPED, CAP_LATENCY = 20, 600, 0.25
CAP_WORKERS = (1, 2, 8)
UNSYNCED = 0.25
"""Seconds of answers that a kill may cost."""


def check_rate(name: str = "rate", *, kill: bool = False) -> list[Finding]:
    """500 calls a second over four worker processes, for about 10 s after a second of warming up."""
    limits = f'rate="{RATE}/s", concurrency=None, timeout=5'
    with stage(latency=RATE_LATENCY, finishes=True) as on:
        on.write(limits=limits, keys=CALLS + WARM, parts=4 * RATE_WORKERS)
        found = _run(on, workers=RATE_WORKERS, keys=CALLS + WARM, kill=kill)
        times = sorted(entry[0] for entry in on.settled())
    lines = [
        ("calls in the worst sliding second, 9 of 10 turns", worst_window(times), MOST, "most"),
        ("share of the limit used, first call to last, 9 of 10 turns", share_used(times, rate=RATE), USED, "least"),
    ]
    return [
        *(
            Finding(check=name, what=what, figure=figure, limit=limit, bound=bound, lenient=0.1)
            for what, figure, limit, bound in lines
        ),
        Finding(check=name, what="records answered", figure=found, limit=CALLS + WARM, bound="least"),
        _repeated(name, "calls made twice", len(times) - CALLS - WARM, rate=RATE, latency=RATE_LATENCY, kill=kill),
    ]


def _repeated(check: str, what: str, count: int, *, rate: float, latency: float, kill: bool) -> Finding:
    """A kill repeats the calls in flight and those of the last 250 ms, and nothing else repeats any."""
    return Finding(check=check, what=what, figure=count, limit=rate * (latency + UNSYNCED) if kill else 0)


def check_rate_kill() -> list[Finding]:
    """The same while one of the worker processes is killed in the middle."""
    return check_rate("rate-kill", kill=True)


def check_cap() -> list[Finding]:
    """A cap of 20 at 1, 2 and 8 worker processes, plain and with one of them killed in the middle."""
    return [one for workers in CAP_WORKERS for kill in (False, True) for one in _cap(workers, kill=kill)]


def _cap(workers: int, *, kill: bool) -> list[Finding]:
    with stage(latency=CAP_LATENCY, finishes=True) as on:
        on.write(limits=f"concurrency={CAP}, timeout=2", keys=CAPPED, parts=6 * workers)
        found = _run(on, workers=workers, keys=CAPPED, kill=kill)
        calls = intervals(on.settled())
    most = CAP / CAP_LATENCY
    what = f"{workers} worker{'s' if workers > 1 else ''}{', one killed' if kill else ''}"
    return [
        Finding(check="cap", what=f"{what}: calls at once", figure=most_at_once(calls), limit=CAP),
        Finding(check="cap", what=f"{what}: records answered", figure=found, limit=CAPPED, bound="least"),
        _repeated("cap", f"{what}: calls made twice", len(calls) - CAPPED, rate=most, latency=CAP_LATENCY, kill=kill),
    ]


def _run(on: Stage, *, workers: int, keys: int, kill: bool) -> int:
    """Run the job, and see that all workers took part; the distinct records that were answered."""
    process = on.run("--workers", str(workers))
    if kill:
        on.wait_for_calls(keys // 2, process=process)
        on.kill_worker(process)
    output = on.finish(process)
    took_part = len(set(output["process"].to_pylist()))
    if took_part < workers:
        raise RuntimeError(f"only {took_part} of {workers} worker processes took part")
    answered = output.filter(output["title"].is_valid())
    return len(set(answered["domain"].to_pylist()))
