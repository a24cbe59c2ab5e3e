"""The same job again: the work is done again, the cache answers, and taking partitions over is a choice."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as given_by
from hypothesis import strategies as st

import dataflow as flow
from dataflow.errors import GuardrailReached, StoreError
from dataflow.store.catalog import Catalog
from dataflow.telemetry.given import Given
from dataflow.wiring.run import Run

FILES = [[f"k{file}{row}" for row in range(4)] for file in range(3)]


class Provider(http.server.ThreadingHTTPServer):
    """Answers `/KEY`, and counts what it is asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: Counter[str] = Counter()
        self.status: dict[str, int] = {}
        self.default = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        key = self.path[1:]
        self.server.asked[key] += 1
        body = json.dumps({"title": f"T{key}"}).encode()
        self.send_response(self.server.status.get(key, self.server.default))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


class Desk:
    """A source of a partition for each file, and a job that asks a provider for every record."""

    def __init__(self, provider: Provider, folder: Path) -> None:
        self.provider = provider
        self.folder = folder
        self.catalog = Catalog(folder / "datasets")
        for at, keys in enumerate(FILES):
            self.write(at, keys)

    def write(self, at: int, keys: list[str]) -> None:
        path = self.folder / f"source/{at}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("key\n" + "".join(f"{key}\n" for key in keys))

    def pipeline(self, *more: Any, **options: Any) -> flow.Pipeline:
        @flow.transformation
        def upper(key: str) -> str:
            return key.upper()

        api = flow.API("acme", self.provider.url, retry=1, breaker=False)
        company = api.get("company", "/{key}", returns={"title": str}, price=0.01, **options)
        return flow.Pipeline("again", [upper, company, *more])

    def run(self, pipeline: flow.Pipeline, **given: Any) -> Run:
        self.provider.asked.clear()
        job = {"max_failures": "100%", "catalog": self.catalog.root, "threads": 1, **given}
        return pipeline.run(self.folder / "source", "out", **job)

    @property
    def calls(self) -> int:
        return self.provider.asked.total()


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def desk(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    return Desk(provider, tmp_path)


def company(run: Run, *names: str) -> tuple[Any, ...]:
    """Some counts of the service that is paid, as they were published."""
    assert run.dataset is not None
    assert run.statistics["services"]["company"] == run.dataset.statistics["services"]["company"]
    return tuple(run.statistics["services"]["company"][name] for name in names)


def count(run: Run, name: str) -> int:
    return int(run.statistics["services"].get("company", {}).get(name, 0))


def test_a_second_run_computes_again_and_asks_the_cache(desk: Desk) -> None:
    seen: list[str] = []

    @flow.transformation
    def noted(key: str) -> str:
        seen.append(key)
        return key

    first = desk.run(desk.pipeline(noted))
    assert (desk.calls, company(first, "succeeded", "calls", "cost")) == (12, (12, 12, 0.12))
    computed = len(seen)
    assert set(seen) == set(first.to_arrow()["key"].to_pylist())
    second = desk.run(desk.pipeline(noted))
    assert (desk.calls, company(second, "cached", "calls", "cost")) == (0, (12, 0, 0.0))
    assert len(seen) == 2 * computed
    assert (second.version, second.statistics["cost"]) == (2, 0.0)
    assert second.to_arrow().equals(first.to_arrow())


def test_answers_that_have_expired_are_asked_for_again(desk: Desk) -> None:
    pipeline = desk.pipeline(cache="1s")
    desk.run(pipeline)
    time.sleep(1.2)
    assert company(desk.run(pipeline), "calls", "cost") == (12, 0.12)
    assert desk.calls == 12


def test_a_bill_that_cannot_be_read_does_not_hide_what_ended_the_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Any) -> Any:
        raise StoreError("the catalog has gone away")

    monkeypatch.setattr("dataflow.wiring.driving.read_called", broken)
    with pytest.raises(StoreError, match="gone away"):
        desk.run(desk.pipeline())
    desk.provider.default = 401
    with pytest.raises(GuardrailReached, match="401") as caught:
        desk.run(desk.pipeline(cache=False), resume=False)
    (warning,) = [one for one in caught.value.run.warnings if "bill" in one]  # type: ignore[attr-defined]
    assert warning.endswith("its bill is not whole: the catalog has gone away")


def test_without_a_cache_every_run_asks(desk: Desk) -> None:
    pipeline = desk.pipeline(cache=False)
    for _ in range(2):
        assert company(desk.run(pipeline), "succeeded", "calls") == (12, 12)
        assert desk.calls == 12


def test_what_has_failed_is_asked_again(desk: Desk) -> None:
    desk.provider.default = 503
    assert company(desk.run(desk.pipeline()), "failed") == (12,)
    desk.provider.default = 200
    second = desk.run(desk.pipeline())
    assert (desk.calls, company(second, "succeeded", "failed", "calls")) == (12, (12, 0, 12))
    assert second.failures().num_rows == 0


@pytest.mark.parametrize("options", [{}, {"incremental": True}])
def test_a_service_that_is_given_the_run_gets_the_new_one(desk: Desk, options: dict[str, Any]) -> None:
    @flow.transformation
    def stamp(key: str, context: flow.Context) -> str:
        return context.run

    for _ in range(2):
        run = desk.run(desk.pipeline(stamp), **options)
        assert set(run.to_arrow()["stamp"].to_pylist()) == {run.id}


def test_an_incremental_run_takes_over_what_would_be_the_same_and_says_so(desk: Desk) -> None:
    first = desk.run(desk.pipeline())
    desk.write(3, ["new0", "new1"])
    second = desk.run(desk.pipeline(), incremental=True)
    assert (desk.provider.asked, second.version) == (Counter(["new0", "new1"]), 2)
    assert "3 of 4 partitions taken over from v1" in second.notes
    assert company(second, "records", "succeeded", "cached", "calls", "cost") == (14, 2, 12, 2, 0.02)
    assert company(second, "deduplicated", "retries") == (0, 0)
    assert (second.statistics["cost"], second.dataset.manifest["taken_over"]) == (0.02, 3)  # type: ignore[union-attr]
    assert second.statistics["services"]["upper"]["succeeded"] == 14
    files = [{Path(path).stat().st_ino for path in run.dataset.files} for run in (first, second)]  # type: ignore[union-attr]
    assert files[0] < files[1]


def test_a_job_may_be_incremental_and_a_run_may_differ(desk: Desk) -> None:
    job = flow.Job(desk.pipeline(), source=desk.folder / "source", output="out", incremental=True)
    given: dict[str, Any] = {"catalog": desk.catalog.root, "threads": 1}
    assert not any("taken over" in note for note in job.run(**given).notes)
    assert "3 of 3 partitions taken over from v1" in job.run(**given).notes
    assert not any("taken over" in note for note in job.run(**given, incremental=False).notes)
    assert not any("taken over" in note for note in job.run(**given, resume=False).notes)


def test_what_was_taken_over_twice_costs_nothing_and_is_as_old_as_its_answers(desk: Desk) -> None:
    first = desk.run(desk.pipeline())
    for version in (1, 2):
        run = desk.run(desk.pipeline(), incremental=True)
        assert f"3 of 3 partitions taken over from v{version}" in run.notes
        assert company(run, "cached", "calls", "cost") == (12, 0, 0.0)
        assert ages(run) == ages(first)
    assert _taken(desk, now=time.time() + 91 * 86_400) == 0


def test_the_age_is_that_of_the_answers_and_not_of_the_version_that_has_used_them(desk: Desk) -> None:
    first = desk.run(desk.pipeline())
    second = desk.run(desk.pipeline())
    assert company(second, "cached") == (12,)
    # The index keeps microseconds.
    assert [one.found for one in ages(second)] == pytest.approx([one.found for one in ages(first)], abs=1e-5, rel=0)


def ages(run: Run) -> list[Given]:
    """What is known of the answers in each partition."""
    assert run.dataset is not None
    return [record.counts.statistics.services["company"].given for record in run.dataset.records().values()]


def test_that_nothing_was_found_serves_for_a_shorter_time(desk: Desk) -> None:
    desk.provider.status["k00"] = 404
    first = desk.run(desk.pipeline(cache="90d"))
    kept = ages(first)[0]
    assert (kept.records, count(first, "not_found")) == (4, 1)
    assert kept.found is not None
    assert kept.missed is not None
    now = time.time()
    for days, taken in ((6, 3), (8, 2), (91, 0)):
        found = _taken(desk, now=now + days * 86_400)
        assert found == taken


def _taken(desk: Desk, *, now: float) -> int:
    """Partitions that a run at another time would take over."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataflow.wiring.driving.time.time", lambda: now)
        run = desk.run(desk.pipeline(cache="90d"), incremental=True)
    (note,) = (one for one in run.notes if "taken over" in one)
    return int(note.split()[0])


def test_a_partition_with_a_failure_is_done_again(desk: Desk) -> None:
    desk.provider.status["k11"] = 500
    first = desk.run(desk.pipeline())
    assert count(first, "failed") == 1
    desk.provider.status.clear()
    second = desk.run(desk.pipeline(), incremental=True)
    assert desk.provider.asked == Counter(["k11"])
    assert "2 of 3 partitions taken over from v1; not the others: `company` failed for 1 records" in second.notes
    assert company(second, "succeeded", "cached", "calls", "cost") == (1, 11, 1, 0.01)


def test_records_that_a_verdict_has_rejected_are_no_failure(desk: Desk) -> None:
    @flow.validation(priority="critical")
    def fine(key: str) -> None:
        if key == "k00":
            raise flow.Reject("not this one")

    desk.run(desk.pipeline(fine), key="key")
    run = desk.run(desk.pipeline(fine), key="key", incremental=True)
    assert "3 of 3 partitions taken over from v1" in run.notes
    assert run.rejects()["key"].to_pylist() == ["k00"]


@pytest.mark.parametrize(
    ("options", "given", "reason"),
    [
        ({"cache": False}, {}, "`company` keeps no answers for other runs (cache=False)"),
        ({}, {"recall": ["company"]}, "`company` is recalled"),
    ],
)
def test_nothing_is_taken_over_where_every_record_is_asked_again(
    desk: Desk, options: dict[str, Any], given: dict[str, Any], reason: str
) -> None:
    desk.run(desk.pipeline(**options))
    run = desk.run(desk.pipeline(**options), incremental=True, **given)
    assert desk.calls == 12
    assert f"0 of 3 partitions taken over from v1; not the others: {reason}" in run.notes


def test_nothing_is_taken_over_of_another_plan(desk: Desk) -> None:
    desk.run(desk.pipeline())
    run = desk.run(desk.pipeline(version="2"), incremental=True)
    assert desk.calls == 12
    assert "0 of 3 partitions taken over from v1; not the others: changed: service company" in run.notes


def test_a_version_of_which_the_age_of_answers_is_not_known_is_not_taken_over(desk: Desk) -> None:
    first = desk.run(desk.pipeline())
    path = Path(str(first.dataset.meta)) / "commits.jsonl.zst"  # type: ignore[union-attr]
    with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as stream:
        lines = stream.read().decode().splitlines()
    older = [json.loads(line) for line in lines]
    for record in older:
        del record["taken_from"], record["counts"]["services"]["company"]["given"]
    path.unlink()
    with pa.CompressedOutputStream(pa.OSFile(str(path), "wb"), "zstd") as sink:
        sink.write("".join(f"{json.dumps(record)}\n" for record in older).encode())
    run = desk.run(desk.pipeline(), incremental=True)
    assert "0 of 3 partitions taken over from v1; not the others: not all answers of `company` are kept" in run.notes


SAME = [f"s{at}" for at in range(40)]


def test_distinct_inputs_of_all_partitions_are_taken_over_too(desk: Desk) -> None:
    for at in range(3):
        desk.write(at, [*SAME, f"own{at}"])
    first = desk.run(desk.pipeline())
    assert any("each called once before the partitions are run" in note for note in first.notes)
    assert (desk.calls, company(first, "calls", "deduplicated")) == (43, (43, 80))
    second = desk.run(desk.pipeline(), incremental=True)
    assert "3 of 3 partitions taken over from v1" in second.notes
    assert company(second, "cached", "deduplicated", "calls", "cost") == (123, 0, 0, 0.0)


def test_services_of_a_waterfall_are_taken_over_and_expire(desk: Desk) -> None:
    def pipeline(cache: str = "30d") -> flow.Pipeline:
        api = flow.API("acme", desk.provider.url, retry=1)
        first = api.get("first", "/{key}", returns={"title": str}, cache=cache)
        second = api.get("second", "/{key}", returns={"title": str})
        return flow.Pipeline("again", [flow.waterfall("company", [first, second])])

    one = desk.run(pipeline())
    again = desk.run(pipeline(), incremental=True)
    assert "3 of 3 partitions taken over from v1" in again.notes
    plain = desk.run(pipeline())
    for name, part in plain.statistics["services"].items():
        taken = again.statistics["services"][name]
        assert {end: taken[end] for end in ("records", "cached", "not_found", "skipped", "calls")} == {
            end: part[end] for end in ("records", "cached", "not_found", "skipped", "calls")
        }
    time.sleep(1.2)
    late = desk.run(pipeline("1s"), incremental=True)
    assert any("answers of `company.first` have expired" in note for note in late.notes)
    assert late.to_arrow().equals(one.to_arrow())


def unchanged(run: Run) -> str:
    """Why a run was no repetition, or that it was one."""
    notes = [note.partition(": ")[2] for note in run.notes if note.startswith("run again")]
    return notes[0] if notes else run.status


def test_if_changed_runs_where_a_run_would_give_something_else(desk: Desk) -> None:
    assert unchanged(desk.run(desk.pipeline(), if_changed=True)) == "published"
    assert unchanged(desk.run(desk.pipeline(), if_changed=True)) == "unchanged"
    assert unchanged(desk.run(desk.pipeline(), if_changed=True, recall=["company"])) == "`company` is recalled"
    assert unchanged(desk.run(desk.pipeline(version="2"), if_changed=True)) == "changed: service company"
    assert unchanged(desk.run(desk.pipeline(version="2"), if_changed=True)) == "unchanged"
    time.sleep(1.2)
    short = desk.pipeline(cache="1s", version="2")
    assert unchanged(desk.run(short, if_changed=True)) == "answers of `company` have expired"
    assert desk.calls == 12
    never = desk.pipeline(cache=False, version="2")
    told = "`company` keeps no answers for other runs (cache=False)"
    assert unchanged(desk.run(never, if_changed=True)) == told


def test_if_changed_asks_again_what_has_failed_and_leaves_what_was_judged(desk: Desk) -> None:
    @flow.validation(priority="critical")
    def fine(key: str) -> None:
        if key == "k00":
            raise flow.Reject("not this one")

    desk.provider.status["k11"] = 500
    desk.run(desk.pipeline(fine))
    desk.provider.status.clear()
    assert unchanged(desk.run(desk.pipeline(fine), if_changed=True)) == "`company` failed for 1 records"
    assert desk.provider.asked == Counter(["k11"])
    assert unchanged(desk.run(desk.pipeline(fine), if_changed=True)) == "unchanged"


def test_if_changed_always_runs_where_a_service_is_given_the_run(desk: Desk) -> None:
    @flow.transformation
    def stamp(key: str, context: flow.Context) -> str:
        return context.run

    desk.run(desk.pipeline(stamp), if_changed=True)
    told = "`stamp` is given what differs from run to run (flow.Context)"
    assert unchanged(desk.run(desk.pipeline(stamp), if_changed=True)) == told


def test_a_quote_tells_what_calls_cost_from_the_last_version_that_made_some(desk: Desk) -> None:
    def cost(key: str) -> float:
        return 0.25

    @flow.enrichment(api=flow.API("acme", desk.provider.url), price=cost, max_price=1.0)
    def priced(key: str) -> str:
        return key

    pipeline = flow.Pipeline("priced", [priced])
    desk.run(pipeline)
    quotes = []
    for options in ({}, {"incremental": True}):
        desk.write(3, [f"more{at}" for at in range(100)])
        quotes.append(str(pipeline.quote(desk.folder / "source", catalog=desk.catalog.root, output="out")))
        desk.write(3, [])
        desk.run(pipeline, **options)
    assert quotes[0] == quotes[1].replace("out@v2", "out@v1")


@pytest.fixture
def fresh(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Desk]:
    return lambda: Desk(provider, tmp_path_factory.mktemp("desk"))


KEYS = st.lists(st.sampled_from([f"k{at}" for at in range(12)]), max_size=5)
SOURCES = st.lists(KEYS, min_size=1, max_size=4)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given_by(before=SOURCES, after=SOURCES, missing=st.sets(st.sampled_from(["k1", "k5"])), broken=st.booleans())
def test_an_incremental_run_gives_what_a_plain_one_gives(
    fresh: Callable[[], Desk], before: list[list[str]], after: list[list[str]], missing: set[str], broken: bool
) -> None:
    desk = fresh()
    desk.provider.status = dict.fromkeys(missing, 404)

    def write(files: list[list[str]]) -> None:
        for at in range(4):
            (desk.folder / f"source/{at}.csv").unlink(missing_ok=True)
        for at, keys in enumerate(files):
            desk.write(at, keys)

    write(before)
    desk.provider.status |= {"k3": 500} if broken else {}
    desk.run(desk.pipeline())
    desk.provider.status.pop("k3", None)
    write(after)
    incremental = desk.run(desk.pipeline(), incremental=True)
    plain = desk.run(desk.pipeline())
    assert incremental.to_arrow().equals(plain.to_arrow())
    assert incremental.rejects().equals(plain.rejects())
    for name in ("records", "not_found", "failed", "skipped"):
        assert count(incremental, name) == count(plain, name)
    assert count(incremental, "succeeded") + count(incremental, "cached") == count(plain, "cached")
