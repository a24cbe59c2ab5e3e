"""How a reply says its slots, and how it is said again. Pure; the scheduler imports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def runs(times: Sequence[float], *, now: float) -> list[list[float]]:
    """Slots as [delay, step, count] of stretches in equal steps."""
    runs: list[list[float]] = []
    for at in times:
        delay = at - now
        if runs:
            start, step, count = runs[-1]
            if count == 1:
                runs[-1] = [start, delay - start, 2]
                continue
            if abs(start + step * count - delay) < 1e-7:
                runs[-1][2] += 1
                continue
        runs.append([delay, 0.0, 1])
    return runs


def again(reply: Mapping[str, Any] | None, *, now: float) -> dict[str, Any]:
    """The same reply, told at a later time."""
    assert reply is not None
    late = now - reply["now"]
    slots = reply["slots"]
    if slots is not None:
        slots = {**slots, "runs": [[delay - late, step, count] for delay, step, count in slots["runs"]]}
    return {**reply, "now": now, "lease": reply["lease"] - late, "slots": slots}
