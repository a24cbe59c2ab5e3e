"""A quote is read in a second: money and time with their bounds, what binds, what each service is asked."""

import math
from dataclasses import replace

import pytest

from dataflow.faces.quote import quote_html, quote_text
from dataflow.plan.hours import Binding, Hours
from dataflow.plan.intervals import Interval
from dataflow.plan.quote import NOTHING, Quote, ServiceQuote
from dataflow.plan.rates import Rates

EXACT = Interval.exactly
COMPANY = ServiceQuote(
    service="company",
    api="acme",
    records=EXACT(934_120),
    keys=EXACT(5_012),
    cached=1_200,
    calls=Interval(low=3_812, likely=3_907, high=4_193),
    cost=Interval(low=38.12, likely=39.07, high=41.93),
    row_calls=EXACT(934_120),
    row_cost=EXACT(9_341.2),
    rates=Rates(origin="leads@v3", keys=5000, calls=5100),
)
QUOTE = Quote(
    name="leads",
    records=1_000_000,
    services=(COMPANY,),
    hours=Hours(
        seconds=Interval(low=13_000, likely=14_040, high=16_000),
        binding=Binding(api="acme", limit="concurrency 16", raised="at 64", seconds=3_510),
    ),
    row_seconds=EXACT(400_000),
    budget=50.0,
)


def test_the_text_fits_a_terminal_and_says_all_that_counts() -> None:
    text = quote_text(QUOTE)
    assert max(map(len, text.splitlines())) <= 120
    for told in (
        "leads: 1,000,000 records · 3,907 calls · 39.07 USD · 3 h 54 min",
        "39.07 (38.12..41.93) USD; the budget of 50.00 is enough",
        "concurrency 16 of `acme` binds, at 64: 58 min 30 s",
        "calling once for each record: 934,120 calls, 9,341.20 USD, 4.6 days",
        "counted keys; leads@v3",
    ):
        assert told in text


@pytest.mark.parametrize(
    ("budget", "told"), [(40.0, "likely enough"), (20.0, "ends after about 51.2 %"), (41.93, "50 is enough")]
)
def test_the_budget_is_compared_with_the_bounds(budget: float, told: str) -> None:
    assert told.removeprefix("50 ") in quote_text(replace(QUOTE, budget=budget))


@pytest.mark.parametrize(
    ("service", "told"),
    [
        (replace(COMPANY, calls=NOTHING), "all in the cache"),
        (replace(COMPANY, keys=NOTHING, calls=NOTHING), "nothing asks for it"),
        (replace(COMPANY, after=("people",)), "what people answers; leads@v3"),
        (replace(COMPANY, estimated=True, rates=Rates()), "a sketch; no calls seen"),
    ],
)
def test_each_service_says_what_its_calls_rest_on(service: ServiceQuote, told: str) -> None:
    assert told in quote_text(replace(QUOTE, services=(service,)))


def test_keys_that_answers_decide_about_are_told_by_their_bound() -> None:
    service = replace(COMPANY, keys=Interval(low=0, likely=2_000, high=4_000))
    assert "≤ 4,000" in quote_text(replace(QUOTE, services=(service,)))


def test_what_nobody_knows_is_a_question_mark() -> None:
    service = replace(COMPANY, cost=Interval(low=0, likely=0, high=math.inf))
    assert "0 (0..?) USD" in quote_text(replace(QUOTE, services=(service,)))


def test_without_a_price_no_money_is_mentioned() -> None:
    service = replace(COMPANY, cost=NOTHING, row_cost=NOTHING)
    assert "USD" not in quote_text(replace(QUOTE, services=(service,), budget=None))


def test_a_pipeline_that_calls_nothing_says_so() -> None:
    quiet = Quote(name="leads", records=10, services=(), hours=Hours(seconds=NOTHING))
    assert quote_text(quiet) == "leads: 10 records · nothing is called"


def test_names_are_escaped_in_a_notebook() -> None:
    html = quote_html(replace(QUOTE, name="<leads>", services=(replace(COMPANY, service="<b>"),)))
    assert "<leads>" not in html
    assert "&lt;b&gt;" in html
    assert "concurrency 16 of `acme` binds" in html
