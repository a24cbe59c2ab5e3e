"""What counts as a change of a plan, and what does not."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
from types import ModuleType
from typing import Any, Literal, TypedDict

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.plan.binding import bind
from dataflow.plan.code import code_digest, stable
from dataflow.plan.fingerprint import changes, fingerprints, table_digest
from dataflow.plan.partitions import SourceFile

FILE = SourceFile(path="/data/leads.csv", size=10, fingerprint="10-1")
SCHEMA = pa.schema({"email": pa.string(), "amount": pa.int64()})


def module(text: str, **globals_: Any) -> dict[str, Any]:
    """The names that a user's module of this text defines."""
    made = ModuleType("users_module")
    vars(made).update(globals_)
    exec(compile(textwrap.dedent(text), "job.py", "exec", dont_inherit=True), vars(made))
    return vars(made)


def digest(text: str, **globals_: Any) -> str:
    return code_digest(module(text, **globals_)["service"])


def prints(*services: Any, **given: Any) -> dict[str, str]:
    tables = given.get("tables", {})
    schemas = {name: table.schema for name, table in tables.items()}
    graph = bind(services, given.pop("schema", SCHEMA), name="p", invalid=given.pop("invalid", "keep"), tables=schemas)
    return fingerprints(graph, **{"files": [FILE], "options": {}, "key": (), **given})


PLAIN = '''
LIMIT = 3
def clean(text):
    return text.strip()
def service(text: str) -> str:
    """What it does."""
    return clean(text)[:LIMIT]
'''


@pytest.mark.parametrize(
    "other",
    [
        PLAIN.replace("return clean", "# why\n    return clean"),
        PLAIN.replace("What it does.", "Something else."),
        "\n\n\n" + PLAIN,
        PLAIN + "\nUNUSED = 4\ndef other(): return 5\n",
    ],
    ids=["comment", "docstring", "lines", "unrelated"],
)
def test_comments_docstrings_lines_and_unrelated_code_do_not_count(other: str) -> None:
    assert other != PLAIN
    assert digest(other) == digest(PLAIN)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[:LIMIT]", "[:LIMIT + 1]"),
        ("LIMIT = 3", "LIMIT = 4"),
        (".strip()", ".lstrip()"),
    ],
)
def test_the_body_the_constants_and_the_functions_beside_it_count(before: str, after: str) -> None:
    assert digest(PLAIN.replace(before, after)) != digest(PLAIN)


PARTS = {
    "comprehension": "def service(x): return [part + 'A' for part in x]",
    "generator": "def service(x): return any('A' in part for part in x)",
    "lambda": "service = lambda x: 'A'",
    "keyword default": "def service(x, *, n='A'): return n",
    "default": "def service(x, n=(1, 'A')): return n",
    "closure": "def make(n):\n return lambda x: n\nservice = make('A')",
    "pattern": "import re\nP = re.compile('A')\ndef service(x): return P",
    "set": "WORDS = {'a', 'A'}\ndef service(x): return x in WORDS",
    "literal set": "def service(x): return x in {'a', 'A'}",
    "date": "from datetime import timedelta as T\nD = T(days=int('A', 16))\ndef service(x): return D",
    "decimal": "from decimal import Decimal\nD = Decimal(int('A', 16))\ndef service(x): return D",
    "enum": "from enum import Enum\nclass E(Enum):\n ONE = 'A'\ndef service(x): return E.ONE",
    "cached": "from functools import cache\n@cache\ndef f(): return 'A'\ndef service(x): return f()",
    "partial": "from functools import partial\ndef f(a, b): return a\nservice = partial(f, 'A')",
    "method": "class service:\n def __call__(self, x): return self.y()\n def y(self): return 'A'",
    "property": "class service:\n def __call__(self, x): return self.y\n @property\n def y(self): return 'A'",
    "static": "class service:\n def __call__(self, x): return self.y()\n @staticmethod\n def y(): return 'A'",
    "base class": "class B:\n Y = 'A'\nclass service(B):\n def __call__(self, x): return self.Y",
    "frozen value": """
from dataclasses import dataclass
@dataclass(frozen=True)
class Limits:
    most: str
LIMITS = Limits('A')
def service(x): return LIMITS.most
""",
}


@pytest.mark.parametrize("text", PARTS.values(), ids=PARTS)
def test_a_constant_counts_wherever_it_stands(text: str) -> None:
    assert digest(text) == digest(text)
    assert digest(text) != digest(text.replace("'A'", "'B'"))


def test_functions_of_the_users_other_modules_count_and_those_of_libraries_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for amount in (1, 2):
        rules = ModuleType("users_rules")
        exec(f"AMOUNT = {amount}\ndef check(x): return x > AMOUNT", vars(rules))
        monkeypatch.setitem(sys.modules, "users_rules", rules)
        found.append(digest("def service(x): return rules.check(x)", rules=rules))
        found.append(digest("def service(x): return check(x)", check=rules.check))
    assert len(set(found)) == 4
    text = "def service(x): return pa.array(x)"
    assert digest(text, pa=pa) == digest(text, pa=ModuleType("pyarrow"))


def test_recursion_ends() -> None:
    text = "def service(x): return other(x)\ndef other(x): return service(x - 1) if x else 0"
    assert digest(text) != digest(text.replace("else 0", "else 1"))


def test_the_text_of_a_value_holds_neither_addresses_nor_the_order_of_sets() -> None:
    assert stable({"b", "a"}) == stable({"a", "b"}) == "{'a', 'b'}"
    assert stable(object()) == stable(object())
    assert stable({"x": [1, {"y": (2, None)}]}) == stable({"x": [1, {"y": (2, None)}]})
    assert stable([1]) != stable((1,))
    assert stable(lambda: 1) == stable(lambda: 2)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_fingerprints_are_the_same_in_another_process(seed: str) -> None:
    text = "import sys; sys.path.insert(0, sys.argv[1])\nimport test_fingerprint as t; print(t.everything())"
    folder = os.path.dirname(__file__)  # noqa: PTH120
    done = subprocess.run(
        [sys.executable, "-c", text, folder],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == everything()


WORDS = {"alpha", "beta", "gamma"}


@flow.transformation(constants={"allowed": {"one", "two", "three"}})
def email(email: str, allowed: Any) -> str:
    return email if email in WORDS or email in {"x", "y", "z"} else next(iter(allowed))


def everything() -> str:
    return repr(sorted(prints(email, options={"null": ("", "NA"), "delimiter": ","}).items()))


@flow.validation
def positive(amount: int) -> bool:
    return amount > 0


def test_each_part_is_named_when_it_changes() -> None:
    before = prints(email, positive)
    moved = SourceFile(path="/data/leads.csv", size=10, fingerprint="10-2")
    assert changes(before, prints(email, positive)) == []
    assert changes(before, prints(email, positive, files=[moved])) == ["source"]
    assert changes(before, prints(email, positive, options={"delimiter": ";"})) == ["reading"]
    assert changes(before, prints(email, positive, key=("email",))) == ["key"]
    assert changes(before, prints(email, positive, invalid="reject")) == ["invalid"]
    assert changes(before, prints(positive, email)) == ["order"]
    assert changes(before, prints(email)) == ["order", "service positive"]
    assert changes(before, prints(email, positive, schema=SCHEMA.append(pa.field("more", pa.int8())))) == ["schema"]


@pytest.mark.parametrize(
    "options",
    [
        {"into": "other"},
        {"priority": "optional"},
        {"default": ""},
        {"when": "email is not null"},
        {"required": True},
        {"version": "2"},
        {"constants": {"allowed": {"one"}}},
    ],
)
def test_an_option_is_a_change_of_its_service(options: dict[str, Any]) -> None:
    assert changes(prints(email), prints(email.with_(**options))) == ["service email"]


def test_how_fast_a_service_is_called_is_no_part_of_the_plan() -> None:
    assert changes(prints(email), prints(email.with_(threads=4, timeout=3, isolate=True))) == []


def test_where_the_items_of_a_batch_are_is_part_of_the_plan_and_its_size_is_not() -> None:
    acme = flow.API("acme", "https://acme.example")

    def asked(**options: Any) -> Any:
        return prints(acme.post("sized", "/sizes", json=["{email}"], **{"returns": int, "batch": 10, **options}))

    assert changes(asked(), asked(batch=100)) == []
    assert changes(asked(), asked(items="data")) == ["service sized"]
    assert changes(asked(match="id"), asked(match="email")) == ["service sized"]


SERVICE = "@flow.enrichment\ndef service(email: str, n: int = 1) -> int: ..."
RECORD = """
class Company(TypedDict):
    name: str
@flow.enrichment
def service(email: str) -> Company: ...
"""


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        (SERVICE, "-> int", "-> int | None"),
        (SERVICE, "-> int", "-> float"),
        (SERVICE, "email: str", "email: str | None"),
        (SERVICE, "= 1", "= 2"),
        (RECORD, "name: str", "name: str | None"),
        (RECORD, "name: str", "name: str\n    size: int"),
        ("@flow.enrichment(returns={'a': int})\ndef service(email: str): ...", "'a': int", "'a': str"),
    ],
)
def test_an_annotation_is_a_change_of_its_service(text: str, before: str, after: str) -> None:
    def planned(text: str) -> dict[str, str]:
        return prints(module(text, flow=flow, TypedDict=TypedDict)["service"])

    assert changes(planned(text), planned(text)) == []
    assert changes(planned(text), planned(text.replace(before, after))) == ["service service"]


def test_a_change_anywhere_in_the_table_of_a_lookup_is_seen_and_its_chunks_are_not() -> None:
    numbers = list(range(1000))
    table = pa.table({"amount": numbers, "label": [f"label {one}" for one in numbers]})
    labels = table["label"].to_pylist()
    changed = table.set_column(1, "label", pa.array([*labels[:500], "another", *labels[501:]]))
    chunked = pa.concat_tables([table.slice(0, 300), table.slice(300)])
    label = flow.lookup("label", table=table, on="amount")
    before = prints(label, tables={"label": table})
    assert changes(before, prints(label, tables={"label": chunked})) == []
    assert changes(before, prints(label, tables={"label": changed})) == ["service label"]
    assert table_digest(table.slice(1)) == table_digest(pa.table(table.slice(1).to_pydict()))
    assert table_digest(table.rename_columns(["amount", "other"])) != table_digest(table)


def test_parameters_count_where_a_service_asks_for_them() -> None:
    @flow.transformation
    def tagged(email: str, context: flow.Context) -> str:
        return f"{email} {context.parameters['tag']}"

    assert changes(prints(email, parameters={"tag": 1}), prints(email, parameters={"tag": 2})) == []
    assert changes(prints(tagged, parameters={"tag": 1}), prints(tagged, parameters={"tag": 2})) == ["parameters"]


def test_a_plan_from_before_a_part_was_known_differs_in_that_part() -> None:
    before = prints(email)
    del before["reading"]
    assert changes(before, prints(email)) == ["reading"]


@flow.enrichment
def phone(email: str) -> str: ...


def waterfall(**options: Any) -> flow.Service:
    return flow.waterfall("tel", [phone], **options)


def best(**options: Any) -> flow.Service:
    return flow.best_of("tel", [phone], **options)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (waterfall(), waterfall(provider_column="by")),
        (waterfall(until=lambda number: number != "1"), waterfall(until=lambda number: number != "2")),
        (best(), best(chosen_column="by")),
        (best(), best(alternatives_column="others")),
        (best(), best(pick="vote")),
        (best(pick=lambda answers: 0), best(pick=lambda answers: len(answers) - 1)),
    ],
)
def test_what_a_composite_writes_and_how_it_decides_is_part_of_a_plan(one: flow.Service, other: flow.Service) -> None:
    assert changes(prints(one), prints(other)) == ["service tel"]


def test_an_account_counts_with_all_that_its_provider_sees() -> None:
    def parts(**options: Any) -> dict[str, str]:
        account = flow.API(options.pop("name", "acme"), options.pop("url", "https://acme.example"), **options)
        asked = flow.enrichment(api=account, name="asked", returns=str)(lambda email: email)
        return prints(account.get("company", "/{email}", returns=str), asked)

    both = ["service company", "service asked"]
    assert changes(parts(), parts(rate="5/s", concurrency=1, timeout="5s")) == []
    assert changes(parts(headers={"A": "1"}), parts(headers={"a": "1"})) == []
    for options in (
        {"name": "other"},
        {"url": "https://eu.acme.example"},
        {"headers": {"Accept-Language": "de"}},
        {"auth": flow.bearer("KEY")},
    ):
        assert changes(parts(), parts(**options)) == both


@pytest.mark.parametrize("place", ["path", "params", "json", "prompt"])
def test_a_name_that_is_sent_is_another_request_than_a_column_and_explained_as_none(place: str) -> None:
    acme = flow.API("acme", "https://acme.example")

    def asks(text: str) -> flow.Service:
        if place == "prompt":
            return flow.llm("company", api=acme, model="m", prompt=f"{text} {{email}}")
        if place == "path":
            return acme.get("company", f"/{{email}}/{text}", returns=str)
        return acme.post("company", "/{email}", returns=str, **{place: {"q": text}})

    texts = (
        ["{{amount}}", "{amount}"] if place == "path" else ["{{amount}}", "{amount}", "{{{amount}}}", "{{ amount }}"]
    )
    for one, other in itertools.combinations(texts, 2):
        assert changes(prints(asks(one)), prints(asks(other))) == ["service company"]
    for text in texts:
        reads = {column for one in asks(text).parameters for column in one.columns}
        assert reads == ({"email", "amount"} if text == "{amount}" else {"email"})


def test_the_type_of_an_answer_counts_down_to_the_last_field() -> None:
    def part(returns: Any) -> dict[str, str]:
        return prints(flow.API("acme", "https://acme.example").get("company", "/{email}", returns=returns))

    for before, after in (
        (list[TypedDict("A", {"a": int})], list[TypedDict("A", {"a": int | None})]),  # type: ignore[operator]
        (dict[str, Literal["a"]], dict[str, Literal["b"]]),
    ):
        assert changes(part(before), part(after)) == ["service company"]
