"""What all runs of an output have sent of the services that send a record once, as another run of it begins.

Whether it still counts is decided before anything is sent; what counts is gathered then for the run, and told.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dataflow.engine.http.offline import SESSIONS
from dataflow.engine.naming import naming_columns
from dataflow.errors import CatalogError, DeclarationError
from dataflow.plan.code import Looks
from dataflow.plan.fingerprint import changes
from dataflow.plan.graph import Graph, Step
from dataflow.plan.own import NAMES, READS, REPEATED, own_definition
from dataflow.plan.texts import Texts
from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder, RunState
from dataflow.store.sent import Head, Sent, noted_services
from dataflow.wiring.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """The services of a job that send a record once, and what was sent of them for its output.

    Attributes:
        graph: The bound pipeline.
        looks: What was seen of its code.
        texts: The files that this is in.
        key: The columns that name a record.
        catalog: Where the output is.
        output: The name of the output, which the caller holds.
        settings: Of the run.
    """

    graph: Graph
    looks: Looks
    texts: Texts
    key: tuple[str, ...]
    catalog: Catalog
    output: str
    settings: Settings

    def check(self) -> None:
        """Refuse to run where it is not certain which records of a service were sent.

        Raises:
            DeclarationError: A service is not what it was when it sent records, and nobody says what that means; or a
                name is that of no such service.
        """
        for option in ("keep_sent", "send_again"):
            self._check_names(option, getattr(self.settings, option))
        if both := sorted(set(self.settings.keep_sent) & set(self.settings.send_again)):
            raise DeclarationError(f"keep_sent and send_again both name `{both[0]}`; give one of them")
        for step in self._noted():
            name = step.service.name
            head = None if name in self.settings.send_again else self._sent(name).head()
            if head is not None and (differing := changes(head.definition, self._definition(step))):
                self._check_same(name, head, differing)

    def late(self, folder: RunFolder) -> list[str]:
        """The services of which everything is to be sent again, and not only since this run began."""
        begun = sending_again(folder)
        return [name for name in self.settings.send_again if name not in begun]

    def take_over(self, folder: RunFolder) -> list[str]:
        """Let a run know what was sent before it, as far as that counts; what is to be said of it.

        Raises:
            StoreError: It cannot be read or written.
            OutputLocked: Another process goes on with a run of the output.
        """
        told = []
        again = sending_again(folder)
        for step in self.graph.steps:
            name, sent = step.service.name, self._sent(step.service.name)
            if step.service.repeatable and name not in again:
                continue
            self._end_others(sent, folder)
            head, definition = sent.head(), self._definition(step)
            if name in again and (head is None or head.anew != folder.run):
                sent.begin_anew(definition, folder=folder)
                continue
            compares = head is None or head.definition.get(READS) == definition[READS]
            found = sent.gather(definition, folder=folder, compares=compares)
            told += _told(name, {run: count for run, count in found.sent.items() if run != folder.run})
        return told

    def go_on(self, folder: RunFolder) -> None:
        """Let a run that sends nothing know what was sent; whatever its services are by now."""
        for step in self._noted():
            sent = self._sent(step.service.name)
            self._end_others(sent, folder)
            sent.gather(None, folder=folder)

    def _noted(self) -> list[Step]:
        """The services of which something was ever noted."""
        names = noted_services(self.catalog.root, self.output, apart=SESSIONS.current is not None)
        return [step for step in self.graph.steps if step.service.name in names]

    def _sent(self, service: str) -> Sent:
        return Sent(self.catalog.root, self.output, service, apart=SESSIONS.current is not None)

    def _definition(self, step: Step) -> dict[str, str]:
        columns = naming_columns(step, self.graph, self.key)
        named_by = [column.name for column in columns]
        return own_definition(step, self.graph, named_by=named_by, looks=self.looks, texts=self.texts)

    def _check_names(self, option: str, names: Sequence[str]) -> None:
        known = [step.service.name for step in self.graph.steps if not step.service.repeatable]
        if option == "send_again":
            # One that may be repeated by now, but could not be when it sent records.
            known += [step.service.name for step in self._noted() if step.service.repeatable]
        for name in names:
            if name in known:
                continue
            other = any(step.service.name == name for step in self.graph.every)
            what = "may be called again, so nothing is noted of it" if other else "is no service of this job"
            near = difflib.get_close_matches(name, known, n=1)
            listed = f"there is {', '.join(known)}" if known else "it has none with idempotent=False"
            raise DeclarationError(f"{option}: `{name}` {what}; {f'did you mean `{near[0]}`?' if near else listed}")

    def _check_same(self, name: str, head: Head, differing: Sequence[str]) -> None:
        counts = dict(head.sent)
        for run, count in self._sent(name).waiting().items():
            counts[run] = counts.get(run, 0) + count
        total = sum(counts.values())
        unclear = NAMES in differing or REPEATED in differing
        if not total or (name in self.settings.keep_sent and not unclear):
            return
        kept = f"--keep-sent {name} (keep_sent=) takes them for sent"
        if unclear:
            kept += ", once that is put back: which of the records of today they are cannot be told"
        raise DeclarationError(
            f"`{name}` is not what it was when {_records(total)} sent by {_runs(counts)}: changed "
            f"{', '.join(differing)}; nothing was sent now; {kept}; --send-again {name} (send_again=) sends all again"
        )

    def _end_others(self, sent: Sent, folder: RunFolder) -> None:
        """Let no other run of the output send anything any more; it can go on later."""
        for run in sent.runs():
            if run == folder.run:
                continue
            try:
                other = self.catalog.run(run)
            except CatalogError:
                # It was pruned, and who works for a run without a folder sends nothing.
                continue
            if other.state().state is RunState.UNFINISHED:
                other.stop(f"run {folder.run} of its output has begun")


def sending_again(folder: RunFolder) -> list[str]:
    """The services of which a run was asked to send everything again."""
    return list(folder.head().get("send_again", ()))


def _told(name: str, counts: Mapping[str, int]) -> list[str]:
    if not (total := sum(counts.values())):
        return []
    return [f"`{name}`: {_records(total)} sent by {_runs(counts)}; --send-again {name} sends them again"]


def _records(count: int) -> str:
    return "1 record was" if count == 1 else f"{count:,} records were"


def _runs(counts: Mapping[str, int]) -> str:
    runs = [run for run, count in counts.items() if count]
    return f"run {runs[0]}" if len(runs) == 1 else f"{len(runs)} runs, the last of them {runs[-1]}"
