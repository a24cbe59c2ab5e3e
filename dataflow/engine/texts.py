"""What an error says: a sentence of ours that anybody may read, and the same with what somebody else has said.

Who else may be a provider or an author's exception, whose text may quote a record: it goes to the catalog and to the
owner of a run, never where others on the network can read. Pure; who gets which of the two is decided by each reader.
"""

from __future__ import annotations

import os
import sysconfig
import traceback
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any

import dataflow
from dataflow.engine.http.attempts import CallError
from dataflow.engine.patience import LateError
from dataflow.errors import AllFailed, Verdict
from dataflow.services.said import said, said_by

LONGEST = 1000
"""Characters of a text that are kept, with all that has led to it."""
_CHAIN = 4
_GROUP = 3

_Ours = CallError | LateError | AllFailed


@dataclass(frozen=True, slots=True)
class ErrorText:
    """What an error says.

    Attributes:
        plain: In a sentence of ours, without anything that somebody else has said.
        whole: With it.
    """

    plain: str
    whole: str

    @classmethod
    def of_ours(cls, text: str) -> ErrorText:
        """A sentence to which nobody has added anything."""
        return cls(text, text)


def ours_of(error: BaseException) -> _Ours | None:
    """The error of our own that this one is, or that a library's error stands for; None for anybody else's."""
    # Not by getattr: what an author's exception makes of that is his.
    found = error if isinstance(error, _Ours) else error.__dict__.get("call_error")
    return found if isinstance(found, _Ours) else None


def reason_of(error: BaseException) -> str:
    """The class of reason by which an error is counted: of ours its own, else the name of its class.

    What an author's exception calls its reason may hold anything, and counts are seen by everybody.
    """
    ours = ours_of(error)
    return type(error).__name__ if ours is None else ours.reason


def text_of(error: BaseException) -> ErrorText:
    """What an error says; asked where it was caught, while it is known where it came through."""
    plain: list[str] = []
    whole: list[str] = []
    seen: set[int] = set()
    behind: BaseException | None = error
    while behind is not None and id(behind) not in seen and len(plain) < _CHAIN:
        seen.add(id(behind))
        known = ours_of(behind)
        one = _of_foreign(behind) if known is None else _of_ours(known)
        plain.append(one.plain)
        whole.append(one.whole)
        behind = None if known else behind.__cause__ or (None if behind.__suppress_context__ else behind.__context__)
    return ErrorText(_cut(", from ".join(plain)), _cut(", from ".join(whole)))


def _of_ours(error: _Ours) -> ErrorText:
    return ErrorText(str(error), getattr(error, "whole", "") or str(error))


def _of_foreign(error: BaseException) -> ErrorText:
    name, place = type(error).__name__, place_of(error)
    where = f" ({place})" if place else ""
    texts = [said_by(error), *(_answered(error))]
    if isinstance(error, BaseExceptionGroup):
        texts += [f"{type(one).__name__}: {said_by(one)}" for one in error.exceptions[:_GROUP]]
    text = "; ".join(filter(None, texts))
    if isinstance(error, Verdict):
        # An author's word is what it says, and no error.
        return ErrorText(name, text or name)
    return ErrorText(f"{name}{where}", f"{name}: {text}{where}" if text else f"{name}{where}")


def _answered(error: BaseException) -> list[str]:
    """What a provider said in the answer that a library's exception carries, unless the exception says it too."""
    try:
        response: Any = getattr(error, "response", None)
        body = getattr(response, "content", None)
        if not isinstance(body, bytes):
            return []
        found = said(body, str(getattr(response, "headers", {}).get("content-type", "")))
    except Exception:
        # Such as an answer that is still being read.
        return []
    return [] if not found or found in said_by(error) else [f"it was answered: {found}"]


def place_of(error: BaseException) -> str:
    """File and line in the author's own code where an exception came through last, or the code that he has called."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno and not _is_library(error.filename):
        return _named(error.filename, error.lineno)
    frames = _frames(error.__traceback__)
    others = [(file, line) for file, line in frames if not file.startswith(_own_folder())]
    authors = [one for one in others if not _is_library(one[0])]
    if authors:
        return _named(*authors[-1])
    return _named(*others[0]) if others and not others[0][0].startswith("<frozen") else ""


def _frames(last: TracebackType | None) -> list[tuple[str, int]]:
    return [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(last)]


def _named(file: str, line: int) -> str:
    if "ipykernel_" in file or file.startswith("<ipython-input"):
        return f"a cell of the notebook, line {line}"
    return f"{os.path.basename(file)}, line {line}"  # noqa: PTH119 - a name such as <string> is no path


@cache
def _own_folder() -> str:
    return os.path.dirname(dataflow.__file__) + os.sep  # noqa: PTH120


@cache
def _is_library(file: str) -> bool:
    """Whether a file is of Python or was installed, so that nobody looks there first."""
    installed = any(f"{os.sep}{folder}{os.sep}" in file for folder in ("site-packages", "dist-packages"))
    if installed or file.startswith("<frozen") or file.endswith((".pyx", ".pxi")):
        return True
    return any(file.startswith(folder + os.sep) for folder in {sysconfig.get_path(one) for one in _PATHS})


_PATHS = ("stdlib", "platstdlib", "purelib", "platlib")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
