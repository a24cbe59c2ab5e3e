"""Notes about effects: found by whoever comes next, few files, and never two holders that both go on."""

from __future__ import annotations

import pytest
from committing import started

from dataflow.errors import OutputLocked, StoreError
from dataflow.policies.effects import End, Note
from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder
from dataflow.store.effects import JOINED, EffectLog, RunEffects, copy_effects
from dataflow.store.files import files_at
from dataflow.store.prune import tidy


def note(place: int, end: End = End.SENT, value: str = "") -> Note:
    return Note(place=place, end=end, at=1.5, value=value)


def log_of(folder: RunFolder) -> EffectLog:
    return RunEffects(folder, "p0").log("schedule")


def files_of(folder: RunFolder) -> list[str]:
    return list(files_at(folder.root).sizes(folder.path("effects", "p0", "schedule")))


def test_what_one_worker_notes_the_next_one_finds(catalog: Catalog) -> None:
    run = started(catalog)
    first = log_of(run)
    assert first.begin() == {}
    first.write([note(1), note(2), note(3)])
    first.write([note(1, End.SUCCEEDED, '{"text": "größer\\n"}'), note(2, End.NOTHING)])
    known = log_of(run).begin()
    assert known == {1: note(1, End.SUCCEEDED, '{"text": "größer\\n"}'), 3: note(3)}


def test_notes_of_other_services_and_partitions_stand_apart(catalog: Catalog) -> None:
    run = started(catalog)
    for other in (RunEffects(run, "p1").log("schedule"), RunEffects(run, "p0").log("mail")):
        other.begin()
        other.write([note(1)])
    assert log_of(run).begin() == {}


def test_who_has_lost_the_partition_learns_it_before_anything_is_sent(catalog: Catalog) -> None:
    run = started(catalog)
    paused, later = log_of(run), log_of(run)
    paused.begin()
    later.begin()
    with pytest.raises(OutputLocked, match="another worker"):
        paused.write([note(1)])
    later.write([note(2)])
    assert set(log_of(run).begin()) == {1, 2}


def test_two_that_begin_at_once_get_turns_of_their_own(catalog: Catalog) -> None:
    run = started(catalog)
    one, other = log_of(run), log_of(run)
    one.begin()
    other._newest = lambda: 0  # type: ignore[method-assign]  # as it was for both
    other.begin()
    del other._newest
    other.write([note(1)])
    with pytest.raises(OutputLocked):
        one.write([note(2)])


def test_many_groups_become_few_files_and_their_order_stays(catalog: Catalog) -> None:
    run = started(catalog)
    log = log_of(run)
    log.begin()
    for number in range(3 * JOINED + 5):
        log.write([note(number % 7), note(number % 7, End.SUCCEEDED, str(number))])
    assert len(files_of(run)) == 1 + 3 + 5
    last = {number % 7: str(number) for number in range(3 * JOINED + 5)}
    assert {place: found.value for place, found in log_of(run).begin().items()} == last
    log.close()
    assert len(files_of(run)) == 3
    assert {place: found.value for place, found in log_of(run).begin().items()} == last


def test_a_kill_between_joining_and_removing_changes_nothing(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    run = started(catalog)
    log = log_of(run)
    log.begin()
    for number in range(5):
        log.write([note(0, End.SENT if number % 2 else End.NOTHING)])
    before = log_of(run).begin()
    monkeypatch.setattr(type(files_at(run.root)), "remove", lambda *_: None)
    log.close()
    assert log_of(run).begin() == before == {}


def test_a_damaged_file_is_named_and_nothing_goes_on(catalog: Catalog) -> None:
    run = started(catalog)
    log = log_of(run)
    log.begin()
    log.write([note(1)])
    files = files_at(run.root)
    path = run.path("effects", "p0", "schedule", "000001-000001-000001.jsonl")
    files.write(path, files.read(path)[:-9])
    with pytest.raises(StoreError, match=r"000001-000001-000001\.jsonl is damaged"):
        log_of(run).begin()


def test_a_later_run_takes_over_what_an_earlier_one_has_sent_even_after_it_was_published(catalog: Catalog) -> None:
    run, later = started(catalog), started(catalog, "r2")
    log = log_of(run)
    log.begin()
    log.write([note(1)])
    tidy(files_at(run.root), run.path())
    copy_effects(run, later)
    assert log_of(later).begin() == {1: note(1)}
    copy_effects(later, run)
