"""An endpoint reads its columns off its templates, and refuses what it could not ask for."""

from __future__ import annotations

from typing import Any, TypedDict

import cloudpickle
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind, Priority
from dataflow.services.signature import Form

ACME = flow.API("acme", "https://acme.example/v2", auth=flow.bearer("ACME_KEY"))


class Company(TypedDict):
    name: str
    employees: int | None


def company(path: str = "/c/{x}", **options: Any) -> flow.Service:
    return ACME.get("company", path, **{"returns": Company, **options})


def test_the_columns_of_all_templates_are_read_each_once_in_order() -> None:
    found = ACME.post("c", "/{b}/{a}", params={"p": "{c}", "q": ["{a}"]}, json={"x": [{"y": "{d}"}]}, returns=str)
    assert [column for one in found.parameters for column in one.columns] == ["b", "a", "c", "d"]
    assert found.endpoint.columns == ("b", "a", "c", "d")


def test_a_record_is_flattened_into_its_fields_or_put_into_one_column() -> None:
    assert [one.column for one in company().outputs] == ["name", "employees"]
    assert [one.column for one in company(into="found").outputs] == ["found"]
    assert [one.column for one in company(returns=str).outputs] == ["company"]


def test_it_is_an_important_enrichment_unless_it_says_otherwise() -> None:
    found = company()
    assert (found.kind, found.form, found.policy.priority, found.calls_out) == (
        Kind.ENRICHMENT,
        Form.HTTP,
        Priority.IMPORTANT,
        True,
    )
    assert company(priority="critical").policy.priority is Priority.CRITICAL


@pytest.mark.parametrize(
    ("method", "idempotent", "repeatable", "keyed"),
    [
        ("GET", None, True, False),
        ("PUT", None, True, False),
        ("DELETE", None, True, False),
        ("POST", None, True, True),
        ("POST", True, True, True),
        ("POST", False, False, False),
        ("patch", None, True, True),
        ("PATCH", False, False, False),
    ],
)
def test_a_call_that_is_no_idempotent_one_carries_a_key_or_is_not_repeated(
    method: str, idempotent: bool | None, repeatable: bool, keyed: bool
) -> None:
    found = ACME.request("c", method, path="/c/{x}", returns=str, idempotent=idempotent).endpoint
    assert (found.method, found.repeatable, found.keyed) == (method.upper(), repeatable, keyed)


@pytest.mark.parametrize(("path", "value", "url"), [("/c/{x}", "a b/ü", "/c/a%20b%2F%C3%BC"), ("c/{x}", 7, "/c/7")])
def test_the_path_is_added_to_the_url_of_the_api(path: str, value: Any, url: str) -> None:
    assert company(path).endpoint.url.fill([value]) == f"https://acme.example/v2{url}"


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        ("/c", {}, "`company` reads no column; name one in its path, params or json"),
        ("https://other.example/{x}", {}, "the path begins with /; another host is another flow.API, or one that"),
        ("https://{x}/c", {}, "the path begins with /; another host is another flow.API, or one that allow_hosts= of"),
        ("/c/{x:>3}", {}, "path holds {x:>3}, but only {column} is replaced"),
        ("/c/{x!r}", {}, "path holds {x!r}, but only {column} is replaced"),
        ("/c/../{x}", {}, "path holds a segment . or .."),
        ("/c/{x}", {"params": "a=1"}, "params takes a mapping with text keys"),
        ("/c/{x}", {"json": {1: "{x}"}}, "json has a key that is no text"),
        ("/c/{x}", {"select": {"nam": "a"}}, "select names `nam`, which Company does not have; did you mean `name`?"),
        ("/c/{x}", {"select": "$.a"}, "select '$.a' is no path"),
        ("/c/{x}", {"select": {"a": "b"}, "returns": str}, "select names fields, but str has none"),
        ("/c/{x}", {"returns": bytes}, "binary, which JSON has no value for"),
        ("/c/{x}", {"default": {"name": 3}}, "has a default= that it could not return"),
        ("/c/{x}", {"colour": 1}, "`company` has no option colour"),
        ("/c/{x}", {"timeout": "soon"}, "`company`: timeout takes seconds"),
        ("/c/{x}", {"priority": "high"}, "`company`: priority takes"),
        ("/c/{x}", {"into": "is_valid"}, "which every run writes"),
    ],
)
def test_what_cannot_be_asked_is_refused_where_it_is_declared(path: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        company(path, **options)
    assert said in str(caught.value)


def test_a_service_without_a_type_is_refused() -> None:
    with pytest.raises(DeclarationError, match="`c` does not say what it returns"):
        ACME.get("c", "/c/{x}")


def test_with_gives_a_variant_of_the_same_endpoint() -> None:
    one = company()
    other = one.with_(name="again", columns={"x": "domain", "name": "title"}, timeout="3s", retry=1)
    assert [column for parameter in other.parameters for column in parameter.columns] == ["domain"]
    assert [output.column for output in other.outputs] == ["title", "employees"]
    assert (other.name, other.policy.timeout, other.endpoint is one.endpoint) == ("again", 3.0, True)
    assert (one.name, one.policy.timeout) == ("company", None)
    assert repr(other.with_(timeout=9)) == repr(other)


def test_it_travels_to_workers() -> None:
    back = cloudpickle.loads(cloudpickle.dumps(company(params={"q": "{y}"}, select={"name": "data.name"})))
    assert back.endpoint.url.fill(["a b"]) == "https://acme.example/v2/c/a%20b"
    assert back.endpoint.params.fill(["z"]) == [("q", "z")]
    assert back.api.auth == flow.bearer("ACME_KEY")
    assert repr(back) == "<enrichment company(x, y) -> name, employees>"


def test_it_cannot_be_called_as_a_function() -> None:
    with pytest.raises(DeclarationError, match="`company` is declared without a function; use it in a pipeline"):
        company()("a")


REGIONAL = flow.API("acme", "https://acme.example/v2", allow_hosts=("eu.acme.example", "*.us.acme.example"))


def test_a_whole_url_may_name_the_hosts_that_the_api_allows_and_its_own() -> None:
    url = REGIONAL.get("company", "https://{host}/c/{x}", returns=str).endpoint.url
    for host in ("eu.acme.example", "EU.acme.example", "east.us.acme.example", "acme.example"):
        assert url.fill([host, "a b"]) == f"https://{host.lower()}/c/a%20b"
    for host in ("evil.example", "us.acme.example", "eu.acme.example.evil.example", "eu.acme.example@evil.example", ""):
        with pytest.raises(ValueError, match="`host`: gives a host that allow_hosts= does not list"):
            url.fill([host, "a"])
    assert REGIONAL.get("c", "https://eu.acme.example/{x}", returns=str).endpoint.columns == ("x",)
    assert REGIONAL.get("c", "/{x}", returns=str).endpoint.url.fill(["1"]) == "https://acme.example/v2/1"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("http://{host}/c", "the path begins with / or https://, as the url of acme does"),
        ("https://evil.example/{x}", "one that allow_hosts= does not list"),
        ("https://{host}:{port}/c", "only the name may vary"),
        ("https://user@{host}/c", "only the name may vary"),
    ],
)
def test_a_whole_url_that_could_lead_elsewhere_is_refused_while_declaring(path: str, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        REGIONAL.get("company", path, returns=str)
