"""What went wrong in a run, as its owner reads it: the most frequent errors, with what providers and exceptions said.

The counts are those of the statistics; the texts are read from the failures in the catalog, which others do not see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflow.errors import DataflowError, GuardrailReached
from dataflow.store.catalog import Catalog
from dataflow.store.dataset import Dataset
from dataflow.store.live import read_said

if TYPE_CHECKING:
    from dataflow.wiring.run import Run

MOST = 10
"""Errors that are told."""
_FILES, _ROWS = 20, 20_000
"""Files and rows of failures that are looked at for their texts: the newest ones."""


Texts = dict[tuple[str, str], Counter[str]]
"""How often each text was found, by service and reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorLine:
    """One of the errors of a run.

    Attributes:
        service: The service that has failed.
        reason: The class of reason.
        records: How many records it has failed for.
        error: The text that most of them have, as far as they were looked at; None where an older dataflow kept none.
    """

    service: str
    reason: str
    records: int
    error: str | None = None

    def __str__(self) -> str:
        records = "1 record" if self.records == 1 else f"{self.records:,} records"
        return f"`{self.service}` failed for {records}: {self.error or self.reason}"


def errors_of(services: Mapping[str, Mapping[str, Any]], find: Callable[[], Dataset]) -> tuple[ErrorLine, ...]:
    """The most frequent errors of a version, or of what a run has committed.

    Args:
        services: What was counted for each service, in the public form.
        find: Gives what has the failures; asked only where there are some. Where they cannot be read, the classes of
            reasons are all that is told.
    """
    counts = [
        (records, name, reason)
        for name, one in services.items()
        for reason, records in one.get("errors", {}).items()
        if records
    ]
    counts.sort(key=lambda one: -one[0])
    texts: Texts = {}
    with suppress(DataflowError):
        texts = _texts(find()) if counts else {}
    return tuple(
        ErrorLine(
            service=name,
            reason=reason,
            records=records,
            error=next((text for text, _ in texts.get((name, reason), Counter()).most_common(1)), None),
        )
        for records, name, reason in counts[:MOST]
    )


def _texts(dataset: Dataset) -> Texts:
    found: Texts = {}
    rows = 0
    for part in [one for one in reversed(dataset.manifest["parts"]) if one.get("failures")][:_FILES]:
        if rows >= _ROWS:
            break
        table = dataset.side_of("failures", part["identity"])
        rows += table.num_rows
        if "error" not in table.schema.names:
            continue
        for row in table.select(["service", "reason", "error"]).to_pylist():
            if row["error"]:
                found.setdefault((row["service"], row["reason"]), Counter())[row["error"]] += 1
    return found


def complete(error: BaseException, run: Run) -> None:
    """Add to an error that ends a run what somebody has said, for the owner of the run."""
    if not isinstance(error, DataflowError) or error.said:
        return
    with suppress(DataflowError, OSError):
        error.said = read_said(Catalog(run.catalog).run(run.id), error)
        if not error.said and isinstance(error, GuardrailReached):
            lines = run.errors
            own = [one for one in lines if f"`{one.service}`" in error.plain]
            error.said = "".join(f"the most frequent error: {one}" for one in (own or lines)[:1])


def plain_of(error: BaseException) -> str:
    """What anybody may read of an error that ends a run: of a foreign one its class."""
    return error.plain if isinstance(error, DataflowError) else type(error).__name__


def said_of(error: BaseException) -> str:
    """What somebody has said about an error that ends a run; a foreign one says it itself."""
    return error.said if isinstance(error, DataflowError) else str(error)
