"""Braces around a name are a column, doubled ones send it; every other brace is sent as it stands, everywhere."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.services.batch_template import read_templates
from dataflow.services.braces import cut, is_graphql
from dataflow.services.template import read_json, read_params, read_text, read_url

NAMES = ("a", "b", "Company Name", "e-mail", "Größe_2", "a.b", "名前", "_x1")
TEXTS = st.lists(
    st.sampled_from([*NAMES, *"{}{}{}", "{{", "}}", "{{{", "}}}", " ", ",", ".", '"', "%", "\n", ":", "1"]), max_size=14
).map("".join)


def doubled(text: str) -> str:
    """The template that sends a text as it is."""
    return re.sub(r"\{([^\W\d](?:[\w.\-]| (?=[\w.\-]))*)\}", r"{{\1}}", text)


def filled(template: Any) -> Any:
    return template.fill({name: f"<{name}>" for name in template.columns})


def is_read(text: str) -> bool:
    try:
        read_text(text, where="")
    except DeclarationError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "sent", "columns"),
    [
        ("{{a}}", "{a}", ()),
        ("{{a}}{b}", "{a}<b>", ("b",)),
        ("{{a}}{a}", "{a}<a>", ("a",)),
        ("{a}{{a}}", "<a>{a}", ("a",)),
        ("{{{a}}}", "{{a}}", ()),
        ("{{{{a}}}}", "{{{a}}}", ()),
        ("{{a}", "{<a>", ("a",)),
        ("{a}}", "<a>}", ("a",)),
        ("{{a}}}", "{a}}", ()),
        ("{{ a }}", "{{ a }}", ()),
        ("{{}}", "{{}}", ()),
        ("{{", "{{", ()),
        ("}}", "}}", ()),
        ("{{1}}", "{{1}}", ()),
        ("{{a,b}}", "{{a,b}}", ()),
        ("{{a b}}", "{a b}", ()),
        ("{{a  b}}", "{{a  b}}", ()),
        ("{{a.b}} {{名前}} {{e-mail}}", "{a.b} {名前} {e-mail}", ()),
        ('{"a":{"b":"{a}"}}', '{"a":{"b":"<a>"}}', ("a",)),
        ('{"a":{"b":{a}}}', '{"a":{"b":<a>}}', ("a",)),
        ('{"a":{"b":{{a}}}}', '{"a":{"b":{a}}}', ()),
        ("q{c(d:$d){{name}}}", "q{c(d:$d){name}}", ()),
        ("100%{{a}}%20{b}", "100%{a}%20<b>", ("b",)),
    ],
)
def test_a_name_in_doubled_braces_is_sent_in_single_ones_and_is_no_column(
    text: str, sent: str, columns: tuple[str, ...]
) -> None:
    for read, written, got in (
        (read_text, text, sent),
        (read_json, {"deep": [{"t": f"x{text}"}]}, {"deep": [{"t": f"x{sent}"}]}),
        (read_params, {"p": f"x{text}"}, [("p", f"x{sent}")]),
    ):
        template = read(written, where="")
        assert (filled(template), template.columns) == (got, columns)


@given(text=TEXTS)
@example(text="{{a}}")
@example(text="{{{a}}}{b}")
def test_every_text_can_be_sent_by_doubling_the_braces_around_its_names(text: str) -> None:
    if not is_read(doubled(text)):
        assert not is_read(text)
        return
    assert filled(read_text(doubled(text), where="")) == text
    assert read_text(doubled(text), where="").columns == ()
    assert read_json([f"{doubled(text)}"], where="").fill({}) == [text]
    assert read_params({"p": doubled(text)}, where="").fill({}) == [("p", text)]


@given(text=TEXTS)
def test_what_is_sent_is_the_text_but_for_its_names(text: str) -> None:
    if not is_read(text):
        return
    template = read_text(text, where="")
    pieces = cut(text)
    assert template.columns == tuple(dict.fromkeys(pieces.names))
    assert template.fill(dict.fromkeys(template.columns, "")) == "".join(pieces.literals)
    whole = "".join(f"{before}{{{name}}}" for before, name in zip(pieces.literals, (*pieces.names, ""), strict=True))
    assert re.sub("[{}]", "", whole) == re.sub("[{}]", "", text)
    assert (whole.removesuffix("{}") == text) is not pieces.sends_names


def test_a_text_that_is_just_a_name_in_doubled_braces_is_that_text_and_no_typed_value() -> None:
    assert read_json({"x": "{{a}}", "y": ["{{a}}", "{a}"]}, where="").fill([7]) == {"x": "{a}", "y": ["{a}", 7]}
    assert read_params({"x": "{{a}}", "y": "{a}"}, where="").fill([None]) == [("x", "{a}")]


def test_keys_of_a_body_and_of_parameters_are_sent_as_they_are() -> None:
    assert read_json({"{{a}}": "{{a}}", "{b}": 1}, where="").fill([]) == {"{{a}}": "{a}", "{b}": 1}
    assert read_params({"{{a}}": "{{a}}"}, where="").fill([]) == [("{{a}}", "{a}")]


def test_in_a_url_the_braces_are_encoded_and_values_stay_in_their_segment() -> None:
    template = read_url("/c/{{a}}/{b}?q={{Company Name}}%20{b}&r=100%25", where="")
    assert (template.columns, template.fill(["x/y"])) == (
        ("b",),
        "/c/%7Ba%7D/x%2Fy?q=%7BCompany%20Name%7D%20x%2Fy&r=100%25",
    )
    assert unquote(template.fill(["z"])) == "/c/{a}/z?q={Company Name} z&r=100%"


@given(segments=st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), min_size=1, max_size=5), value=st.text())
def test_a_url_keeps_its_shape_whatever_it_reads_and_sends(segments: list[tuple[str, bool]], value: str) -> None:
    def written(name: str, is_column: bool) -> str:
        return f"{{{name}}}" if is_column else f"{{{{{name}}}}}"

    parts = [written(*one).replace(" ", "_") for one in segments]
    template = read_url(f"/{'/'.join(parts)}?q=a{parts[0]}", where="")
    names = [(name.replace(" ", "_"), is_column) for name, is_column in segments]
    assert template.columns == tuple(dict.fromkeys(name for name, is_column in names if is_column))
    try:
        path, _, query = template.fill(dict.fromkeys(template.columns, value)).partition("?")
    except ValueError:
        assert value in ("", ".", "..") or re.search("[\ud800-\udfff]", value)
        return
    sent = [value if is_column else f"{{{name}}}" for name, is_column in names]
    assert [unquote(one) for one in path.split("/")] == ["", *sent]
    assert (unquote(query), set(path + query) & set("{}")) == (f"q=a{sent[0]}", set())


def test_a_batch_joins_columns_and_sends_names() -> None:
    found = read_templates("https://h/{{a}}/{b}?p={{a}}:{c}", {"q": "{{d}}:{d}"}, None, where="`s`")
    assert found.columns == ("b", "c", "d")
    values = {"b": ["1", "2"], "c": ["3", "4"], "d": ["5", "6"]}
    assert found.url.fill(values) == "https://h/%7Ba%7D/1,2?p=%7Ba%7D:3,4"
    assert found.params is not None
    assert found.params.fill(values) == [("q", "{d}:5,6")]
    body = read_templates("https://h/", None, {"on": "{{x}}", "in": [{"t": "{{x}}", "v": "{x}"}]}, where="`s`")
    assert body.json is not None
    assert (body.columns, body.typed) == (("x",), {"x"})
    assert body.json.fill({"x": [1, 2]}) == {"on": "{x}", "in": [{"t": "{x}", "v": 1}, {"t": "{x}", "v": 2}]}


GRAPHQL = [
    "query($d:String!){company(domain:$d){name}}",
    "query Company($d: String!) {company(domain: $d) {name}}",
    '{company(domain:"{domain}"){{name}}}',
    "  \n# who it is\nquery{company{name}}",
    "\ufeff{company{name}}",
    'mutation { add(name: "{name}") { id } }',
    "subscription S @live {company{name}}",
    "query {name}",
    "fragment F on Company {name}",
    "fragment F on Company { ...G } query {company{name}}",
]


@pytest.mark.parametrize("text", GRAPHQL)
@pytest.mark.parametrize("batch", [None, 10])
def test_graphql_that_reads_a_column_is_refused_with_what_to_write(text: str, batch: int | None) -> None:
    acme = flow.API("acme", "https://acme.example")
    with pytest.raises(DeclarationError, match=r"`c`: json holds GraphQL in `query`.*`variables`.*\{\{\w+\}\}"):
        acme.post("c", "/graphql", json=[{"query": text, "variables": {"d": ["{domain}"]}}], batch=batch, returns=str)
    with pytest.raises(DeclarationError, match=r"`c`: params `query` holds GraphQL in `query`"):
        acme.get("c", "/graphql", params={"query": text, "d": "{domain}"}, returns=str)


@pytest.mark.parametrize("text", GRAPHQL)
def test_graphql_whose_names_are_doubled_is_sent_as_it_is_meant(text: str) -> None:
    body = read_json({"query": doubled(text), "variables": {"d": "{domain}"}}, where="")
    assert body.columns == ("domain",)
    assert body.fill(["x"])["query"] == text


def test_in_graphql_nothing_looks_like_a_format() -> None:
    text = "query($d:ID){people(where:{age:30,of:{id:$d}},by:{n:d}){{name}}}"
    assert read_json({"query": text, "v": "{d}"}, where="").fill([1])["query"] == text.replace("{{name}}", "{name}")


@pytest.mark.parametrize(
    ("member", "text"),
    [
        ("query", "{company_name} news"),
        ("query", "{name}"),
        ("query", "{a}{b}"),
        ("query", "query about our {name}"),
        ("query", "subscription prices of {name}"),
        ("query", "fragment of {name}"),
        ("query", "queries {name}"),
        ("query", "name:{name} AND {{x}}"),
        ("question", "query{company{name}}"),
        ("prompt", '{"company": "{name}", "query": {name}}'),
    ],
)
def test_a_search_or_a_prompt_that_is_no_graphql_reads_its_columns(member: str, text: str) -> None:
    assert read_json({member: text}, where="").columns == tuple(dict.fromkeys(cut(text).names)) != ()
    assert read_params({member: text}, where="").columns == tuple(dict.fromkeys(cut(text).names))


def test_whether_a_text_is_graphql_is_told_at_once_however_it_is_made() -> None:
    began = time.process_time()
    for text in ("#" * 50_000, "# \n" * 50_000, "query " + ", " * 50_000, "{" * 50_000, "query " + "a" * 50_000):
        is_graphql(text + "x")
    assert time.process_time() - began < 5


def test_a_model_is_sent_the_name_and_reads_the_column() -> None:
    openai = flow.API("openai", "https://llm.example/v1")
    service = flow.llm("l", api=openai, model="m", prompt='Fill {"n": "{{n}}", "o": {o}}', system="Never say {{o}}.")
    chat = service.endpoint
    assert [column for one in service.parameters for column in one.columns] == ["o"]
    assert [one["content"] for one in chat.messages({"o": "{n}"})] == ["Never say {o}.", 'Fill {"n": "{n}", "o": {n}}']


def test_a_column_that_is_missed_is_told_with_how_its_name_is_sent() -> None:
    acme = flow.API("acme", "https://acme.example")
    service = acme.post("c", "/c", json={"t": "{a} {shape}"}, returns=str)
    with pytest.raises(DeclarationError, match=r"reads `shape`.*; \{\{shape\}\} sends \{shape\} itself"):
        flow.Pipeline("p", [service]).call({"a": "x"})
