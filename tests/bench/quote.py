"""Does the quote's interval hold the bill? 20 seeded jobs are quoted, run, and compared; and how long counting takes.

`python tests/bench/quote.py` prints each quote beside its bill, and how wide the interval is. Providers are played in
this process: keys follow a Zipf law, are found or not, and fail now and then. With `--rows N` it also times counting.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import dataflow as flow

FILES, HELD = 3, 19


@flow.transformation
def domain(email: str) -> str | None:
    return email.partition("@")[2] or None


@flow.validation
def known(company_size: int | None) -> str | None:
    return None if company_size is not None else "no company"


class Provider:
    """Finds a share of the keys; a share of the first requests for a key fails, and some keys always do."""

    def __init__(self, seed: int, *, found: float, failing: float, dead: float) -> None:
        self._seed, self._found, self._failing, self._dead = seed, found, failing, dead
        self._failed: set[str] = set()

    def __call__(self, request: flow.testing.Request) -> Any:
        key = request.path
        if self._chance("dies", key) < self._dead:
            return 503
        if key not in self._failed and self._chance("fails", key) < self._failing:
            self._failed.add(key)
            return 503
        if self._chance("finds", key) >= self._found:
            return 404
        return {
            "id": f"c{int(self._chance('id', key) * 10_000)}",
            "size": len(key),
            "tokens": self._chance("tokens", key),
        }

    def _chance(self, what: str, key: str) -> float:
        return random.Random(f"{self._seed} {what} {key}").random()


def services(kind: int) -> list[Any]:
    """The services of a job, of six kinds: alone, chained, a waterfall, behind a verdict, a price in the answer."""
    api = flow.API("acme", "https://acme.example", retry=flow.Retry(attempts=3, initial=0), concurrency=64)
    zeta = flow.API("zeta", "https://zeta.example", retry=flow.Retry(attempts=2, initial=0))
    select = {"company_id": "id", "company_size": "size"}
    returns = {"company_id": str, "company_size": int}
    company = api.get("company", "/companies/{domain}", returns=returns, select=select, price=0.01)
    if kind == 0:
        return [company]
    if kind == 1:
        found = {"people": "size"}
        return [company, zeta.get("people", "/people/{company_id}", returns={"people": int}, select=found, price=0.05)]
    if kind == 2:
        second = {"other": "id"}
        when = "company_id is null"
        return [
            company,
            zeta.get("second", "/other/{domain}", returns={"other": str}, select=second, price=0.03, when=when),
        ]
    if kind == 3:
        news = {"news": "size"}
        return [
            company,
            known,
            zeta.get("news", "/news/{domain}", returns={"news": int}, select=news, price=0.02, when="valid"),
        ]
    if kind == 4:
        priced = {"price": _said, "max_price": 0.02}
        return [api.get("company", "/companies/{domain}", returns=returns, select=select, **priced)]
    return [company.with_(price=0.01, billed="answers")]


def _said(answer: Any) -> float:
    return round(0.005 + 0.015 * answer["tokens"], 6) if isinstance(answer, dict) and "tokens" in answer else 0.0


def source(folder: Path, seed: int, *, keys: int, rows: int) -> Path:
    """Records in a few files, their domains by a Zipf law."""
    chance = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(keys)]
    for at in range(FILES):
        found = chance.choices(range(keys), weights, k=rows // FILES)
        emails = ["nobody" if chance.random() < 0.03 else f"a@d{key}-{seed}.example" for key in found]
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.table({"email": emails}), folder / f"{at}.parquet")
    return folder


def run_one(seed: int, folder: Path) -> tuple[bool, float, str]:
    """Quote a job, run it, and compare."""
    chance = random.Random(seed)
    kind, known_by = seed % 6, ("nothing", "history", "sample")[seed % 3 if seed < 12 else (seed + 1) % 3]
    provider = Provider(
        seed, found=chance.uniform(0.2, 0.95), failing=chance.uniform(0, 0.06), dead=chance.choice([0, 0, 0.01])
    )
    pipeline = flow.Pipeline("leads", [domain, *services(kind)])
    settings: dict[str, Any] = {"catalog": flow.testing.memory_catalog()}
    keys = chance.randint(100, 1500)
    here = source(folder / "now", seed, keys=keys, rows=chance.randint(1000, 6000))
    with flow.testing.offline(acme=provider, zeta=provider):
        if known_by == "history":
            before = source(folder / "before", seed + 1000, keys=keys, rows=3000)
            pipeline.run(str(before), "leads", **settings)
        sample = 200 if known_by == "sample" else None
        quote = pipeline.quote(str(here), output="leads", sample=sample, **settings)
        run = pipeline.run(str(here), "leads", max_failures=500, **settings)
    bill, cost = run.statistics["cost"], quote.cost
    held = cost.contains(bill)
    width = (cost.high - cost.low) / bill if bill else 0.0
    told = f"{bill:9.2f}  {cost.low:9.2f} {cost.likely:9.2f} {cost.high:9.2f}  {width:7.1%}"
    return held, width, f"{seed:4}  {kind}  {known_by:8} {told}  {'' if held else 'MISSED'}"


def count_many(rows: int) -> None:
    """How long counting the keys of many records takes."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        emails = pa.array([f"a@d{chance.randrange(20_000)}.example" for _ in range(rows // 8)])
        for at in range(8):
            pq.write_table(pa.table({"domain": pc.utf8_slice_codeunits(emails, 2)}), f"{folder}/{at}.parquet")
        pipeline = flow.Pipeline("leads", services(1))
        began = time.perf_counter()
        quote = pipeline.quote(folder, catalog=flow.testing.memory_catalog())
        print(
            f"{quote.records:,} records, {quote.services[0].keys.high:,.0f} keys: {time.perf_counter() - began:.1f} s"
        )


def main() -> int:
    """All jobs; 1 where fewer intervals than promised hold the bill."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=20)
    arguments.add_argument("--rows", type=int, default=0)
    chosen = arguments.parse_args()
    print("seed kind known by       bill        low    likely      high    width")
    results = []
    for seed in range(chosen.runs):
        with tempfile.TemporaryDirectory() as folder:
            results.append(run_one(seed, Path(folder)))
        print(results[-1][2], flush=True)
    held, widths = sum(one for one, _, _ in results), sorted(width for _, width, _ in results)
    middle = widths[len(widths) // 2]
    print(f"{held} of {len(results)} intervals hold the bill; half of them are narrower than {middle:.0%}")
    if chosen.rows:
        count_many(chosen.rows)
    return 0 if held >= HELD * len(results) / 20 else 1


if __name__ == "__main__":
    sys.exit(main())
