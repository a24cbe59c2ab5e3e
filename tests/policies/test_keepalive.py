"""How long a server keeps idle connections open is learnt from its endings, and forgotten."""

from __future__ import annotations

import math

import pytest

from dataflow.policies.keepalive import BELIEVED, Keepalive


def test_nothing_is_known_at_first() -> None:
    assert Keepalive().trusted(0.0) == math.inf


def test_a_connection_is_not_used_near_the_age_at_which_others_were_closed() -> None:
    assert Keepalive().end(5.0, now=1.0).trusted(2.0) == 4.0
    assert Keepalive().end(0.05, now=1.0).trusted(2.0) == pytest.approx(0.03)
    assert Keepalive().end(0.001, now=1.0).trusted(2.0) == 0.0


def test_the_least_age_holds_until_it_is_not_seen_any_more() -> None:
    known = Keepalive().end(10.0, now=0.0).end(5.0, now=1.0).end(20.0, now=2.0)
    assert known.trusted(3.0) == 4.0
    assert known.trusted(2.0 + BELIEVED) == math.inf
    assert known.end(10.0, now=3.0 + BELIEVED).trusted(4.0 + BELIEVED) == 8.0


def test_an_ending_that_other_connections_outlive_is_no_rule() -> None:
    known = Keepalive().survive(3.0, now=0.0).end(0.1, now=1.0)
    assert known.trusted(2.0) == math.inf
    assert known.end(4.0, now=2.0).trusted(3.0) == 3.2
    assert known.end(0.5, now=BELIEVED).trusted(BELIEVED) == 0.4
