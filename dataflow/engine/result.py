"""What one partition gives: the tables to commit, and the small value that goes back to the driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflow.engine.rejected import Rejected
from dataflow.telemetry.statistics import Statistics

if TYPE_CHECKING:
    from dataflow.engine.foreseeing import Foreseen
    from dataflow.engine.resolving import KeyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionResult:
    """One partition after the graph, ready to be committed.

    Attributes:
        output: The kept records under the output schema.
        rejects: One row for each rejected record: key, service, reason, error, source file and row, raw text.
        failures: One row for each outcome of a record that did not succeed.
        statistics: The counts of this partition.
        rejected: The rejects in a few lines.
    """

    output: pa.Table
    rejects: pa.Table
    failures: pa.Table
    statistics: Statistics
    rejected: tuple[Rejected, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a partition task reports when it has committed, or has stopped short of it.

    Attributes:
        identity: The identity of the partition spec.
        index: Its position in the plan.
        rows: Records in the output.
        rejected: Records in the rejects.
        statistics: Mergeable counts; of the calls only, where it stopped.
        stopped: Why nothing was committed, or None where the commit record is on disk.
        said: What a provider has said about that; for the owner of the run only.
        again_in: Seconds after which it makes sense to hand it out again, where it stopped.
        warnings: Sentences from its process that nobody has heard yet.
        keys: By service, the keys that a partition was found to ask for.
        over: The purse that is used up, so that nothing helps but more money; None where that is not the reason.
        outage: Whether something is down that keeps it; a rate that is used up is none, since waiting helps for sure.
        rejects: Its rejected records by reason, where it was committed just now.
        foreseen: What became of its records before any call, where only that was looked at.
    """

    identity: str
    index: int
    rows: int
    rejected: int
    statistics: Statistics
    stopped: str | None = None
    said: str = ""
    again_in: float = 0.0
    warnings: tuple[str, ...] = ()
    keys: Mapping[str, KeyRecord] = field(default_factory=dict)
    over: str | None = None
    outage: bool = True
    rejects: tuple[Rejected, ...] = ()
    foreseen: Foreseen | None = None
