"""Groups of services by priority."""

from __future__ import annotations

from typing import Any

import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.outcomes import Priority


@flow.enrichment
def size(domain: str) -> int:
    return len(domain)


@flow.transformation
def domain(email: str) -> str:
    return email.partition("@")[2]


@pytest.mark.parametrize(
    ("group", "priority"),
    [(flow.critical, Priority.CRITICAL), (flow.important, Priority.IMPORTANT), (flow.optional, Priority.OPTIONAL)],
)
def test_a_group_gives_its_services_its_priority(group: Any, priority: Priority) -> None:
    first, second = group(domain, size)
    assert [one.policy.priority for one in (first, second)] == [priority, priority]
    assert (first.name, second.name) == ("domain", "size")
    assert size.policy.priority is Priority.IMPORTANT
    assert [one.name for one in flow.Pipeline("p", [*group(domain), *group(size)]).services] == ["domain", "size"]


def test_an_empty_group_has_no_services() -> None:
    assert flow.critical() == ()


@pytest.mark.parametrize("wrong", [[domain, size], "domain", len])
def test_what_is_no_service_is_refused(wrong: Any) -> None:
    with pytest.raises(DeclarationError, match=r"important\(\) takes services, not .*important\(\*services\)"):
        flow.important(wrong)
