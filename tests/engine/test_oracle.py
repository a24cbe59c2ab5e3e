"""A pipeline is written as a sequence and run as a graph: both must give the same, however the records are cut."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dataflow as flow
from dataflow.engine.result import PartitionResult
from dataflow.outcomes import Kind
from dataflow.services.service import Service
from dataflow.telemetry.statistics import Statistics

COLUMNS = ("a", "b", "c")
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Spec:
    """A small service: adds `plus` to what it reads; fails for ...4, finds nothing (or skips) for ...3, rejects 7."""

    name: str
    kind: Kind
    form: str
    reads: str
    writes: str
    plus: int
    priority: str
    when: str | None
    overwrite: str
    default: int | None
    required: bool


def called(spec: Spec, x: int) -> Any:
    if x % 5 == 4:
        raise ValueError("four")
    if x == 7 and spec.form != "column":
        raise flow.Reject("seven")
    if spec.kind is Kind.VALIDATION:
        return None if x < 6 else "too much"
    if x % 5 == 3 and spec.form != "column":
        raise flow.NotFound if spec.kind is Kind.ENRICHMENT else flow.Skip
    return x + spec.plus


def service(spec: Spec) -> Service:
    returned: Any = str | None if spec.kind is Kind.VALIDATION else int

    def record(x: int) -> Any:
        return called(spec, x)

    async def waiting(x: int) -> Any:
        await asyncio.sleep(0)
        return called(spec, x)

    def column(x: pa.Array) -> pa.Array:
        if pc.any(pc.equal(pc.subtract(x, pc.multiply(pc.divide(x, 5), 5)), 4)).as_py():
            raise ValueError("four")
        return pc.less(x, 6) if spec.kind is Kind.VALIDATION else pc.add(x, spec.plus)

    options: dict[str, Any] = {"name": spec.name, "columns": {"x": spec.reads}, "priority": spec.priority}
    options |= {"required": spec.required}
    options |= {} if spec.when is None else {"when": spec.when}
    options |= {} if spec.default is None else {"default": spec.default}
    options["returns"] = bool if spec.kind is Kind.VALIDATION and spec.form == "column" else returned
    if spec.kind is Kind.VALIDATION:
        options.pop("default", None)
        return flow.validation(**options)(record if spec.form == "record" else column)
    options |= {"into": spec.writes, "overwrite": spec.overwrite}
    function: Callable[..., Any] = {"record": record, "async": waiting, "threads": record, "column": column}[spec.form]
    options |= {"threads": 3} if spec.form == "threads" else {}
    declare = flow.transformation if spec.kind is Kind.TRANSFORMATION else flow.enrichment
    return declare(**options)(function)


def oracle(specs: list[Spec], record: dict[str, Any], invalid: str) -> tuple[dict[str, Any], str | None, list[str]]:
    """One record through the list, in plain Python: its columns, who rejected it first, and each status."""
    row, judged, rejected, gated, statuses = dict(record), True, None, False, []
    made: set[str] = set()
    for spec in specs:
        x, before = row[spec.reads], row.get(spec.writes)
        status, value, fails, refuses = "succeeded", None, False, False
        calls_out = spec.form in ("async", "threads")
        kept = spec.overwrite == "nulls" and before is not None
        if (calls_out and gated) or (spec.when and not holds(spec.when, row, judged)) or kept:
            status, value = "skipped", before
        elif x is None and spec.required and spec.kind is Kind.VALIDATION:
            value = "too much"
        elif x is None and spec.required:
            status, refuses = "skipped", True
        elif x is None:
            status = "succeeded" if spec.form == "column" and spec.kind is not Kind.ENRICHMENT else "skipped"
            status = "not_found" if spec.form == "column" and spec.kind is Kind.ENRICHMENT else status
        else:
            try:
                value = called(spec, x)
            except ValueError:
                status, value, fails = "failed", spec.default, True
            except flow.Reject:
                refuses = True
            except flow.NotFound:
                status = "not_found"
            except flow.Skip:
                status = "skipped"
        merges = spec.kind is Kind.ENRICHMENT and spec.writes in made
        if merges and status != "succeeded" and not (fails and spec.default is not None):
            value = before
        made |= set() if spec.kind is Kind.VALIDATION else {spec.writes}
        bad = spec.kind is Kind.VALIDATION and value == "too much"
        if spec.kind is Kind.VALIDATION:
            judged = judged and not bad and not fails
            row["valid"] = row.get("valid", True) and not bad
        else:
            row[spec.writes] = value
        if (fails and spec.priority == "critical") or (bad and invalid == "reject") or refuses:
            rejected = rejected or spec.name
            judges = spec.kind is Kind.VALIDATION and invalid == "reject"
            gated = gated or (not calls_out and (spec.priority == "critical" or judges))
        statuses.append(status)
    return row, rejected, statuses


def holds(when: str, row: dict[str, Any], judged: bool) -> bool:
    if when == "valid":
        return judged
    if when == "flag":
        return row["flag"] is True
    column, _, test = when.partition(" is ")
    return (row[column] is None) == (test == "null")


@st.composite
def pipelines(draw: Any) -> list[Spec]:
    specs: list[Spec] = []
    known = list(COLUMNS)
    for at in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(list(Kind)))
        forms = ["record", "column"] if kind is Kind.VALIDATION else ["record", "column", "async", "threads"]
        writes = draw(st.sampled_from([*COLUMNS, "d", "e"]))
        conditions = [None, None, "flag", f"{draw(st.sampled_from(known))} is null", "a is not null"]
        conditions += ["valid"] * any(spec.kind is Kind.VALIDATION for spec in specs)
        filling = kind is not Kind.VALIDATION and writes in known and draw(st.booleans())
        specs.append(
            Spec(
                name=f"s{at}",
                kind=kind,
                form=draw(st.sampled_from(forms)),
                reads=draw(st.sampled_from(known)),
                writes=writes,
                plus=draw(st.integers(0, 3)),
                priority=draw(st.sampled_from(["critical", "important", "optional"])),
                when=draw(st.sampled_from(conditions)),
                overwrite="nulls" if filling else "always",
                default=None if kind is Kind.VALIDATION else draw(st.sampled_from([None, 7])),
                required=draw(st.sampled_from([False, False, False, True])),
            )
        )
        known += [writes] if kind is not Kind.VALIDATION and writes not in known else []
    return specs


numbers = st.none() | st.integers(0, 9)
records = st.lists(
    st.fixed_dictionaries({**dict.fromkeys(COLUMNS, numbers), "flag": st.none() | st.booleans()}), max_size=12
)


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    fields = {**dict.fromkeys(COLUMNS, pa.int64()), "flag": pa.bool_()}
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in fields.items()})


@SLOW
@given(specs=pipelines(), rows=records, invalid=st.sampled_from(["keep", "reject"]))
def test_a_graph_gives_what_its_services_give_one_after_the_other(
    run_once: Callable[..., PartitionResult], specs: list[Spec], rows: list[dict[str, Any]], invalid: str
) -> None:
    result = run_once([service(spec) for spec in specs], table_of(rows), invalid=invalid)
    expected = [oracle(specs, row, invalid) for row in rows]
    kept = [row for row, rejected, _ in expected if rejected is None]
    columns = [name for name in result.output.column_names if name in (*COLUMNS, "d", "e", "flag")]
    assert result.output.select(columns).to_pylist() == [{name: row[name] for name in columns} for row in kept]
    assert result.output["is_valid"].to_pylist() == [row.get("valid", True) for row in kept]
    rejected = [(at + 1, name) for at, (_, name, _) in enumerate(expected) if name is not None]
    assert list(zip(*result.rejects.select(["source_row", "service"]).to_pydict().values(), strict=True)) == rejected
    for at, spec in enumerate(specs):
        counted = result.statistics.services[spec.name]
        wanted = Counter(statuses[at] for _, _, statuses in expected)
        assert {status: getattr(counted, status) for status in wanted} == wanted


@SLOW
@given(
    specs=pipelines(),
    rows=records,
    cuts=st.sets(st.integers(0, 12), max_size=4),
    invalid=st.sampled_from(["keep", "reject"]),
)
def test_the_result_does_not_depend_on_how_the_records_are_cut(
    run_once: Callable[..., PartitionResult],
    specs: list[Spec],
    rows: list[dict[str, Any]],
    cuts: set[int],
    invalid: str,
) -> None:
    services, table = [service(spec) for spec in specs], table_of(rows)
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    pairs = list(itertools.pairwise(edges)) or [(0, 0)]
    whole = run_once(services, table, invalid=invalid)
    parts = [
        run_once(services, table.slice(low, high - low), first_row=low + 1, invalid=invalid) for low, high in pairs
    ]
    assert pa.concat_tables([part.output for part in parts]).to_pylist() == whole.output.to_pylist()
    assert pa.concat_tables([part.rejects for part in parts]).to_pylist() == whole.rejects.to_pylist()
    merged = Statistics.merged(part.statistics for part in parts).report(1.0)
    assert without_timing(merged) == without_timing(whole.statistics.report(1.0))


@SLOW
@given(specs=pipelines(), rows=records, invalid=st.sampled_from(["keep", "reject"]))
def test_an_event_loop_gives_what_threads_give(
    run_once: Callable[..., PartitionResult],
    run_awaited: Callable[..., PartitionResult],
    specs: list[Spec],
    rows: list[dict[str, Any]],
    invalid: str,
) -> None:
    services, table = [service(spec) for spec in specs], table_of(rows)
    expected, found = (run(services, table, invalid=invalid) for run in (run_once, run_awaited))
    assert found.output.to_pylist() == expected.output.to_pylist()
    assert found.rejects.to_pylist() == expected.rejects.to_pylist()
    told = found.statistics.report(1.0), expected.statistics.report(1.0)
    assert without_timing(told[0]) == without_timing(told[1])


def without_timing(report: dict[str, Any]) -> dict[str, Any]:
    services = {
        name: {key: value for key, value in part.items() if key not in ("duration", "calls")}
        for name, part in report["services"].items()
    }
    return {**report, "services": services, "batches_processed": None}
