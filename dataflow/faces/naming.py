"""What the columns of an unknown source may be called in Python, and what their names suggest. Pure guesses."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dataflow.services.contract import RESERVED

_LONGEST = 24
"""Characters of a name: a signature with it still fits a line."""

_ANNOTATIONS = {
    r"(large_)?string(_view)?|dictionary<values=(large_)?string\b.*": ("str", ""),
    r"u?int\d+": ("int", ""),
    r"half_?float|float|double": ("float", ""),
    r"bool": ("bool", ""),
    r"date\d+\[.*\]": ("date", "datetime"),
    r"timestamp\[.*\]": ("datetime", "datetime"),
    r"time\d+\[.*\]": ("time", "datetime"),
    r"duration\[.*\]": ("timedelta", "datetime"),
    r"decimal\d*\(.*\)": ("Decimal", "decimal"),
    r"(large_|fixed_size_)?binary(_view)?(\[\d+\])?": ("bytes", ""),
}
"""Arrow type to annotation, and the module that the annotation comes from."""

_ANYTHING = ("Any", "typing")
_EMAIL = r"(.*_)?e_?mail(_?addr(ess)?)?(_.*)?"
_IDENTITY = r"(.*_)?(id|uuid|guid|key)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column of a source.

    Attributes:
        column: As the source has it.
        arrow: Its Arrow type, as text.
        words: Its name in lower case ASCII with `_` between words, for guesses; empty where nothing is left.
        name: What a parameter or a service may be called after it.
    """

    column: str
    arrow: str
    words: str
    name: str

    @property
    def annotation(self) -> tuple[str, str]:
        """The annotation of a parameter that reads it, and the module it comes from."""
        found = (known for pattern, known in _ANNOTATIONS.items() if re.fullmatch(pattern, self.arrow))
        return next(found, _ANYTHING)

    @property
    def is_text(self) -> bool:
        """Whether it holds text."""
        return self.annotation[0] == "str"

    @property
    def is_email(self) -> bool:
        """Whether it probably holds e-mail addresses."""
        return self.is_text and re.fullmatch(_EMAIL, self.words) is not None

    @property
    def is_identity(self) -> bool:
        """Whether it probably tells records apart."""
        return self.annotation[0] in ("str", "int") and re.fullmatch(_IDENTITY, self.words) is not None

    @property
    def is_reserved(self) -> bool:
        """Whether every run writes a column of this name."""
        return self.column in RESERVED


def name_fields(columns: Sequence[tuple[str, str]], *, avoid: Collection[str] = ()) -> list[Field]:
    """The columns under names that differ from each other and from those to avoid."""
    taken: set[str] = set()
    fields = []
    for place, (column, arrow) in enumerate(columns, start=1):
        words = words_of(column)
        name = identifier(words, place)
        while name in taken or name in avoid:
            name += "_"
        taken.add(name)
        fields.append(Field(column=column, arrow=arrow, words=words, name=name))
    return fields


def words_of(column: str) -> str:
    """A name in lower case ASCII, with `_` for whatever stands between words: `Größe (cm)` is `grosse_cm`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column).casefold()
    plain = unicodedata.normalize("NFKD", parted).encode("ascii", "ignore").decode()
    return re.sub(r"[\W_]+", "_", plain).strip("_")


def identifier(words: str, place: int) -> str:
    """A name that is no word of Python, hides no builtin, and is no column that every run writes."""
    name = words[:_LONGEST].strip("_")
    if not name or name[0].isdigit():
        name = f"column_{name or place}"
    taken = keyword.iskeyword(name) or hasattr(builtins, name) or name in RESERVED
    return f"{name}_" if taken else name


def likely_subject(fields: Sequence[Field]) -> Field:
    """The column to begin with: an e-mail address, else a text, else one of a plain type."""
    usable = [one for one in fields if not one.is_reserved] or list(fields)
    choices = (
        [one for one in usable if one.is_email],
        [one for one in usable if one.is_text and not one.is_identity],
        [one for one in usable if one.is_text],
        [one for one in usable if one.annotation != _ANYTHING],
        usable,
    )
    return next(found[0] for found in choices if found)


def likely_key(fields: Sequence[Field], title: str) -> Field | None:
    """The column that names a record: `id`, else that of the title (`lead_id` in leads), else the first like it."""
    subject = words_of(title)
    best = ["id", *(f"{stem}_id" for stem in (subject, subject.removesuffix("s"), subject.removesuffix("es")))]
    found = [one for one in fields if one.is_identity and not one.is_reserved]
    return min(found, key=lambda one: best.index(one.words) if one.words in best else len(best), default=None)
