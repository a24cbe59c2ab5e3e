"""No answer is paid for twice: by another run, another host, a single call; unless somebody asks for that."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.errors import CriticalServiceFailed, DeclarationError, Interrupted
from dataflow.outcomes import Status
from dataflow.store.cache.answers import Answer
from dataflow.wiring import caching
from dataflow.wiring.binding import bind_pipeline
from dataflow.wiring.memory import Apart, Memory, Terms, origin_of
from dataflow.wiring.run import Run

_numbers = itertools.count()


class Desk:
    """A catalog, and functions of an API that note what they are called with."""

    def __init__(self, folder: Path) -> None:
        self.catalog = str(folder / "catalog")
        self.asked: list[Any] = []
        # Nothing is sent there: the functions answer by themselves.
        self.api = flow.API(f"desk{next(_numbers)}", "http://127.0.0.1:9", concurrency=None)

    def news(self, name: str = "news", *, version_of: str = "", **options: Any) -> flow.Service:
        """A service that asks about the column `key`."""
        asked = self.asked

        def ask(key) -> str:  # type: ignore[no-untyped-def]
            if key == os.environ.get("BROKEN"):
                raise DeclarationError("broken")
            asked.append(key)
            if key == "nothing":
                raise flow.NotFound
            return f"{version_of or type(key).__name__} {key!r}"

        service: flow.Service = flow.enrichment(**{"api": self.api, "name": name, "retry": False, **options})(ask)
        return service

    def run(self, service: flow.Service, keys: Sequence[Any], **settings: Any) -> Run:
        output = settings.pop("output", "out")
        table = pa.table({"key": list(keys)})
        return flow.Pipeline("test", [service]).run(table, output, catalog=self.catalog, max_failures=1.0, **settings)

    def calls(self) -> list[Any]:
        """What was asked for since the last time."""
        found = list(self.asked)
        self.asked.clear()
        return found

    def segments(self) -> list[Path]:
        return sorted(Path(self.catalog).glob("_cache/*/*/*.parquet"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def on_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Go on as if on another host."""
    return lambda name: monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / name))


def counts(run: Run, name: str = "news") -> tuple[int, int, int, int]:
    part = run.statistics["services"][name]
    return part["succeeded"], part["cached"], part["not_found"], part["calls"]


def test_a_second_run_calls_nothing_and_gives_the_same(desk: Desk) -> None:
    first = desk.run(desk.news(), ["a", "b", "nothing"])
    assert (counts(first), sorted(desk.calls())) == ((2, 0, 1, 3), ["a", "b", "nothing"])
    for output in ("out", "other"):
        again = desk.run(desk.news(), ["a", "b", "nothing"], output=output, resume=False)
        assert (counts(again), desk.calls()) == ((0, 2, 1, 0), [])
        assert again.to_arrow()["news"].to_pylist() == first.to_arrow()["news"].to_pylist()
    assert desk.run(desk.news(), ["b", "c"], output="more").statistics["services"]["news"]["calls"] == 1


def test_another_host_finds_what_the_first_has_paid_for(desk: Desk, on_host: Callable[[str], None]) -> None:
    on_host("first")
    desk.run(desk.news(), ["a", "b"])
    assert len(desk.calls()) == 2
    on_host("second")
    assert counts(desk.run(desk.news(), ["a", "b", "c"], output="other")) == (1, 2, 0, 1)
    assert desk.calls() == ["c"]
    on_host("first")
    desk.run(desk.news(), ["a", "b", "c"], output="third")
    assert desk.calls() == []


def test_a_catalog_in_an_object_store_holds_answers_too(desk: Desk, on_host: Callable[[str], None]) -> None:
    desk.catalog = flow.testing.memory_catalog()
    desk.run(desk.news(), ["a", "b"])
    on_host("second")
    assert counts(desk.run(desk.news(), ["a", "b"], output="other")) == (0, 2, 0, 0)


def test_values_that_only_look_alike_have_answers_of_their_own(desk: Desk) -> None:
    composed = unicodedata.normalize("NFC", "é")
    columns = [[1, 2], [1.0, 2.0], ["1", "2"], [True, False], [composed], [unicodedata.normalize("NFD", composed)]]
    for at, column in enumerate([*columns, *columns]):
        run = desk.run(desk.news(), column, output=f"out{at}")
        assert run.to_arrow()["news"].to_pylist() == [f"{type(one).__name__} {one!r}" for one in column]
        assert len(desk.calls()) == (len(column) if at < len(columns) else 0)


def test_a_changed_version_or_definition_is_called_again(desk: Desk) -> None:
    def ask(key: str, kind: str) -> str:
        desk.asked.append(kind)
        return f"{key} {kind}"

    def service(**options: Any) -> flow.Service:
        made: flow.Service = flow.enrichment(api=desk.api, name="news", **options)(ask)
        return made

    for at, options in enumerate([{}, {"version": "2"}, {"constants": {"kind": "late"}}, {}]):
        given = {"constants": {"kind": "early"}, **options}
        desk.run(service(**given), ["a"], output=f"out{at}")
        assert desk.calls() == ([] if at == 3 else [given["constants"]["kind"]])


def test_changed_code_is_told_once_and_its_answers_are_used_until_they_are_recalled(desk: Desk) -> None:
    def changed(key: str) -> str:
        desk.asked.append(key)
        return f"changed {key}"

    desk.run(desk.news(), ["a", "b"])
    desk.calls()
    service = flow.enrichment(api=desk.api, name="news")(changed)
    run = desk.run(service, ["a", "b"], output="other")
    assert desk.calls() == []
    assert run.warnings == [
        "the code of `news` differs from what filled its cache (2 answers); they are used; raise version= or give "
        "--recall news (recall=) to call again"
    ]
    again = desk.run(service, ["a", "b"], output="third", recall=["news"])
    assert (sorted(desk.calls()), again.warnings) == (["a", "b"], [])
    assert desk.run(service, ["a", "b"], output="fourth").warnings == []


def test_recall_pays_again_also_for_what_could_be_taken_over(desk: Desk) -> None:
    desk.run(desk.news(), ["a", "b"])
    desk.calls()
    desk.run(desk.news(), ["a", "b"])
    assert desk.calls() == []
    desk.run(desk.news(), ["a", "b"], recall=["news"], incremental=True)
    assert sorted(desk.calls()) == ["a", "b"]
    desk.run(desk.news(), ["a", "b"], recall=["news"], if_changed=True)
    assert sorted(desk.calls()) == ["a", "b"]


def test_a_recall_goes_on_when_its_run_is_resumed_without_the_option(desk: Desk) -> None:
    desk.run(desk.news(), ["a", "b"])
    desk.calls()
    with pytest.raises(Interrupted, match="no answers of `news` for 2 records") as caught:
        desk.run(desk.news(), ["a", "b"], output="other", recall=["news"], offline=True)
    run = desk.run(desk.news(), ["a", "b"], output="other")
    assert run.id == caught.value.run.id
    assert sorted(desk.calls()) == ["a", "b"]


def test_a_run_that_has_used_older_answers_gives_way_to_one_that_recalls_them(desk: Desk) -> None:
    desk.run(desk.news(), ["a"])
    desk.calls()
    with pytest.raises(Interrupted) as caught:
        desk.run(desk.news(), ["a", "b"], output="other", offline=True)
    run = desk.run(desk.news(), ["a", "b"], output="other", recall=["news"])
    assert sorted(desk.calls()) == ["a", "b"]
    assert run.id != caught.value.run.id
    assert "is abandoned (asked to recall news); a new run starts" in run.notes[0]


@pytest.mark.parametrize("hours", [0.01, 1, 24 * 365])
def test_an_answer_that_a_wrong_clock_has_dated_ahead_is_recalled_for_good(
    desk: Desk, on_host: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    on_host("ahead")
    true = time.time
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "time", lambda: true() + hours * 3600)
        desk.run(desk.news(), ["a", "b"])
    desk.asked.clear()
    on_host("here")
    served = desk.run(desk.news(), ["a", "b"], output="served")
    assert desk.calls() == []
    assert [one for one in served.warnings if "in the future" in one] == (
        [] if hours < 0.1 else [one for one in served.warnings if "--recall news" in one]
    )
    with pytest.raises(Interrupted):
        desk.run(desk.news(), ["a", "b"], output="again", recall=["news"], offline=True)
    desk.run(desk.news(version_of="new"), ["a"], output="part", recall=["news"])
    desk.run(desk.news(version_of="new"), ["a", "b"], output="again", recall=["news"])
    assert sorted(desk.calls()) == ["a", "a", "b"]
    for host in ("here", "ahead", "third"):
        on_host(host)
        later = desk.run(desk.news(), ["a", "b"], output=f"later-{host}")
        assert later.to_arrow()["news"].to_pylist() == ["new 'a'", "new 'b'"]
    assert desk.calls() == []


def test_answers_of_a_recall_serve_its_run_when_it_goes_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    true = time.time
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "time", lambda: true() + 3600)
        desk.run(desk.news(), ["a", "b"])
    desk.asked.clear()
    monkeypatch.setenv("BROKEN", "b")
    with pytest.raises(DeclarationError, match="broken"):
        desk.run(desk.news(), ["a", "b"], output="other", recall=["news"])
    monkeypatch.delenv("BROKEN")
    assert desk.asked == ["a"]
    desk.asked.clear()
    desk.run(desk.news(), ["a", "b"], output="other")
    assert desk.calls() == ["b"]


@pytest.mark.parametrize(
    ("name", "told"), [("nws", "did you mean `news`"), ("local", "calls no API"), ("other", "there is news")]
)
def test_only_services_with_answers_can_be_recalled(desk: Desk, name: str, told: str) -> None:
    @flow.transformation
    def local(key: str) -> str:
        return key

    pipeline = flow.Pipeline("test", [local, desk.news()])
    with pytest.raises(DeclarationError, match=told):
        pipeline.run(pa.table({"key": ["a"]}), "out", catalog=desk.catalog, recall=[name])
    with pytest.raises(DeclarationError, match="recall takes a list"):
        pipeline.run(pa.table({"key": ["a"]}), "out", catalog=desk.catalog, recall="news")


def test_offline_a_run_answers_from_the_cache_or_stops_and_says_what_is_missing(desk: Desk) -> None:
    desk.run(desk.news(), ["a", "b"])
    desk.calls()
    assert counts(desk.run(desk.news(), ["b", "a"], output="whole", offline=True)) == (0, 2, 0, 0)
    with pytest.raises(Interrupted, match="no answers of `news` for 2 records; run the same command again") as caught:
        desk.run(desk.news(), ["a", "c", "c"], output="other", offline=True)
    assert desk.calls() == []
    run = caught.value.run
    assert run.status == "stopped"
    run.publish()
    assert run.statistics["services"]["news"]["not_attempted"] == 2
    assert desk.calls() == []


def test_what_was_missing_offline_is_called_by_the_next_run(desk: Desk) -> None:
    desk.run(desk.news(), ["a"])
    desk.calls()
    with pytest.raises(Interrupted):
        desk.run(desk.news(), ["a", "c"], output="other", offline=True)
    assert counts(desk.run(desk.news(), ["a", "c"], output="other")) == (1, 1, 0, 1)
    assert desk.calls() == ["c"]


def test_without_a_cache_answers_serve_their_own_run_only_and_never_leave_the_host(desk: Desk) -> None:
    service = desk.news(cache=False)
    desk.run(service, ["a", "b"])
    desk.run(service, ["a", "b"], output="other")
    assert sorted(desk.calls()) == ["a", "a", "b", "b"]
    assert desk.segments() == []


def test_a_single_call_a_table_and_a_sample_share_answers_with_runs(desk: Desk) -> None:
    pipeline = flow.Pipeline("test", [desk.news()])
    assert pipeline.call({"key": "a"}, catalog=desk.catalog).metadata.cached_count == 0
    again = pipeline.call({"key": "a"}, catalog=desk.catalog)
    assert (again.data["news"], again.metadata.cached_count, again.metadata.success_count) == ("str 'a'", 1, 1)
    frame = pipeline.apply(pa.table({"key": ["a", "b"]}), catalog=desk.catalog)
    assert frame["news"].to_pylist() == ["str 'a'", "str 'b'"]
    sample = pipeline.sample(pa.table({"key": ["a", "b", "c"]}), 3, catalog=desk.catalog)
    assert [fate["news"].status for fate in sample.fates] == [Status.CACHED, Status.CACHED, Status.SUCCEEDED]
    assert counts(desk.run(desk.news(), ["a", "b", "c", "d"])) == (1, 3, 0, 1)
    assert pipeline.call({"key": "d"}, catalog=desk.catalog).metadata.cached_count == 1
    assert desk.calls() == ["a", "b", "c", "d"]
    # They reached the catalog with the run.
    assert sum(pq.read_metadata(one).num_rows for one in desk.segments()) == 4


def test_offline_single_records_are_not_attempted_and_say_so(desk: Desk) -> None:
    pipeline = flow.Pipeline("test", [desk.news()])
    pipeline.call({"key": "a"}, catalog=desk.catalog)
    desk.calls()
    known = pipeline.call({"key": "a"}, catalog=desk.catalog, offline=True)
    assert (known.data["news"], known.metadata.cached_count) == ("str 'a'", 1)
    unknown = pipeline.call({"key": "b"}, catalog=desk.catalog, offline=True)
    (outcome,) = unknown.metadata.not_attempted
    assert (unknown.data["news"], outcome.status, outcome.reason) == (None, Status.NOT_ATTEMPTED, "offline")
    table = pipeline.apply(pa.table({"key": ["a", "b"]}), catalog=desk.catalog, offline=True)
    assert table["news"].to_pylist() == ["str 'a'", None]
    sample = pipeline.sample(pa.table({"key": ["b"]}), 1, catalog=desk.catalog, offline=True)
    assert "not_attempted: offline" in str(sample)
    critical = flow.Pipeline("test", [desk.news(priority="critical")])
    with pytest.raises(CriticalServiceFailed, match="`news`: offline"):
        critical.call({"key": "b"}, catalog=desk.catalog, offline=True)
    assert desk.calls() == []


def test_a_hundred_records_side_by_side_are_answered_from_the_cache(desk: Desk) -> None:
    pipeline = flow.Pipeline("test", [desk.news()])

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(pipeline.acall({"key": f"k{at}"}, catalog=desk.catalog) for at in range(100)))

    asyncio.run(all_of_them())
    desk.calls()
    assert [one.metadata.cached_count for one in asyncio.run(all_of_them())] == [1] * 100
    assert desk.calls() == []


def test_blocks_that_are_offline_neither_read_nor_write_the_cache(desk: Desk) -> None:
    company = desk.api.get("company", "/companies/{key}", returns={"title": str})
    pipeline = flow.Pipeline("test", [company])
    table = pa.table({"key": ["a"]})
    for title in ("one", "two"):
        with flow.testing.offline(**{desk.api.name: lambda _, title=title: {"title": title}}) as calls:
            assert pipeline.call({"key": "a"}, catalog=desk.catalog).data["title"] == title
            run = pipeline.run(table, f"out-{title}", catalog=desk.catalog)
            assert run.to_arrow()["title"].to_pylist() == [title]
            assert calls.total == 2
    assert desk.segments() == []
    unknown = pipeline.call({"key": "a"}, catalog=desk.catalog, offline=True)
    assert unknown.data["title"] is None


def test_answers_that_depend_on_parameters_serve_only_the_same_parameters(desk: Desk) -> None:
    def ask(key: str, context: flow.Context) -> str:
        desk.asked.append(key)
        return f"{key} in {context.parameters['country']}"

    service = flow.enrichment(api=desk.api, name="news")(ask)
    for at, country in enumerate(("de", "fr", "de")):
        run = desk.run(service, ["a"], output=f"out{at}", parameters={"country": country})
        assert run.to_arrow()["news"].to_pylist() == [f"a in {country}"]
    assert len(desk.calls()) == 2


def test_single_records_share_answers_of_the_same_parameters_with_runs(desk: Desk) -> None:
    def ask(key: str, context: flow.Context) -> str:
        desk.asked.append(key)
        return f"{key} in {context.parameters.get('country')}"

    service = flow.enrichment(api=desk.api, name="news")(ask)
    pipeline, given = flow.Pipeline("test", [service]), {"catalog": desk.catalog}
    for country, calls in (("de", 1), ("fr", 1), ("de", 0)):
        parameters = {"country": country}
        found = pipeline.call({"key": "a"}, parameters=parameters, **given).data["news"]
        assert (found, len(desk.calls())) == (f"a in {country}", calls)
        (again,) = asyncio.run(pipeline.acall_many([{"key": "a"}], parameters=parameters, **given))
        assert (again.data["news"], desk.calls()) == (f"a in {country}", [])
    run = desk.run(service, ["a"], parameters={"country": "de"})
    assert (run.to_arrow()["news"].to_pylist(), desk.calls()) == (["a in de"], [])
    # A table has no parameters, and nothing that was answered for any.
    assert pipeline.apply(pa.table({"key": ["a"]}), **given)["news"].to_pylist() == ["a in None"]


def test_small_segments_are_merged_at_the_end_of_a_run(desk: Desk) -> None:
    for at in range(caching.MANY - 1):
        desk.run(desk.news(), [f"k{at}"], output=f"out{at}")
    assert len(desk.segments()) == caching.MANY - 1
    desk.run(desk.news(), ["last"], output="last")
    assert len(desk.segments()) == 1
    assert pq.read_metadata(desk.segments()[0]).num_rows == caching.MANY


@pytest.mark.parametrize(
    ("status", "age", "serves"),
    [
        (Status.SUCCEEDED, 29.0, True),
        (Status.SUCCEEDED, 31.0, False),
        (Status.NOT_FOUND, 6.0, True),
        (Status.NOT_FOUND, 8.0, False),
    ],
)
def test_an_answer_that_is_too_old_serves_no_more_but_for_the_run_that_paid(
    desk: Desk, status: Status, age: float, serves: bool
) -> None:
    policy, now = desk.news().policy.cache, 2e9
    table = pa.table({"key": ["a"]})
    graph = bind_pipeline(flow.Pipeline("test", [desk.news()]), table.schema, {})
    origin = origin_of(graph.steps[0])
    keeper = Apart({b"k" * 20: (Answer(status, b"1", now - age * 86_400), None)})
    for own_since, expected in ((float("inf"), serves), (0.0, True)):
        terms = {"news": Terms(origin=origin, policy=policy, own_since=own_since)}
        memory = Memory(keeper, terms, clock=lambda: now)
        assert bool(memory.get_many([b"k" * 20], service="news")) is expected


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (lambda api: flow.enrichment(name="x", returns=str, cache="7d")(lambda key: key), "give api="),
        (lambda api: flow.lookup("x", table="x.csv", on="key", cache="7d"), "give api="),
        (lambda api: api.get("x", "/{key}", returns=str, cache="soon"), "cache"),
        (lambda api: api.get("x", "/{key}", returns=str, cache=True), "cache"),
        (lambda api: api.post("x", "/{key}", returns=str, cache="7d", idempotent=False), "every call counts"),
    ],
)
def test_a_cache_for_what_cannot_be_kept_is_refused(desk: Desk, declare: Callable[[Any], Any], told: str) -> None:
    with pytest.raises(DeclarationError, match=told):
        declare(desk.api)


def test_a_run_says_that_a_damaged_index_was_rebuilt_and_which_segment_cannot_be_read(
    desk: Desk, tmp_path: Path, on_host: Callable[[str], None]
) -> None:
    on_host("here")
    desk.run(desk.news(), ["a"])
    desk.run(desk.news(), ["b"], output="other")
    desk.calls()
    first, second = desk.segments()
    lost = pq.read_table(first)["value"][0].as_py()
    first.write_bytes(b"no parquet")
    (index,) = (tmp_path / "here").glob("*.sqlite")
    index.write_bytes(b"no database" * 1000)
    run = desk.run(desk.news(), ["a", "b"], output="third")
    assert [f"str '{key}'" for key in desk.calls()] == [lost.strip('"')]
    assert any("was damaged" in one and "rebuilt from" in one for one in run.warnings)
    assert any(str(first) in one and "is skipped" in one for one in run.warnings)
    assert second.exists()


def test_a_process_that_cannot_remember_single_records_says_so_once_and_goes_on(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "file"))
    pipeline = flow.Pipeline("test", [desk.news()])
    with pytest.warns(UserWarning, match="nothing is remembered"):
        pipeline.call({"key": "a"}, catalog=desk.catalog)
    assert pipeline.call({"key": "a"}, catalog=desk.catalog).data["news"] == "str 'a'"
    assert desk.calls() == ["a", "a"]
