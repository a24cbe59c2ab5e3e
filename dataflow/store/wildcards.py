"""Which names a pattern with wildcards means, folder by folder; pure.

A folder, a glob and a URL leave out the same names: those that begin with `.` or `_`, which programs write for
themselves. A pattern means them where it writes that character out, as `_old*.csv` and `_old/*.csv` do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

_WILD = re.compile(r"[*?\[]")
ANY_DEPTH = "**"
"""The part of a pattern that stands for any number of folders."""


def is_wild(text: str) -> bool:
    """Whether the text has wildcards."""
    return bool(_WILD.search(text))


def is_hidden(name: str) -> bool:
    """Whether a name is passed over unless it is written out."""
    return name.startswith((".", "_"))


def means(part: str, name: str) -> bool:
    """Whether one part of a pattern means the name of one file or folder."""
    if part == ANY_DEPTH:
        return not is_hidden(name)
    if not is_wild(part):
        return part == name
    return fnmatchcase(name, part) and (not is_hidden(name) or part[0] == name[0])


def matches(pattern: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a pattern means the path of these names."""
    if not pattern:
        return not names
    if pattern[0] == ANY_DEPTH and matches(pattern[1:], names):
        return True
    if not names or not means(pattern[0], names[0]):
        return False
    return matches(pattern if pattern[0] == ANY_DEPTH else pattern[1:], names[1:])


def fixed_part(pattern: str) -> tuple[str, tuple[str, ...]]:
    """The folder that a pattern names without a wildcard, and the parts behind it."""
    parts = pattern.split("/")
    wild = next((place for place, part in enumerate(parts) if is_wild(part)), len(parts))
    return "/".join(parts[:wild]), tuple(part for part in parts[wild:] if part)
