"""A batch is declared by where its request carries records and where its answer holds their items."""

from __future__ import annotations

from typing import Any

import cloudpickle
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError

ACME = flow.API("acme", "https://acme.example/v2")


def declared(path: str = "/c", **options: Any) -> flow.Service:
    return ACME.request("c", options.pop("method", "POST"), path=path, **{"returns": int, "batch": 3, **options})


@pytest.mark.parametrize(
    ("json", "rows", "written"),
    [
        (["{a}"], [["x", "y"]], ["x", "y"]),
        ({"ids": ["{a}"], "fields": ["n", "m"]}, [[1, 2]], {"ids": [1, 2], "fields": ["n", "m"]}),
        ([{"n": "{a}", "q": "{b}, {a}"}], [["x", "y"], [1, 2]], [{"n": "x", "q": "1, x"}, {"n": "y", "q": "2, y"}]),
        ({"a": ["{a}"], "b": ["{b}"]}, [["x", "y"], [1, 2]], {"a": ["x", "y"], "b": [1, 2]}),
        ([["{a}"]], [["x", "y"]], [["x"], ["y"]]),
        ({"of": [{"field": "d"}, {"values": ["{a}"]}]}, [["x"]], {"of": [{"field": "d"}, {"values": ["x"]}]}),
    ],
)
def test_a_list_of_one_template_holds_it_once_for_each_record(json: Any, rows: list[Any], written: Any) -> None:
    assert declared(json=json).endpoint.json.fill(rows) == written


@pytest.mark.parametrize(
    ("path", "params", "rows", "url", "query"),
    [
        ("/c", {"id": ["{a}"], "n": 1}, [["x,y", "z"]], "/c", [("id", "x,y"), ("id", "z"), ("n", "1")]),
        ("/c", {"ids": "{a}"}, [["x", 7, True]], "/c", [("ids", "x,7,true")]),
        ("/c", {"q": "id:{a};"}, [["x", "y"]], "/c", [("q", "id:x,y;")]),
        ("/c", {"lat": "{a}", "lon": "{b}"}, [[1.5, 2.5], [3, 4]], "/c", [("lat", "1.5,2.5"), ("lon", "3,4")]),
        ("/c/{a}", None, [["x", "a b/ü"]], "/c/x,a%20b%2F%C3%BC", None),
        ("/c?ids={a}&n=1", None, [["x", "y&z"]], "/c?ids=x,y%26z&n=1", None),
    ],
)
def test_a_parameter_is_repeated_and_what_is_outside_of_a_list_is_joined(
    path: str, params: Any, rows: list[Any], url: str, query: Any
) -> None:
    endpoint = declared(path, params=params, method="GET").endpoint
    assert endpoint.url.fill(rows[: len(endpoint.url.columns)]) == f"https://acme.example/v2{url}"
    assert (None if query is None else endpoint.params.fill(rows)) == query


@pytest.mark.parametrize("value", ["a,b", "", ["x"], [], float("nan"), {"a": 1}])
@pytest.mark.parametrize(("path", "params"), [("/c", {"ids": "{a}"}), ("/c/{a}", None), ("/c?ids={a}", None)])
def test_a_value_that_cannot_be_joined_is_refused_and_not_told(path: str, params: Any, value: Any) -> None:
    endpoint = declared(path, params=params).endpoint
    with pytest.raises(ValueError, match="`a`: ") as caught:
        (endpoint.params or endpoint.url).fill([["x", value]])
    assert "a,b" not in str(caught.value)


@pytest.mark.parametrize("value", [["x"], ["x", "y"], [], {"a": 1}])
def test_a_list_is_no_value_of_a_repeated_parameter(value: Any) -> None:
    with pytest.raises(ValueError, match="`a`: "):
        declared(params={"id": ["{a}"]}).endpoint.params.fill([[value]])


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        ("/c/{a}", {"batch": 1}, "`c`: batch takes the records that may share a request, a whole number from 2"),
        ("/c/{a}", {"batch": True}, "a whole number from 2"),
        ("/c/{a}", {"batch": "100"}, "a whole number from 2"),
        ("/c/{a}", {"batch": None, "items": "data"}, "items= and match= belong to batch="),
        ("/c/{a}", {"batch": None, "match": "id"}, "items= and match= belong to batch="),
        ("/c", {}, "`c`: batch= needs a place for several records: a list in json or params such as"),
        ("/c", {"json": {"ids": ["x", "y"]}}, "batch= needs a place for several records"),
        ("/c", {"json": {"id": "{a}"}}, '{a} is in none; write ["{a}"]'),
        ("/c", {"json": {"ids": ["{a}", "{b}"]}}, "{a} is in none"),
        ("/c", {"params": {"id": ["{a}", "x"]}}, "params `id`: batch= repeats a list of one template"),
        ("/c", {"params": {"q": "{a} {b}"}}, "so a text holds one column only"),
        ("/c", {"params": {"q": "{a} {a}"}}, "so a text holds one column only"),
        ("/c/{a}-{b}", {}, "so a text holds one column only"),
        ("/lists/{a}/c", {"json": ["{b}"]}, "repeats {b} in a list for each record, but {a} is outside of one"),
        ("/c", {"params": {"p": "{a}", "q": ["{b}"]}}, "{a} is outside of one"),
        ("/c/{a}", {"items": "$.a"}, "`c`: items '$.a' is no path"),
        ("/c/{a}", {"match": "$.a"}, "`c`: match '$.a' is no path"),
        ("/c/{a}/{b}", {"match": "id"}, "match takes {column: path}, since it reads a, b"),
        ("/c/{domain}", {"match": {"domian": "id"}}, "match names `domian`, which no template of the request holds"),
        ("/c/{domain}", {"match": {"domian": "id"}}, "did you mean `domain`?"),
        ("/c/{a}", {"match": {}}, "match names no column"),
        ("/c", {"json": {1: ["{a}"]}}, "json has a key that is no text"),
        ("/c", {"json": ["{a!r}"]}, "json holds {a!r}, but only {column} is replaced"),
    ],
)
def test_what_cannot_be_a_batch_is_refused_where_it_is_declared(path: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        declared(path, **options)
    assert said in str(caught.value)


def test_a_batch_reads_columns_as_any_endpoint_does_and_has_variants() -> None:
    one = declared(json=[{"d": "{domain}"}], match="d")
    assert repr(one) == "<enrichment c(domain) -> c>"
    other = one.with_(name="again", columns={"domain": "host"})
    assert [column for one in other.parameters for column in one.columns] == ["host"]
    assert (one.batch, other.batch, ACME.get("d", "/d/{a}", returns=str).batch) == (3, 3, 1)


def test_a_batch_travels_to_workers() -> None:
    back = cloudpickle.loads(cloudpickle.dumps(declared(json=[{"d": "{a}"}], items="data", match="d")))
    assert back.endpoint.json.fill([["x", "y"]]) == [{"d": "x"}, {"d": "y"}]
    assert back.endpoint.batch.match.key(["x"]) == ((str, "x"),)


def test_the_size_of_a_batch_does_not_change_what_an_answer_means() -> None:
    def meaning(size: int, **more: Any) -> Any:
        return declared(json=["{a}"], batch=size, **more).endpoint.batch.meaning

    assert meaning(3) == meaning(9)
    assert meaning(3) != meaning(3, match="id") != meaning(3, match="id", items="data")
