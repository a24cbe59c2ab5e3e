"""The scenarios of the README's table of providers, by the first column of the row that each of them plays.

A row more is a line in the README and an entry here: what the provider plays, how the records end, what it counts.
"""

from __future__ import annotations

from provider_play import Ask, Played, Row

from dataflow.errors import GuardrailReached, LimitReached

TITLE = {"title": "name"}
FIRM = Ask(options={"returns": {"title": str}, "select": TITLE})
PHONES = Ask(
    path="/v2/phones/check",
    options={"returns": {"valid": bool}, "json": {"phone": "{domain}"}},
    method="POST",
)
BATCH = Ask(path="/v2/companies/batch")
CHAT = "/v1/chat/completions"
MODEL = Ask(base="/v1", path="/chat/completions", options={"prompt": "Who is {domain}?"})
GRAPHQL = Ask(path="/graphql", options={"returns": {"title": str}, "select": {"title": "data.company.name"}})
QUICK = Ask(account={"timeout": 0.2, "retry": 1})
NAMES = tuple(f"{number}.example" for number in range(9))
JSON_API = "application/vnd.api+json"


def _all_let_in(played: Played) -> None:
    assert set(played.seen["by_status"]) == {"200"}


def _each_has_its_own(played: Played) -> None:
    assert [row["title"] for row in played.rows] == ["A", "B", "C"]


def _as_one_query(played: Played) -> None:
    _each_has_its_own(played)
    assert set(played.seen["by_key"]) == {"query($d: ID!) {company(domain: $d) {name}}"}


def _says_who_calls(played: Played) -> None:
    assert {call[4]["user-agent"] for call in played.log} == {"leads (ada@acme.example)"}


def _by_its_own_client(played: Played) -> None:
    assert {call[4]["user-agent"].partition("/")[0] for call in played.log} == {"Python-urllib"}


def _by_httpx(played: Played) -> None:
    assert {call[4]["user-agent"].partition("/")[0] for call in played.log} == {"python-httpx"}


def _waits_a_second(played: Played) -> None:
    for key in {call[2] for call in played.log}:
        first, second = (call[0] for call in played.log if call[2] == key)
        assert second - first >= 0.95


def _tells_what_was_said(played: Played) -> None:
    assert "use max_completion_tokens" in played.failures[0]["error"]


def _keeps_texts_out(played: Played) -> None:
    assert "Ada" not in str(played.failures)


VENDOR = """
import json, urllib.request

CODE
def company(domain: str) -> str:
    with urllib.request.urlopen(f"{url}/v2/companies/{domain}") as answer:
        return json.load(answer)["name"]
"""

OWN_CLIENT = """
CODE
def company(domain: str) -> str:
    with httpx.Client(base_url=url) as client:
        return client.get(f"/v2/companies/{domain}").raise_for_status().json()["name"]
"""

POSTED = """
CODE
async def company(domain: str, http: httpx.AsyncClient) -> bool:
    answer = await http.post("/v2/phones/check", json={"phone": domain})
    return answer.raise_for_status().json()["valid"]
"""

POLLED = """
@flow.enrichment(...)
async def company(domain: str, http: httpx.AsyncClient) -> str:
    answer = await http.get(f"/v2/companies/{domain}")
    if answer.status_code == 202:
        CODE
    return answer.json()["name"]
"""


ROWS: dict[str, Row] = {
    "fails for a while, for everybody": Row(
        plays={"outage": 3}, domains=NAMES, ends={"succeeded": 9}, calls=range(12, 40)
    ),
    "fails some records however often they are tried": Row(
        plays={"keys": {"a.example": "always_500"}},
        domains=("a.example", *NAMES),
        ends={"succeeded": 9, "failed": 1},
        calls=12,
        reason="HTTP 500",
    ),
    "answers 429, and says when to come again": Row(
        plays={"keys": {"a.example": {"fault": "status:429", "times": 5, "retry_after": "seconds"}}},
        ends={"succeeded": 3},
        calls=8,
    ),
    "says when in another way: `retry-after-ms`, `x-ratelimit-reset-requests: 1s`, `X-RateLimit-Reset`, `RateLimit`, "
    "a date": Row(
        plays={
            "keys": {
                f"{form}.example": {"fault": "status:429", "times": 1, "retry_after": form}
                for form in ("ms", "resets", "reset_at", "ratelimit", "date")
            }
        },
        domains=tuple(f"{form}.example" for form in ("ms", "resets", "reset_at", "ratelimit", "date")),
        ends={"succeeded": 5},
        calls=10,
        also=_waits_a_second,
    ),
    "answers 403 or 420 when I am too fast, with `Retry-After`": Row(
        plays={
            "keys": {
                "a.example": {"fault": "status:403", "times": 4, "retry_after": "ms"},
                "b.example": {"fault": "status:420", "times": 1, "retry_after": "seconds"},
            }
        },
        ends={"succeeded": 3},
        calls=8,
    ),
    "answers 420 when I am too fast, and does not say when to come again": Row(
        plays={"keys": {"a.example": {"fault": "status:420", "times": 2}}}, ends={"succeeded": 3}, calls=5
    ),
    "answers 403 when I am too fast": Row(plays={"fault": "status:403", "times": 1}, ends={"succeeded": 3}, calls=6),
    "answers 429 now and then, within its rate": Row(
        # Whoever calls at once is refused at once.
        plays={"rate": "8/0.12s", "fault": "status:429", "every": 0.5, "times": 1},
        domains=tuple(f"{number}.example" for number in range(60)),
        ends={"succeeded": 60},
        calls=range(61, 68),
    ),
    "answers 429 `insufficient_quota`: the account is empty": Row(
        plays={"fault": "quota:openai"}, stops=LimitReached, calls=range(1, 4)
    ),
    "takes a while for a job that is asked for again and again": Row(
        plays={"keys": {"a.example": {"fault": "status:202", "times": 6}}},
        ends={"succeeded": 3},
        calls=9,
        around=POLLED,
    ),
    "answers 204, or 404 without a body, whatever it declares of it": Row(
        plays={"keys": {"a.example": "empty:404/gzip", "b.example": "empty:204"}},
        ends={"succeeded": 1, "not_found": 2},
        calls=3,
        asks=FIRM,
    ),
    "answers 200 with nothing in it": Row(
        plays={"keys": {"a.example": "empty"}},
        ends={"succeeded": 2, "failed": 1},
        calls=3,
        reason="empty answer",
        asks=FIRM,
    ),
    "packs its answers, or writes them in another charset": Row(
        plays={"keys": {"a.example": "encoding:gzip/members", "b.example": "charset:utf-16/utf-16-be"}},
        ends={"succeeded": 3},
        calls=3,
    ),
    "writes NaN": Row(plays={"fault": "nan"}, ends={"succeeded": 3}, calls=3, asks=Ask(options={})),
    "says in its errors what is wrong": Row(
        plays={"keys": {"a.example": "says:400:error:use max_completion_tokens"}},
        ends={"succeeded": 2, "failed": 1},
        calls=3,
        reason="HTTP 400",
        also=_tells_what_was_said,
    ),
    "quotes personal data in its errors": Row(
        plays={"keys": {"a.example": "says:400:text:Ada Lovelace is barred"}},
        ends={"succeeded": 2, "failed": 1},
        calls=3,
        reason="HTTP 400",
        also=_keeps_texts_out,
    ),
    "fails now and then, with 500, 502, 503 or a lost connection": Row(
        plays={"keys": {"a.example": "503_then_ok:2", "b.example": {"fault": "reset_in_body", "times": 1}}},
        ends={"succeeded": 3},
        calls=6,
    ),
    "allows so many calls a second": Row(
        plays={"rate": "40/s"},
        domains=tuple(f"{number}.example" for number in range(60)),
        ends={"succeeded": 60},
        calls=60,
        also=_all_let_in,
    ),
    "allows so many calls at a time": Row(
        plays={"concurrency": 2, "latency": 0.05},
        domains=tuple(f"{number}.example" for number in range(8)),
        ends={"succeeded": 8},
        calls=8,
        also=_all_let_in,
    ),
    "takes longer than 30 s for an answer": Row(plays={"latency": 0.6}, asks=QUICK, ends={"succeeded": 3}, calls=3),
    "closes its connections": Row(plays={"fault": "close_keepalive"}, ends={"succeeded": 3}, calls=3),
    "answers with more than 10 MB": Row(
        plays={"keys": {"a.example": "huge_body:11000000"}}, ends={"succeeded": 3}, calls=3
    ),
    "wants a user and a password": Row(plays={"auth": "basic"}, ends={"succeeded": 3}, calls=3),
    "refuses the key": Row(plays={"auth": "bearer"}, stops=GuardrailReached, calls=range(1, 4)),
    "gives tokens by OAuth 2": Row(plays={"auth": "oauth2"}, ends={"succeeded": 3}, calls=3),
    "wants to know who calls": Row(
        plays={"logged": "user-agent"}, ends={"succeeded": 3}, calls=3, also=_says_who_calls
    ),
    "takes bodies of another type, such as JSON:API or FHIR": Row(
        plays={"media": JSON_API}, ends={"succeeded": 3}, calls=3, asks=PHONES, path=PHONES.path
    ),
    "speaks GraphQL": Row(ends={"succeeded": 3}, calls=3, asks=GRAPHQL, path=GRAPHQL.path, also=_as_one_query),
    "answers 404 for what it does not know": Row(
        plays={"keys": {"a.example": "status:404"}}, ends={"succeeded": 2, "not_found": 1}, calls=3
    ),
    "leaves out fields, or sends null": Row(
        plays={"keys": {"a.example": "missing_fields:name", "b.example": "null_fields:name"}},
        ends={"succeeded": 3},
        calls=3,
        asks=FIRM,
    ),
    "wants a token": Row(plays={"auth": "bearer"}, ends={"succeeded": 3}, calls=3),
    "wants a key in a header": Row(plays={"auth": "api-key"}, ends={"succeeded": 3}, calls=3),
    "says with another status that it knows nothing": Row(
        plays={"keys": {"a.example": "status:410"}}, ends={"succeeded": 2, "not_found": 1}, calls=3
    ),
    "refuses many of the records": Row(
        plays={"keys": {"a.example": "status:422", "b.example": "status:422"}},
        ends={"succeeded": 1, "failed": 2},
        calls=3,
        reason="HTTP 422",
    ),
    "answers 200 with an error inside": Row(
        plays={"keys": {"a.example": "error_200"}},
        ends={"succeeded": 2, "failed": 1},
        calls=3,
        reason="refused answer",
    ),
    "takes many records in one request": Row(
        plays={"unknown": 0},
        ends={"succeeded": 3},
        calls=1,
        asks=BATCH,
        path="/v2/companies/batch",
        also=_each_has_its_own,
    ),
    "is asked by a client of its vendor's": Row(
        plays={"logged": "user-agent"}, ends={"succeeded": 3}, calls=3, around=VENDOR, also=_by_its_own_client
    ),
    "fails now and then, and is asked by a client that a function of yours makes": Row(
        plays={
            "logged": "user-agent",
            "keys": {"a.example": "503_then_ok:2", "b.example": {"fault": "reset_in_body", "times": 1}},
        },
        ends={"succeeded": 3},
        calls=6,
        around=OWN_CLIENT,
        also=_by_httpx,
    ),
    "fails now and then, and a function of yours posts to it": Row(
        plays={"keys": {"a.example": "503_then_ok:2", "b.example": {"fault": "reset_in_body", "times": 1}}},
        ends={"succeeded": 3},
        calls=6,
        around=POSTED,
        path=PHONES.path,
    ),
    "is a model behind an OpenAI-compatible endpoint": Row(
        ends={"succeeded": 3}, calls=3, asks=MODEL, path="/v1/chat/completions"
    ),
    "is a model that takes no `json_schema`, no `max_tokens` or no temperature": Row(
        plays={"paths": {CHAT: "refuses:json_schema,object_with_schema,max_tokens,temperature/500"}},
        ends={"succeeded": 3},
        calls=range(4, 9),
        asks=MODEL,
        path=CHAT,
    ),
    "is a model that wants a form of answer of its own": Row(
        plays={"paths": {CHAT: "refuses:json_schema"}},
        ends={"succeeded": 3},
        calls=3,
        asks=MODEL,
        path=CHAT,
    ),
    "is a model that thinks aloud, or wraps its answers": Row(
        plays={"paths": {CHAT: "dressed:think"}}, ends={"succeeded": 3}, calls=3, asks=MODEL, path=CHAT
    ),
    "is a model that takes no message of the system": Row(
        plays={"paths": {CHAT: "refuses:system"}}, ends={"succeeded": 3}, calls=4, asks=MODEL, path=CHAT
    ),
    "is a model that answers by the call of a tool": Row(
        plays={"paths": {CHAT: "dressed:tool"}}, ends={"succeeded": 3}, calls=3, asks=MODEL, path=CHAT
    ),
    "is a model that answers 200 with an error inside": Row(
        plays={"keys": {"Who is a.example?": {"fault": "error_200:503", "times": 2}}},
        ends={"succeeded": 3},
        calls=5,
        asks=MODEL,
        path=CHAT,
    ),
    "is a model that has no room for long prompts": Row(
        plays={"paths": {CHAT: "context_length:60"}},
        domains=("a.example", f"{'b' * 90}.example"),
        ends={"succeeded": 2},
        calls=range(3, 9),
        asks=MODEL,
        path=CHAT,
    ),
    "is a model whose filter refuses a prompt": Row(
        plays={"keys": {"Who is a.example?": "filtered"}},
        ends={"succeeded": 2, "failed": 1},
        calls=3,
        reason="refusal",
        asks=MODEL,
        path=CHAT,
    ),
    "does something that must not be done twice": Row(
        plays={"keys": {"a.example": "reset_before_headers"}},
        ends={"succeeded": 2, "failed": 1},
        calls=3,
        reason="unknown",
        asks=PHONES,
        path="/v2/phones/check",
    ),
}
