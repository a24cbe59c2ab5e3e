"""Plans to look at."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.plan.binding import bind
from dataflow.plan.explain import Explanation, explain_graph


def declared(kind: str, name: str, reads: Sequence[str], **options: Any) -> flow.Service:
    """A service with a signature made for the occasion; `calls_out=True` makes it async."""
    start = "async def" if options.pop("calls_out", False) else "def"
    scope: dict[str, Any] = {}
    exec(f"{start} made({', '.join(f'{one}: str' for one in reads)}) -> str | None: ...", scope)
    service: flow.Service = getattr(flow, kind)(name=name, **options)(scope["made"])
    return service


def explained(services: Sequence[flow.Service], columns: Sequence[str], name: str = "plan") -> Explanation:
    return explain_graph(bind(services, pa.schema([(one, pa.string()) for one in columns]), name=name))


@pytest.fixture
def leads() -> Explanation:
    """Two chains that meet where an enrichment waits for the verdicts of both."""
    return explained(
        [
            declared("transformation", "email", ["email"]),
            declared("transformation", "domain", ["email"]),
            declared("validation", "email_syntax", ["email"]),
            declared("validation", "name_given", ["name"]),
            declared("enrichment", "company", ["domain"], when="valid"),
            declared("enrichment", "news", ["domain"], when="valid"),
        ],
        ["name", "email"],
        name="leads",
    )


@pytest.fixture
def random_plan() -> Callable[[int], Explanation]:
    """Plans of 30 services with long names, by seed."""
    return _random_plan


def _random_plan(seed: int) -> Explanation:
    draw = random.Random(seed)
    source = [f"column_{at}" for at in range(6)]
    columns, services = list(source), []
    for at in range(30):
        kind = ("transformation", "validation", "enrichment")[min(2, int(draw.random() * 1.2 + at / 30 * 1.8))]
        options: dict[str, Any] = {}
        if kind == "enrichment" and any(one.kind == "validation" for one in services):
            options = {"when": "valid", "calls_out": draw.random() < 0.5}
        name = f"{kind}_{at}" if at % 4 else f"s{at}_{'long_name_' * 6}"[:60]
        services.append(declared(kind, name, draw.sample(columns, draw.randint(1, 3)), **options))
        columns += [name] if kind != "validation" else []
    return explained(services, source)


VOID = ("br", "rect", "path", "circle")


class Tags(HTMLParser):
    """Which elements a text opens and which it leaves open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture
def tags() -> type[Tags]:
    """Reads a page for the elements in it."""
    return Tags
