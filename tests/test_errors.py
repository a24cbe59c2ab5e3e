"""The error tree: one class for each decision, each with its exit code, each surviving pickle."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from dataflow import errors
from dataflow.errors import (
    CriticalServiceFailed,
    DataflowError,
    GuardrailReached,
    Interrupted,
    Invalid,
    LimitReached,
    RetryLater,
)

CLASSES = [one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, DataflowError)]
EXIT_CODES = {
    "DataflowError": 1,
    "DeclarationError": 2,
    "SourceError": 2,
    "CatalogError": 2,
    "StoreError": 1,
    "OutputLocked": 6,
    "GuardrailReached": 3,
    "LimitReached": 4,
    "Interrupted": 5,
    "ClusterError": 75,
    "ServiceError": 1,
    "CriticalServiceFailed": 1,
    "AllFailed": 1,
    "Verdict": 1,
    "Invalid": 1,
    "NotFound": 1,
    "Skip": 1,
    "Reject": 1,
    "RetryLater": 1,
}


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    assert {one.__name__: one.exit_code for one in CLASSES} == EXIT_CODES


def test_the_tree_in_the_docstring_names_every_class() -> None:
    for one in CLASSES:
        assert one.__name__ in str(errors.__doc__)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_has_a_docstring_of_its_own_and_survives_pickle(kind: type[DataflowError]) -> None:
    assert "__doc__" in vars(kind)
    assert str(kind.__doc__).partition("\n")[0].endswith(".")
    error = kind("what, where and what to try")
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is kind
        assert (str(again), again.args) == (str(error), error.args)
    assert "what to try" in str(error)


def test_what_a_class_holds_beside_its_text_survives_pickle_too() -> None:
    failed = pickle.loads(pickle.dumps(CriticalServiceFailed("no company", ("company", "news"))))
    assert (str(failed), failed.services) == ("no company", ("company", "news"))
    later = pickle.loads(pickle.dumps(RetryLater("busy", after=2.5)))
    assert (str(later), later.after) == ("busy", 2.5)
    assert pickle.loads(pickle.dumps(Invalid("a", "b"))).errors == ("a", "b")


def test_a_notebook_shows_a_line_where_a_run_was_ended_on_purpose_and_else_the_traceback() -> None:
    short = {one for one in CLASSES if hasattr(one, "_render_traceback_")}
    assert short == {Interrupted, GuardrailReached, LimitReached}
    assert Interrupted("run it again")._render_traceback_() == ["Interrupted: run it again"]


def test_verdicts_need_no_text() -> None:
    assert Invalid().errors == ()
    assert (str(RetryLater()), RetryLater().after) == ("", None)
    assert str(CriticalServiceFailed("x")) == "x"
