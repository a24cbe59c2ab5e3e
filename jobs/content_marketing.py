"""Researches topics, writes a text for each of their channels, and puts the posts into a calendar.

    dataflow run jobs/content_marketing.py

Four services research a topic side by side; for each channel a text is written, four services work on it side by
side, each with a fallback, and the post is scheduled once. The provider is a small server of our own, started by the
job unless PROVIDER_URL names another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import dataflow as flow
from jobs.provider.serve import ADDRESS, ensure_provider

DATASETS = Path(__file__).parents[1] / "datasets"
URL = ensure_provider(latency=0.05, jitter=0.02)


class Plan(TypedDict):
    """What a channel asks for."""

    format: str
    length: int
    image_style: str
    image_count: int


class Tags(TypedDict):
    """What indexes show of a text."""

    title: str | None
    description: str | None


class Scheduled(TypedDict):
    """A place in the calendar."""

    scheduled_at: str
    post_id: str


class Research(TypedDict):
    """What the four services have found about a topic."""

    findings: list[str]
    insights: list[str]
    trends: list[str]
    keywords: list[str]


class Piece(TypedDict):
    """What was made for one channel; no text where none could be written."""

    channel: str
    text: str | None
    images: list[str] | None
    hashtags: list[str] | None
    metadata: Tags | None


class Appointment(TypedDict):
    """When one channel gets its post; nothing where it was not scheduled."""

    channel: str
    scheduled_at: str | None
    post_id: str | None


class Summary(TypedDict):
    """What was done for a topic."""

    channels_processed: int
    content_pieces: int
    research_sources: int
    generated_at: str


BLOG = Plan(format="long-form", length=2000, image_style="professional", image_count=3)
CHANNELS = {
    "blog": BLOG,
    "twitter": Plan(format="micro", length=280, image_style="engaging", image_count=1),
    "linkedin": Plan(format="professional", length=1300, image_style="business", image_count=2),
    "instagram": Plan(format="visual-first", length=2200, image_style="lifestyle", image_count=5),
    "facebook": Plan(format="conversational", length=500, image_style="friendly", image_count=2),
}


def account(service: str, *, tolerant: bool = False) -> flow.API:
    """The account of one service: what goes wrong with it hurts no other."""
    # What has a fallback is not waited for: its breaker would hold the posts until it is back.
    return flow.API(
        service, URL, concurrency=20, timeout=5, breaker=not tolerant, retry=flow.Retry(attempts=2, initial=0.2)
    )


def ask(name: str, service: str, returns: Any, inputs: dict[str, Any], **options: Any) -> flow.Service:
    """A service that is told its inputs; its answer is for the services after it."""
    tolerant = options.get("priority") == "optional"
    api = account(service, tolerant=tolerant)
    chosen = {"select": name, "publish": False, "not_found": (), **options}
    return api.post(name, f"/v3/{service}", json=inputs, returns=returns, **chosen)


findings = ask(
    "findings",
    "topic-researcher",
    list[str],
    {"topic": "{topic}", "depth": "comprehensive"},
    priority="critical",
)
insights = ask("insights", "competitor-analyzer", list[str], {"topic": "{topic}", "limit": 10}, priority="critical")
trends = ask("trends", "trend-analyzer", list[str], {"topic": "{topic}", "period": "30d"}, priority="critical")
searched = ask(
    "searched",
    "keyword-researcher",
    list[str],
    {"keywords": "{keywords}", "intent": "informational"},
    select="keywords",
    priority="critical",
)


@flow.transformation(into="research")
def research(findings: list[str], insights: list[str], trends: list[str], searched: list[str]) -> Research:
    """The four results in one place."""
    return Research(findings=findings, insights=insights, trends=trends, keywords=searched)


@flow.transformation(publish=False)
def plan(channel: str) -> Plan:
    """What the channel asks for; an unknown one is a blog."""
    return CHANNELS.get(channel, BLOG)


draft = ask(
    "draft",
    "content-generator",
    str,
    {
        **{name: f"{{{name}}}" for name in ("topic", "findings", "insights", "trends", "format", "length", "tone")},
        "keywords": "{searched}",
        "audience": "{audience}",
    },
    select="text",
    priority="critical",
)
optimized = ask(
    "optimized", "seo-optimizer", str, {"text": "{draft}", "keywords": "{searched}"}, select="text", priority="optional"
)
images = ask(
    "images",
    "image-generator",
    list[str],
    {"topic": "{topic}", "style": "{image_style}", "count": "{image_count}"},
    priority="optional",
    default=[],
    publish=True,
)
hashtags = ask(
    "hashtags",
    "hashtag-generator",
    list[str],
    {"text": "{draft}", "count": 10},
    priority="optional",
    default=[],
    publish=True,
)
metadata = ask(
    "metadata",
    "metadata-generator",
    Tags,
    {"text": "{draft}", "keywords": "{searched}"},
    into="metadata",
    priority="optional",
    default={},
    publish=True,
)


@flow.transformation
def text(draft: str, optimized: str | None) -> str:
    """The text with what people search for, or as it was."""
    return draft if optimized is None else optimized


time = ask("time", "optimal-time-finder", str, {"channel": "{channel}", "audience": "{audience}"})
scheduled = ask(
    "scheduled",
    "content-scheduler",
    Scheduled,
    {
        "topic_id": "{topic_id}",
        **{name: f"{{{name}}}" for name in ("channel", "text", "images", "hashtags", "metadata", "time")},
    },
    select=None,
    cache=False,
    publish=True,
)

posts = flow.for_each(
    "channels",
    [plan, draft, optimized, images, hashtags, metadata, text, time, scheduled],
    item="channel",
    into="posts",
    publish=False,
)


class Post(TypedDict):
    """What came of one channel."""

    channel: str
    images: list[str] | None
    hashtags: list[str] | None
    metadata: Tags | None
    text: str | None
    scheduled_at: str | None
    post_id: str | None


@flow.transformation(into="content")
def content(posts: list[Post | None], channels: list[str]) -> list[Piece]:
    """What was made for each channel."""
    return [_piece(channel, post) for channel, post in zip(channels, posts, strict=True)]


def _piece(channel: str, post: Post | None) -> Piece:
    if post is None:
        return Piece(channel=channel, text=None, images=None, hashtags=None, metadata=None)
    return Piece(
        channel=channel,
        text=post["text"],
        images=post["images"],
        hashtags=post["hashtags"],
        metadata=post["metadata"],
    )


@flow.transformation(into="scheduled")
def schedule(posts: list[Post | None], channels: list[str]) -> list[Appointment]:
    """When each channel gets its post."""
    pairs = zip(channels, posts, strict=True)
    return [
        Appointment(
            channel=channel,
            scheduled_at=None if post is None else post["scheduled_at"],
            post_id=None if post is None else post["post_id"],
        )
        for channel, post in pairs
    ]


@flow.transformation(into="metadata")
def summary(posts: list[Post | None], context: flow.Context) -> Summary:
    """What was done for the topic, and when the run began."""
    return Summary(
        channels_processed=len(posts),
        content_pieces=sum(post is not None for post in posts),
        research_sources=4,
        generated_at=context.started_at.isoformat(timespec="seconds"),
    )


pipeline = flow.Pipeline(
    "content_marketing",
    [findings, insights, trends, searched, research, posts, content, schedule, summary],
)


def job(source: str = str(DATASETS / "topics.jsonl")) -> flow.Job:
    """The job; `--set source=PATH` takes other topics."""
    return flow.Job(pipeline, source=source, output="content", key="topic_id", max_failures="100%", environ=[ADDRESS])
