"""What an output has sent: gathered from all runs, found by record, and left as it was by whatever is killed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from committing import started

from dataflow.errors import StoreError
from dataflow.policies.effects import End, Note
from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder
from dataflow.store.effects import RunEffects
from dataflow.store.files import files_at
from dataflow.store.sent import MERGED, Head, Sent

MAIL = {"its code": "a"}


def name_of(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}"


def note(number: int, end: End = End.SUCCEEDED, *, inputs: str = "") -> Note:
    return Note(record=name_of(number), inputs=inputs, end=end, at=1.5, value=f"{number}")


def send(run: RunFolder, *notes: Note, identity: str = "p0") -> None:
    log = RunEffects(run, identity).log("mail")
    log.begin(())
    log.write(notes)
    log.close()


@pytest.fixture
def sent(catalog: Catalog) -> Sent:
    return Sent(catalog.root, "leads", "mail")


def of(sent: Sent, *numbers: int) -> list[str]:
    return sorted(one.value for one in sent.of({name_of(number) for number in numbers}))


def next_run(catalog: Catalog, sent: Sent, name: str, *notes: Note) -> RunFolder:
    run = started(catalog, name)
    sent.gather(MAIL, folder=run)
    send(run, *notes)
    return run


def test_a_later_run_finds_what_all_earlier_ones_have_sent(catalog: Catalog, sent: Sent) -> None:
    next_run(catalog, sent, "r1", note(1), note(2), note(3, End.NOTHING))
    next_run(catalog, sent, "r2", note(3), note(4, End.SENT))
    next_run(catalog, sent, "r3")
    assert of(sent, 1, 3, 4, 9) == ["1", "3", "4"]
    head = sent.head()
    assert head is not None
    assert (head.sent, head.definition) == ({"r1": 2, "r2": 2}, MAIL)


def test_many_runs_leave_few_files_and_lose_nothing(catalog: Catalog, sent: Sent) -> None:
    for number in range(2 * MERGED + 3):
        next_run(catalog, sent, f"r{number:02d}", note(1 + number), note(0))
    next_run(catalog, sent, "last")
    everything = of(sent, *range(2 * MERGED + 4))
    assert everything == sorted(["0"] * (2 * MERGED + 3) + [str(1 + number) for number in range(2 * MERGED + 3)])
    assert len(files_at(catalog.root).sizes(sent.path("kept"))) < MERGED
    assert sent.runs() == ["last"]


def test_a_run_that_goes_on_finds_its_own_earlier_epochs(catalog: Catalog, sent: Sent) -> None:
    run = next_run(catalog, sent, "r1", note(1))
    later = run.resume()
    assert sent.waiting(run="r1", before=later.epoch) == {"r1": 1}
    sent.gather(MAIL, folder=later)
    send(later, note(2))
    assert of(sent, 1, 2) == ["1"]
    assert [one.value for one in RunEffects(later, "p0").log("mail").begin({name_of(1)})] == ["1", "2"]
    assert [one.value for one in sent.at("r1", "p0")] == ["2"]


@pytest.mark.parametrize("operation", ["write", "remove"])
def test_a_kill_while_gathering_loses_nothing_and_doubles_nothing(
    catalog: Catalog, sent: Sent, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    next_run(catalog, sent, "r1", note(1), note(2))
    run = started(catalog, "r2")
    kind = type(files_at(catalog.root))
    real, killed = getattr(kind, operation), 0
    for after in range(3):
        left = [after]

        def broken(self: object, *given: object, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(5, "killed")
            real(self, *given)

        with monkeypatch.context() as patched, suppress(StoreError):
            patched.setattr(kind, operation, broken)
            sent.gather(MAIL, folder=run)
        killed += left[0] < 0
    assert killed
    sent.gather(MAIL, folder=run)
    assert of(sent, 1, 2) == ["1", "2"]
    assert len(files_at(catalog.root).sizes(sent.path("kept"))) == 1


def test_nothing_from_before_counts_where_everything_is_sent_anew(catalog: Catalog, sent: Sent) -> None:
    next_run(catalog, sent, "r1", note(1))
    run = started(catalog, "r2")
    assert sent.begin_anew(MAIL, folder=run) == Head(definition=MAIL, gathered={"r1": 1}, anew="r2")
    assert of(sent, 1) == []
    send(run, note(2))
    next_run(catalog, sent, "r3")
    assert of(sent, 1, 2) == ["2"]


def test_inputs_of_notes_that_cannot_be_compared_count_for_none(catalog: Catalog, sent: Sent) -> None:
    next_run(catalog, sent, "r1", note(1, inputs="ab" * 8))
    run = next_run(catalog, sent, "r2", note(2, inputs="ab" * 8))
    assert [one.inputs for one in sent.of({name_of(1)})] == ["ab" * 8]
    sent.gather(MAIL, folder=started(catalog, "r3"), compares=False)
    assert [one.inputs for one in sent.of({name_of(1), name_of(2)})] == ["", ""]
    assert run.run == "r2"


def test_prune_leaves_what_was_sent(catalog: Catalog, sent: Sent) -> None:
    run = next_run(catalog, sent, "r1", note(1))
    run.abandon("changed")
    catalog.prune("leads", keep=1)
    assert not Path(run.path()).exists()
    next_run(catalog, sent, "r2")
    assert of(sent, 1) == ["1"]


def test_it_is_kept_in_an_object_store_too() -> None:
    catalog = Catalog("memory://effects")
    sent = Sent(catalog.root, "leads", "mail")
    next_run(catalog, sent, "r1", note(1))
    late = RunEffects(started(catalog, "r2"), "p0").log("mail")
    run = next_run(catalog, sent, "r3", note(2))
    assert late.begin({name_of(1)})[0].value == "1"
    assert [one.value for one in RunEffects(run, "p0").log("mail").begin({name_of(1)})] == ["1", "2"]


def test_what_was_sent_of_a_record_is_found_among_many(catalog: Catalog, sent: Sent) -> None:
    next_run(catalog, sent, "r1", *(note(number) for number in range(40_000)))
    next_run(catalog, sent, "r2")
    assert of(sent, 0, 17, 39_999, 40_000) == ["0", "17", "39999"]
