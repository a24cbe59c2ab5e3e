"""Templates write values into urls, parameters, JSON and prompts, and keep them where they belong."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.errors import DeclarationError
from dataflow.services.template import read_json, read_params, read_text, read_url

MOMENT = datetime.datetime(2024, 5, 1, 10, 30, tzinfo=datetime.UTC)
HALF_A_PAIR = "\ud800"


def url(text: str, **values: Any) -> str:
    return read_url(text, where="`s`: path").fill(values)


@given(first=st.text(min_size=1), second=st.text(min_size=1), query=st.text())
def test_whatever_is_put_in_the_url_keeps_its_shape(first: str, second: str, query: str) -> None:
    template = read_url("https://api.example/v2/{a}/x-{b}/end?q={c}&n=1", where="")
    try:
        filled = template.fill([first, second, query])
    except ValueError:
        assert {first, second} & {".", ".."} or re.search("[\ud800-\udfff]", first + second + query)
        return
    assert filled.isascii()
    parsed = urlsplit(filled)
    segments = parsed.path.split("/")
    assert (parsed.scheme, parsed.netloc, parsed.fragment) == ("https", "api.example", "")
    assert [unquote(one) for one in segments] == ["", "v2", first, f"x-{second}", "end"]
    assert parse_qsl(parsed.query, keep_blank_values=True) == [("q", query), ("n", "1")]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("%2E%2E", "%252E%252E"),
        ("..\\x", "..%5Cx"),
        ("a b\nc", "a%20b%0Ac"),
        ("ü😀", "%C3%BC%F0%9F%98%80"),
        (7, "7"),
        (True, "true"),
        (1.5, "1.5"),
        (Decimal("1E+3"), "1000"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (MOMENT, "2024-05-01T10%3A30%3A00%2B00%3A00"),
    ],
)
def test_a_value_is_encoded_completely(value: Any, written: str) -> None:
    assert url("/c/{x}", x=value) == f"/c/{written}"


@pytest.mark.parametrize(
    "value", ["", ".", "..", None, float("nan"), Decimal("inf"), b"x", ["a"], {"a": 1}, HALF_A_PAIR, MOMENT - MOMENT]
)
def test_a_value_that_a_path_cannot_hold_is_refused_by_its_column_alone(value: Any) -> None:
    with pytest.raises(ValueError, match="`secret_column`") as caught:
        url("/c/{secret_column}", secret_column=value)
    assert str(value) not in {word.strip("`:,.") for word in str(caught.value).split()} or str(value) in ("", ".", "..")
    assert caught.value.__cause__ is None


def test_a_query_may_be_empty_but_not_null() -> None:
    assert url("/c?q={x}&l=ü", x="") == "/c?q=&l=%C3%BC"
    assert url("/c?q={x}", x="a&b=..") == "/c?q=a%26b%3D.."
    with pytest.raises(ValueError, match="null"):
        url("/c?q={x}", x=None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c/{x}",
        "//{x}/c",
        "//evil.example/{x}",
        "{x}",
        "?q={x}",
        "ftp://h/{x}",
        "{s}://h/c",
        "https:///{x}",
        "https://{x}",
        "https://{x}.example/c",
        "https://api.example{x}/c",
        "https://api.example:{x}/c",
        "https://user:pass@api.example/{x}",
        "/c/../{x}",
        "/c/%2e%2E/{x}",
        "/c/./{x}",
        "/c/{x}#top",
        "/c d/{x}",
        "/c\\{x}",
        "/c\n{x}",
        "/c/{}",
        "/c/{{x}",
        "/c/{{{x}}}",
        "https://{{x}}.example/c",
        "https://{{x}}/c",
        "/c/{x",
        "/c/%{x}",
        "/c/%4{x}",
        "/c/{x!r}",
        "/c/{x:>10}",
        "/c/{x[0]}",
        7,
    ],
)
def test_a_url_that_could_mean_something_else_is_refused_while_declaring(text: Any) -> None:
    with pytest.raises(DeclarationError, match="`s`: path"):
        read_url(text, where="`s`: path")


@pytest.mark.parametrize("host", ["a", "A.b"])
def test_a_column_may_choose_among_allowed_hosts(host: str) -> None:
    template = read_url("https://{t}.example.com:8443/{x}", where="", allow_hosts=["*.example.com"])
    assert template.columns == ("t", "x")
    assert template.fill({"t": host, "x": "1"}) == f"https://{host.lower()}.example.com:8443/1"


@pytest.mark.parametrize(
    "host", ["evil.example/", "a@evil.example", "a:1", "", ".", "a..b", "-a", "ü", "evil.example#", None]
)
def test_no_value_leads_to_another_host(host: Any) -> None:
    template = read_url("https://{t}.example.com/x", where="", allow_hosts=["*.example.com"])
    with pytest.raises(ValueError, match="`t`"):
        template.fill([host])


@pytest.mark.parametrize(("host", "fits"), [("example.com", False), ("a.example.com", True), ("api.other", True)])
def test_hosts_are_allowed_exactly_or_below_a_star(host: str, fits: bool) -> None:
    template = read_url("https://{h}/x", where="", allow_hosts=["*.example.com", "API.other"])
    if fits:
        assert template.fill([host]) == f"https://{host}/x"
    else:
        with pytest.raises(ValueError, match="allow_hosts"):
            template.fill([host])


def test_a_spelled_out_host_is_checked_too_and_so_are_the_allowed_names() -> None:
    with pytest.raises(DeclarationError, match="allow_hosts"):
        read_url("https://evil.example/x", where="", allow_hosts=["api.example"])
    for wrong in ("*", "https://api.example", "a.*.b", ""):
        with pytest.raises(DeclarationError, match="allow_hosts"):
            read_url("https://{h}/x", where="", allow_hosts=[wrong])


def test_parameters_repeat_for_lists_and_drop_nulls() -> None:
    template = read_params(
        {"q": "{name} in {city}", "id": "{id}", "tag": ["a", "{tags}"], "n": 10, "no": None}, where=""
    )
    assert template.columns == ("name", "city", "id", "tags")
    filled = template.fill({"name": "a&b", "city": None, "id": True, "tags": ["x", None, "y"]})
    assert filled == [("q", "a&b in "), ("id", "true"), ("tag", "a"), ("tag", "x"), ("tag", "y"), ("n", "10")]
    assert template.fill(["", "", None, None])[1:] == [("tag", "a"), ("n", "10")]
    with pytest.raises(ValueError, match="`tags`"):
        template.fill(["", "", None, {"a": 1}])


@pytest.mark.parametrize("wrong", [{"a": {"b": 1}}, {1: "a"}, "a={x}", {"a": b"x"}, {"a": "{x:d}"}])
def test_parameters_that_cannot_be_written_are_refused(wrong: Any) -> None:
    with pytest.raises(DeclarationError):
        read_params(wrong, where="`s`: params")


def test_a_text_that_is_just_a_column_becomes_the_typed_value() -> None:
    template = read_json({"{k}": "{k}", "in": [{"t": "v: {k}, {d}"}, "{d}"], "n": 1.5, "no": None}, where="")
    assert template.columns == ("k", "d")
    day = datetime.date(2024, 5, 1)
    assert template.fill([7, day]) == {
        "{k}": 7,
        "in": [{"t": "v: 7, 2024-05-01"}, "2024-05-01"],
        "n": 1.5,
        "no": None,
    }


@pytest.mark.parametrize(
    ("value", "typed", "within"),
    [
        (None, None, "<>"),
        (False, False, "<false>"),
        (1.0, 1.0, "<1.0>"),
        (Decimal("1.50"), "1.50", "<1.50>"),
        (MOMENT, "2024-05-01T10:30:00+00:00", "<2024-05-01T10:30:00+00:00>"),
        (datetime.time(8, 0), "08:00:00", "<08:00:00>"),
        ([1, {"a": Decimal(2)}], [1, {"a": "2"}], '<[1,{"a":"2"}]>'),
        ('"}', '"}', '<"}>'),
        ("{y}", "{y}", "<{y}>"),
    ],
)
def test_values_in_json_and_in_texts(value: Any, typed: Any, within: str) -> None:
    filled = read_json({"t": "{x}", "s": "<{x}>"}, where="").fill([value])
    assert filled == {"t": typed, "s": within}
    assert msgspec.json.decode(msgspec.json.encode(filled)) == filled


@pytest.mark.parametrize("value", [float("inf"), b"x", [float("nan")], {"a": object()}, HALF_A_PAIR])
def test_what_json_has_no_value_for_is_refused(value: Any) -> None:
    for text in ("{x}", "<{x}>"):
        with pytest.raises(ValueError, match="`x`"):
            read_json([text], where="").fill([value])


@pytest.mark.parametrize("wrong", [{1: 2}, [b"x"], {"a": object()}, ["{x.y!s}"], float("nan")])
def test_a_body_that_is_no_json_is_refused(wrong: Any) -> None:
    with pytest.raises(DeclarationError, match="`s`: json"):
        read_json(wrong, where="`s`: json")


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "x"}',
        "{}",
        "{ }",
        "{ a }",
        "{1}",
        "a{3}",
        "{a, b}",
        "{\n}",
        "{'a'}",
        "{color:red}",
        "{a",
        "a}",
        "{a: 1}",
    ],
)
def test_other_braces_stay_as_they_are(text: str) -> None:
    template = read_text(f"{text} {{x}}", where="")
    assert template.columns == ("x",)
    assert template.fill(["v"]) == f"{text} v"


def test_a_prompt_can_show_json_around_its_columns() -> None:
    template = read_text('Say {"name": "{Company Name}", "n": {e-mail}} doubled: {{e-mail}} {Größe_2}{a.b}', where="")
    assert template.columns == ("Company Name", "e-mail", "Größe_2", "a.b")
    assert template.fill(["A", "{e-mail}", 1, "x"]) == 'Say {"name": "A", "n": {e-mail}} doubled: {e-mail} 1x'


@pytest.mark.parametrize(
    "text", ["{a!r}", "{a:.2f}", "{a:>10}", "{a:,}", "{d:%Y-%m}", "{a[0]}", "{a[x].y}", "{a!s:>3}"]
)
def test_formats_conversions_and_places_are_refused(text: str) -> None:
    with pytest.raises(DeclarationError, match=re.escape(text)):
        read_text(f"Hello {text}", where="`s`: prompt")


def test_values_come_by_name_or_in_order_but_never_too_few() -> None:
    template = read_text("{a}{b}{a}", where="")
    assert template.fill({"b": 2, "a": 1, "c": 3}) == template.fill((1, 2)) == "121"
    with pytest.raises(ValueError, match="1 values for 2 columns"):
        template.fill([1])
