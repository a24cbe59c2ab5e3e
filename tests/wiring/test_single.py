"""One record: the coordinator of many services, called and awaited."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import CriticalServiceFailed, DeclarationError
from dataflow.outcomes import Status
from dataflow.wiring import single


@flow.transformation
def email(email: str) -> str:
    return email.strip().lower()


@flow.validation
def known(domain: str) -> str | None:
    return None if domain.endswith(".example") else "unknown"


@flow.transformation
def domain(email: str) -> str:
    return email.partition("@")[2]


@flow.enrichment
def size(domain: str) -> int:
    if domain == "lost.example":
        raise flow.NotFound
    if domain == "bad.example":
        raise LookupError("secret text")
    return len(domain)


pipeline = flow.Pipeline("leads", [email, domain, known, size])


def test_a_record_comes_back_with_its_columns_first_and_what_happened() -> None:
    result = pipeline.call({"id": 7, "email": " A@B.example "})
    assert result.data == {
        "id": 7,
        "email": "a@b.example",
        "domain": "b.example",
        "size": 9,
        "is_valid": True,
        "validations": [{"validator": "known", "is_valid": True, "errors": []}],
        "completeness": 1.0,
        "degraded": False,
    }
    assert list(result.data)[:2] == ["id", "email"]
    told = result.metadata
    assert (told.services_executed, told.success_count, told.failure_count, told.failures) == (4, 4, 0, ())
    assert (told.completeness, told.cost, told.rejected) == (1.0, 0.0, None)
    assert 0 < told.total_duration < 10
    assert told.execution_id != pipeline.call({"email": "a@b.example"}).metadata.execution_id


def test_an_important_failure_degrades_the_record() -> None:
    result = pipeline.call({"email": "a@bad.example"})
    assert (result.data["size"], result.data["degraded"], result.data["completeness"]) == (None, True, 0.0)
    (failure,) = result.metadata.failures
    assert (failure.service, failure.status, failure.reason) == ("size", Status.FAILED, "LookupError")
    assert (result.metadata.services_executed, result.metadata.success_count) == (4, 3)


def test_not_found_is_an_answer() -> None:
    result = pipeline.call({"email": "a@lost.example"})
    assert (result.data["size"], result.data["degraded"]) == (None, False)
    assert (result.metadata.completeness, result.metadata.failure_count) == (0.0, 0)


def test_an_optional_failure_is_counted_and_its_default_fills_in() -> None:
    used = flow.Pipeline("p", [domain, size.with_(priority="optional", default=-1)])
    result = used.call({"email": "a@bad.example"})
    assert (result.data["size"], result.data["degraded"]) == (-1, False)
    assert result.metadata.failure_count == 1


def test_a_critical_failure_raises_and_names_the_service_and_what_it_said_behind_the_sentence() -> None:
    used = flow.Pipeline("p", [domain, size.with_(priority="critical")])
    with pytest.raises(CriticalServiceFailed, match=r"`size`: LookupError; give them default=") as caught:
        used.call({"email": "a@bad.example"})
    assert caught.value.services == ("size",)
    assert "secret" not in caught.value.plain
    assert str(caught.value).endswith("; `size`: LookupError: secret text (test_single.py, line 46)")


def test_null_inputs_skip_what_does_not_take_them() -> None:
    result = pipeline.call({"email": None})
    assert (result.data["email"], result.data["domain"], result.data["size"]) == (None, None, None)
    assert (result.data["is_valid"], result.data["completeness"]) == (True, None)
    assert result.metadata.services_executed == 0


def test_a_required_input_that_is_null_is_invalid() -> None:
    result = flow.Pipeline("p", [known.with_(required=True)]).call({"domain": None})
    assert result.data["is_valid"] is False
    assert result.data["validations"] == [{"validator": "known", "is_valid": False, "errors": ["missing input"]}]


def test_what_a_run_would_reject_says_so() -> None:
    @flow.transformation
    def refuse(email: str) -> str:
        raise flow.Reject("unwanted")

    assert flow.Pipeline("p", [refuse]).call({"email": "a"}).metadata.rejected == "refuse: unwanted"
    strict = flow.Pipeline("p", [known], invalid="reject")
    assert strict.call({"domain": "b.org"}).metadata.rejected == "known: unknown"


def test_a_missing_column_is_named_with_the_likely_one() -> None:
    with pytest.raises(DeclarationError, match=r"`email` reads `email`.*did you mean `e_mail`"):
        pipeline.call({"e_mail": "a@b"})
    with pytest.raises(DeclarationError, match="there are `a`, `b`"):
        pipeline.call({"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("value", "kind"),
    [("7", "str"), (1.5, "float"), (True, "bool"), ([1], "list"), (2**70, "int"), (object(), "object")],
)
def test_a_value_of_another_type_is_refused_without_showing_it(value: Any, kind: str) -> None:
    @flow.transformation
    def double(n: int) -> int:
        return 2 * n

    with pytest.raises(DeclarationError, match=f"column `n`: is {kind}, but its first reader declares int64") as caught:
        flow.Pipeline("p", [double]).call({"n": value})
    assert repr(value) not in str(caught.value)


def test_an_int_is_a_float_and_numpy_numbers_are_numbers() -> None:
    import numpy as np

    @flow.transformation
    def half(x: float) -> float:
        return x / 2

    used = flow.Pipeline("p", [half])
    assert [used.call({"x": x}).data["half"] for x in (3, 3.0, np.float64(3), np.int64(3))] == [1.5] * 4


def test_untouched_values_are_the_very_ones_of_the_record() -> None:
    thing, nested = object(), {"a": [1, {"b": None}], "c": "x"}
    data = pipeline.call({"email": "a@b.example", "thing": thing, "nested": nested, "mixed": [1, "a"]}).data
    assert data["thing"] is thing
    assert data["nested"] is nested


class Address(TypedDict):
    street: str
    numbers: list[int]


@dataclass
class Person:
    name: str
    born: date
    address: Address | None


@flow.transformation(into="person", columns={"address": "address"})
def person(name: str, born: date, address: Address | None) -> Person:
    return Person(name, born, address)


@flow.transformation(columns={"address": "address"})
def counts(address: Address | None, balance: Decimal) -> dict[str, int]:
    return {"numbers": len(address["numbers"]) if address else 0, "balance": int(balance)}


@pytest.mark.parametrize("options", [{"overwrite": "nulls"}, {"when": "fill is null"}])
def test_a_null_that_nobody_reads_is_filled(options: Any) -> None:
    @flow.transformation(into="fill", **options)
    def filled(x: int) -> float:
        return x / 2

    used = flow.Pipeline("p", [filled])
    assert used.call({"x": 1, "fill": None}).data["fill"] == 0.5
    assert used.call({"x": 1, "fill": 3.0}).data["fill"] == 3.0
    assert used.apply(pd.DataFrame({"x": [1, 2], "fill": [None, None]}))["fill"].tolist() == [0.5, 1.0]


def test_nested_values_go_in_and_come_out() -> None:
    record = {"name": "A", "born": date(2000, 2, 29), "balance": Decimal("1.50")}
    address = {"street": "S", "numbers": [1, 2]}
    used = flow.Pipeline("p", [person, counts])
    data = used.call({**record, "address": address}).data
    assert data["person"] == {"name": "A", "born": date(2000, 2, 29), "address": address}
    assert data["counts"] == {"numbers": 2, "balance": 1}
    assert used.call({**record, "address": None}).data["person"]["address"] is None


def test_column_services_lookups_and_outcomes_work_for_one_record() -> None:
    @flow.transformation(returns=str)
    def upper(name: pd.Series) -> pd.Series:
        return name.str.upper()

    @flow.transformation
    def summary(outcomes: flow.Outcomes) -> str:
        return ", ".join(f"{name} {one.status}" for name, one in outcomes.items())

    label = flow.lookup("label", table=pa.table({"code": ["x"], "label": ["ex"]}), on="code")
    used = flow.Pipeline("p", [upper, label, summary])
    assert used.call({"name": "a", "code": "x"}).data["label"] == "ex"
    data = used.call({"name": None, "code": None}).data
    assert (data["upper"], data["label"]) == (None, None)
    assert data["summary"] == "upper succeeded, label skipped"


def test_a_service_sees_the_execution_and_its_parameters() -> None:
    @flow.transformation
    def tag(email: str, context: flow.Context) -> str:
        return f"{context.run} {context.parameters.get('tag')}"

    used = flow.Pipeline("p", [tag])
    result = used.call({"email": "a"}, parameters={"tag": "x"})
    assert result.data["tag"] == f"{result.metadata.execution_id} x"
    assert used.call({"email": "a"}).data["tag"].endswith(" None")


def test_a_class_is_set_up_once_whatever_else_the_records_hold() -> None:
    made: list[int] = []

    @flow.transformation
    class Tagged:
        def __init__(self) -> None:
            made.append(1)

        def __call__(self, email: str | None) -> str:
            return f"{len(made)}"

    used = flow.Pipeline("p", [Tagged.with_(name="tagged")])
    records = [
        {"email": "a"},
        {"email": None},
        {"email": "a", "x": 1},
        {"email": "a", "x": "y"},
        {"z": {"q": [1]}, "email": "b"},
    ]
    assert [used.call(record).data["tagged"] for record in records] == ["1"] * 5
    assert made == [1]


def test_the_table_of_a_lookup_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("code,label\nx,ex\n")
    used = flow.Pipeline("p", [flow.lookup("label", table=path, on="code")])
    assert used.call({"code": "x"}).data["label"] == "ex"
    path.unlink()
    assert used.call({"code": "x", "other": 1}).data["label"] == "ex"


def waiting(seconds: float, **options: Any) -> Any:
    @flow.enrichment(**options)
    async def waited(email: str) -> str:
        await asyncio.sleep(seconds)
        return "done"

    return waited


def meeting(count: int) -> Any:
    """Makes services that end only when so many calls of them wait at the same time."""
    together = asyncio.Barrier(count)

    async def meet(email: str) -> str:
        await together.wait()
        return "done"

    return lambda name: flow.enrichment(meet, name=name)


def test_services_that_wait_do_so_side_by_side() -> None:
    meet = meeting(5)
    result = flow.Pipeline("p", [meet(f"w{at}") for at in range(5)]).call({"email": "a"})
    assert [result.data[f"w{at}"] for at in range(5)] == ["done"] * 5


def test_a_service_that_takes_too_long_times_out() -> None:
    result = flow.Pipeline("p", [waiting(60, timeout="50ms")]).call({"email": "a"})
    (failure,) = result.metadata.failures
    assert (failure.status, failure.reason, failure.error) == (
        Status.TIMED_OUT,
        "TimeoutError",
        "no answer within 0.05 s",
    )
    assert result.metadata.total_duration < 20


def test_call_works_within_a_running_loop() -> None:
    async def inside() -> Any:
        return flow.Pipeline("p", [waiting(0.01)]).call({"email": "a"})

    assert asyncio.run(inside()).data["waited"] == "done"


def test_acall_runs_async_services_on_the_callers_loop_and_plain_ones_beside_it() -> None:
    seen: dict[str, Any] = {}
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    @flow.enrichment
    async def waited(email: str) -> str:
        seen["loop"], seen["thread"] = asyncio.get_running_loop(), threading.current_thread()
        return variable.get()

    @flow.transformation
    def plain(email: str) -> str:
        seen["plain"] = threading.current_thread()
        return variable.get()

    async def main() -> Any:
        variable.set("given")
        result = await flow.Pipeline("p", [waited, plain]).acall({"email": "a"})
        assert seen["loop"] is asyncio.get_running_loop()
        return result

    result = asyncio.run(main())
    assert (result.data["waited"], result.data["plain"]) == ("given", "given")
    assert seen["thread"] is threading.main_thread()
    assert seen["plain"] is not threading.main_thread()


def test_many_records_are_awaited_side_by_side() -> None:
    used = flow.Pipeline("p", [meeting(100)("waited")])

    async def main() -> list[Any]:
        return await asyncio.gather(*(used.acall({"email": str(at)}) for at in range(100)))

    assert {result.data["waited"] for result in asyncio.run(main())} == {"done"}


def test_eight_services_of_a_hundred_records_wait_together() -> None:
    meet = meeting(800)
    used = flow.Pipeline("p", [meet(f"w{at}") for at in range(8)])

    async def main() -> list[Any]:
        return await asyncio.gather(*(used.acall({"email": str(at)}) for at in range(100)))

    assert {result.metadata.success_count for result in asyncio.run(main())} == {8}


def test_a_class_that_takes_its_time_to_set_up_holds_up_no_loop() -> None:
    ticked = threading.Event()
    turned: list[bool] = []

    @flow.transformation
    class Slow:
        def __init__(self) -> None:
            ticked.clear()
            turned.append(ticked.wait(20))

        def __call__(self, x: Any) -> str:
            return str(x)

    used = flow.Pipeline("p", [Slow.with_(name="slow")])

    async def main() -> None:
        async def tick() -> None:
            while True:
                await asyncio.sleep(0.01)
                ticked.set()

        ticking = asyncio.create_task(tick())
        for record in ({"x": 1}, {"x": "another schema"}):
            await used.acall(record)
        ticking.cancel()

    asyncio.run(main())
    assert turned
    assert all(turned)


acme = flow.API("acme-single", "https://acme.example")


def test_apis_are_awaited_side_by_side() -> None:
    together = asyncio.Barrier(6)

    async def answer(request: flow.testing.Request) -> Any:
        await together.wait()
        return {"name": request.url[-2:]}

    services = [
        acme.get(name, f"/{name}/{{domain}}", returns=str, select="name", price=0.5) for name in ("one", "two", "three")
    ]
    used = flow.Pipeline("p", services)

    async def main() -> list[Any]:
        return await asyncio.gather(*(used.acall({"domain": f"d{at}"}) for at in range(4)))

    with flow.testing.offline(**{"acme-single": answer}) as calls:
        results = asyncio.run(main())
        assert calls.total == 12
    assert [one.data["three"] for one in results] == ["d0", "d1", "d2", "d3"]
    assert {one.metadata.cost for one in results} == {1.5}


def test_a_cancelled_acall_cancels_the_calls_of_apis() -> None:
    begun, ended = threading.Event(), threading.Event()

    async def endless(request: flow.testing.Request) -> Any:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    used = flow.Pipeline("p", [acme.get("one", "/{domain}", returns=str)])
    with flow.testing.offline(**{"acme-single": endless}):
        asyncio.run(cancelled(used.acall({"domain": "a"}), after=begun, ended=ended))


async def cancelled(call: Any, *, after: threading.Event, ended: threading.Event) -> None:
    """Await a call that is cancelled as soon as something has begun, until that has ended."""
    async with asyncio.timeout(20):
        task = asyncio.ensure_future(call)
        while not after.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not ended.is_set():
            await asyncio.sleep(0.01)


def test_a_service_may_await_another_pipeline() -> None:
    inner = flow.Pipeline("inner", [waiting(0.05)])

    @flow.enrichment
    async def nested(email: str) -> str:
        return str((await inner.acall({"email": email})).data["waited"])

    outer = flow.Pipeline("outer", [nested])

    async def main() -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*(outer.acall({"email": "a"}) for _ in range(40))), 20)

    assert {result.data["nested"] for result in asyncio.run(main())} == {"done"}


def test_services_that_wait_for_records_do_not_take_the_threads_of_those(monkeypatch: pytest.MonkeyPatch) -> None:
    @flow.enrichment(threads=2)
    def leaf(x: int) -> int:
        return x

    def waits_for(pipeline: flow.Pipeline, name: str) -> Any:
        @flow.enrichment(name=name, threads=2)
        def asked(x: int) -> int:
            time.sleep(0.05)
            return int(pipeline.call({"x": x}).metadata.success_count)

        return asked

    monkeypatch.setattr(single, "SIDE_BY_SIDE", 2)
    monkeypatch.setattr(single, "_threads", cache(single._threads.__wrapped__))
    inner = flow.Pipeline("inner", [leaf])
    middle = flow.Pipeline("middle", [waits_for(inner, "one"), waits_for(inner, "two")])
    outer = flow.Pipeline("outer", [waits_for(middle, "three"), waits_for(middle, "four")])

    async def main() -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*(outer.acall({"x": at}) for at in range(4))), 30)

    assert [result.data["four"] for result in asyncio.run(main())] == [2] * 4


def test_an_error_comes_through_acall() -> None:
    used = flow.Pipeline("p", [domain, size.with_(priority="critical")])
    with pytest.raises(CriticalServiceFailed):
        asyncio.run(used.acall({"email": "a@bad.example"}))


def test_a_cancelled_acall_cancels_its_calls() -> None:
    begun, ended = threading.Event(), threading.Event()

    @flow.enrichment
    async def endless(email: str) -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.set()
            raise
        return "done"

    call = flow.Pipeline("p", [endless]).acall({"email": "a"})
    asyncio.run(cancelled(call, after=begun, ended=ended))


def test_threads_may_share_a_pipeline() -> None:
    results: list[str] = []

    def work(at: int) -> None:
        results.extend(pipeline.call({"email": f"a@{at}.example"}).data["domain"] for _ in range(20))

    threads = [threading.Thread(target=work, args=(at,)) for at in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(f"{at}.example" for at in range(5) for _ in range(20))


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="catalogue"):
        pipeline.call({"email": "a"}, catalogue="x")


@pytest.mark.parametrize("text", [str(2**128 + 1), "1" * 45, "1e5", "nan"])
def test_text_that_is_no_decimal_of_the_declared_type_never_becomes_another(text: str) -> None:
    @flow.transformation(into="twice")
    def double(amount: Decimal) -> Decimal:
        return 2 * amount

    pipeline = flow.Pipeline("twice", [double])
    assert pipeline.call({"amount": "1.5"}).data["twice"] == 3
    with pytest.raises(DeclarationError, match="column `amount`: is str, but its first reader declares decimal"):
        pipeline.call({"amount": text})
