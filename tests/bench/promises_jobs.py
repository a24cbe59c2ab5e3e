"""The promises of the jobs: how fast leads are known, and that a post is scheduled once. The provider counts."""

from __future__ import annotations

import csv
import subprocess
import time
from typing import Any

from judging import Finding
from measuring import DATAFLOW, ROOT
from staging import Stage, stage

LEADS, SERVICES, LATENCY, CAP = 2_000, 8, 0.2, 20
EACH = LEADS * SERVICES
IDEAL = LEADS * LATENCY / CAP
"""Seconds that a service needs for all leads with its cap always full; the eight work side by side."""
ENOUGH = 0.7

TOPICS, CHANNELS = 50, 5
KILLED_AT = 60
"""Posts that are scheduled when the first run is killed."""


def check_lead() -> list[Finding]:
    """2,000 leads through eight services of 200 ms with a cap of 20 each: at least 70 % of what is possible."""
    with stage(latency=LATENCY) as on:
        write_leads(on)
        began = time.monotonic()
        on.finish(run_job(on, "lead_intelligence", "--set", "source=leads.csv"))
        whole = time.monotonic() - began
        calls = [entry for entry in on.settled() if entry[1].startswith("/v3/")]
        span = max(entry[5] for entry in calls) - min(entry[0] for entry in calls)
    return [
        Finding(
            check="lead",
            what="calls beyond one for each lead and service",
            figure=len(calls) - LEADS * SERVICES,
            limit=0,
        ),
        Finding(check="lead", what="share of the ideal throughput", figure=IDEAL / span, limit=ENOUGH, bound="least"),
        Finding(check="lead", what="calls in a second", figure=len(calls) / span),
        Finding(check="lead", what="seconds of the whole command", figure=whole, unit="s"),
    ]


def check_content() -> list[Finding]:
    """50 topics for five channels, killed and run again: research asked once a topic, each post scheduled once."""
    with stage(latency=0.05) as on:
        first = run_job(on, "content_marketing")
        while scheduled(on) < KILLED_AT and first.poll() is None:
            time.sleep(0.02)
        first.kill()
        first.wait()
        before = scheduled(on)
        on.finish(run_job(on, "content_marketing"))
        counts = on.provider.counts()
        research = [counts["services"][f"/v3/{name}"]["calls"] for name in RESEARCHERS]
        posts = counts["services"]["/v3/content-scheduler"]["calls"]
    extra = scheduled_of(counts) - TOPICS * CHANNELS
    return [
        Finding(check="content", what="calls of a research service, most", figure=max(research), limit=TOPICS),
        Finding(check="content", what="and least", figure=min(research), limit=TOPICS, bound="least"),
        Finding(check="content", what="posts scheduled, beyond one each", figure=extra, limit=0),
        Finding(check="content", what="posts scheduled before the kill", figure=before),
        Finding(check="content", what="requests to schedule", figure=posts),
    ]


RESEARCHERS = ("topic-researcher", "competitor-analyzer", "trend-analyzer", "keyword-researcher")


def run_job(on: Stage, name: str, *options: str) -> subprocess.Popen[bytes]:
    """A job of ours over its source, as a terminal would start it."""
    command = [*DATAFLOW, "run", str(ROOT / "jobs" / f"{name}.py"), "--json", "--no-progress", *options]
    return on.start(["env", f"PROVIDER_URL={on.provider.url}", *command, "--catalog", "catalog"])


def write_leads(on: Stage) -> None:
    """Leads that share nothing, so that each needs a call of every service."""
    with (on.folder / "leads.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["lead_id", "email", "name", "company", "phone"])
        for at in range(LEADS):
            rows.writerow([f"L{at}", f"p{at}@firm-{at}.example", f"Person {at}", f"Firm {at}", f"+1212555{at:04}"])


def scheduled(on: Stage) -> int:
    """Posts in the calendar."""
    return scheduled_of(on.provider.counts())


def scheduled_of(counts: dict[str, Any]) -> int:
    """Posts in the calendar by what the provider counts."""
    found: int = counts["effects"].get("/v3/content-scheduler", 0)
    return found
