"""A partition is committed once, whole, by whoever holds the run, and reads back as it was."""

from __future__ import annotations

import json
import pickle
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from committing import SCHEMAS, SPECS, published, python, result_of, spec_of, started

from dataflow.engine.result import PartitionResult
from dataflow.errors import CatalogError, OutputLocked, StoreError
from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder
from dataflow.store.schemas import Schemas
from dataflow.telemetry.statistics import Statistics

PAUSED = """
import os, signal, sys
from committing import SPECS, result_of
from dataflow.errors import OutputLocked
from dataflow.store import writing
from dataflow.store.commit import RunFolder
from dataflow.store.ledger import Ledger

checks, check = int(sys.argv[2]), Ledger.require_current
def pausing(ledger):
    global checks
    check(ledger)
    checks -= 1
    if checks == 0:
        print("paused", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
Ledger.require_current = pausing
run = RunFolder.from_dict(eval(sys.argv[1]))
try:
    print(run.commit(SPECS[0], result_of(0, names=["late"])).part.name, flush=True)
except OutputLocked as error:
    print("refused:", error, flush=True)
"""

KILLED = """
import os, signal, sys
from committing import SPECS, broken_at, result_of
from dataflow.store.commit import RunFolder
run = RunFolder.from_dict(eval(sys.argv[1]))
with broken_at(int(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL)):
    run.commit(SPECS[0], result_of(0))
"""


@pytest.fixture
def run(catalog: Catalog) -> RunFolder:
    return started(catalog)


@pytest.fixture
def local_run(tmp_path: Path) -> RunFolder:
    return started(Catalog(tmp_path))


def names_in(run: RunFolder, folder: str) -> list[str]:
    return sorted(path.name for path in Path(run.path(folder)).iterdir())


def test_a_committed_partition_is_found_with_all_that_was_counted(run: RunFolder) -> None:
    record = run.commit(SPECS[0], result_of(0))
    assert run.find(SPECS[0]) == record
    assert run.find(SPECS[1]) is None
    assert run.committed() == {SPECS[0].identity: record}
    assert (record.rows, record.rejected, record.failures) == (3, 1, None)
    assert record.counts.statistics.total_records == 4
    assert record.counts.statistics.columns["name"].report() == {
        "type": "string",
        "nulls": 0,
        "min": "ann",
        "max": "eve",
    }


def test_a_second_commit_changes_nothing_and_returns_the_first(run: RunFolder) -> None:
    first = run.commit(SPECS[0], result_of(0))
    again = run.commit(SPECS[0], result_of(0, names=["other"]))
    assert again == first
    assert run.partial().to_arrow()["name"].to_pylist() == ["ann", "bob", "eve"]


def test_a_second_commit_writes_no_file(local_run: RunFolder) -> None:
    first = local_run.commit(SPECS[0], result_of(0))
    local_run.commit(SPECS[0], result_of(0, names=["other"]))
    assert names_in(local_run, "parts") == [first.part.name]


def test_of_two_attempts_with_different_answers_neither_overwrites_the_other(local_run: RunFolder) -> None:
    first = local_run.commit(SPECS[0], result_of(0))
    Path(local_run.path("commits", f"{SPECS[0].identity}.json")).unlink()
    second = local_run.commit(SPECS[0], result_of(0, names=["other"]))
    assert names_in(local_run, "parts") == sorted([first.part.name, second.part.name])


def test_commit_records_come_in_the_order_of_the_plan(run: RunFolder) -> None:
    for index in (4, 0, 2, 3, 1):
        run.commit(spec_of(index), result_of(index))
    assert [record.index for record in run.committed().values()] == [0, 1, 2, 3, 4]


def test_a_run_travels_as_plain_data(run: RunFolder) -> None:
    assert pickle.loads(pickle.dumps(run)) == run
    assert RunFolder.from_dict(json.loads(json.dumps(run.to_dict()))) == run


def test_sums_that_do_not_add_up_are_refused(local_run: RunFolder) -> None:
    lost = replace(result_of(0), rejects=SCHEMAS.rejects.empty_table())
    with pytest.raises(StoreError, match=r"partition 0 of run r1: rejected = 1, but rows of the rejects = 0"):
        local_run.commit(SPECS[0], lost)
    assert local_run.committed() == {}
    assert names_in(local_run, "parts") == []


def test_a_partition_with_fewer_records_than_planned_is_refused(run: RunFolder) -> None:
    with pytest.raises(StoreError, match="records planned = 5, but total records = 4"):
        run.commit(replace(SPECS[0], rows=5), result_of(0))


def test_a_schema_that_was_not_planned_is_refused_with_the_columns(run: RunFolder) -> None:
    drifted = result_of(0).output.cast(pa.schema([("id", pa.int64()), ("name", pa.large_string())]))
    with pytest.raises(StoreError, match=r"not those that were planned \(name: large_string, name: string\)"):
        run.commit(SPECS[0], replace(result_of(0), output=drifted))


def test_a_type_that_parquet_cannot_hold_is_refused_before_the_run_starts(catalog: Catalog) -> None:
    schemas = replace(SCHEMAS, output=pa.schema([("id", pa.int64()), ("every", pa.month_day_nano_interval())]))
    with pytest.raises(StoreError, match=r"column 'every' has the type month_day_nano_interval; let a transformation"):
        catalog.start("leads", run_id="r1", plan={}, schemas=schemas)
    assert catalog.runs("leads") == []


def test_a_failure_goes_into_its_own_file(run: RunFolder) -> None:
    failures = pa.table({"id": [1], "status": ["failed"]}, schema=SCHEMAS.failures)
    record = run.commit(SPECS[0], replace(result_of(0), failures=failures))
    assert record.failures is not None
    assert record.failures.rows == 1
    assert run.partial().failures().equals(failures)


def many_types() -> pa.Table:
    verdict = pa.struct([("validator", pa.dictionary(pa.int8(), pa.string())), ("errors", pa.list_(pa.string()))])
    moment = datetime(2024, 5, 6, 7, 8, 9, 123456, UTC)
    return pa.table(
        {
            "verdicts": pa.array([[{"validator": "email", "errors": ["no @"]}], [], None], pa.list_(verdict)),
            "price": pa.array([Decimal("1.10"), None, Decimal("-3.00")], pa.decimal128(10, 2)),
            "at_ns": pa.array([1, None, 2**62], pa.timestamp("ns", "Europe/Berlin")),
            "at_s": pa.array([moment, None, moment], pa.timestamp("s")),
            "day": pa.array([date(2024, 5, 6), None, date(1900, 1, 1)], pa.date64()),
            "country": pa.array(["DE", None, "FR"]).dictionary_encode(),
            "code": pa.array([7, None, 7], pa.int16()).dictionary_encode(),
            "big": pa.array(["a", None, "b"], pa.large_string()).dictionary_encode(),
            "blob": pa.array([b"\x00", None, b""], pa.large_binary()),
            "unsigned": pa.array([2**64 - 1, None, 0], pa.uint64()),
            "half": pa.array([1.5, None, -0.0], pa.float16()),
            "nothing": pa.nulls(3),
            "a.b": pa.array(["dot", None, "dot"]),
            "a": pa.array([{"b": "x"}, None, {"b": None}], pa.struct([("b", pa.string())])),
        }
    )


@pytest.mark.parametrize("rows", [3, 0])
def test_every_type_reads_back_as_it_was(catalog: Catalog, rows: int) -> None:
    table = many_types().slice(0, rows)
    schemas = Schemas(output=table.schema, rejects=SCHEMAS.rejects, failures=SCHEMAS.failures)
    run = catalog.start("leads", run_id="r1", plan={}, schemas=schemas)
    result = PartitionResult(
        output=table,
        rejects=schemas.rejects.empty_table(),
        failures=schemas.failures.empty_table(),
        statistics=Statistics(total_records=rows, valid_records=rows),
    )
    record = run.commit(SPECS[0], result)
    read = run.publish(SPECS[:1]).to_arrow()
    assert read.schema.equals(table.schema)
    assert read.equals(table)
    assert record.counts.statistics.columns["a.b"].max == ("dot" if rows else None)
    assert list(record.counts.statistics.columns) == table.schema.names


def test_the_statistics_of_columns_are_those_of_the_kernels(run: RunFolder) -> None:
    from dataflow.telemetry.profile import table_statistics

    names = ["Zoë", None, "ann", "", "🙂"]
    record = run.commit(SPECS[0], result_of(0, names=names))  # type: ignore[arg-type]
    expected = table_statistics(result_of(0, names=names).output)  # type: ignore[arg-type]
    assert record.counts.statistics.columns == expected


def test_a_profile_estimates_distinct_values(run: RunFolder) -> None:
    record = run.commit(SPECS[0], result_of(0, names=["a", "a", "b"]), profile=True)
    assert record.counts.statistics.columns["name"].report()["distinct"]["estimate"] == 2


def test_the_index_of_pandas_does_not_get_into_the_parts(local_run: RunFolder) -> None:
    noted = result_of(0).output.replace_schema_metadata({"pandas": '{"index_columns": [3]}', "origin": "crm"})
    record = local_run.commit(SPECS[0], replace(result_of(0), output=noted))
    metadata = pq.read_schema(local_run.path("parts", record.part.name)).metadata
    assert b"pandas" not in metadata
    assert metadata[b"origin"] == b"crm"


def test_a_run_that_was_taken_over_commits_nothing_for_its_first_holder(run: RunFolder) -> None:
    kept = run.commit(SPECS[0], result_of(0))
    successor = run.resume()
    assert successor.committed() == {SPECS[0].identity: kept}
    with pytest.raises(OutputLocked, match="another process has taken it over"):
        run.commit(SPECS[1], result_of(1))
    successor.commit(SPECS[1], result_of(1))
    assert len(successor.committed()) == 2


def test_two_processes_cannot_both_resume_a_run(run: RunFolder) -> None:
    run.resume()
    with pytest.raises(OutputLocked, match="another process has taken it over"):
        run.resume()


@pytest.mark.parametrize(("state", "words"), [("abandon", "it is abandoned"), ("stop", "it is stopped")])
def test_a_run_that_has_ended_takes_no_late_commit(run: RunFolder, state: str, words: str) -> None:
    getattr(run, state)("because")
    with pytest.raises(OutputLocked, match=words):
        run.commit(SPECS[0], result_of(0))


def test_a_published_run_takes_no_late_commit(run: RunFolder) -> None:
    run.publish([])
    with pytest.raises(OutputLocked, match="it is published"):
        run.commit(SPECS[0], result_of(0))


def test_a_run_whose_folder_is_gone_takes_no_late_commit(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    run = started(catalog)
    run.abandon("the source has changed")
    catalog.prune("leads", keep=1)
    with pytest.raises(OutputLocked, match="nothing is committed here"):
        run.commit(SPECS[0], result_of(0))
    assert not Path(run.path()).exists()


def test_a_record_that_was_written_too_late_gives_way(local_run: RunFolder) -> None:
    late = local_run.commit(SPECS[0], result_of(0, names=["late"]))
    record = Path(local_run.path("commits", f"{SPECS[0].identity}.json"))
    data = record.read_bytes()
    record.unlink()
    successor = local_run.resume()
    record.write_bytes(data)
    assert successor.find(SPECS[0]) is None
    assert successor.committed() == {}
    committed = successor.commit(SPECS[0], result_of(0))
    assert committed.part != late.part
    assert successor.committed() == {SPECS[0].identity: committed}


@pytest.fixture
def paused(local_run: RunFolder, request: pytest.FixtureRequest) -> Iterator[tuple[RunFolder, object]]:
    process = python(PAUSED, local_run.to_dict(), request.param)
    assert process.stdout is not None
    assert process.stdout.readline() == "paused\n"
    yield local_run, process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("paused", [1, 2], indirect=True, ids=["before its files", "before its record"])
def test_a_worker_that_was_paused_and_wakes_commits_nothing(paused: tuple[RunFolder, object]) -> None:
    run, process = paused
    successor = run.resume()
    successor.commit(SPECS[0], result_of(0))
    process.send_signal(signal.SIGCONT)  # type: ignore[attr-defined]
    assert process.stdout.readline().startswith("refused:")  # type: ignore[attr-defined]
    successor.commit(SPECS[1], result_of(1))
    names = successor.publish(SPECS).to_arrow()["name"].to_pylist()
    assert names == ["ann", "bob", "eve"] * 2


@pytest.mark.parametrize("paused", [2], indirect=True)
def test_a_record_of_a_paused_worker_does_not_count_where_nobody_has_done_its_work(
    paused: tuple[RunFolder, object],
) -> None:
    run, process = paused
    successor = run.resume()
    process.send_signal(signal.SIGCONT)  # type: ignore[attr-defined]
    process.stdout.readline()  # type: ignore[attr-defined]
    assert successor.find(SPECS[0]) is None
    successor.commit(SPECS[0], result_of(0))
    assert successor.publish(SPECS[:1]).to_arrow()["name"].to_pylist() == ["ann", "bob", "eve"]


@pytest.mark.parametrize("paused", [2], indirect=True)
def test_of_two_attempts_at_once_the_first_record_counts_for_both(paused: tuple[RunFolder, object]) -> None:
    run, process = paused
    first = run.commit(SPECS[0], result_of(0))
    process.send_signal(signal.SIGCONT)  # type: ignore[attr-defined]
    assert process.stdout.readline() == f"{first.part.name}\n"  # type: ignore[attr-defined]
    assert run.find(SPECS[0]) == first


@pytest.mark.parametrize("paused", [1], indirect=True)
def test_a_worker_that_wakes_when_its_run_is_gone_says_so(paused: tuple[RunFolder, object]) -> None:
    run, process = paused
    run.abandon("the source has changed")
    Catalog(run.root).prune("leads", keep=1)
    process.send_signal(signal.SIGCONT)  # type: ignore[attr-defined]
    assert process.stdout.readline().startswith("refused:")  # type: ignore[attr-defined]
    assert not Path(run.path()).exists()


def test_a_worker_killed_anywhere_in_a_commit_leaves_all_or_nothing(local_run: RunFolder) -> None:
    for number in (2, 5, 9, 11, 12, 15):
        process = python(KILLED, local_run.to_dict(), number)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        found = local_run.find(SPECS[0])
        assert found is None or found == local_run.commit(SPECS[0], result_of(0))
    local_run.commit(SPECS[0], result_of(0))
    assert local_run.publish(SPECS[:1]).rows == 3


def test_a_damaged_record_is_named(local_run: RunFolder) -> None:
    local_run.commit(SPECS[0], result_of(0))
    Path(local_run.path("commits", f"{SPECS[0].identity}.json")).write_bytes(b"{")
    with pytest.raises(StoreError, match=rf"commit record {SPECS[0].identity}.json is damaged; remove it"):
        local_run.committed()


def test_a_run_of_another_format_is_refused_by_name(tmp_path: Path) -> None:
    run = started(Catalog(tmp_path))
    head = Path(run.path("run.json"))
    head.write_text(head.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(CatalogError, match="format 99 is not known here"):
        Catalog(tmp_path).runs("leads")


def test_unchanged_partitions_are_carried_over_to_their_new_place(catalog: Catalog) -> None:
    before = published(catalog, specs=SPECS)
    specs = (spec_of(0, fingerprint="new"), replace(SPECS[1], index=1), replace(SPECS[0], index=2))
    run = started(catalog, "r2", specs)
    carried = run.carry_over(specs, before)
    assert sorted(carried) == sorted(spec.identity for spec in SPECS)
    assert run.committed() == dict(sorted(carried.items(), key=lambda item: item[1].index))
    run.commit(specs[0], result_of(5))
    after = run.publish(specs)
    assert after.to_arrow()["id"].to_pylist() == [50, 51, 52, 10, 11, 12, 0, 1, 2]
    assert after.rejects()["id"].to_pylist() == [59, 19, 9]
    assert after.statistics["total_records"] == 12
    after.verify()


def test_carried_parts_share_their_bytes_on_a_file_system(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    before = published(catalog)
    run = started(catalog, "r2")
    run.carry_over(SPECS, before)
    after = run.publish(SPECS)
    assert [Path(path).stat().st_ino for path in after.files] == [Path(path).stat().st_ino for path in before.files]


def test_a_partition_whose_file_is_gone_or_cut_is_not_carried_over(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    before = published(catalog)
    Path(before.files[0]).unlink()
    Path(before.files[1]).write_bytes(b"PAR1")
    assert started(catalog, "r2").carry_over(SPECS, before) == {}


def test_a_partition_of_another_schema_is_not_carried_over(catalog: Catalog) -> None:
    before = published(catalog)
    wider = replace(SCHEMAS, output=SCHEMAS.output.append(pa.field("more", pa.bool_())))
    run = catalog.start("leads", run_id="r2", plan={}, schemas=wider)
    assert run.carry_over(SPECS, before) == {}


def incomplete(index: int) -> PartitionResult:
    """A partition as only publishing may leave it: a service was not attempted for a record."""
    whole = result_of(index)
    return replace(whole, statistics=replace(whole.statistics, not_attempted_records=1))


def test_a_partition_where_something_was_not_attempted_is_done_anew_unless_it_is_published_as_it_is(
    catalog: Catalog,
) -> None:
    run = started(catalog)
    run.commit(SPECS[0], result_of(0))
    run.commit(SPECS[1], incomplete(1))
    stopped = run.stop("because")
    assert len(stopped.committed()) == 2
    kept = stopped.resume(as_it_is=True)
    assert len(kept.committed()) == 2
    again = kept.resume()
    assert list(again.committed()) == [SPECS[0].identity]
    again.commit(SPECS[1], result_of(1, names=["new"]))
    assert again.publish(SPECS).to_arrow()["name"].to_pylist() == ["ann", "bob", "eve", "new"]


def test_a_partition_where_something_was_not_attempted_is_not_carried_over(catalog: Catalog) -> None:
    run = started(catalog)
    run.commit(SPECS[0], result_of(0))
    run.commit(SPECS[1], incomplete(1))
    before = run.publish(SPECS)
    assert list(started(catalog, "r2").carry_over(SPECS, before)) == [SPECS[0].identity]
