"""Notes about effects: found by whoever comes next, few files, and never two holders that both go on."""

from __future__ import annotations

import pytest
from committing import started

from dataflow.errors import OutputLocked, StoreError
from dataflow.policies.effects import End, Note, Subject
from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder
from dataflow.store.effects import JOINED, EffectLog, RunEffects
from dataflow.store.files import files_at
from dataflow.store.sent import Sent


def name_of(number: int) -> str:
    return f"{number:032x}"


def note(number: int, end: End = End.SENT, value: str = "") -> Note:
    return Note(record=name_of(number), inputs=f"{number:016x}", end=end, at=1.5, value=value)


def log_of(folder: RunFolder) -> EffectLog:
    return RunEffects(folder, "p0").log("schedule")


def sent_of(folder: RunFolder) -> Sent:
    return Sent(folder.root, folder.dataset, "schedule")


def folder_of(run: RunFolder) -> str:
    return sent_of(run).path("runs", run.run, f"{run.epoch:05d}", "p0")


def files_of(run: RunFolder) -> list[str]:
    return list(files_at(run.root).sizes(folder_of(run)))


def begun(folder: RunFolder) -> dict[str, Note]:
    return {one.record: one for one in log_of(folder).begin({name_of(number) for number in range(10)})}


def test_what_one_worker_notes_the_next_one_finds(catalog: Catalog) -> None:
    run = started(catalog)
    first = log_of(run)
    assert first.begin({name_of(1)}) == []
    first.write([note(1), note(2), note(3)])
    first.write([note(1, End.SUCCEEDED, '{"text": "größer\\n"}'), note(2, End.NOTHING)])
    assert begun(run) == {name_of(1): note(1, End.SUCCEEDED, '{"text": "größer\\n"}'), name_of(3): note(3)}


def test_notes_of_other_services_and_partitions_stand_apart(catalog: Catalog) -> None:
    run = started(catalog)
    for other in (RunEffects(run, "p1").log("schedule"), RunEffects(run, "p0").log("mail")):
        other.begin(())
        other.write([note(1)])
    assert begun(run) == {}


def test_equal_records_of_a_partition_have_notes_of_their_own(catalog: Catalog) -> None:
    run = started(catalog)
    log = log_of(run)
    log.begin(())
    log.write([note(1), Note(record=name_of(1), inputs=f"{1:016x}", nth=1, end=End.SENT, at=1.5)])
    assert [one.subject for one in log_of(run).begin(())] == [Subject(name_of(1), f"{1:016x}", nth) for nth in range(2)]


def test_who_has_lost_the_partition_learns_it_before_anything_is_sent(catalog: Catalog) -> None:
    run = started(catalog)
    paused, later = log_of(run), log_of(run)
    paused.begin(())
    later.begin(())
    with pytest.raises(OutputLocked, match="another worker"):
        paused.write([note(1)])
    later.write([note(2)])
    assert set(begun(run)) == {name_of(1), name_of(2)}


def test_who_has_lost_the_run_learns_it_before_anything_is_sent(catalog: Catalog) -> None:
    run = started(catalog)
    paused = log_of(run)
    paused.begin(())
    paused.write([note(1)])
    asleep = log_of(run)
    later = run.resume()
    with pytest.raises(OutputLocked):
        paused.write([note(2)])
    with pytest.raises(OutputLocked):
        asleep.begin(())
    sent_of(run).gather({}, folder=later)
    with pytest.raises((OutputLocked, StoreError)):
        paused.write([note(4)])
    assert name_of(1) in begun(later)


def test_who_works_for_a_run_that_is_gone_sends_nothing(catalog: Catalog) -> None:
    run = started(catalog)
    log = log_of(run)
    log.begin(())
    files_at(run.root).remove(run.path())
    with pytest.raises(OutputLocked):
        log.write([note(1)])


def test_two_that_begin_at_once_get_turns_of_their_own(catalog: Catalog) -> None:
    run = started(catalog)
    one, other = log_of(run), log_of(run)
    one.begin(())
    other._newest = lambda: 0  # type: ignore[method-assign]  # as it was for both
    other.begin(())
    del other._newest
    other.write([note(1)])
    with pytest.raises(OutputLocked):
        one.write([note(2)])


def test_many_groups_become_few_files_and_their_order_stays(catalog: Catalog) -> None:
    run = started(catalog)
    log = log_of(run)
    log.begin(())
    for number in range(3 * JOINED + 5):
        log.write([note(number % 7), note(number % 7, End.SUCCEEDED, str(number))])
    assert len(files_of(run)) == 1 + 3 + 5
    last = {name_of(number % 7): str(number) for number in range(3 * JOINED + 5)}
    assert {name: found.value for name, found in begun(run).items()} == last
    log.close()
    assert len(files_of(run)) == 3
    assert {name: found.value for name, found in begun(run).items()} == last


def test_a_kill_between_joining_and_removing_changes_nothing(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    run = started(catalog)
    log = log_of(run)
    log.begin(())
    for number in range(5):
        log.write([note(0, End.SENT if number % 2 else End.NOTHING)])
    before = begun(run)
    monkeypatch.setattr(type(files_at(run.root)), "remove", lambda *_: None)
    log.close()
    assert begun(run) == before == {}


def test_a_damaged_file_is_named_and_nothing_goes_on(catalog: Catalog) -> None:
    run = started(catalog)
    log = log_of(run)
    log.begin(())
    log.write([note(1)])
    files = files_at(run.root)
    path = f"{folder_of(run)}/000001-000001-000001.jsonl"
    files.write(path, files.read(path)[:-9])
    with pytest.raises(StoreError, match=r"000001-000001-000001\.jsonl is damaged"):
        begun(run)
