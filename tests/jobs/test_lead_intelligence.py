"""Lead intelligence: facts, scores and signals by hand, and a source that fails which hurts no other."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from provider.serve import Running, serve

import dataflow as flow

ROOT = Path(__file__).parents[2]
LEAD = {
    "lead_id": "L1",
    "email": " Ann.Lee@Silver-Lake.example ",
    "name": "Ann Lee",
    "company": "Silver Lake",
    "phone": "+12125550100",
}
FAULTS = {"down": "status:503", "slow": "slow:5", "malformed": "wrong_types"}
OWN = {
    "email-validator": {"contact.is_valid_email", "ready_for_outreach"},
    "email-reputation-checker": {"contact.email_reputation"},
    "social-profile-finder": {"contact.social", "signals.engagement_score"},
    "linkedin-enrichment": {
        *("professional.title", "professional.experience", "professional.education", "professional.skills"),
        "signals.engagement_score",
    },
    "company-researcher": {"company", "signals.buying_signals", "signals.engagement_score"},
    "tech-stack-analyzer": {"company.technologies", "company.tech_categories"},
    "news-aggregator": {"signals.recent_news", "signals.buying_signals"},
    "contact-finder": {"contact.phone", "contact.alternate_emails"},
}
"""The fields that a service alone decides, beside how much is known."""
KNOWN = {"metadata.completeness", "metadata.data_quality", "metadata.sources", "metadata.enriched_at", "completeness"}


@pytest.fixture(scope="module")
def provider() -> Iterator[Running]:
    with serve() as running:
        yield running


@pytest.fixture(scope="module")
def leads(provider: Running) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        patch.setenv("PROVIDER_URL", provider.url)
        sys.modules.pop("lead_intelligence", None)
        yield importlib.import_module("lead_intelligence")


@pytest.fixture(scope="module")
def hurried(leads: ModuleType) -> flow.Pipeline:
    """The same with no patience: an answer in a second or none, and no cache."""
    quick = [one if one.api is None else one.with_(timeout=1, retry=1, cache=False) for one in leads.services()]
    return flow.Pipeline("lead_intelligence", quick)


@pytest.fixture
def healthy(provider: Running, hurried: flow.Pipeline) -> dict[str, Any]:
    provider.control(restore=True)
    return hurried.call(LEAD).data


def flat(data: dict[str, Any]) -> dict[str, Any]:
    """The fields of the nested columns by path."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        inside = value if isinstance(value, dict) else {}
        found |= {f"{name}.{field}": one for field, one in inside.items()} if inside else {name: value}
    return found


def differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    left, right = flat(one), flat(other)
    if one["company"] is None or other["company"] is None:
        left, right = (
            {name: value for name, value in side.items() if "company." not in name} for side in (left, right)
        )
        left["company"], right["company"] = one["company"], other["company"]
    return {name for name in left | right if left.get(name) != right.get(name)} - {"metadata.enriched_at"}


@pytest.mark.parametrize(
    ("company", "email", "domain"),
    [
        ("", "ann@silver-lake.example", "silver-lake.example"),
        ("Silver Lake", "ann@elsewhere.example", "silverlake.com"),
        ("O'Neil & Sons Ltd", "", "o'neil&sonsltd.com"),
        (" Acme ", "", "acme.com"),
        ("Meet@Work", "", "meet@work.com"),
        ("", "ann", None),
        (" ", "ann@", None),
    ],
)
def test_a_domain_is_what_a_name_suggests_or_what_follows_the_at(
    leads: ModuleType, company: str, email: str, domain: str | None
) -> None:
    assert leads.domain_of(company, email=email) == domain


FIRM = {"name": "Acme", "employee_count": 121, "last_year_employee_count": 100, "growth_rate": 0.21}
PROFILES = {"linkedin": "l", "twitter": None, "github": "g", "facebook": None}


@pytest.mark.parametrize(
    ("titles", "firm", "signals"),
    [
        ([], None, []),
        (["Acme raised 3 million"], None, ["recent-funding"]),
        (["A round of Funding for Acme", "Acme is HIRING"], None, ["recent-funding", "rapid-growth"]),
        (["Expansion to Leeds", "Acme to launch a thing", "Release 3"], None, ["rapid-growth", "new-product"]),
        (["Acme names a head of finance"], FIRM, ["aggressive-hiring"]),
        ([], {**FIRM, "employee_count": 120}, []),
        ([], {**FIRM, "last_year_employee_count": None}, []),
        ([], {**FIRM, "last_year_employee_count": 0}, []),
    ],
)
def test_buying_signals(leads: ModuleType, titles: list[str], firm: Any, signals: list[str]) -> None:
    assert leads.buying_signals(titles, firm) == signals


@pytest.mark.parametrize(
    ("social", "skills", "growth", "score"),
    [
        (None, 0, None, 0),
        (PROFILES, 0, None, 20),
        (PROFILES, 10, 0.2, 20),
        (PROFILES, 11, 0.21, 70),
        (dict.fromkeys(PROFILES, "x"), 11, 0.9, 90),
        (dict.fromkeys("abcdefghi", "x"), 11, 0.9, 100),
    ],
)
def test_engagement_score(leads: ModuleType, social: Any, skills: int, growth: float | None, score: int) -> None:
    assert leads.engagement_score(social, ["skill"] * skills, growth) == score


def facts(leads: ModuleType, **known: Any) -> float:
    nothing = dict.fromkeys(("valid", "reputation", "social", "profile", "firm", "stack", "articles", "reach"))
    share: float = leads.share(leads.facts(**{**nothing, **known}))
    return share


def test_completeness_is_the_share_of_eight_facts(leads: ModuleType) -> None:
    assert facts(leads) == 0
    assert facts(leads, valid=True) == facts(leads, reputation=0.4) == 1 / 8
    assert facts(leads, valid=False, reputation=0.0, social=dict.fromkeys(PROFILES)) == 0
    assert facts(leads, social=PROFILES, profile={}, firm=FIRM, stack={"technologies": ["SQL"]}) == 4 / 8
    assert facts(leads, articles=[{"title": "x"}], reach={"additional_emails": ["a@b.c"], "phone": None}) == 2 / 8
    assert facts(leads, firm={"name": None}, stack={"technologies": []}, articles=[]) == 0


@pytest.mark.parametrize(
    ("result", "content"),
    [
        (None, False),
        (False, True),
        (0.0, True),
        ([], False),
        ({"a": None, "b": []}, False),
        ({"a": None, "b": ["x"]}, True),
        ("", False),
    ],
)
def test_a_source_has_content_where_anything_of_it_is_there(leads: ModuleType, result: Any, content: bool) -> None:
    assert leads.has_content(result) is content


def test_a_lead_comes_with_all_that_is_known(healthy: dict[str, Any]) -> None:
    assert healthy["email"] == "ann.lee@silver-lake.example"
    assert healthy["professional"]["name"] == "Ann Lee"
    assert healthy["professional"]["company"] == "Silver Lake"
    assert healthy["company"]["domain"] == "silver-lake.example"
    assert all(healthy["metadata"]["sources"].values())
    assert healthy["insights"] is None
    expected = healthy["metadata"]["completeness"] >= 0.6 and healthy["contact"]["is_valid_email"]
    assert healthy["ready_for_outreach"] is expected
    assert not any(name in healthy for name in ("valid", "reputation", "stack", "articles", "domain"))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("service", OWN)
def test_one_service_that_fails_changes_its_own_fields_only(
    provider: Running, hurried: flow.Pipeline, healthy: dict[str, Any], service: str, fault: str
) -> None:
    provider.control(restore=True, paths={f"/v3/{service}": FAULTS[fault]})
    hurt = hurried.call(LEAD).data
    assert differing(healthy, hurt) <= OWN[service] | KNOWN
    flags = {name.replace("_", "-"): given for name, given in hurt["metadata"]["sources"].items()}
    assert [name for name, given in flags.items() if not given] == [service]
    assert hurt["degraded"] is False


def test_a_company_without_a_name_is_no_company(provider: Running, hurried: flow.Pipeline) -> None:
    provider.control(restore=True, paths={"/v3/company-researcher": "missing_fields"})
    data = hurried.call(LEAD).data
    assert data["company"] is None
    assert data["metadata"]["sources"]["company_researcher"] is False


PEOPLE = [{**LEAD, "lead_id": f"L{at}", "email": f"ann.lee{at}@silver-lake.example"} for at in range(3)]


def run(pipeline: flow.Pipeline, people: list[dict[str, Any]] | None = None) -> Any:
    """A run over some leads that ends whatever fails."""
    source = pa.Table.from_pylist(people or [LEAD])
    job = flow.Job(pipeline, source=source, output="leads", key="lead_id", max_failures="100%")
    return job.run(catalog=flow.testing.memory_catalog())


@pytest.fixture(scope="module")
def sound(provider: Running, hurried: flow.Pipeline) -> list[dict[str, Any]]:
    """What a run publishes where every service is well."""
    provider.control(restore=True)
    rows: list[dict[str, Any]] = run(hurried, PEOPLE).to_arrow().to_pylist()
    return rows


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("service", OWN)
def test_a_run_ends_with_what_the_others_know(
    provider: Running, hurried: flow.Pipeline, sound: list[dict[str, Any]], service: str, fault: str
) -> None:
    provider.control(restore=True, paths={f"/v3/{service}": FAULTS[fault]})
    ended = run(hurried, PEOPLE)
    rows = ended.to_arrow().to_pylist()
    assert ended.statistics["valid_records"] == len(rows) == len(PEOPLE)
    for good, bad in zip(sound, rows, strict=True):
        assert differing(good, bad) <= OWN[service] | KNOWN
        assert bad["metadata"]["sources"] == {**good["metadata"]["sources"], service.replace("-", "_"): False}
    assert [one["lead_id"] for one in ended.failures().to_pylist()] == [one["lead_id"] for one in PEOPLE]


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({"email": "ann@a.example"}, ("", "unknown", "", False, "", "a.example")),
        ({"email": "ann", "name": " Ann ", "phone": "+1 "}, ("Ann", "unknown", "", True, "+1", None)),
        (
            {"email": "ann@a.example", "company": " Silver Lake "},
            ("", "Silver Lake", "Silver Lake", True, "", "silverlake.com"),
        ),
    ],
)
def test_services_are_asked_with_what_a_lead_says(leads: ModuleType, given: Any, asked: tuple[str | None, ...]) -> None:
    assert tuple(leads.asked(**given).values()) == asked


def test_news_are_not_asked_for_where_nobody_is_named(provider: Running, hurried: flow.Pipeline) -> None:
    provider.control(restore=True)
    ended = run(hurried, [{**LEAD, "name": None, "company": None}])
    assert ended.statistics["services"]["articles"]["skipped"] == 1
    assert ended.failures().num_rows == 0


def test_what_people_write_for_nothing_is_nothing(leads: ModuleType, provider: Running, tmp_path: Path) -> None:
    provider.control(restore=True)
    (tmp_path / "leads.csv").write_text("lead_id,email,name,company,phone\nL1,ann@a.example,n/a,-,NULL\n")
    done = leads.job(source=str(tmp_path / "leads.csv")).run(catalog=flow.testing.memory_catalog())
    (row,) = done.to_arrow().to_pylist()
    assert "n/a" not in str(row)
    assert row["professional"]["company"] != "-"


def test_a_model_is_told_nothing_by_which_to_reach_a_lead(leads: ModuleType, healthy: dict[str, Any]) -> None:
    told = leads.brief(healthy["professional"], healthy["company"], healthy["signals"])
    assert healthy["company"]["name"] in told
    assert LEAD["phone"] not in told
    assert "ann.lee" not in told
    assert leads.brief(None, None, None) is None


def test_a_lead_that_says_little_is_asked_for_all_the_same(provider: Running, hurried: flow.Pipeline) -> None:
    provider.control(restore=True)
    data = hurried.call({"email": "ann@silver-lake.example"}).data
    assert data["contact"]["email"] == "ann@silver-lake.example"
    assert data["professional"]["name"] is not None
    nobody = hurried.call({"email": None, "name": "Ann", "company": None, "phone": None}).data
    assert nobody["metadata"]["completeness"] == 0
    assert nobody["professional"]["name"] == "Ann"
    assert nobody["ready_for_outreach"] is False


def test_missing_insights_are_counted(provider: Running, hurried: flow.Pipeline) -> None:
    provider.control(restore=True)
    done = run(hurried)
    assert done.statistics["services"]["insights"]["skipped"] == 1
    assert done.to_arrow()["insights"].to_pylist() == [None]


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_model_that_takes_neither_max_tokens_nor_temperature_is_asked_without(
    provider: Running, leads: ModuleType, status: int
) -> None:
    refusal = f"refuses:max_tokens,max_completion_tokens,temperature/{status}"
    provider.control(restore=True, paths={"/v1/chat": refusal})
    provider.reset()
    # An account of its own: what other tests have found out belongs to theirs.
    api = flow.API(f"llm-{status}", f"{provider.url}/v1", breaker=False)
    pipeline = flow.Pipeline("leads", leads.services(leads.brief, leads.insights_by(api, "demo-large")))
    (insights,) = run(pipeline).to_arrow()["insights"].to_pylist()
    assert all(isinstance(one, str) for one in insights["key_insights"])
    assert provider.counts()["services"]["/v1/chat/completions"]["by_status"] == {"200": 1, str(status): 3}


@pytest.mark.slow
def test_the_command_asks_a_model_that_takes_neither_max_tokens_nor_temperature(
    provider: Running, tmp_path: Path
) -> None:
    provider.control(restore=True, paths={"/v1/chat": "refuses:max_tokens,temperature"})
    provider.reset()
    lines = (ROOT / "datasets" / "leads.csv").read_text().splitlines()[:21]
    (tmp_path / "leads.csv").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "dataflow", "run", str(ROOT / "jobs" / "lead_intelligence.py")]
    for setting in (f"source={tmp_path / 'leads.csv'}", f"llm={provider.url}/v1", "model=demo-large"):
        command += ["--set", setting]
    done = subprocess.run(
        [*command, "--catalog", str(tmp_path / "catalog")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "PROVIDER_URL": provider.url, "LLM_KEY": "any"},
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    sentence = "takes no max_tokens and is given max_completion_tokens; it takes no such temperature"
    assert done.stderr.count(sentence) == 1, told
    assert provider.counts()["services"]["/v1/chat/completions"]["by_status"] == {"200": 20, "400": 2}
    assert re.search(r"^insights +20 ", done.stdout, re.MULTILINE), told


def test_a_model_says_what_it_makes_of_a_lead(provider: Running, leads: ModuleType) -> None:
    provider.control(restore=True)
    done = run(leads.job(llm="demo").pipeline)
    (insights,) = done.to_arrow()["insights"].to_pylist()
    assert list(insights) == ["key_insights", "recommended_approach", "pain_points", "best_time", "personalisation"]
    assert all(isinstance(one, str) for one in insights["key_insights"])
    tokens = done.statistics["services"]["insights"]["tokens"]
    assert min(tokens.values()) > 0


@pytest.mark.parametrize(
    ("fault", "reason"), [("refusal", "refusal"), ("length", "length"), ("wrong_schema", "unexpected answer")]
)
def test_a_model_that_gives_nothing_leaves_the_rest(
    provider: Running, leads: ModuleType, healthy: dict[str, Any], fault: str, reason: str
) -> None:
    provider.control(restore=True, paths={"/v1/chat": fault})
    pipeline = leads.job(llm="demo").pipeline
    done = run(pipeline)
    data = done.to_arrow().to_pylist()[0]
    assert differing(healthy, {name: data[name] for name in healthy}) <= {"completeness"}
    assert done.statistics["services"]["insights"]["errors"] == {reason: 1}
