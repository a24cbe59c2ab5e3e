"""The content suite: who is asked how often, what stands in for what fails, and posts that are scheduled once."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from provider.serve import Running, serve

import dataflow as flow
from dataflow.services.service import Service

ROOT = Path(__file__).parents[2]
RESEARCH = ("topic-researcher", "competitor-analyzer", "trend-analyzer", "keyword-researcher")
TOPIC = {
    "topic_id": "T1",
    "topic": "Measuring Hiring in a week",
    "audience": "owners",
    "tone": "plain",
    "keywords": ["hiring"],
    "channels": ["blog", "fax"],
}
FAULTS = {"down": "status:503", "slow": "slow:5", "malformed": "wrong_types"}
LOST = {
    "content-generator": {"text", "images", "hashtags", "metadata", "scheduled_at", "post_id"},
    "seo-optimizer": {"text", "post_id"},
    "image-generator": {"images"},
    "hashtag-generator": {"hashtags"},
    "metadata-generator": {"metadata"},
    "optimal-time-finder": {"scheduled_at", "post_id"},
    "content-scheduler": {"scheduled_at", "post_id"},
}
"""What differs from a healthy post where one service fails; a text that differs has another post."""


@pytest.fixture(scope="module")
def provider() -> Iterator[Running]:
    with serve() as running:
        yield running


@pytest.fixture(scope="module")
def suite(provider: Running) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        patch.setenv("PROVIDER_URL", provider.url)
        sys.modules.pop("content_marketing", None)
        yield importlib.import_module("content_marketing")


@pytest.fixture(scope="module")
def hurried(suite: ModuleType) -> flow.Pipeline:
    """The same with no patience: an answer in a second or none, and no cache."""

    def soon(service: Service) -> Service:
        if service.composite is not None:
            inside = [soon(one) for one in service.composite.services]  # type: ignore[attr-defined]
            return flow.for_each("channels", inside, item="channel", into="posts", publish=False)
        return service if service.api is None else service.with_(timeout=1, retry=1, cache=False)

    return flow.Pipeline("content_marketing", [soon(one) for one in suite.pipeline.services])


@pytest.fixture
def healthy(provider: Running, hurried: flow.Pipeline) -> dict[str, Any]:
    provider.control(restore=True)
    return hurried.call(TOPIC).data


def posts(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Each channel with what was made for it and when it is due."""
    return [{**piece, **when} for piece, when in zip(data["content"], data["scheduled"], strict=True)]


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("blog", ("long-form", 2000, "professional", 3)),
        ("twitter", ("micro", 280, "engaging", 1)),
        ("linkedin", ("professional", 1300, "business", 2)),
        ("instagram", ("visual-first", 2200, "lifestyle", 5)),
        ("facebook", ("conversational", 500, "friendly", 2)),
        ("fax", ("long-form", 2000, "professional", 3)),
    ],
)
def test_each_channel_has_its_plan_and_an_unknown_one_that_of_a_blog(
    suite: ModuleType, channel: str, expected: tuple[Any, ...]
) -> None:
    assert tuple(suite.plan(channel).values()) == expected


def test_a_topic_comes_with_its_research_and_a_post_for_each_channel(healthy: dict[str, Any]) -> None:
    assert set(healthy) >= {"research", "content", "scheduled", "metadata"}
    assert list(healthy["research"]) == ["findings", "insights", "trends", "keywords"]
    assert [one["channel"] for one in posts(healthy)] == ["blog", "fax"]
    assert [len(one["images"]) for one in posts(healthy)] == [3, 3]
    assert all(one["text"].startswith(TOPIC["topic"]) for one in posts(healthy))
    assert all(one["post_id"] for one in posts(healthy))
    metadata = healthy["metadata"]
    assert (metadata["channels_processed"], metadata["content_pieces"], metadata["research_sources"]) == (2, 2, 4)


def test_phases_follow_each_other(suite: ModuleType) -> None:
    lines = {line.name: line for line in suite.pipeline.explain().lines}
    inside = {line.name.removeprefix("posts."): line.level for line in lines["posts"].inside}
    assert {lines[name].level for name in ("findings", "insights", "trends", "searched")} == {0}
    assert lines["posts"].level > 0
    assert inside["draft"] < inside["optimized"] == inside["hashtags"] == inside["metadata"] < inside["scheduled"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("service", RESEARCH)
def test_without_research_there_is_no_content(
    provider: Running, hurried: flow.Pipeline, service: str, fault: str
) -> None:
    provider.control(restore=True, paths={f"/v3/{service}": FAULTS[fault]})
    with pytest.raises(flow.CriticalServiceFailed):
        hurried.call(TOPIC)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("service", LOST)
def test_one_service_that_fails_leaves_the_rest_as_it_is(
    provider: Running, hurried: flow.Pipeline, healthy: dict[str, Any], service: str, fault: str
) -> None:
    provider.control(restore=True, paths={f"/v3/{service}": FAULTS[fault]})
    hurt = hurried.call(TOPIC).data
    assert hurt["research"] == healthy["research"]
    for good, bad in zip(posts(healthy), posts(hurt), strict=True):
        assert {name for name in good if good[name] != bad[name]} == LOST[service]
    assert hurt["metadata"]["content_pieces"] == (0 if service == "content-generator" else 2)


@pytest.mark.parametrize(
    ("service", "fallback"),
    [("image-generator", "images"), ("hashtag-generator", "hashtags"), ("metadata-generator", "metadata")],
)
def test_a_fallback_is_empty_and_degrades_nothing(
    provider: Running, hurried: flow.Pipeline, service: str, fallback: str
) -> None:
    provider.control(restore=True, paths={f"/v3/{service}": "status:503"})
    data = hurried.call(TOPIC).data
    empty = {"images": [], "hashtags": [], "metadata": {"title": None, "description": None}}[fallback]
    assert [one[fallback] for one in posts(data)] == [empty] * 2
    assert data["degraded"] is False


def test_a_batch_rejects_a_topic_without_research_and_keeps_the_others(
    provider: Running, hurried: flow.Pipeline
) -> None:
    provider.control(restore=True, keys={"Lost in Hiring": "status:503"})
    other = {**TOPIC, "topic_id": "T2", "topic": "Lost in Hiring"}
    job = flow.Job(hurried, source=table([TOPIC, other]), output="content", key="topic_id", max_failures="100%")
    run = job.run(catalog=flow.testing.memory_catalog())
    assert run.to_arrow()["topic_id"].to_pylist() == ["T1"]
    assert run.rejects()["topic_id"].to_pylist() == ["T2"]


def table(topics: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist(topics)


def start(provider: Running, catalog: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PROVIDER_URL": provider.url,
        "DATAFLOW_JOURNAL": str(catalog / "journal"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "dataflow", "run", str(ROOT / "jobs/content_marketing.py"), "--json"]
    return subprocess.Popen(
        [*command, "--catalog", str(catalog)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_research_is_asked_once_and_posts_are_scheduled_once_through_a_kill(tmp_path: Path) -> None:
    with serve(latency=0.05) as provider:
        first = start(provider, tmp_path)
        deadline = time.monotonic() + 120
        while scheduled(provider) < 60 and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert 60 <= scheduled(provider) < 250
        second = start(provider, tmp_path)
        told, said = second.communicate(timeout=240)
        assert second.returncode == 0, said.decode()[-2000:]
        counts = provider.counts()
    assert {name: counts["services"][f"/v3/{name}"]["calls"] for name in RESEARCH} == dict.fromkeys(RESEARCH, 50)
    assert counts["effects"] == {"/v3/content-scheduler": 250}
    part = json.loads(told)["statistics"]["services"]["posts.scheduled"]
    assert (part["succeeded"], part["cached"]) == (250, 0)


def scheduled(provider: Running) -> int:
    found: int = provider.counts()["effects"].get("/v3/content-scheduler", 0)
    return found
