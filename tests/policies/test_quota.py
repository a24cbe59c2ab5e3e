"""Quotas: which answers say that an account has no more to spend, and which only ask for less."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.quota import is_quota_used_up

OPENAI = "You exceeded your current quota, please check your plan and billing details."
ANTHROPIC = (
    "Your credit balance is too low to access the API. Please go to Plans & Billing to upgrade or purchase credits."
)
CARD = "Your card has insufficient funds."
SHEETS = "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute per user'"
BY_MINUTE = {"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]}
GOOGLE = {"domain": "usageLimits", "reason": "dailyLimitExceeded", "message": "Daily Limit Exceeded"}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (
            429,
            {"error": {"message": OPENAI, "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}},
        ),
        (400, {"error": {"message": "Billing hard limit has been reached", "code": "billing_hard_limit_reached"}}),
        (429, {"error": {"message": "Your account is not active", "code": "billing_not_active"}}),
        (400, {"type": "error", "error": {"type": "invalid_request_error", "message": ANTHROPIC}}),
        (402, {"error": {"message": "Insufficient credits. Add more using the settings", "code": 402}}),
        (402, {"error": {"message": "This request requires more credits, or fewer max_tokens."}}),
        (402, {"error": {"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"}}),
        (402, {"error": "payment_required"}),
        (402, "Payment Required"),
        (403, {"error": {"errors": [GOOGLE], "code": 403, "message": "Daily Limit Exceeded"}}),
        (429, {"status": 429, "code": "QUOTA_EXCEEDED", "message": "Out of resource quota."}),
        (429, {"type": "usage_limit_reached", "message": "The usage limit has been reached"}),
        (429, {"error": {"type": "exceeded_current_quota_error", "message": "Your account has no money"}}),
        (429, {"error": {"code": "terminal_quota_exhausted"}}),
        (402, {"__type": "ServiceQuotaExceededException", "code": "ServiceQuotaExceededException"}),
        (429, {"type": "https://errors.example/quota-exceeded", "title": "Too many"}),
        (403, {"code": "NOT_ENOUGH_CREDITS"}),
        (403, {"errors": [{"code": "credits_exhausted"}]}),
        (403, {"message": "The monthly request limit has been reached"}),
        (403, {"title": "Insufficient Funds", "detail": "You have insufficient funds to perform this action"}),
        (402, {"code": "insufficient_credits", "message": "Add a card to go on"}),
        (429, {"message": "Quota exceeded for quota metric 'Queries' and limit 'Queries per day'"}),
        (429, {"message": "You have exceeded your monthly quota; the next plan has 10 requests per second"}),
        (400, {"code": "Arrearage", "message": "Access denied"}),
    ],
)
def test_a_quota_that_is_used_up_is_told_by_code_or_sentence(status: int, body: Any) -> None:
    assert is_quota_used_up(status, body, waits=None)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}),
        (429, {"error": {"errors": [{"reason": "userRateLimitExceeded"}], "status": "RESOURCE_EXHAUSTED"}}),
        (429, {"code": "ThrottlingQuotaExceededException"}),
        (402, {"error": {"code": "card_declined", "type": "card_error", "message": "Your card was declined."}}),
        (402, {"error": {"code": "card_declined", "decline_code": "insufficient_funds", "message": CARD}}),
        (402, {"error": {"code": "insufficient_funds", "message": CARD}}),
        (402, {"message": "Payment required: the bank account of the customer has insufficient funds"}),
        (400, {"code": "insufficient_funds", "message": "The source account has insufficient funds"}),
        (429, {"error": {"status": "RESOURCE_EXHAUSTED", "message": SHEETS}}),
        (429, {"error": {"status": "RESOURCE_EXHAUSTED", "message": OPENAI, "details": [BY_MINUTE]}}),
        (429, {"message": "API calls quota exceeded! maximum admitted 10 per 1 minute"}),
        (429, {"code": "quota_exceeded", "message": "5 requests/second"}),
        (403, {"message": "You have no permission to see accounts whose quota is exceeded"}),
        (403, {"message": "Not authorized to read how the monthly limit was reached"}),
        (403, {"error": "insufficient_scope"}),
        (403, {"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}),
        (400, {"message": "the note may not say: your credit balance is too low"}),
        (400, {"code": "quota_exceeded"}),
        (400, {"record": {"code": "insufficient_quota"}}),
        (500, {"error": {"code": "insufficient_quota"}}),
        (401, {"error": {"code": "insufficient_quota"}}),
        (429, {"code": "insufficient_quota" * 20}),
        (429, ["insufficient_quota"]),
        (429, None),
        (429, "slow down"),
    ],
)
def test_what_only_asks_for_less_or_refuses_one_record_is_none(status: int, body: Any) -> None:
    assert not is_quota_used_up(status, body, waits=None)


@pytest.mark.parametrize(("waits", "used_up"), [(None, True), (0.0, True), (38.0, False), (300.0, True)])
def test_a_word_that_is_used_for_short_limits_too_counts_where_nothing_says_that_it_goes_on_soon(
    waits: float | None, used_up: bool
) -> None:
    assert is_quota_used_up(429, {"error": {"status": "RESOURCE_EXHAUSTED", "message": OPENAI}}, waits=waits) is used_up
    assert is_quota_used_up(429, {"code": "quotaExceeded"}, waits=waits) is used_up
    assert is_quota_used_up(429, {"code": "insufficient_quota"}, waits=waits)


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["error", "errors", "code", "type", "message", "a"]), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_any_body_is_looked_at(body: Any) -> None:
    assert is_quota_used_up(429, body, waits=None) in (True, False)
