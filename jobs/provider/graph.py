"""What the service that speaks GraphQL answers: a company by its domain, with the fields that are asked for. Pure.

It knows one form of query, as `query($d: ID!) {company(domain: $d) {name employees}}`; what is no such query, or asks
for what a company does not have, is answered with `errors`, as GraphQL does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import data

_QUERY = re.compile(
    r"\s*(?:query\s*\w*\s*(?:\([^)]*\))?\s*)?\{\s*company\s*\(\s*domain\s*:\s*"
    r'(?:\$(?P<variable>\w+)|"(?P<domain>[^"]*)")\s*\)\s*\{(?P<names>[\w\s,]+)\}\s*\}\s*'
)


def answer(seed: int, fields: Mapping[str, Any]) -> data.Facts:
    """The answer to a request with `query` and `variables`."""
    found = _QUERY.fullmatch(str(fields.get("query", "")))
    if found is None:
        return _wrong("Syntax Error: expected a query of company")
    variables = fields.get("variables")
    given = variables if isinstance(variables, dict) else {}
    domain = found["domain"] if found["variable"] is None else given.get(found["variable"])
    if not isinstance(domain, str):
        return _wrong(f"Variable ${found['variable']} is no domain")
    company = data.company(seed, domain)
    names = re.findall(r"\w+", found["names"])
    if strange := [name for name in names if name not in company]:
        return _wrong(f'Cannot query field "{strange[0]}" on type "Company"')
    return {"data": {"company": {name: company[name] for name in names}}}


def _wrong(message: str) -> data.Facts:
    return {"errors": [{"message": message}]}
