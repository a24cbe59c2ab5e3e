"""The cache around a run: what is recalled, what an offline run lacks, the merge of small segments at its end."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from dataflow.engine.http.offline import SESSIONS
from dataflow.errors import DeclarationError, StoreError
from dataflow.plan.graph import Graph
from dataflow.store.cache.cache import Cache
from dataflow.store.cache.compacting import MANY
from dataflow.store.cache.segments import Segments
from dataflow.store.commit import RunFolder
from dataflow.store.files import files_at
from dataflow.telemetry.statistics import Statistics
from dataflow.wiring.memory import origin_of

_LAST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembers:
    """Which answers serve a run, as it is kept in its folder.

    Attributes:
        since: Since when answers are its own, as ISO text in UTC; None since it is started.
        of: The run under whose id the answers are kept that serve this one alone; None for its own.
        recall: The services of which no other answers serve, and since when they count, as ISO text in UTC.
    """

    since: str | None = None
    of: str | None = None
    recall: dict[str, str] = field(default_factory=dict)

    @classmethod
    def left_by(cls, folder: RunFolder) -> Remembers:
        """What a run that stands in for another takes over from it."""
        head = folder.head()
        return cls(
            since=head.get("answers_since", head["started"]),
            of=head.get("answers_of", folder.run),
            recall=head.get("recall", {}),
        )

    def recalling(self, services: Mapping[str, str]) -> Remembers:
        """The same without the answers of some services from before a time; see `recalled_since`."""
        return Remembers(since=self.since, of=self.of, recall=self.recall | dict(services))

    def to_dict(self) -> dict[str, Any]:
        """What the run's head says, as plain JSON values."""
        named = {"answers_since": self.since, "answers_of": self.of, "recall": self.recall}
        return {name: value for name, value in named.items() if value}


def recalled_since(graph: Graph, root: str, services: Sequence[str], *, since: str | None = None) -> dict[str, str]:
    """Since when the answers of services count that are recalled, as ISO text in UTC.

    That is after the last answer there is, which a clock that was wrong may have dated ahead: the new ones are dated
    no earlier, so that on every host they are the newer ones.

    Args:
        graph: The bound pipeline.
        root: The catalog.
        services: Their names.
        since: By the clock; now by default.

    Raises:
        StoreError: The cache cannot be read.
    """
    now = since or _iso(datetime.now(UTC))
    origins = [origin_of(step) for step in graph.every if step.service.name in services]
    if not origins or SESSIONS.current is not None:
        return dict.fromkeys(services, now)
    with Cache(root) as cache:
        cache.know(origins)
        newest = {origin.service: cache.newest(origin) or 0.0 for origin in origins}
    ahead = {name: _after(last) for name, last in newest.items() if last > time.time()}
    return dict.fromkeys(services, now) | ahead


def _after(seconds: float) -> str:
    return _iso(datetime.fromtimestamp(min(seconds, _LAST), UTC) + timedelta(microseconds=1))


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def check_recall(graph: Graph, services: Sequence[str]) -> None:
    """Refuse to recall what has no answers.

    Raises:
        DeclarationError: A name is that of no service whose answers are kept.
    """
    known = [step.service.name for step in graph.every if step.service.api is not None and step.service.repeatable]
    once = [step.service.name for step in graph.steps if not step.service.repeatable]
    for name in services:
        if name in known:
            continue
        if name in once:
            raise DeclarationError(
                f"recall: `{name}` has idempotent=False, so what it has sent is no answer of the cache; --send-again "
                f"{name} (send_again=) sends everything again"
            )
        local = any(step.service.name == name for step in graph.every)
        what = "calls no API, so none of its answers are kept" if local else "is no service of this job"
        near = difflib.get_close_matches(name, known, n=1)
        listed = f"there is {', '.join(known)}" if known else "it has none that calls an API"
        raise DeclarationError(f"recall: `{name}` {what}; {f'did you mean `{near[0]}`?' if near else listed}")


def lacking(counts: Statistics, run: str) -> str | None:
    """What an offline run could not answer, and what to try; None where it lacks nothing."""
    found = [
        f"`{name}` for {one.not_attempted:,} records" for name, one in counts.services.items() if one.not_attempted
    ]
    if not found:
        return None
    return (
        f"offline, the cache has no answers of {', of '.join(found)}; run the same command again without --offline "
        f"(offline=) to call for them, or publish it as it is: dataflow publish {run}"
    )


def merge_segments(graph: Graph, root: str, *, warn: Callable[[str], object]) -> None:
    """Merge small segments of the services of a graph, where there are many; a failure is a warning and no more."""
    steps = [step for step in graph.every if step.service.api is not None and step.service.policy.cache is not None]
    if not steps or SESSIONS.current is not None:
        return
    origins = [origin_of(step) for step in steps]
    try:
        segments = Segments(files_at(root), root)
        if any(len(segments.sizes(origin.folder)) >= MANY for origin in origins):
            with Cache(root) as cache:
                cache.know(origins)
                cache.compact()
    except (StoreError, OSError) as error:
        warn(f"small segments of the cache are not merged: {error}")
