"""The scenarios of the README's table of providers, by the first column of the row that each of them plays.

A row more is a line in the README and an entry here: what the provider plays, how the records end, what it counts.
"""

from __future__ import annotations

from provider_play import Ask, Played, Row

EMAILS = Ask(path="/v2/emails/{domain}/reputation", options={"returns": {"score": float}})
PHONES = Ask(
    path="/v2/phones/check",
    options={"returns": {"valid": bool}, "json": {"phone": "{domain}"}},
    method="POST",
)
BATCH = Ask(path="/v2/companies/batch")


def _all_let_in(played: Played) -> None:
    assert set(played.seen["by_status"]) == {"200"}


def _by_domain(played: Played) -> None:
    assert all(row["title"] for row in played.rows)
    assert set(played.seen["by_key"]) == {"a.example", "b.example", "c.example"}


ROWS: dict[str, Row] = {
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
    "takes longer than 30 s for an answer": Row(
        plays={"latency": 0.6}, asks=Ask(account={"timeout": 0.2, "retry": 1}), ends={"succeeded": 3}, calls=3
    ),
    "wants a token": Row(plays={"auth": "bearer"}, ends={"succeeded": 3}, calls=3),
    "wants a key in a header": Row(plays={"auth": "api-key"}, ends={"succeeded": 3}, calls=3),
    "says with another status that it knows nothing": Row(
        plays={"keys": {"a.example": "status:410"}}, ends={"succeeded": 2, "not_found": 1}, calls=3
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
        also=_by_domain,
    ),
    "does something that must not be done twice": Row(
        plays={"keys": {"a.example": "status:503"}},
        ends={"succeeded": 2, "failed": 1},
        calls=3,
        reason="HTTP 503",
        asks=PHONES,
        path="/v2/phones/check",
    ),
}
