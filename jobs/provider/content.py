"""The services of a content suite: research of a topic, texts and what goes with them, and a calendar. Pure.

All are asked by `POST /v3/<name>` with a JSON object of their inputs. Answers follow from the seed, the service and
the inputs. That a post is put into the calendar once is seen to where calls are counted, not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .data import Draws, Facts

VERBS = ("saves", "costs", "simplifies", "replaces", "measures", "delays")
OBJECTS = ("hours each week", "half of the paper", "a second system", "most phone calls", "errors at month's end")
PLACES = ("small firms", "workshops", "offices", "warehouses", "agencies")
NAMES = ("Blue Harbour", "Kestrel", "Longacre", "Mistral", "Oak & Iron", "Pennant")
MOVES = ("rising", "steady", "falling", "new")


def findings(seed: int, fields: Mapping[str, Any]) -> Facts:
    """What is known about a topic."""
    topic = str(fields.get("topic") or "")
    return {"findings": [f"{topic} {_claim(seed, 'finding', topic, number)}" for number in range(4)]}


def insights(seed: int, fields: Mapping[str, Any]) -> Facts:
    """What competitors say about a topic, at most `limit`."""
    topic, limit = str(fields.get("topic") or ""), int(fields.get("limit") or 10)
    found = Draws(seed, "insights", topic).sample(NAMES, len(NAMES))[:limit]
    return {"insights": [f"{name} says that it {_claim(seed, name, topic, 0)}" for name in found]}


def trends(seed: int, fields: Mapping[str, Any]) -> Facts:
    """How interest in a topic moves."""
    topic = str(fields.get("topic") or "")
    draws = Draws(seed, "trends", topic)
    return {"trends": [f"{word.lower()}: {draws.pick(MOVES)}" for word in topic.split() if len(word) > 3]}


def keywords(seed: int, fields: Mapping[str, Any]) -> Facts:
    """Words that people search for beside those that are given."""
    given = [str(one) for one in fields.get("keywords") or ()]
    more = [f"{one} {Draws(seed, 'keyword', one).pick(('guide', 'cost', 'software', 'checklist'))}" for one in given]
    return {"keywords": [*given, *more]}


def text(seed: int, fields: Mapping[str, Any]) -> Facts:
    """A text on a topic, no longer than asked for."""
    topic, tone = str(fields.get("topic") or ""), fields.get("tone") or "plain"
    parts = [*_texts(fields, "findings"), *_texts(fields, "insights"), *_texts(fields, "trends")]
    body = f"{topic}, {tone}, for {fields.get('audience')} ({fields.get('format')}). {'. '.join(parts)}."
    return {"text": body[: int(fields.get("length") or 500)]}


def optimized(seed: int, fields: Mapping[str, Any]) -> Facts:
    """The text with words that are searched for."""
    wanted = ", ".join(_texts(fields, "keywords")[:3])
    return {"text": f"{fields.get('text') or ''} [{wanted}]"}


def images(seed: int, fields: Mapping[str, Any]) -> Facts:
    """Addresses of so many images in a style."""
    topic, style = str(fields.get("topic") or ""), fields.get("style") or "plain"
    number = Draws(seed, "images", topic, style).below(1 << 32)
    count = int(fields.get("count") or 1)
    return {"images": [f"https://images.example/{style}/{number:08x}-{at}.png" for at in range(1, count + 1)]}


def hashtags(seed: int, fields: Mapping[str, Any]) -> Facts:
    """The longest words of a text as tags, at most `count`."""
    words = sorted({word.strip(".,()[]:").lower() for word in str(fields.get("text") or "").split()}, key=_by_length)
    return {"hashtags": [f"#{word}" for word in words if word.isalpha()][: int(fields.get("count") or 10)]}


def metadata(seed: int, fields: Mapping[str, Any]) -> Facts:
    """Title and description for those who index a text."""
    body = str(fields.get("text") or "")
    return {"metadata": {"title": body[:60], "description": body[:155]}}


def best_time(seed: int, fields: Mapping[str, Any]) -> Facts:
    """When an audience reads a channel."""
    draws = Draws(seed, "time", fields.get("channel"), fields.get("audience"))
    return {"time": f"2027-01-{1 + draws.below(28):02}T{6 + draws.below(15):02}:00:00Z"}


def scheduled(seed: int, fields: Mapping[str, Any]) -> Facts:
    """A place in the calendar."""
    number = Draws(seed, "post", fields.get("channel"), fields.get("text"), fields.get("time")).below(1 << 40)
    return {"scheduled_at": fields.get("time"), "post_id": f"{fields.get('channel')}-{number:010x}"}


def _claim(seed: int, *about: object) -> str:
    draws = Draws(seed, "claim", *about)
    return f"{draws.pick(VERBS)} {draws.pick(OBJECTS)} in {draws.pick(PLACES)}"


def _texts(fields: Mapping[str, Any], name: str) -> list[str]:
    given: Sequence[Any] = fields.get(name) or ()
    return [str(one) for one in given]


def _by_length(word: str) -> tuple[int, str]:
    return -len(word), word
