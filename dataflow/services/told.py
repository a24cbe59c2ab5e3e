"""What a composite service says of its members that have failed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataflow.outcomes import Outcome, Status

_TOLD = (Status.FAILED, Status.TIMED_OUT, Status.NOT_ATTEMPTED)


def failures_told(
    outcomes: Mapping[str, Outcome], members: Sequence[str], *, composite: str, whole: bool = False
) -> str:
    """Which members have failed and why, in one line; empty where none has.

    Args:
        outcomes: What each has done.
        members: Their names.
        composite: That of the service they are part of.
        whole: Whether with what each has said, which may hold a value.
    """
    found = [(name, outcomes[name]) for name in members if name in outcomes and outcomes[name].status in _TOLD]
    told = [(name.removeprefix(f"{composite}."), (whole and one.error) or one.reason) for name, one in found]
    return "; ".join(f"`{name}`: {why}" for name, why in told)
