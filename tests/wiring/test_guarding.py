"""What ends a run before its time, and that it ends cleanly: what is done is kept and the same command goes on."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.errors import DataflowError, DeclarationError, GuardrailReached, LimitReached
from dataflow.outcomes import Kind, Priority
from dataflow.plan.binding import bind
from dataflow.plan.graph import Graph
from dataflow.plan.guardrails import Guardrails
from dataflow.policies.guardrail import MaxFailures
from dataflow.store.catalog import Catalog
from dataflow.telemetry.statistics import ServiceStatistics, Statistics, Streak
from dataflow.wiring.guarding import Standing, reached
from dataflow.wiring.run import Run

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import Running, serve

COMPANIES = "/v2/companies"
_numbers = itertools.count()


@flow.transformation
def domain(domain: str) -> str:
    return domain


def company(url: str = "https://acme.example", **options: Any) -> flow.Service:
    api = flow.API(f"guarding{next(_numbers)}", url, retry=flow.Retry(attempts=1), concurrency=8)
    return api.get("company", "/v2/companies/{domain}", returns={"title": str}, select={"title": "name"}, **options)


GRAPH = bind([domain, company()], pa.schema({"domain": pa.string()}), name="leads")
OPTIONAL = bind([domain, company(priority="optional")], pa.schema({"domain": pa.string()}), name="leads")
LARGE = {"total": 10_000, "records": 10_000}


def service(kind: Kind = Kind.ENRICHMENT, **counts: Any) -> ServiceStatistics:
    priority = Priority.IMPORTANT if kind is Kind.ENRICHMENT else Priority.CRITICAL
    return ServiceStatistics(kind=kind, priority=priority, **counts)


def ended(
    *,
    total: int = 1_000,
    records: int = 1_000,
    over: bool = False,
    failed_records: int = 0,
    max_failures: MaxFailures | None = None,
    min_found: float | None = None,
    graph: Graph = GRAPH,
    calls: dict[str, int] | None = None,
    **services: ServiceStatistics,
) -> str | None:
    counts = Statistics(total_records=total, failed_records=failed_records, services=services)
    guardrails = Guardrails(
        max_failures=max_failures or MaxFailures(),
        min_found={} if min_found is None else {"company": min_found},
    )
    standing = Standing(run="r1", counts=counts, records=records, calls=calls or {}, over=over)
    return reached(guardrails, graph, standing)


STREAK = Streak(calls=100, error="KeyError", file="leads.csv", row=7)


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        ({}, None),
        ({"company": service(succeeded=900, failed=100)}, None),
        ({"company": service(succeeded=899, failed=101)}, "`company` failed for 101 records, more than the 100"),
        ({"company": service(succeeded=899, failed=60, timed_out=41)}, "`company` failed for 101 records"),
        ({"company": service(succeeded=40, failed=10), "records": 50, "total": 50}, None),
        (
            {"company": service(succeeded=39, failed=11), "records": 50, "total": 50},
            "`company` failed for 11 records, more than the 10",
        ),
        (
            {"company": service(succeeded=9_400, failed=600, shared={"succeeded": 9_370, "failed": 593}), **LARGE},
            None,
        ),
        (
            {"company": service(succeeded=9_400, failed=600, shared={"succeeded": 9_370, "failed": 585}), **LARGE},
            "`company` failed for 15 distinct inputs, which 600 records share, more than the 9 ",
        ),
        ({"company": service(succeeded=800, failed=150), "records": 100_000}, None),
        ({"company": service(succeeded=10, failed=150, skipped=840), "records": 60_000}, "more than the 100"),
        ({"company": service(succeeded=10, failed=30), "total": 0}, None),
        ({"company": service(succeeded=10, failed=30), "calls": {"company": 150}}, None),
        ({"company": service(succeeded=10, failed=30), "calls": {"company": 149}}, "more than the 29"),
        ({"company": service(failed=1_000), "graph": OPTIONAL}, None),
        (
            {"company": service(failed=1_000), "graph": OPTIONAL, "max_failures": MaxFailures(count=9, given=True)},
            "`company` failed for 1,000 records, more than the 9",
        ),
        ({"failed_records": 100}, None),
        ({"failed_records": 101}, "101 records were rejected since a service failed or they could not be read"),
        ({"failed_records": 101, "records": 20_000}, None),
        ({"failed_records": 501, "max_failures": MaxFailures(count=900, given=True)}, None),
        (
            {"failed_records": 501, "max_failures": MaxFailures(count=900, given=True), "over": True},
            "501 of 1,000 records were rejected since a service failed or they could not be read, more than half, so "
            "nothing is published",
        ),
        ({"failed_records": 500, "max_failures": MaxFailures(count=900, given=True), "over": True}, None),
        ({"failed_records": 1_000, "max_failures": MaxFailures(share=1.0, given=True), "over": True}, None),
        ({"failed_records": 1, "total": 1, "records": 1}, None),
        ({"failed_records": 1, "total": 1, "records": 1, "over": True}, "1 of 1 records"),
        ({"domain": service(Kind.TRANSFORMATION, failed=100, streak=STREAK), "records": 10**6}, "raised KeyError 100"),
        ({"domain": service(Kind.TRANSFORMATION, failed=100, streak=STREAK)}, "first for leads.csv row 7"),
        (
            {
                "domain": service(Kind.TRANSFORMATION, failed=100, streak=STREAK),
                "max_failures": MaxFailures(share=1.0),
            },
            None,
        ),
        ({"company": service(succeeded=15, not_found=84), "min_found": 0.2}, None),
        (
            {"company": service(succeeded=10, cached=5, not_found=85), "min_found": 0.2},
            "`company` found something for 15 of 100 asked (15.0%), less than the 20% of min_found; "
            "is `domain`, which it reads, what the API",
        ),
        ({"company": service(succeeded=20, not_found=80), "min_found": 0.2}, None),
        ({"company": service(succeeded=1, not_found=9, skipped=500), "min_found": 0.2}, None),
        ({"company": service(succeeded=1, not_found=9, skipped=500), "min_found": 0.2, "over": True}, "1 of 10 asked"),
        ({"company": service(not_found=9), "min_found": 0.2, "over": True}, None),
        (
            {"company": service(succeeded=900, not_found=95, shared={"succeeded": 895}), "min_found": 0.2},
            "found something for 5 of 100 asked",
        ),
        (
            {
                "company": service(failed=90, not_found=10),
                "min_found": 0.2,
                "max_failures": MaxFailures(count=90, given=True),
            },
            None,
        ),
    ],
)
def test_guardrails_look_at_calls_for_a_service_and_at_records_for_the_run(
    standing: dict[str, Any], expected: str | None
) -> None:
    reason = ended(**standing)
    assert (reason is None) == (expected is None), reason
    assert expected is None or expected in str(reason)


def test_a_broken_service_is_named_before_its_share_of_failures() -> None:
    reason = str(ended(domain=service(Kind.TRANSFORMATION, failed=500, streak=STREAK), failed_records=500))
    assert "`domain` raised KeyError 100 times in a row" in reason
    assert "`dataflow failures r1` lists them" in reason
    assert 'max_failures="100%"' in reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A provider and a folder with a source of several files, and runs over them."""

    server: Running
    folder: Path

    def write(self, *parts: list[Any]) -> None:
        (self.folder / "source").mkdir(exist_ok=True)
        for at, domains in enumerate(parts):
            pq.write_table(pa.table({"domain": domains}), self.folder / "source" / f"{at:02d}.parquet")

    def run(self, *services: flow.Service, deadline: str | None = None, **options: Any) -> Run:
        settings = {name: options.pop(name) for name in ("resume",) if name in options}
        job = flow.Job(
            flow.Pipeline("leads", services),
            source=self.folder / "source",
            deadline=deadline,
            **{"output": "leads", **options},
        )
        return job.run(catalog=self.folder / "catalog", threads=1, **settings)

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.folder / "catalog")

    def stopped(self, match: str, *services: flow.Service, kind: type[DataflowError], **options: Any) -> str:
        """Run into a guardrail; the id of the run, which is told as stopped for that reason and published nothing."""
        with pytest.raises(kind, match=match) as caught:
            self.run(*services, **options)
        (newest, *_) = self.catalog.runs("leads")
        assert (newest.state, newest.reason) == ("stopped", caught.value.plain)
        assert self.catalog.datasets() == []
        return newest.id

    def calls(self) -> int:
        return int(self.server.counts()["services"].get(COMPANIES, {}).get("calls", 0))


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve(unknown=0) as server:
        yield server


@pytest.fixture
def bench(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    running.control(restore=True)
    running.reset()
    return Bench(server=running, folder=tmp_path)


def test_records_that_share_one_failing_call_count_once(bench: Bench) -> None:
    bench.server.control(keys={"bad.example": {"fault": "status:422"}})
    bench.write([None, None, "", *["bad.example"] * 900, *["good.example"] * 100])
    done = bench.run(company(bench.server.url), max_failures=2)
    assert done.statistics["services"]["company"]["failed"] == 901
    assert done.counts.services["company"].shared == {"failed": 899, "succeeded": 99}
    assert "shared" not in done.statistics["services"]["company"]
    assert bench.calls() == 2


def test_failing_calls_end_a_run_and_a_higher_limit_goes_on_with_what_is_done(bench: Bench) -> None:
    bench.server.control(fault="status:422")
    bench.write(*([f"{part}-{at % 5}.example" for at in range(50)] for part in range(12)))
    asked = company(bench.server.url)
    match = r"`company` failed for \d+ .*more than the 7 that max_failures allows.*raise"
    first = bench.stopped(match, asked, kind=GuardrailReached, max_failures=7)
    assert bench.stopped("max_failures", asked, kind=GuardrailReached, max_failures=7) == first
    before = bench.calls()
    assert 10 <= before < 60
    done = bench.run(asked, max_failures=60)
    assert (done.id, done.status) == (first, "published")
    # Failures are not remembered: those of partitions that were not whole are asked for again.
    assert 60 <= bench.calls() <= 60 + before
    assert done.statistics["services"]["company"]["failed"] == 600


def test_records_rejected_by_several_services_end_a_run_that_none_of_them_would(bench: Bench) -> None:
    bench.write([f"{at}" for at in range(30)])

    def failing(name: str, digit: str) -> flow.Service:
        def check(domain: str) -> str:
            if domain.endswith(digit):
                raise KeyError(domain)
            return domain

        return flow.transformation(name=name)(check)

    services = [failing(f"s{digit}", digit) for digit in "123"]
    first = bench.stopped(
        "9 records were rejected since.*more than the 8", *services, kind=GuardrailReached, max_failures=8
    )
    done = bench.run(*services, max_failures=9)
    assert (done.id, done.rejects().num_rows) == (first, 9)


@flow.transformation(into="out")
def number(domain: str) -> float:
    return float(domain)


@pytest.mark.parametrize(("bad", "good"), [(1, 0), (2, 1), (90, 0), (2, 7), (11, 39)])
def test_a_small_run_of_which_too_much_fails_publishes_nothing(bench: Bench, bad: int, good: int) -> None:
    bench.write(["n/a"] * bad + ["1"] * good)
    bench.stopped(r"rejected since a service failed|`number` failed for", number, kind=GuardrailReached)


@pytest.mark.parametrize(("bad", "good"), [(1, 1), (1, 8), (10, 40), (0, 1), (0, 0)])
def test_a_small_run_survives_a_fifth_and_a_failure_in_any_case(bench: Bench, bad: int, good: int) -> None:
    bench.write(pa.array(["n/a"] * bad + ["1"] * good, pa.string()))
    assert bench.run(number).rejects().num_rows == bad


def test_a_count_never_publishes_where_more_than_half_has_failed_but_all_of_it_as_a_share_does(bench: Bench) -> None:
    bench.write(["n/a"] * 3 + ["1"])
    first = bench.stopped("3 of 4 records were .* more than half", number, kind=GuardrailReached, max_failures=4)
    assert flow.open(first, catalog=bench.folder / "catalog").rows == 1
    assert bench.run(number, max_failures="100%").rejects().num_rows == 3


def test_an_optional_service_ends_a_run_only_by_what_its_author_has_said(bench: Bench) -> None:
    bench.server.control(fault="status:422")
    bench.write(*([f"{part}-{at}.example" for at in range(150)] for part in range(2)))
    asked = company(bench.server.url, priority="optional")
    local = flow.enrichment(into="out", priority="optional")(number.function)
    assert bench.run(asked, local).statistics["services"]["company"]["failed"] == 300
    with pytest.raises(GuardrailReached, match="`company` failed"):
        bench.run(asked, output="other", max_failures=100)
    with pytest.raises(GuardrailReached, match="`number` raised ValueError 150 times in a row"):
        bench.run(local, output="third", max_failures="50%")


def test_verdicts_never_end_a_run(bench: Bench) -> None:
    @flow.enrichment
    def refuse(domain: str) -> str:
        raise flow.Reject("no")

    @flow.validation
    def never(domain: str) -> bool:
        return False

    bench.write(["a"] * 300)
    assert bench.run(refuse, never, max_failures=0).rejects().num_rows == 300


@pytest.mark.parametrize("form", ["record", "column"])
def test_a_local_service_that_raises_a_hundred_times_in_a_row_ends_the_run_long_before_its_share(
    bench: Bench, form: str
) -> None:

    def called(domain: str) -> str:
        if 30 <= int(domain) < 130:
            raise LookupError(domain)
        return domain

    def columns(domain: pa.Array) -> pa.Array:
        return pa.array([called(one) for one in domain.to_pylist()])

    broken = flow.transformation(name="broken", into="out")(called)
    if form == "column":
        broken = flow.transformation(name="broken", into="out", returns=str)(columns)
    bench.write(*([f"{at}" for at in range(part * 1_000, part * 1_000 + 1_000)] for part in range(20)))
    match = r"`broken` raised LookupError 100 times in a row, first for .*00\.parquet row 31, so the fault"
    first = bench.stopped(match, broken, kind=GuardrailReached, max_failures="50%")
    assert flow.open(first, catalog=bench.folder / "catalog").rows < 20_000 - 100
    done = bench.run(broken, max_failures="100%")
    assert (done.id, done.rejects().num_rows) == (first, 100)


def test_ninety_nine_in_a_row_again_and_again_are_no_streak(bench: Bench) -> None:
    @flow.transformation(into="out")
    def most(domain: str) -> str:
        if int(domain) % 100:
            raise LookupError
        return domain

    good = [f"{at}00" for at in range(2_000)]
    bench.write([f"{at}" for at in range(1_000)], [f"{at}" for at in range(1, 1_000)], good)
    assert bench.run(most, max_failures=1_980).rejects().num_rows == 1_980


def test_an_api_that_fails_a_hundred_times_in_a_row_is_judged_by_its_share(bench: Bench) -> None:
    bench.write([f"{at}.example" for at in range(250)])
    bench.server.control(keys={f"{at}.example": {"fault": "status:422"} for at in range(150)})
    done = bench.run(company(bench.server.url), max_failures=200)
    assert done.statistics["services"]["company"]["failed"] == 150


def test_too_little_found_ends_a_run_early_and_asks_the_likely_question(bench: Bench) -> None:
    bench.server.control(unknown=1.0)
    bench.write(*([f"{part}-{at}.example" for at in range(120)] for part in range(6)))
    asked = company(bench.server.url)
    match = (
        r"`company` found something for 0 of \d+ asked \(0.0%\).*20% of min_found; is `domain`, which it reads, what"
    )
    first = bench.stopped(match, asked, kind=GuardrailReached, min_found="20%")
    assert bench.calls() < 6 * 120
    done = bench.run(asked, min_found="0%")
    assert (done.id, done.status) == (first, "published")
    assert bench.calls() == 6 * 120


def test_found_is_counted_by_calls_and_what_is_remembered_counts(bench: Bench) -> None:
    bench.write(["same.example"] * 500 + [f"{at}.example" for at in range(11)])
    asked = company(bench.server.url)
    bench.server.control(unknown=1.0)
    bench.stopped("found something for 0 of 12 asked", asked, kind=GuardrailReached, min_found={"company": 0.1})
    assert bench.run(asked, resume=True).statistics["services"]["company"]["not_found"] == 511


def test_a_guardrail_reached_by_the_last_partition_keeps_the_run_from_publishing(bench: Bench) -> None:
    bench.server.control(unknown=1.0)
    bench.write([f"{at}.example" for at in range(10)])
    asked = company(bench.server.url)
    first = bench.stopped("0 of 10 asked", asked, kind=GuardrailReached, min_found="1%")
    assert bench.stopped("0 of 10 asked", asked, kind=GuardrailReached, min_found="1%") == first
    assert flow.open(first, catalog=bench.folder / "catalog").rows == 10
    assert bench.run(asked).id == first
    assert bench.calls() == 10


def test_nine_answers_are_too_few_to_say_so(bench: Bench) -> None:
    bench.server.control(unknown=1.0)
    bench.write([f"{at}.example" for at in range(9)])
    assert bench.run(company(bench.server.url), min_found="99%").status == "published"


def test_what_is_in_flight_when_a_guardrail_is_reached_is_not_asked_again(bench: Bench) -> None:
    bench.server.control(unknown=1.0, latency=0.1)
    bench.write(*([f"{part}-{at}.example" for at in range(100 if part == 0 else 300)] for part in range(3)))
    asked = company(bench.server.url)
    job = flow.Job(flow.Pipeline("leads", [asked]), source=bench.folder / "source", output="leads", min_found="5%")
    with pytest.raises(GuardrailReached):
        job.run(catalog=bench.folder / "catalog", threads=3)
    assert 100 <= bench.calls() < 700
    assert bench.run(asked).status == "published"
    assert bench.calls() == 700


def test_the_deadline_of_a_job_ends_its_run_and_the_same_job_goes_on(bench: Bench) -> None:
    bench.server.control(latency=0.05)
    bench.write(*([f"{part}-{at}.example" for at in range(100)] for part in range(4)))
    asked = company(bench.server.url)
    match = r"the deadline of 0\.8s was reached after \d of 4 partitions; .*same command again.*--deadline"
    first = bench.stopped(match, asked, kind=LimitReached, deadline="0.8s")
    assert 0 < bench.calls() < 400
    done = bench.run(asked, deadline="5min")
    assert (done.id, bench.calls()) == (first, 400)


def test_the_deadline_of_a_run_wins_over_that_of_its_job(bench: Bench) -> None:
    bench.server.control(latency=0.02)
    bench.write([f"{at}.example" for at in range(200)])
    job = flow.Job(
        flow.Pipeline("leads", [company(bench.server.url)]),
        source=bench.folder / "source",
        output="leads",
        deadline="0.1s",
    )
    assert job.run(catalog=bench.folder / "catalog", deadline="5min").status == "published"
    with pytest.raises(LimitReached, match=r"deadline of 0\.1s"):
        job.run(catalog=bench.folder / "other")


@pytest.mark.parametrize("name", ["max_failures", "min_found", "key"])
def test_what_belongs_to_the_job_is_no_setting_of_its_run(bench: Bench, name: str) -> None:
    job = flow.Job(flow.Pipeline("leads", [domain]), source=bench.folder, output="leads")
    with pytest.raises(DeclarationError, match=rf"`{name}` belongs to the job: Job\(\.\.\., {name}=\.\.\.\)"):
        job.run(**{name: "20%"})


JOB = """
import os
import dataflow as flow

api = flow.API("guarded", os.environ["SERVER"], concurrency=4, retry=flow.Retry(attempts=1))
company = api.get("company", "/v2/companies/{domain}", returns={"title": str}, select={"title": "name"})
pipeline = flow.Pipeline("leads", [company])

def job(min_found: str | None = "20%", deadline: str | None = None) -> flow.Job:
    return flow.Job(pipeline, source="source", output="leads", min_found=min_found, deadline=deadline)
"""


@pytest.fixture
def command(bench: Bench) -> Callable[..., tuple[int, dict[str, Any], str]]:
    (bench.folder / "job.py").write_text(JOB)

    def run(*options: str) -> tuple[int, dict[str, Any], str]:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "dataflow",
                "run",
                "job.py",
                "--json",
                "--catalog",
                "catalog",
                "--threads",
                "1",
                *options,
            ],
            cwd=bench.folder,
            env={**os.environ, "SERVER": bench.server.url},
            capture_output=True,
            check=False,
            timeout=120,
        )
        return done.returncode, json.loads(done.stdout), done.stderr.decode()

    return run


@pytest.mark.slow
def test_the_command_ends_with_3_or_4_says_so_in_json_and_goes_on(
    bench: Bench, command: Callable[..., tuple[int, dict[str, Any], str]]
) -> None:
    bench.server.control(unknown=1.0, latency=0.02)
    bench.write(*([f"{part}-{at}.example" for at in range(150)] for part in range(12)))
    code, told, err = command()
    assert (code, told["status"], told["version"], told["path"]) == (3, "stopped", None, None)
    assert "less than the 20% of min_found" in told["reason"]
    assert 100 <= bench.calls() < 300
    assert err.count("less than the 20% of min_found; is `domain`, which it reads, what the API guarded expects?") == 1
    run = told["run"]
    code, told, err = command("--set", "min_found=0%", "--deadline", "0.3s")
    assert (code, told["status"], told["run"]) == (4, "stopped", run)
    assert "the deadline of 0.3s was reached" in err
    code, told, err = command("--set", "min_found=0%", "--set", "deadline=5min")
    assert (code, told["status"], told["run"], told["version"]) == (0, "published", run, 1)
    assert bench.calls() == 1800
