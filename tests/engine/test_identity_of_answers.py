"""Which change of a declaration asks for answers anew, and which finds those that are kept."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

import numpy as np
import pyarrow as pa
import pydantic
import pytest

import dataflow as flow
from dataflow.engine.keys import key_of, keys_of
from dataflow.plan.binding import bind
from dataflow.services.template import Template

URL = "https://api.acme.example"
SCHEMA = pa.schema([("domain", pa.string()), ("country", pa.string())])
Declare = Callable[[], flow.Service]


def key(service: flow.Service) -> bytes:
    step = bind([service], SCHEMA, name="test").steps[0]
    return key_of(step, keys_of(step))(tuple(["x"] * len(step.inputs)))


def api(name: str = "acme", url: str = URL, **options: Any) -> flow.API:
    return flow.API(name, url, **options)


def http(account: flow.API | None = None, path: str = "/c/{domain}", **options: Any) -> flow.Service:
    return (account or api()).get("company", path, **{"returns": {"title": str}, **options})


def post(**options: Any) -> flow.Service:
    given = {"path": "/c", "json": {"domain": "{domain}", "deep": True}, "returns": {"title": str}}
    return api().request("company", options.pop("method", "POST"), **{**given, **options})


def many(**options: Any) -> flow.Service:
    given = {"batch": 5, "items": "data", "match": "domain", "json": {"all": ["{domain}"]}, "returns": {"title": str}}
    return api().post("company", "/c", **{**given, **options})


def chat(account: flow.API | None = None, **options: Any) -> flow.Service:
    given = {"model": "small", "prompt": "About {domain}.", "returns": {"title": str}}
    return flow.llm("company", **{**given, **options}, api=account or api())


def function(account: flow.API | None = None, **options: Any) -> flow.Service:
    def ask(domain: str, kind: str = "") -> str:
        return domain

    given = {"api": account or api(), "name": "company", "constants": {"kind": "plain"}}
    made: flow.Service = flow.enrichment(**{**given, **options})(ask)
    return made


def gives(returns: Any) -> tuple[Declare, ...]:
    return (
        lambda: http(returns=returns),
        lambda: function(returns=returns),
        lambda: chat(returns=returns),
    )


class Plain:
    """A value without a text of its own."""

    def __init__(self, size: int) -> None:
        self.size = size


@dataclasses.dataclass
class Company:
    title: str
    size: int | None = None


def other(kind: type, name: str = "Firm") -> type:
    """The same class under another name."""
    return type(name, kind.__bases__, {**vars(kind), "__qualname__": name})


class Checked(pydantic.BaseModel):
    title: str
    size: int = pydantic.Field(gt=0)


class CheckedMore(pydantic.BaseModel):
    title: str
    size: int = pydantic.Field(gt=10)


class Shortened(pydantic.BaseModel):
    title: str
    size: int = pydantic.Field(gt=0)

    @pydantic.field_validator("title")
    @classmethod
    def short(cls, title: str) -> str:
        return title[:5]


@dataclasses.dataclass
class Raised:
    title: str
    size: int | None = None

    def __post_init__(self) -> None:
        self.title = self.title.upper()


@dataclasses.dataclass
class Described:
    title: str
    size: int | None = None

    def text(self) -> str:
        return f"{self.title} {self.size}"


class Pair(NamedTuple):
    title: str
    size: int | None = None


def typed(**fields: Any) -> Any:
    return TypedDict("Company", fields)  # type: ignore[operator]


def sized(default: Any) -> Any:
    return dataclasses.make_dataclass("Company", [("title", str), ("size", int, default)])


ACCOUNTS: dict[str, tuple[flow.API, flow.API, bool]] = {
    "name of the account": (api(), api("other"), True),
    "url": (api(), api(url="https://eu.acme.example"), True),
    "slash at the end of the url": (api(), api(url=URL + "/"), False),
    "value of a header": (api(headers={"Accept-Language": "de"}), api(headers={"Accept-Language": "fr"}), True),
    "a header more": (api(), api(headers={"X-Plan": "pro"}), True),
    "case of a header's name": (api(headers={"X-Plan": "pro"}), api(headers={"x-plan": "pro"}), False),
    "order of headers": (api(headers={"A": "1", "B": "2"}), api(headers={"B": "2", "A": "1"}), False),
    "a secret at all": (api(), api(auth=flow.bearer("ONE")), True),
    "another secret": (api(auth=flow.bearer("ONE")), api(auth=flow.bearer("TWO")), True),
    "bearer or a header": (api(auth=flow.bearer("ONE")), api(auth=flow.api_key("ONE", header="X-Key")), True),
    "where the secret goes": (
        api(auth=flow.api_key("ONE", header="X-Key")),
        api(auth=flow.api_key("ONE", query="key")),
        True,
    ),
    "user and password swapped": (api(auth=flow.basic("A", "B")), api(auth=flow.basic("B", "A")), True),
    "scope of tokens": (
        api(auth=flow.oauth2_client("A", "B", token_url="https://t.example/t")),
        api(auth=flow.oauth2_client("A", "B", token_url="https://t.example/t", scope="all")),
        True,
    ),
    # How fast, how often and how long it may be asked changes no answer.
    "limits": (api(), api(rate="5/s", concurrency=2, timeout="5s", retry=5, breaker=False, max_answer="1MB"), False),
    "other hosts": (api(), api(allow_hosts=["eu.acme.example"]), False),
}


@pytest.mark.parametrize("name", ACCOUNTS)
@pytest.mark.parametrize("declare", [http, function, chat])
def test_the_account_counts_with_all_that_its_provider_sees(declare: Any, name: str) -> None:
    before, after, again = ACCOUNTS[name]
    assert (key(declare(before)) != key(declare(after))) is again


TYPES: dict[str, tuple[Any, Any, bool]] = {
    "a field more": (typed(title=str), typed(title=str, size=int), True),
    "a field less": (typed(title=str, size=int), typed(title=str), True),
    "type of a field": (typed(title=str, size=int), typed(title=str, size=str), True),
    "null in a field": (typed(title=str), typed(title=str | None), True),
    "field that may be left out": (typed(title=str, size=int), typed(title=str, size=NotRequired[int]), True),
    "field in a record in a list": (list[typed(a=int)], list[typed(a=int, b=int)], True),  # type: ignore[misc]
    "field in a record in a dict": (dict[str, typed(a=int)], dict[str, typed(a=str)], True),  # type: ignore[misc]
    "field in a record in a field": (typed(of=typed(a=int)), typed(of=typed(a=int | None)), True),
    "null at all": (str, str | None, True),
    "null in a list": (list[str], list[str | None], True),
    "values of a Literal": (Literal["a", "b"], Literal["a", "b", "c"], True),
    "values of a Literal in a field": (typed(a=Literal["x"]), typed(a=Literal["y"]), True),
    "text or a Literal": (typed(a=str), typed(a=Literal["x"]), True),
    "int or float": (typed(a=int), typed(a=float), True),
    "date or datetime": (typed(a=dt.date), typed(a=dt.datetime), True),
    "places of a Decimal": (Decimal, pa.decimal128(38, 4), True),
    "list or dict": (list[int], dict[str, int], True),
    "int and its Arrow type": (int, pa.int64(), False),
    "list or tuple": (list[int], tuple[int, ...], False),
    "default of a field": (sized(0), sized(1), True),
    "default where there was none": (Company, typed(title=str, size=int | None), True),
    "name of a class": (Company, other(Company), False),
    "name of a TypedDict": (typed(title=str), TypedDict("Firm", {"title": str}), False),
    "TypedDict or plain fields": (typed(title=str), {"title": str}, False),
    "dataclass or NamedTuple": (Company, Pair, False),
    "a method that reads": (Company, Described, False),
    "a class that changes what it is given": (Company, Raised, True),
    "a limit of a field": (Checked, CheckedMore, True),
    "a validator": (Checked, Shortened, True),
}


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("kind", [0, 1, 2], ids=["http", "function", "llm"])
def test_the_type_counts_down_to_the_last_field_and_the_name_of_a_class_does_not(kind: int, name: str) -> None:
    before, after, again = TYPES[name]
    assert (key(gives(before)[kind]()) != key(gives(after)[kind]())) is again


def test_the_order_of_fields_and_of_a_literal_counts_only_for_a_model_which_is_told_of_it() -> None:
    for before, after in ((typed(a=int, b=int), typed(b=int, a=int)), (Literal["x", "y"], Literal["y", "x"])):
        assert key(http(returns=before)) == key(http(returns=after))
        assert key(chat(returns=before)) != key(chat(returns=after))


def with_accept(most: int) -> flow.Service:
    return http(accept=lambda answer: len(answer) < most)


OTHERS: dict[str, tuple[Declare, Declare, bool]] = {
    "path": (http, lambda: http(path="/d/{domain}"), True),
    "method": (post, lambda: post(method="PUT"), True),
    "query": (http, lambda: http(params={"deep": "yes"}), True),
    "body": (post, lambda: post(json={"domain": "{domain}", "deep": False}), True),
    "order in a body": (post, lambda: post(json={"deep": True, "domain": "{domain}"}), False),
    "a name or a column in a body": (
        lambda: post(json=["{domain}", "{country}"]),
        lambda: post(json=["{domain}", "{{country}}"]),
        True,
    ),
    "a name or a column in a prompt": (
        lambda: chat(prompt="{domain} {country}"),
        lambda: chat(prompt="{domain} {{country}}"),
        True,
    ),
    "one or more braces around a name": (
        lambda: http(params={"q": "{{x}}"}),
        lambda: http(params={"q": "{{{x}}}"}),
        True,
    ),
    "order in a body with names": (
        lambda: post(json={"a": "{{x}}{domain}", "b": "{{y}}"}),
        lambda: post(json={"b": "{{y}}", "a": "{{x}}{domain}"}),
        False,
    ),
    "header of a request": (http, lambda: http(headers={"X-Deep": "1"}), True),
    "header of the account or of the request": (
        lambda: http(api(headers={"X-Deep": "1"})),
        lambda: http(headers={"x-deep": "1"}),
        False,
    ),
    "header of the account that the request replaces": (
        lambda: http(api(headers={"X-Deep": "1"}), headers={"X-Deep": "3"}),
        lambda: http(api(headers={"X-Deep": "2"}), headers={"x-deep": "3"}),
        False,
    ),
    "select": (http, lambda: http(select="data"), True),
    "select of a field": (lambda: http(select={"title": "a"}), lambda: http(select={"title": "b"}), True),
    "not_found": (http, lambda: http(not_found=(404, 410)), True),
    "order of not_found": (lambda: http(not_found=(404, 410)), lambda: http(not_found=(410, 404)), False),
    "accept": (lambda: with_accept(3), lambda: with_accept(4), True),
    "the same accept": (lambda: with_accept(3), lambda: with_accept(3), False),
    "items": (many, lambda: many(items="found"), True),
    "match": (many, lambda: many(match="name"), True),
    "size of a batch": (many, lambda: many(batch=50), False),
    "columns that feed a template": (http, lambda: http(columns={"domain": "country"}), False),
    "columns that take the answer": (http, lambda: http(columns={"title": "name"}), False),
    "prompt": (chat, lambda: chat(prompt="Of {domain}."), True),
    "system": (chat, lambda: chat(system="Be brief."), True),
    "model": (chat, lambda: chat(model="large"), True),
    "temperature": (chat, lambda: chat(temperature=1), True),
    "max_tokens": (chat, lambda: chat(max_tokens=9), True),
    "extra": (lambda: chat(extra={"seed": 1}), lambda: chat(extra={"seed": 2}), True),
    "order of extra": (lambda: chat(extra={"a": 1, "b": 2}), lambda: chat(extra={"b": 2, "a": 1}), False),
    "too_long": (chat, lambda: chat(too_long="truncate"), True),
    "a constant": (function, lambda: function(constants={"kind": "fancy"}), True),
    "a constant without a text": (
        lambda: function(constants={"kind": Plain(1)}),
        lambda: function(constants={"kind": Plain(2)}),
        True,
    ),
    "the same constant without a text": (
        lambda: function(constants={"kind": Plain(1)}),
        lambda: function(constants={"kind": Plain(1)}),
        False,
    ),
    "a long array": (
        lambda: function(constants={"kind": np.arange(9999)}),
        lambda: function(constants={"kind": np.arange(9999) // 5000}),
        True,
    ),
    "version": (function, lambda: function(version="2"), True),
    "name": (http, lambda: api().get("firm", "/c/{domain}", returns={"title": str}), True),
    # What becomes of an answer, and what it costs, is no part of it.
    "policies": (
        http,
        lambda: http(
            price=0.1, cache="1d", retry=9, timeout=5, default=None, priority="optional", when="country is not null"
        ),
        False,
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_asked_counts_and_what_is_done_with_the_answer_does_not(name: str) -> None:
    before, after, again = OTHERS[name]
    assert (key(before()) != key(after())) is again


def test_parameters_count_by_name_since_inputs_are_told_apart_by_their_places() -> None:
    def one(domain: str, country: str) -> str:
        return domain

    def two(country: str, domain: str) -> str:
        return domain

    keys = []
    for made, row in ((one, ("a", "b")), (two, ("a", "b"))):
        service = flow.enrichment(api=api(), name="company")(made)
        step = bind([service], SCHEMA, name="test").steps[0]
        keys.append(key_of(step, keys_of(step))(row))
    assert keys[0] != keys[1]


JOB = """
import dataclasses, datetime
from typing import Annotated, Literal
import pyarrow as pa
import pydantic
import dataflow as flow
from dataflow.engine.keys import key_of, keys_of
from dataflow.plan.binding import bind

def stripped(text):
    return text.strip()

class Part(pydantic.BaseModel):
    model_config = {"str_max_length": 9}
    code: Annotated[str, pydantic.AfterValidator(stripped)] = pydantic.Field(min_length=1, alias="Code")
    made: list[str] = pydantic.Field(default_factory=lambda: ["x"])

    @pydantic.field_validator("made")
    @classmethod
    def few(cls, made: list[str]) -> list[str]:
        return made[:5]

@dataclasses.dataclass
class NAME:
    parts: list[Part]
    title: str
    tags: list[Literal["a", "b"]] = dataclasses.field(default_factory=list)
    born: datetime.date | None = None

api = flow.API("acme", "https://acme.example", headers={"B": "1", "A": "2"}, auth=flow.bearer("ONE"))
service = api.get("company", "/c/{domain}", returns=list[NAME], accept=lambda found: found in {"a", "b", "c"})
step = bind([service], pa.schema([("domain", pa.string())]), name="test").steps[0]
print(key_of(step, keys_of(step))(("x",)).hex())
"""


def test_another_process_and_another_module_find_the_same_key(tmp_path: Path) -> None:
    found = set()
    for seed, name in (("1", "Company"), ("2", "Firm")):
        file = tmp_path / f"job_{seed}.py"
        file.write_text(JOB.replace("NAME", name))
        done = subprocess.run(
            [sys.executable, "-c", f"import job_{seed}"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_an_answer_of_the_time_when_doubled_braces_were_a_column_too_does_not_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declared = [
        lambda: http(path="/{domain}", params={"q": "{{domain}}"}),
        lambda: post(json={"t": "{{domain}} {domain}"}),
        lambda: many(params={"q": "{{domain}}"}),
        lambda: chat(prompt="{{domain}} {domain}"),
    ]
    now = [key(one()) for one in declared]
    monkeypatch.setattr(Template, "meaning", property(lambda self: self.source))
    assert not set(now) & {key(one()) for one in declared}
