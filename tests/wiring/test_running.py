"""Whole runs on threads of this process, against a plain loop over the same records."""

from __future__ import annotations

import csv
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.errors import CatalogError, DeclarationError, Interrupted, OutputLocked, SourceError
from dataflow.outcomes import Event
from dataflow.testing import memory_catalog
from dataflow.wiring.run import Run

REGIONS = {"DE": "Europe", "FR": "Europe", "US": "America"}
Record = dict[str, Any]


@flow.transformation
def email(email: str) -> str:
    return email.strip().lower()


@flow.transformation
def share(amount: int) -> float:
    return 100 / amount


@flow.validation
def email_syntax(email: str) -> str | None:
    return None if "@" in email else "no @"


@flow.validation
def small(amount: int) -> bool:
    return amount < 50


@flow.enrichment
def region(country: str, amount: int) -> str:
    if amount == 13:
        raise flow.Reject("unlucky")
    if country == "XX":
        raise ValueError("no such place")
    if country not in REGIONS:
        raise flow.NotFound
    return REGIONS[country]


pipeline = flow.Pipeline("leads", [email, share, email_syntax, small, region])


def oracle(record: Record) -> tuple[str, Any]:
    """Where a record ends, by a plain reading of the rules: `output` and its values, or `rejects` and its reason."""
    address = None if record["email"] is None else record["email"].strip().lower()
    if record["amount"] == 0:
        return "rejects", ("share", "ZeroDivisionError")
    if record["amount"] == 13 and record["country"] is not None:
        return "rejects", ("region", "rejected")
    judged = [
        ("email_syntax", address is None or "@" in address, [] if address is None or "@" in address else ["no @"]),
        ("small", record["amount"] < 50, []),
    ]
    found = REGIONS.get(record["country"])
    verdicts = [
        {"validator": name, "is_valid": valid, "errors": errors}
        for name, valid, errors in judged
        if name != "email_syntax" or address is not None
    ]
    return "output", {
        **record,
        "email": address,
        "share": 100 / record["amount"],
        "region": found,
        "is_valid": all(valid for _, valid, _ in judged),
        "validations": verdicts,
        "completeness": None if record["country"] is None else float(found is not None),
        "degraded": record["country"] == "XX",
    }


def leads(count: int = 60) -> list[Record]:
    addresses = [" Ana@B.example", "bob", None, "c@d.example "]
    countries = ["DE", "US", "XX", None, "ZZ", "FR"]
    return [
        {
            "id": f"L{at:03d}",
            "email": addresses[at % 4],
            "amount": at,
            "country": countries[at % 6],
            "note": f'"{at}",\n',
        }
        for at in range(count)
    ]


def write_csv(path: Path, records: Sequence[Record], *, raw: Sequence[str] = ()) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(leads(1)[0]))
        writer.writeheader()
        writer.writerows(records)
        file.writelines(raw)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    def start(source: Any, used: flow.Pipeline = pipeline, **settings: Any) -> Run:
        settings = {"output": "leads", "catalog": str(tmp_path / "catalog"), "key": "id", **settings}
        return used.run(source, **settings)

    return start


def check(run: Run, records: Sequence[Record], *, unreadable: int = 0) -> None:
    """Output, rejects, failures and statistics are what the oracle and plain counting say."""
    fates = [oracle(record) for record in records]
    assert run.to_arrow().to_pylist() == [values for place, values in fates if place == "output"]
    rejects = [row for row in run.rejects().to_pylist() if row["service"] != "source"]
    expected = [
        (record["id"], *found) for record, (place, found) in zip(records, fates, strict=True) if place == "rejects"
    ]
    assert [(row["id"], row["service"], row["reason"]) for row in rejects] == expected
    assert run.rejects().num_rows == len(expected) + unreadable
    check_counts(run)
    assert run.statistics["total_records"] == len(records) + unreadable


def check_counts(run: Run) -> None:
    """The statistics are what can be counted in output, rejects and failures."""
    counts, output, failures = run.statistics, run.to_arrow(), run.failures().to_pylist()
    valid = output["is_valid"].to_pylist().count(True)
    assert (counts["valid_records"], counts["invalid_records"]) == (valid, output.num_rows - valid)
    assert counts["rejected_records"] == run.rejects().num_rows
    assert counts["total_records"] == output.num_rows + run.rejects().num_rows
    assert counts["degraded_records"] == output["degraded"].to_pylist().count(True)
    known = [one for one in output["completeness"].to_pylist() if one is not None]
    assert counts["completeness"] == pytest.approx(sum(known) / len(known) if known else None)
    failed = Counter(row["service"] for row in failures)
    reasons = Counter((row["service"], row["reason"]) for row in failures)
    for name, service in counts["services"].items():
        assert service["failed"] + service["timed_out"] == failed[name]
        assert all(reasons[name, reason] == count for reason, count in service["errors"].items())
    for name, column in counts["columns"].items():
        assert column["nulls"] == output[name].null_count
    assert counts["columns"]["id"]["min"] == min(output["id"].to_pylist(), default=None)


def test_a_run_gives_what_a_plain_loop_gives(run: Callable[..., Run], tmp_path: Path) -> None:
    done = run(write_csv(tmp_path / "leads.csv", leads()))
    check(done, leads())
    assert (done.status, done.version, done.partitions, done.done) == ("published", 1, 1, 1)
    assert done.warnings == ["`region` failed for 10 records, which are marked degraded"]


def test_failures_name_their_record_service_reason_and_text(run: Callable[..., Run], tmp_path: Path) -> None:
    failures = run(write_csv(tmp_path / "leads.csv", leads(9)), max_failures=2).failures().to_pylist()
    assert [(row["id"], row["service"], row["status"], row["reason"], row["source_row"]) for row in failures] == [
        ("L000", "share", "failed", "ZeroDivisionError", 1),
        ("L002", "region", "failed", "ValueError", 3),
        ("L008", "region", "failed", "ValueError", 9),
    ]
    assert failures[1]["error"] == "ValueError: no such place (test_running.py, line 52)"


def test_what_cannot_be_read_is_rejected_with_its_raw_text(run: Callable[..., Run], tmp_path: Path) -> None:
    raw = ["Z1,z@z.example,many,DE,note\r\n", "Z2,z@z.example,4,DE\r\n"]
    done = run(write_csv(tmp_path / "leads.csv", leads(20), raw=raw))
    check(done, leads(20), unreadable=2)
    rows = [row for row in done.rejects().to_pylist() if row["service"] == "source"]
    assert [row["raw"] for row in rows] == [text.strip() for text in raw]
    assert [(row["reason"], row["source_row"]) for row in rows] == [("unreadable", 21), ("unreadable", 22)]
    assert "`amount`" in rows[0]["error"]
    assert "many" not in rows[0]["error"]


@pytest.mark.parametrize("files", [2, 7, 60])
def test_data_rejects_and_counts_do_not_depend_on_how_the_source_is_cut(
    run: Callable[..., Run], tmp_path: Path, files: int
) -> None:
    whole = run(write_csv(tmp_path / "whole.csv", leads()), output="whole")
    size = -(-60 // files)
    for at in range(files):
        write_csv(tmp_path / "parts" / f"{at}.csv", leads()[at * size : (at + 1) * size])
    # What one record after the other says of all of them is not what all of them say.
    cut = run(tmp_path / "parts", max_failures=10)
    check(cut, leads())
    for table in ("rejects", "failures"):
        one, other = (getattr(done, table)().to_pylist() for done in (whole, cut))
        names = [name for name in (one[0] if one else {}) if not name.startswith("source_") and name != "duration"]
        assert sorted(str([row[name] for name in names]) for row in one) == sorted(
            str([row[name] for name in names]) for row in other
        )
    assert _timeless(whole.statistics) == _timeless(cut.statistics)
    assert cut.statistics["batches_processed"] == files


def _timeless(value: Any) -> Any:
    gone = {"duration", "total_duration", "records_per_second", "batches_processed", "waited"}
    return {k: _timeless(v) for k, v in value.items() if k not in gone} if isinstance(value, dict) else value


def test_rows_of_rejects_count_from_each_file(run: Callable[..., Run], tmp_path: Path) -> None:
    first = write_csv(tmp_path / "parts" / "a.csv", leads(14))
    second = write_csv(tmp_path / "parts" / "b.csv", leads(1))
    rows = run(tmp_path / "parts").rejects().to_pylist()
    assert [(row["source_file"], row["source_row"]) for row in rows] == [
        (str(first), 1),
        (str(first), 14),
        (str(second), 1),
    ]


def test_readers_of_parquet_read_the_folder_of_a_version(run: Callable[..., Run], tmp_path: Path) -> None:
    import duckdb
    import pandas as pd
    import polars as pl

    write_csv(tmp_path / "parts" / "a.csv", leads(30))
    write_csv(tmp_path / "parts" / "b.csv", leads(60)[30:])
    done = run(tmp_path / "parts")
    expected = [values for place, values in map(oracle, leads()) if place == "output"]
    ids = [values["id"] for values in expected]
    assert pd.read_parquet(done.path)["id"].tolist() == ids
    assert pl.read_parquet(f"{done.path}/*.parquet").to_dicts() == expected
    found = duckdb.sql(f"select id, validations, share from read_parquet('{done.path}/*.parquet')").fetchall()
    assert sorted(found) == sorted((one["id"], one["validations"], one["share"]) for one in expected)
    assert done.to_pandas()["id"].tolist() == done.to_dask().compute()["id"].tolist() == ids


def test_each_run_publishes_the_next_version_and_latest_names_it(run: Callable[..., Run], tmp_path: Path) -> None:
    source = write_csv(tmp_path / "leads.csv", leads(5))
    run(source)
    write_csv(source, leads(8))
    assert run(source).version == 2
    home = tmp_path / "catalog" / "leads"
    assert (home / "latest").resolve().name == "v2"
    assert (home / "LATEST").read_text() == "v2\n"
    versions = [flow.open(name, catalog=str(tmp_path / "catalog")).rows for name in ("leads@v1", "leads@v2", "leads")]
    assert versions == [4, 7, 7]


def test_a_source_without_records_publishes_its_columns(run: Callable[..., Run], tmp_path: Path) -> None:
    done = run(write_csv(tmp_path / "leads.csv", []))
    assert done.to_arrow().num_rows == 0
    assert done.to_arrow().column_names == list(oracle(leads(2)[1])[1])
    assert done.statistics["total_records"] == 0
    assert pq.read_table(done.path).column_names == done.to_arrow().column_names


def test_a_limit_runs_the_first_records_only(run: Callable[..., Run], tmp_path: Path) -> None:
    for at in range(6):
        write_csv(tmp_path / "parts" / f"{at}.csv", leads()[at * 10 : at * 10 + 10])
    done = run(tmp_path / "parts", limit=25)
    check(done, leads(25))
    assert any("25 records" in note for note in done.notes)
    check(run(tmp_path / "parts", limit=1000, output="more"), leads())


@pytest.mark.parametrize(("limit", "ids", "rejected"), [(1, [], 1), (2, ["B"], 1), (3, ["B"], 2), (4, ["B", "D"], 2)])
def test_a_limit_counts_what_cannot_be_read(
    run: Callable[..., Run], tmp_path: Path, limit: int, ids: list[str], rejected: int
) -> None:
    write_csv(tmp_path / "parts" / "1.csv", [], raw=["A,a@b,x,DE,n\r\n", "B,a@b,1,DE,n\r\n", "C,a@b,x,DE,n\r\n"])
    write_csv(tmp_path / "parts" / "2.csv", [], raw=["D,a@b,1,DE,n\r\n"])
    done = run(tmp_path / "parts", limit=limit, max_failures="100%")
    assert (done.to_arrow()["id"].to_pylist(), done.rejects().num_rows) == (ids, rejected)
    assert done.statistics["total_records"] == limit


def test_a_profile_estimates_the_distinct_values_of_each_column(run: Callable[..., Run], tmp_path: Path) -> None:
    source = write_csv(tmp_path / "leads.csv", leads())
    columns = run(source, profile=True).statistics["columns"]
    assert columns["country"]["distinct"]["estimate"] == 5
    assert "distinct" not in run(source, output="plain").statistics["columns"]["country"]


def test_a_key_may_have_several_columns_and_may_be_made_by_a_service(run: Callable[..., Run], tmp_path: Path) -> None:
    source = write_csv(tmp_path / "leads.csv", leads(14))
    rows = run(source, key=["id", "share"]).rejects().to_pylist()
    assert [(row["id"], row["share"]) for row in rows] == [("L000", None), ("L013", 100 / 13)]
    assert "id" not in run(source, key=None, output="keyless").rejects().column_names


def test_a_key_that_is_no_column_is_refused_before_anything_runs(run: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"lead_id.*its columns are id, email, amount"):
        run(write_csv(tmp_path / "leads.csv", leads(3)), key="lead_id")
    assert not list((tmp_path / "catalog" / "leads").glob("_runs/*"))


def test_events_come_in_order_and_add_up(run: Callable[..., Run], tmp_path: Path) -> None:
    for at in range(6):
        write_csv(tmp_path / "parts" / f"{at}.csv", leads()[at * 10 : at * 10 + 10])
    events: list[Event] = []
    done = run(tmp_path / "parts", on_event=events.append)
    assert [event.kind for event in events] == ["planned", *["committed"] * 6, "warned", "published"]
    committed = [event for event in events if event.kind == "committed"]
    assert sum(event.records for event in committed) == 60
    assert sum(event.rejected for event in committed) == done.rejects().num_rows
    assert {event.run for event in events} == {done.id}
    assert (events[0].partitions, events[-1].message) == (6, "published leads@v1")


def test_a_live_run_shows_its_first_partitions_and_ends_when_waited_for(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    go, first = threading.Event(), threading.Event()

    @flow.transformation
    def held(amount: int) -> int:
        if amount >= 10:
            assert go.wait(20)
        return amount

    parts = [write_csv(tmp_path / "parts" / f"{at}.csv", leads(20)[at * 10 : at * 10 + 10]) for at in (0, 1)]
    listener = lambda event: first.set() if event.kind == "committed" else None  # noqa: E731
    live = run(parts[0].parent, flow.Pipeline("held", [held]), wait=False, threads=1, on_event=listener)
    assert first.wait(20)
    assert (live.status, live.done, live.statistics["total_records"]) == ("running", 1, 10)
    assert live.head(3)["held"].to_pylist() == [0, 1, 2]
    assert flow.open(live).rows == 10
    with pytest.raises(CatalogError, match="has not ended"):
        live.to_arrow()
    with pytest.raises(OutputLocked, match=live.id):
        run(parts[0])
    go.set()
    assert live.wait().to_arrow()["held"].to_pylist() == list(range(20))


def test_a_live_run_that_fails_says_so_when_waited_for(run: Callable[..., Run], tmp_path: Path) -> None:
    live = run(tmp_path / "nothing.csv", wait=False)
    with pytest.raises(SourceError, match=r"nothing\.csv"):
        live.wait()
    assert live.status == "failed"
    with pytest.raises(CatalogError, match="has published nothing"):
        live.to_arrow()


def test_a_live_run_that_is_stopped_keeps_what_is_done_and_the_same_run_goes_on(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    first = threading.Event()

    @flow.transformation
    def slow(amount: int) -> int:
        time.sleep(0.05)
        return amount

    for at in range(10):
        write_csv(tmp_path / "parts" / f"{at}.csv", leads()[at * 6 : at * 6 + 6])
    events: list[str] = []

    def listener(event: Event) -> None:
        events.append(event.kind)
        if event.kind == "committed":
            first.set()

    used = flow.Pipeline("slow", [slow])
    live = run(tmp_path / "parts", used, wait=False, threads=1, on_event=listener)
    assert first.wait(20)
    live.stop()
    for _ in range(2):
        with pytest.raises(Interrupted, match="run the same command again to go on"):
            live.wait()
    assert live.status == "stopped"
    assert events[-2:] == ["stopping", "stopped"] or events[-3:] == ["stopping", "committed", "stopped"]
    assert 0 < live.done < 10
    again = run(tmp_path / "parts", used)
    assert again.id == live.id
    assert again.to_arrow().num_rows == 60
    again.stop()
    assert again.wait().status == "published"


def test_a_run_that_is_stopped_before_its_first_partition_begins_none(run: Callable[..., Run], tmp_path: Path) -> None:
    called: list[int] = []

    @flow.transformation
    def seen(amount: int) -> int:
        called.append(amount)
        return amount

    planned = threading.Event()
    hold = lambda event: planned.wait(20) if event.kind == "planned" else None  # noqa: E731
    source = write_csv(tmp_path / "leads.csv", leads(5))
    live = run(source, flow.Pipeline("seen", [seen]), wait=False, on_event=hold)
    live.stop()
    planned.set()
    with pytest.raises(Interrupted):
        live.wait()
    assert called == []


def test_a_run_works_in_a_catalog_in_memory(run: Callable[..., Run], tmp_path: Path) -> None:
    catalog = memory_catalog()
    source = write_csv(tmp_path / "leads.csv", leads())
    check(run(source, catalog=catalog), leads())
    again = run(source, catalog=catalog)
    check(again, leads())
    assert again.version == 2
    assert flow.open("leads@v1", catalog=catalog).to_arrow().equals(again.to_arrow())


def test_a_service_sees_the_run_and_its_parameters(run: Callable[..., Run], tmp_path: Path) -> None:
    @flow.transformation
    def tag(note: str, context: flow.Context) -> str:
        return f"{context.run} {context.parameters['tag']}"

    done = run(write_csv(tmp_path / "leads.csv", leads(1)), flow.Pipeline("p", [tag]), parameters={"tag": "x"})
    assert done.to_arrow()["tag"].to_pylist() == [f"{done.id} x"]


def test_untouched_columns_come_out_bit_for_bit(run: Callable[..., Run], tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": ["a", "b"],
            "nested": pa.array([{"x": [1, None]}, None], pa.struct([("x", pa.list_(pa.int8()))])),
            "price": pa.array(["1.10", None], pa.string()).cast(pa.decimal128(20, 4)),
            "kind": pa.array(["u", "v"]).dictionary_encode(),
            "at": pa.array([1, 2], pa.timestamp("ns", "UTC")),
        }
    )
    pq.write_table(table, tmp_path / "source.parquet")

    done = run(tmp_path / "source.parquet", flow.Pipeline("p", [email.with_(columns={"email": "id"})])).to_arrow()
    source = pq.read_table(tmp_path / "source.parquet")
    assert all(done[name].combine_chunks().equals(source[name].combine_chunks()) for name in table.column_names)
    assert done.select(table.column_names).schema.types == source.schema.types


def test_all_partitions_of_a_run_know_one_beginning(tmp_path: Path) -> None:
    @flow.transformation
    def begun(amount: int | None, context: flow.Context) -> str:
        return context.started_at.isoformat()

    for part in range(3):
        write_csv(tmp_path / f"{part}.csv", leads(10))
    job = flow.Job(flow.Pipeline("p", [begun]), source=str(tmp_path / "*.csv"), output="p")
    done = job.run(catalog=memory_catalog())
    assert len(set(done.to_arrow()["begun"].to_pylist())) == 1
