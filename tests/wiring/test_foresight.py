"""What is certain before the first paid call ends a run before it: counted at a real server."""

from __future__ import annotations

import gzip
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
from dataflow.engine.foreseeing import Foreseen
from dataflow.errors import GuardrailReached
from dataflow.plan import foresight
from dataflow.plan.resolve import MainTask, read_task
from dataflow.store.catalog import Catalog
from dataflow.telemetry.statistics import Statistics
from dataflow.wiring import foresight as seeing
from dataflow.wiring.planning import plan_job

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import Running, serve

_numbers = itertools.count()

JOB = """
import os
import dataflow as flow

api = flow.API("{name}", os.environ["SERVER"], rate="5000/s", retry=flow.Retry(attempts=1))
company = api.get(
    "company", "/v2/companies/{{domain}}", returns={{"title": str}}, select={{"title": "name"}}, price=0.01
)

@flow.transformation
def amount(price: str) -> float:
    return float(price)

job = flow.Job(flow.Pipeline("leads", [amount, company]), source="source", output="leads")
"""


@flow.transformation
def amount(price: str) -> float:
    return float(price)


def company(url: str, **options: Any) -> flow.Service:
    """A service that costs money, unless told otherwise."""
    given = {name: value for name, value in {"price": 0.01, **options}.items() if value is not None}
    api = flow.API(f"foresight{next(_numbers)}", url, retry=flow.Retry(attempts=1), **given.pop("limits", {}))
    return api.get("company", "/v2/companies/{domain}", returns={"title": str}, select={"title": "name"}, **given)


def sent(url: str) -> flow.Service:
    """A service whose calls no two records may share, so that no pass collects its inputs."""
    api = flow.API(f"foresight{next(_numbers)}", url, retry=flow.Retry(attempts=1))
    return api.post(
        "sent", "/v2/phones/check", json={"phone": "{domain}"}, returns={"valid": bool}, price=0.01, idempotent=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A provider and a folder with a source of several files."""

    server: Running
    folder: Path

    def write(self, prices: list[str | None], *, files: int = 1, distinct: int = 0) -> None:
        """Records with these prices, spread over files; `distinct` domains, or one for each record."""
        (self.folder / "source").mkdir(exist_ok=True)
        domains = [f"{at % distinct if distinct else at}.example" for at in range(len(prices))]
        whole = pa.table({"domain": domains, "price": pa.array(prices, pa.string())})
        size = -(-len(prices) // files)
        for at in range(files):
            pq.write_table(whole.slice(at * size, size), self.folder / "source" / f"{at:02d}.parquet")

    def run(self, *services: flow.Service, **options: Any) -> flow.Run:
        names = ("max_failures", "min_found", "output")
        given = {name: options.pop(name) for name in names if name in options}
        pipeline = flow.Pipeline("leads", services, **{n: options.pop(n) for n in ("invalid",) if n in options})
        job = flow.Job(pipeline, source=self.folder / "source", **{"output": "leads", **given})
        return job.run(catalog=self.folder / "catalog", **{"threads": 2, **options})

    def calls(self) -> int:
        return sum(int(one["calls"]) for one in self.server.counts()["services"].values())


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


def prices(records: int, *, bad: int) -> list[str | None]:
    """Of so many records the bad ones, evenly spread."""
    every = records // bad if bad else records + 1
    return ["n/a" if at % every == every - 1 and at // every < bad else f"{at}" for at in range(records)]


CERTAIN = r"`amount` failed for \d+ records, more than the 100 that max_failures allows; this was seen before anything"


@pytest.mark.parametrize("distinct", [0, 49])
@pytest.mark.parametrize("files", [1, 6, 40])
def test_what_is_certain_before_the_first_call_costs_no_call(bench: Bench, files: int, distinct: int) -> None:
    bench.write(prices(6_000, bad=600), files=files, distinct=distinct)
    asked = company(bench.server.url, limits={"rate": "5000/s"}, price=None)
    for _ in range(2):
        with pytest.raises(GuardrailReached, match=CERTAIN):
            bench.run(amount, asked)
        assert bench.calls() == 0
    done = bench.run(amount, asked, max_failures=600)
    assert (done.status, done.rejects().num_rows) == ("published", 600)
    assert bench.calls() == (distinct or 5_400)


@pytest.mark.parametrize("files", [1, 6])
def test_what_may_be_sent_only_once_waits_for_all_that_is_certain(bench: Bench, files: int) -> None:
    bench.write(prices(3_000, bad=300), files=files)
    with pytest.raises(GuardrailReached, match=CERTAIN):
        bench.run(amount, sent(bench.server.url))
    assert bench.calls() == 0


@pytest.mark.parametrize("paid", [company, sent])
@pytest.mark.parametrize("compressed", [False, True])
def test_text_and_compressed_text_are_looked_at_too(
    bench: Bench, compressed: bool, paid: Callable[[str], flow.Service]
) -> None:
    (bench.folder / "source").mkdir()
    for at in range(3):
        lines = [f"{at}-{row}.example,{'n/a' if row % 5 == 0 else row}\n" for row in range(500)]
        text = "".join(["domain,price\n", *lines]).encode()
        path = bench.folder / "source" / f"{at}.csv{'.gz' if compressed else ''}"
        path.write_bytes(gzip.compress(text) if compressed else text)
    with pytest.raises(GuardrailReached, match=CERTAIN):
        bench.run(amount, paid(bench.server.url))
    assert bench.calls() == 0


@pytest.mark.slow
@pytest.mark.parametrize(("files", "paid"), [(1, company), (6, company), (6, sent)])
def test_it_is_certain_in_worker_processes_too(bench: Bench, files: int, paid: Callable[[str], flow.Service]) -> None:
    bench.write(prices(3_000, bad=300), files=files)
    with pytest.raises(GuardrailReached, match=CERTAIN):
        bench.run(amount, paid(bench.server.url), workers=2, threads=1)
    assert bench.calls() == 0


@pytest.mark.parametrize(("bad", "good"), [(1, 0), (2, 1), (11, 39), (90, 0)])
def test_a_few_records_are_judged_too(bench: Bench, bad: int, good: int) -> None:
    bench.write([*["n/a"] * bad, *["1"] * good])
    with pytest.raises(GuardrailReached, match="seen before anything was called"):
        bench.run(amount, company(bench.server.url))
    assert bench.calls() == 0


def test_a_count_that_would_survive_what_is_never_published_asks_nothing(bench: Bench) -> None:
    bench.write([*prices(60, bad=30), "n/a"])
    asked = company(bench.server.url)
    with pytest.raises(GuardrailReached, match=r"31 of 61 records were rejected .* more than half, so nothing is publ"):
        bench.run(amount, asked, max_failures=40)
    assert bench.calls() == 0
    assert bench.run(amount, asked, max_failures="100%").rejects().num_rows == 31


def test_services_listed_after_the_paid_one_are_judged_where_they_do_not_need_it(bench: Bench) -> None:
    bench.write(prices(600, bad=200), files=3)
    with pytest.raises(GuardrailReached, match="`amount` failed for"):
        bench.run(company(bench.server.url), amount)
    assert bench.calls() == 0


def test_a_degraded_enrichment_and_a_broken_one_are_seen_too(bench: Bench) -> None:
    @flow.enrichment(into="out")
    def region(price: str) -> float:
        return float(price)

    bench.write(prices(600, bad=200))
    with pytest.raises(GuardrailReached, match="`region` failed for 200 records"):
        bench.run(region, company(bench.server.url))
    bench.write(["n/a"] * 150 + ["1"] * 450)
    with pytest.raises(GuardrailReached, match=r"`region` raised ValueError 100 times in a row|150 times in a row"):
        bench.run(region, company(bench.server.url), max_failures=400, output="other")
    assert bench.calls() == 0


def test_unreadable_cells_are_judged_too(bench: Bench) -> None:
    bench.write([])
    rows = [f"{at}.example,{'x' if at % 3 == 0 and at > 30 else at}" for at in range(600)]
    for file in (bench.folder / "source").iterdir():
        file.unlink()
    (bench.folder / "source" / "leads.csv").write_text("\n".join(["domain,price", *rows]))

    @flow.transformation(into="half")
    def half(price: int) -> float:
        return price / 2

    with pytest.raises(
        GuardrailReached, match="records were rejected since a service failed or they could not be read"
    ):
        bench.run(half, company(bench.server.url))
    assert bench.calls() == 0


@pytest.mark.parametrize("reads", ["item", "domain"])
@pytest.mark.parametrize("files", [1, 3])
def test_what_fails_inside_a_for_each_beside_a_call_is_seen_before_it(bench: Bench, files: int, reads: str) -> None:
    @flow.transformation(into="price")
    def price(item: str) -> float:
        return float(item)

    bench.write([])
    (bench.folder / "source" / "00.parquet").unlink()
    for at in range(files):
        lists = [["1", "2"], ["3", "n/a"], [], None, ["n/a"]] * 60
        table = pa.table({"domain": [f"{at}-{row}.example" for row in range(300)], "prices": lists})
        pq.write_table(table, bench.folder / "source" / f"{at:02d}.parquet")
    asked = company(bench.server.url, columns={"domain": reads})
    each = flow.for_each("prices", [asked, price], into="amounts", priority="critical")
    with pytest.raises(
        GuardrailReached, match=r"`\w+` failed for \d+ records, more than the \d+ .* before anything was"
    ):
        bench.run(each)
    assert bench.calls() == 0
    assert bench.run(each, max_failures=120 * files).rejects().num_rows == 120 * files
    assert bench.calls() > 0


def test_verdicts_are_no_failures_and_cost_no_run(bench: Bench) -> None:
    @flow.validation
    def priced(price: str) -> bool:
        return price != "n/a"

    bench.write(prices(200, bad=150), files=2)
    assert bench.run(priced, company(bench.server.url), invalid="reject").rejects().num_rows == 150
    assert bench.calls() == 50


def test_what_needs_an_answer_is_judged_when_it_is_there(bench: Bench) -> None:
    @flow.transformation(into="out")
    def broken(title: str) -> float:
        raise ValueError(title)

    bench.write(["1"] * 50)
    with pytest.raises(GuardrailReached, match=r"`broken` failed for 50 records.*`dataflow failures"):
        bench.run(company(bench.server.url), broken)
    assert bench.calls() == 50


def test_what_costs_nothing_and_has_no_limit_does_not_wait(bench: Bench) -> None:
    bench.write(prices(300, bad=100))
    asked = company(bench.server.url, price=None, limits={"concurrency": None})
    with pytest.raises(GuardrailReached, match=r"`amount` failed for 100 .*`dataflow failures"):
        bench.run(amount, asked)
    assert bench.calls() == 200


@pytest.mark.parametrize(("paid", "most"), [(company, 0), (sent, 1_500)])
def test_later_records_are_judged_before_the_calls_of_their_own_partition(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, paid: Callable[[str], flow.Service], most: int
) -> None:
    # Where keys are collected first, which is for all partitions, nothing is called at all.
    for module in (foresight, seeing):
        monkeypatch.setattr(module, "FIRST", 500)
    late = ["1"] * 1_500 + prices(1_500, bad=400)
    bench.write(late, files=6)
    asked = paid(bench.server.url)
    with pytest.raises(GuardrailReached, match=CERTAIN):
        bench.run(amount, asked, threads=1)
    before = bench.calls()
    assert before <= most
    done = bench.run(amount, asked, threads=1, max_failures="50%")
    assert (done.status, done.rejects().num_rows, bench.calls()) == ("published", 400, 2_600)


def test_what_is_committed_or_was_looked_at_is_not_looked_at_again(bench: Bench, tmp_path: Path) -> None:
    bench.write(["1"] * 300, files=3)
    pipeline = flow.Pipeline("leads", [amount, sent(bench.server.url)])
    planned = plan_job(flow.Job(pipeline, source=bench.folder / "source", output="leads"), Catalog(tmp_path))
    first, second, third = planned.source.specs
    known = seeing.Foresight(planned, run="r1", judges=True)
    known.commit(first.identity, Statistics(total_records=100))
    assert [task.spec for wave in known.looks([second, third], threads=1) for task in wave] == [second, third]
    known.take(second, Foreseen(counts=Statistics(total_records=100, failed_records=3)))
    assert [task.spec for wave in known.looks([second, third], threads=1) for task in wave] == [third]
    assert known.fit(second) == second
    left = known.fit(third)
    assert isinstance(left, MainTask)
    assert left.outlook is not None
    assert (left.outlook.others, left.outlook.before) == (200, {"total_records": 200, "failed_records": 3})
    assert read_task(json.loads(json.dumps(left.to_dict()))) == left


def command(folder: Path, url: str, *options: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "dataflow", "run", "job.py", "--json", "--catalog", "catalog", *options],
        cwd=folder,
        env={**os.environ, "SERVER": url},
        capture_output=True,
        check=False,
        timeout=120,
    )
    return done.returncode, json.loads(done.stdout), done.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize("records", [6_000, 1])
def test_the_command_ends_with_3_and_has_called_nothing(bench: Bench, records: int) -> None:
    (bench.folder / "job.py").write_text(JOB.format(name=f"foresight{next(_numbers)}"))
    bench.write(prices(records, bad=-(-records // 10)))
    code, told, err = command(bench.folder, bench.server.url)
    assert (code, told["status"], told["version"]) == (3, "stopped", None)
    assert "this was seen before anything was called for these records" in told["reason"]
    assert told["reason"] in err
    assert bench.calls() == 0
