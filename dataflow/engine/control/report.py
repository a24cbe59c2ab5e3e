"""What a gate has to tell the control plane: how the calls ended since it was told last. No clock inside."""

from __future__ import annotations

from typing import Any

from dataflow.engine.control.stock import Slot


class Report:
    """The endings since the last request, in order.

    Attributes:
        outcomes: First letters of `Attempt` of calls that were no probes; always the same list.
        probes: The same of probes.
        throttled: Retry-After of each 429, or None.
        planned: (slot, reserved, reserved instead) of calls that said what they may use.
        tokens: (slot, reserved, used) of calls of which it is known.
        reason: The class of reason of the call that failed last, or None.
    """

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.probes: list[str] = []
        self.throttled: list[float | None] = []
        self.planned: list[tuple[float, int, int]] = []
        self.tokens: list[tuple[float, int, int]] = []
        self.reason: str | None = None

    def plan(self, slot: Slot, tokens: int | None) -> int:
        """Reserve so many tokens with a slot that is used, in place of its own; gives what is reserved now."""
        if tokens is None or not slot.tokens:
            return slot.tokens
        self.planned.append((slot.at, slot.tokens, tokens))
        return tokens

    def take(self) -> dict[str, Any]:
        """What a request says of them; then they are told."""
        told = {
            "outcomes": "".join(self.outcomes),
            "probes": "".join(self.probes),
            "throttled": list(self.throttled),
            "planned": list(self.planned),
            "tokens": list(self.tokens),
            "failed_by": self.reason,
        }
        self.reason = None
        for one in (self.outcomes, self.probes, self.throttled, self.planned, self.tokens):
            one.clear()
        return told
