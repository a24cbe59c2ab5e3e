"""Writes the first text of a job file from the columns of a source: a start to be edited that already runs.

Text in, text out. What is guessed is guessed from names alone and said in a comment.
"""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from dataflow.services.service import RESERVED

_LINE = 120
_LISTED = 100
"""Columns that the comment at the top lists."""

_OWN = frozenset({"flow", "re", "job", "pipeline", "annotations", "Any", "EMAIL", "domain", "self", "cls"})
"""Names that a draft uses itself, or that Python gives a meaning in this place."""

_TYPES = (
    (r"(large_)?string(_view)?|dictionary<values=(large_)?string\b.*", "str", ""),
    (r"u?int\d+", "int", ""),
    (r"(halffloat|half_float|float|double)", "float", ""),
    (r"bool", "bool", ""),
    (r"date\d+\[.*\]", "date", "datetime"),
    (r"timestamp\[.*\]", "datetime", "datetime"),
    (r"time\d+\[.*\]", "time", "datetime"),
    (r"duration\[.*\]", "timedelta", "datetime"),
    (r"decimal\d*\(.*\)", "Decimal", "decimal"),
    (r"(large_|fixed_size_)?binary(_view)?(\[\d+\])?", "bytes", ""),
)
"""Arrow type, annotation, and the module that the annotation comes from."""

_EMAIL = re.compile(r"(^|_)e_?mail(_?addr(ess)?)?($|_)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """A column of the source, and how the draft calls it."""

    column: str
    arrow: str
    name: str

    @property
    def annotation(self) -> str:
        """The annotation of a parameter that reads it."""
        return _typed(self.arrow)[0]

    @property
    def module(self) -> str:
        """Where the annotation is imported from; empty for what Python has by itself."""
        return _typed(self.arrow)[1]

    def decorated(self, kind: str, *options: str) -> str:
        """The decorator of a service that reads it under its name."""
        given = [f"columns={{{_literal(self.name)}: {_literal(self.column)}}}"] if self.name != self.column else []
        listed = ", ".join([*given, *options])
        return _within(f"@flow.{kind}({listed})" if listed else f"@flow.{kind}")


def draft_job(columns: Sequence[tuple[str, str]], *, source: str, name: str) -> str:
    """The text of a job file for a source.

    Args:
        columns: Name and Arrow type, as text, of each column.
        source: The path of the source, as the job is to name it.
        name: What the pipeline and its output are called after; characters that a dataset cannot have become `-`.

    Returns:
        Python source that imports, is formatted, and runs as it is over such a source. Columns that dataflow keeps
        for itself are renamed where the format allows it (delimited text); elsewhere a comment says so.
    """
    fields = _fields(columns, delimited=is_delimited(source))
    title = re.sub(r"[^\w.-]+", "-", name).strip("-._") or "records"
    subject = _subject(fields)
    services = _services(subject, fields)
    blocks = [
        _head(title, subject),
        _columns(fields),
        *(text for _, text in services),
        _pipeline(title, [called for called, _ in services]),
        _job(columns, fields, source=source, title=title),
    ]
    return "\n\n".join(block.rstrip("\n") for block in blocks) + "\n"


def is_delimited(source: str) -> bool:
    """Whether a source is delimited text, by its name."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(source).suffixes]
    return bool({".csv", ".tsv", ".psv"} & set(suffixes[-2:]))


def _fields(columns: Sequence[tuple[str, str]], *, delimited: bool) -> list[_Field]:
    taken: set[str] = set()
    known = {column for column, _ in columns}
    fields = []
    for place, (column, arrow) in enumerate(columns, start=1):
        name = _identifier(column, place)
        while name in taken:
            name += "_"
        taken.add(name)
        clash = column in RESERVED or not column
        fields.append(_Field(column=_free(name, known) if clash and delimited else column, arrow=arrow, name=name))
    return fields


def _free(name: str, known: set[str]) -> str:
    while name in known or name in RESERVED:
        name += "_"
    return name


def _identifier(column: str, place: int) -> str:
    """A name for a parameter and a service: lower case, ASCII, no word of Python, nothing that a run writes itself."""
    ascii_text = unicodedata.normalize("NFKD", column.casefold()).encode("ascii", "ignore").decode()
    name = re.sub(r"\W+", "_", ascii_text).strip("_")[:40]
    if not name or name[0].isdigit():
        name = f"column_{name or place}"
    word = keyword.iskeyword(name) or hasattr(builtins, name)
    return f"{name}_" if word or name in RESERVED or name in _OWN else name


def _typed(arrow: str) -> tuple[str, str]:
    for pattern, annotation, module in _TYPES:
        if re.fullmatch(pattern, arrow):
            return annotation, module
    return "Any", "typing"


def _subject(fields: Sequence[_Field]) -> _Field:
    """The column that the draft works on: an e-mail address, else a text, else the first of a plain type."""
    usable = [one for one in fields if one.column not in RESERVED] or list(fields)
    texts = [one for one in usable if one.annotation == "str"]
    emails = [one for one in texts if is_email(one.name)]
    words = [one for one in texts if not _is_id(one.name)]
    typed = [one for one in usable if one.annotation != "Any"]
    return next(iter([*emails, *words, *texts, *typed, *usable]))


def is_email(name: str) -> bool:
    """Whether a name speaks of an e-mail address."""
    return _EMAIL.search(name) is not None


def _is_id(name: str) -> bool:
    return re.search(r"(^|_)(id|uuid|guid|key|code|number|no)$", name) is not None


def _head(title: str, subject: _Field) -> str:
    standard = [f"from {subject.module} import {subject.annotation}"] if subject.module else []
    standard = ["import re"] if _has_email(subject) else standard
    imports = "".join(f"{line}\n" for line in standard) + ("\n" if standard else "")
    return (
        f'"""Cleans and checks {_worded(title)}: a first draft, to be edited.\n\n'
        "    dataflow explain FILE    what runs beside what\n"
        "    dataflow sample FILE     a few records, with the fate of each cell\n"
        "    dataflow run FILE        all records, published\n"
        '"""\n\nfrom __future__ import annotations\n\n'
        f"{imports}import dataflow as flow\n"
    )


def _worded(title: str) -> str:
    """The title where it can stand in a docstring of any file."""
    return title if title.isascii() and len(title) < 60 else "the records"


def _has_email(subject: _Field) -> bool:
    return subject.annotation == "str" and is_email(subject.name)


def _columns(fields: Sequence[_Field]) -> str:
    lines = [
        "# A service is a function: its parameters are the columns it reads, its name is the column it writes.",
        "# A column whose name is no identifier gets another one by columns={...}. The columns of the source:",
    ]
    width = min(max(len(_literal(one.column)) for one in fields), 40)
    for one in fields[:_LISTED]:
        called = f"  read as `{one.name}`" if one.name != one.column else ""
        lines.append(f"#   {_cut(_literal(one.column), 60):<{width}}  {_cut(one.arrow, 24)}{called}".rstrip())
    if len(fields) > _LISTED:
        lines.append(f"#   and {len(fields) - _LISTED} more")
    return "\n".join(lines)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _services(subject: _Field, fields: Sequence[_Field]) -> list[tuple[str, str]]:
    """Name and text of each service, in the order in which they are listed."""
    if _has_email(subject):
        return list(_email_services(subject, fields))
    if subject.annotation == "str":
        return list(_text_services(subject))
    check = f"check_{subject.name}"
    return [(check, _validation(subject, check, "That it is there at all; a validation without -> bool gives a text."))]


def _email_services(subject: _Field, fields: Sequence[_Field]) -> Iterator[tuple[str, str]]:
    name = subject.name
    yield (
        name,
        'EMAIL = re.compile(r"[^@\\s]+@[^@\\s]+\\.[^@\\s]+")\n\n\n'
        f'{subject.decorated("transformation")}\ndef {name}({name}: str) -> str:\n'
        '    """Lower case, without spaces around it. A null is passed over, since the parameter is a str."""\n'
        f"    return {name}.strip().lower()\n",
    )
    if not any(one.column == "domain" for one in fields):
        yield (
            "domain",
            f'{subject.decorated("transformation")}\ndef domain({name}: str) -> str | None:\n'
            '    """A new column: what comes after the @, null where there is none."""\n'
            f'    return {name}.rpartition("@")[2] or None\n',
        )
    check = f"{name}_syntax"
    yield (
        check,
        f'{subject.decorated("validation")}\ndef {check}({name}: str) -> str | None:\n'
        '    """What is wrong with the address, or None. The record is kept, with `is_valid` false."""\n'
        f'    return None if EMAIL.fullmatch({name}) else "not an e-mail address"\n',
    )


def _text_services(subject: _Field) -> Iterator[tuple[str, str]]:
    name = subject.name
    yield (
        name,
        f'{subject.decorated("transformation")}\ndef {name}({name}: str) -> str:\n'
        '    """One space between words. A null is passed over, since the parameter is a str."""\n'
        f'    return " ".join({name}.split())\n',
    )
    check = f"check_{name}"
    yield (
        check,
        f'{subject.decorated("validation")}\ndef {check}({name}: str) -> str | None:\n'
        '    """What is wrong with the value, or None. The record is kept, with `is_valid` false."""\n'
        f'    return None if {name} else "empty"\n',
    )


def _validation(subject: _Field, check: str, text: str) -> str:
    return (
        f'{subject.decorated("validation", "required=True")}\ndef {check}({subject.name}: {subject.annotation}) -> bool:\n'
        f'    """{text}"""\n    return {subject.name} is not None\n'
    )


def _pipeline(title: str, services: Sequence[str]) -> str:
    """The pipeline, with the two enrichments that most jobs want next as comments."""
    return (
        "# Data from outside comes in by enrichments. A join to a table of your own:\n#\n"
        f'#   facts = flow.lookup("facts", table="facts.csv", on={_literal(services[0])})\n#\n'
        "# Services are listed in reading order; what does not depend on each other runs side by side.\n"
        f"pipeline = {_call('flow.Pipeline', [_literal(title), f'[{", ".join(services)}]'])}\n"
    )
