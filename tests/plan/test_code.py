"""Which edits are seen, and which are none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dataflow.plan.code import code_digest, look

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from edits import INVENTED, NAMED, PACKAGES  # noqa: E402 - beside this file, which is no package

ALL = NAMED | INVENTED


def loaded(name: str, text: str, *, package: str = "") -> ModuleType:
    """A module of this text, as an import would leave it."""
    made = ModuleType(name)
    made.__package__ = package
    sys.modules[name] = made
    exec(compile(text, f"{name}.py", "exec", dont_inherit=True), vars(made))
    return made


def service_of(text: str, *, edited: bool = False) -> Any:
    """What a module of this text calls `service`, with the modules that it imports."""

    def edit(one: str) -> str:
        return one.replace("'A'", "'B'", 1) if edited else one

    for name, one in PACKAGES.items():
        module = loaded(name, one.replace("'A'", "'B'") if edited else one)
        above, _, own = name.rpartition(".")
        if above:
            setattr(sys.modules[above], own, module)
    sys.modules["edited_package"].__path__ = []  # type: ignore[attr-defined]
    return vars(loaded("edited_job", edit(text)))["service"]


@pytest.fixture(autouse=True)
def nothing_stays() -> Any:
    before = set(sys.modules)
    yield
    for name in [one for one in sys.modules if one.startswith("edited_") and one not in before]:
        del sys.modules[name]


@pytest.mark.parametrize("text", ALL.values(), ids=ALL)
def test_an_edit_is_seen_and_the_same_text_is_no_edit(text: str) -> None:
    before = code_digest(service_of(text))
    assert code_digest(service_of(text)) == before
    assert code_digest(service_of(text, edited=True)) != before


@pytest.mark.parametrize("text", ALL.values(), ids=ALL)
def test_nothing_of_these_is_unseen(text: str) -> None:
    assert look(service_of(text)).unseen == ()


PLAIN = '''
import edited_rules
LIMIT = 3
class Rule:
    """A rule."""
    def __init__(self, most):
        self.most = most
    def cut(self, x):
        return x[:self.most]  # not more
R = Rule(LIMIT)
TABLE = {'a': R.cut, 'b': [lambda x: x + 'A']}
def unrelated(x):
    return x
def service(x: str) -> str:
    """What it does."""
    if not x:
        return edited_rules.value(x)
    return TABLE['a'](x)
'''


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("LIMIT = 3", "# a comment\nLIMIT = 3"),
        ('"""A rule."""', '"""Another rule."""'),
        ('    """A rule."""\n', ""),
        ('"""What it does."""', '"""It does this."""\n    # and that'),
        ("  # not more", ""),
        ("def service", "\n\n\ndef service"),
        ("def unrelated(x):\n    return x\n", ""),
        ("def unrelated(x):\n    return x\n", "def unrelated(x):\n    return x + 1\n"),
        ("x[:self.most]", "x[ : self.most ]"),
        (
            "{'a': R.cut, 'b': [lambda x: x + 'A']}",
            "{\n    'a': R.cut,\n    'b': [\n        lambda x: x + 'A',\n    ],\n}",
        ),
        ("'A'", '"A"'),
        ("edited_rules.value(x)", "(\n            edited_rules.value(\n                x,\n            )\n        )"),
        ("import edited_rules\nLIMIT = 3\n", "LIMIT = 3\nimport edited_rules\n"),
    ],
)
def test_what_is_no_edit_is_not_seen(before: str, after: str) -> None:
    assert before in PLAIN
    assert code_digest(service_of(PLAIN.replace(before, after))) == code_digest(service_of(PLAIN))


UNSEEN = {
    "MODEL": "MODEL = (x for x in [1])\ndef service(x): return next(MODEL)",
    "R.file": "class R:\n    def __init__(self): self.file = (n for n in 'a')\nR = R()\ndef service(x): return R.file",
    "hidden": "def make():\n    hidden = (x for x in [1])\n    return lambda x: next(hidden)\nservice = make()",
    "INNER": "INNER = (x for x in [1])\ndef f(): return next(INNER)\ndef service(x): return f()",
}


@pytest.mark.parametrize(("name", "text"), UNSEEN.items())
def test_what_cannot_be_seen_into_is_named(name: str, text: str) -> None:
    seen = look(service_of(text))
    assert (seen.unseen, seen.exact) == ((name,), False)
    assert look(service_of(text)).digest == seen.digest


TOOLS = """
import logging, os, sys, threading, weakref
log = logging.getLogger(__name__)
lock, local, out = threading.Lock(), threading.local(), sys.stderr
def service(x):
    with lock:
        log.info(x)
        local.x = out, os.environ
    return x
"""


def test_locks_loggers_and_the_environment_are_no_part_of_the_code() -> None:
    seen = look(service_of(TOOLS))
    assert (seen.unseen, seen.exact) == ((), True)


@pytest.mark.parametrize(
    "text",
    [
        "def service(x): return eval(x)",
        "def f(): return 1\ndef service(x): return globals()['f']()",
        "import importlib\ndef service(x): return importlib.import_module(x)",
        "def service(x):\n    import edited_rules\n    return edited_rules.value(x)",
    ],
)
def test_code_that_reaches_what_it_does_not_name_is_not_exact(text: str) -> None:
    seen = look(service_of(text))
    assert (seen.unseen, seen.exact) == ((), False)


def everything() -> str:
    return "\n".join(
        f"{name}: {look(service_of(text)).shared} {code_digest(service_of(text))}" for name, text in ALL.items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_sees_the_same(seed: str) -> None:
    text = "import sys; sys.path.insert(0, sys.argv[1]); import test_code; print(test_code.everything())"
    done = subprocess.run(
        [sys.executable, "-c", text, str(HERE)],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().splitlines() == everything().splitlines()
