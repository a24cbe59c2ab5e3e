"""What a service may ask for besides columns."""

from __future__ import annotations

import pytest

from dataflow.errors import ServiceError
from dataflow.outcomes import Outcome, Status
from dataflow.services.context import Context, Outcomes


def test_a_secret_is_read_where_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "s3cret")
    assert Context().secret("ACME_KEY") == "s3cret"
    assert "s3cret" not in repr(Context())
    monkeypatch.delenv("ACME_KEY")
    with pytest.raises(ServiceError, match="the secret ACME_KEY is not set"):
        Context().secret("ACME_KEY")


def test_outcomes_are_a_mapping_by_service() -> None:
    one = Outcome(service="company", status=Status.FAILED, reason="KeyError")
    outcomes = Outcomes({"company": one})
    assert dict(outcomes) == {"company": one}
    assert (len(outcomes), outcomes["company"], outcomes.get("news")) == (1, one, None)
    with pytest.raises(KeyError):
        outcomes["news"]
