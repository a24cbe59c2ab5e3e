"""How a run begins: it goes on with an unfinished one of the same plan, or starts anew and says why.

Everything here happens under the lock of the output; what is then done with the folder is the business of `running`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dataflow.errors import CatalogError
from dataflow.plan.pipeline import Job
from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder
from dataflow.store.dataset import Dataset
from dataflow.wiring.caching import Remembers, recalled_since
from dataflow.wiring.jobs import Reference
from dataflow.wiring.memory import recalled
from dataflow.wiring.planning import CUT, Planned, differing, plan_values, schemas_of
from dataflow.wiring.repair import Repair
from dataflow.wiring.run import Run
from dataflow.wiring.sending import Sending
from dataflow.wiring.settings import Settings
from dataflow.wiring.stopped import planned_specs, require_same_plan
from dataflow.wiring.unchanged import is_attempted, is_planned_alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The way into the folder of a run.

    Attributes:
        job: What is run.
        catalog: Where its output goes.
        settings: Of the run.
        run: What the user holds; what was decided is noted there.
        reference: How a command named the job, or None.
    """

    job: Job
    catalog: Catalog
    settings: Settings
    run: Run
    reference: Reference | None

    def unfinished(self) -> RunFolder | None:
        """The run that this one goes on with, unless its plan turns out to differ."""
        return self.catalog.unfinished(self.job.output) if self.settings.resume else None

    def plan_before(self, repair: Repair | None) -> Mapping[str, Any] | None:
        """The plan of the run that this one may go on with, or mends."""
        if repair is not None:
            return self.catalog.run(repair.run).plan()
        unfinished = self.unfinished()
        return None if unfinished is None else unfinished.plan()

    def versions(self) -> list[Dataset]:
        """The version that the name of the output stands for, and the newest where that is another one."""
        if not self.catalog.has(self.job.output):
            return []
        latest, newest = self.catalog.open(self.job.output), self.catalog.newest(self.job.output)
        return [latest] if newest is None or newest.version == latest.version else [latest, newest]

    def cut_before(self, planned: Planned) -> Mapping[str, Any] | None:
        """How an earlier version was cut for slow services, if it was made by the same ones."""
        for version in self.versions() if planned.uncut is not None else ():
            if is_planned_alike(version, planned):
                with suppress(CatalogError):
                    # Where somebody has removed what is told about that run, the services tell.
                    return self.catalog.run(version.manifest["run"]).plan().get(CUT)
        return None

    def enter(self, planned: Planned) -> RunFolder:
        """The unfinished run where it has the same plan, else a new one."""
        sending, unfinished, recall = self.sending(planned), self._unfinished(), self.settings.recall
        remembers, since = self._left_by(planned), None
        if unfinished is not None:
            changed = differing(unfinished.plan(), planned)
            late = [name for name in recall if name not in recalled(unfinished)]
            anew = sending.late(unfinished)
            if self.settings.resume and not changed and not late and not anew:
                return unfinished.resume(as_it_is=Repair.of(unfinished) is not None)
            reason = f"changed: {', '.join(changed)}" if changed else "a new run was asked for"
            if self.settings.resume and not changed:
                # What it has paid for is not what it took from the cache.
                reason = f"asked to recall {', '.join(late)}" if late else f"asked to send {', '.join(anew)} again"
                remembers, since = Remembers.left_by(unfinished), unfinished.head()["started"]
            unfinished.abandon(reason)
            self.run.notes.append(f"run {unfinished.run} is abandoned ({reason}); a new run starts")
        plan = plan_values(planned, reference=self.reference)
        again = {"send_again": list(self.settings.send_again)} if self.settings.send_again else {}
        return self.catalog.start(
            self.job.output,
            run_id=self.run.id,
            plan=plan,
            schemas=schemas_of(planned),
            key=self.job.keys,
            remembers=remembers.recalling(self._recalled(planned, since)).to_dict() | again,
        )

    def enter_repair(self, planned: Planned, repair: Repair) -> RunFolder:
        """The same repair where it is unfinished, else a new one."""
        repaired = self.catalog.run(repair.run)
        require_same_plan(repaired, differing(repaired.plan(), planned), to_be="repaired")
        unfinished = self.catalog.unfinished(self.job.output)
        if unfinished is not None and Repair.of(unfinished) == repair:
            return unfinished.resume(as_it_is=True)
        plan = plan_values(planned, reference=self.reference)
        return self.catalog.start(
            self.job.output,
            run_id=self.run.id,
            plan=plan | repair.plan_values(),
            schemas=schemas_of(planned),
            key=self.job.keys,
            remembers=Remembers.left_by(repaired).to_dict(),
        )

    def _recalled(self, planned: Planned, since: str | None) -> dict[str, str]:
        return recalled_since(planned.graph, self.catalog.root, self.settings.recall, since=since)

    def sending(self, planned: Planned) -> Sending:
        """What its services that send a record once have sent for the output."""
        return Sending(
            graph=planned.graph,
            looks=planned.looks,
            texts=planned.texts,
            key=self.job.keys,
            catalog=self.catalog,
            output=self.job.output,
            settings=self.settings,
        )

    def _left_by(self, planned: Planned) -> Remembers:
        """The answers that a run has left which was published as it is."""
        newest = self.catalog.newest(self.job.output)
        if newest is None or is_attempted(newest) or not self.settings.resume or not is_planned_alike(newest, planned):
            return Remembers()
        with suppress(CatalogError):
            # Where somebody has removed what is told about that run, its own answers are paid for again.
            return Remembers.left_by(self.catalog.run(newest.manifest["run"]))
        return Remembers()

    def _unfinished(self) -> RunFolder | None:
        """The run that could go on; one that was killed while it was published as it is, is published first."""
        found = self.catalog.unfinished(self.job.output)
        placed = None if found is None else found.placed()
        if found is None or placed is None or is_attempted(placed):
            return found
        dataset = found.resume(as_it_is=True).publish(planned_specs(found))
        self.run.notes.append(f"run {found.run} is published as it was, as {dataset}")
        return None
