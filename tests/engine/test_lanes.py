"""Threads that can be left behind."""

from __future__ import annotations

import contextvars
import threading

import pytest

from dataflow.engine.lanes import MOST_LEFT, send, wait_for_room


def test_whoever_waits_gets_what_the_function_gave_or_raised() -> None:
    errand = send(lambda: 5)
    assert errand.wait(5)
    assert errand.result() == 5
    failing = send(lambda: 1 // 0)
    assert failing.wait(5)
    with pytest.raises(ZeroDivisionError):
        failing.result()


def test_one_thread_serves_many_one_after_the_other() -> None:
    places = set()
    for _ in range(50):
        errand = send(threading.get_ident)
        assert errand.wait(5)
        places.add(errand.result())
    assert len(places) < 5


def test_what_is_left_behind_takes_room_until_it_ends() -> None:
    go, left = threading.Event(), 0
    while wait_for_room(0):
        errand = send(go.wait)
        assert not errand.wait(0.01)
        assert errand.leave()
        left += 1
    assert 0 < left <= MOST_LEFT
    go.set()
    assert wait_for_room(10)
    assert errand.wait(10)
    assert not errand.leave()


def test_a_function_knows_the_context_of_whoever_has_sent_it() -> None:
    place = contextvars.ContextVar("place", default="nowhere")
    place.set("here")
    errand = send(place.get)
    assert errand.wait(5)
    assert errand.result() == "here"


def test_whoever_has_asked_is_told_when_it_has_ended() -> None:
    ended = threading.Event()
    send(lambda: None, told=ended.set)
    assert ended.wait(5)
