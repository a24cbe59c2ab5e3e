"""What is said about the pace of a run, in phrases. Pure; time is an argument."""

from __future__ import annotations

from dataflow.faces.texts import count, counted, rate, remaining
from dataflow.faces.traffic import lines
from dataflow.telemetry.pace import Pace

STALE = 10.0
"""Seconds after which what was heard of the calls is no news: the control plane does not answer."""


def phrases(pace: Pace, now: float) -> tuple[str, ...]:
    """What a display says, the most important first."""
    found = [f"{count(pace.done)} of {counted(pace.partitions, 'partition')}"]
    speed, left = pace.speed(now), pace.left(now)
    found += [rate(speed)] if speed else []
    found += [f"{count(pace.rejected)} rejected"] if pace.rejected else []
    found += [f"{remaining(left)} left"] if left is not None and pace.done < pace.partitions else []
    return tuple(found)


def calls(pace: Pace, now: float) -> tuple[str, ...]:
    """A line for each API that is called; none where nothing was heard of them for a while."""
    return lines(pace.traffic) if now - pace.heard < STALE else ()
