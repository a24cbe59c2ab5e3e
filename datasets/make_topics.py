"""Makes the example topics: `topics.jsonl`, fifty ideas for content with their audience and channels.

    python datasets/make_topics.py

The same seed gives the same bytes on every machine. Nothing about making content of them belongs here.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

SEED = 8
TOPICS = 50
CHANNELS = ("blog", "twitter", "linkedin", "instagram", "facebook")
THINGS = ("Inventory", "Invoices", "Field Service", "Customer Support", "Route Planning", "Hiring", "Quality Control")
ANGLES = ("without spreadsheets", "for small teams", "in a week", "on a budget", "with less paper", "across borders")
OPENINGS = ("How to run", "Five mistakes in", "A guide to", "The cost of", "What changes in", "Measuring")
AUDIENCES = ("owners of small firms", "heads of operations", "developers", "accountants", "shop managers")
TONES = ("friendly", "professional", "playful", "plain")


def topics(seed: int = SEED) -> list[dict[str, object]]:
    """The topics, each with a title of its own."""
    chance = Random(seed)
    ideas = [(opening, thing, angle) for opening in OPENINGS for thing in THINGS for angle in ANGLES]
    return [
        {
            "topic_id": f"T{number:03}",
            "topic": f"{opening} {thing} {angle}",
            "audience": chance.choice(AUDIENCES),
            "tone": chance.choice(TONES),
            "keywords": [thing.lower(), f"{thing} {angle}".lower(), f"{opening} {thing}".lower()],
            "channels": list(CHANNELS),
        }
        for number, (opening, thing, angle) in enumerate(chance.sample(ideas, TOPICS), 1)
    ]


def files(seed: int = SEED) -> dict[str, bytes]:
    """The bytes of each file by its name."""
    lines = "".join(f"{json.dumps(topic, ensure_ascii=False)}\n" for topic in topics(seed))
    return {"topics.jsonl": lines.encode()}


if __name__ == "__main__":
    for name, content in files().items():
        (Path(__file__).parent / name).write_bytes(content)
