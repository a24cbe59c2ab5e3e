"""The story of one record as people hold it: where it ended and what each service did; values are cut. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

TEXT, ITEMS = 300, 20
"""Characters of a text, and items of a list, beyond which a value is cut: nobody reads on in a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """What one service did for the record.

    Attributes:
        service: Its name.
        status: The outcome; None where it cannot be told any more.
        reason: Why it did not succeed, or what is not known.
        error: What it said when it failed, as the failures have it.
        http_status: Of the last answer, where it failed.
        attempts: Calls made, where it failed.
        duration: Seconds spent, where it failed.
        cost: What the failed calls cost.
        verdict: Of a validation: the errors, empty where it found the record valid; None for other services.
        wrote: The values it wrote, cut.
        answered: When the remembered answer was given, as ISO text in UTC.
        age: Seconds since then.
        answer_cost: What the answer cost.
    """

    service: str
    status: str | None = None
    reason: str | None = None
    error: str | None = None
    http_status: int | None = None
    attempts: int | None = None
    duration: float | None = None
    cost: float | None = None
    verdict: tuple[str, ...] | None = None
    wrote: Mapping[str, Any] = field(default_factory=dict)
    answered: str | None = None
    age: float | None = None
    answer_cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What became of one record.

    Attributes:
        dataset: The version that was asked, such as `leads@v3`.
        key: The key by column.
        ended: `output`, `rejects`, or `nowhere` where there is no such record.
        near: Keys that are close, where there is none.
        count: Records with this key; the story is that of the first.
        run: The run that has made the record.
        version: The version that run has published, which a later one may have carried over.
        source_file: Where the record comes from.
        source_row: Its row there, from 1.
        part: The file that it is in.
        part_row: Its row there, from 0.
        rejected: Service, reason, error and raw text, where it was rejected.
        record: Its columns in the output, or else in the source, cut.
        chapters: What each service did, in listed order.
        notes: What cannot be told, and why.
    """

    dataset: str
    key: Mapping[str, str]
    ended: str
    near: tuple[str, ...] = ()
    count: int = 0
    run: str | None = None
    version: int | None = None
    source_file: str | None = None
    source_row: int | None = None
    part: str | None = None
    part_row: int | None = None
    rejected: Mapping[str, Any] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    chapters: tuple[Chapter, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        from dataflow.faces.stories import story_text

        return story_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from dataflow.faces.stories import story_html

        return story_html(self)


def cut(value: Any) -> Any:
    """A value of which not more is left than people read."""
    if isinstance(value, str) and len(value) > TEXT:
        return f"{value[:TEXT]}… ({len(value):,} characters)"
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, Mapping):
        kept = {name: cut(one) for name, one in list(value.items())[: 10 * ITEMS]}
        return kept if len(kept) == len(value) else {**kept, "…": f"{len(value):,} fields"}
    if isinstance(value, Sequence) and not isinstance(value, str):
        few = [cut(one) for one in value[:ITEMS]]
        return few if len(value) <= ITEMS else [*few, f"… ({len(value):,} items)"]
    return value
