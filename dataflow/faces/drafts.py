"""Writes the first text of a job file from the columns of a source: a start to be edited that already runs.

Text in, text out. What is guessed is guessed from names and types alone, and a comment says so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath

from dataflow.errors import DeclarationError
from dataflow.faces.naming import Field, likely_key, likely_subject, name_fields
from dataflow.faces.texts import printable
from dataflow.services.contract import RESERVED

_LINE = 88
"""Characters of a line: what the usual formatters leave alone."""

_LISTED = 100
"""Columns that the comment lists."""

_OWN = frozenset({"flow", "re", "job", "pipeline", "annotations", "domain"})
"""Names that a draft uses itself."""


def draft_job(columns: Sequence[tuple[str, str]], *, source: str, name: str) -> str:
    """The text of a job file for a source.

    Args:
        columns: Name and Arrow type, as text, of each column.
        source: The path of the source, as the job is to name it.
        name: What pipeline and output are called; characters that a dataset's name cannot have become `-`.

    Returns:
        Python that imports, passes ruff and runs as it is. Delimited text with columns that every run writes by
        itself gets other names for them; for other formats a comment says what to do.

    Raises:
        DeclarationError: The source has no columns.
    """
    if not columns:
        raise DeclarationError(f"{source} has no columns; there is nothing to write a job about")
    title = re.sub(r"[^\w.-]+", "-", name).strip("-._") or "records"
    parted, delimiter = split_header(columns, source)
    renamed = _renamed([column for column, _ in parted]) if is_delimited(source) else [one for one, _ in parted]
    fields = name_fields(list(zip(renamed, (arrow for _, arrow in parted), strict=True)), avoid=_OWN)
    names = renamed if renamed != [column for column, _ in parted] else None
    subject = likely_subject(fields)
    services = dict(_email_services(subject, fields) if subject.is_email else _plain_services(subject))
    blocks = [
        f"{_head(title, subject)}\n\n{_described(fields)}",
        *services.values(),
        _pipeline(title, services, subject),
        _job(title, _source(source, delimiter, names), likely_key(fields, title), renamed=names is not None),
    ]
    return "\n\n\n".join(blocks[:-2]) + "\n\n\n" + "\n\n".join(blocks[-2:]) + "\n"


def is_delimited(source: str) -> bool:
    """Whether a source is delimited text, going by its name."""
    return bool({".csv", ".tsv"} & {suffix.lower() for suffix in PurePosixPath(source).suffixes[-2:]})


def split_header(columns: Sequence[tuple[str, str]], source: str) -> tuple[list[tuple[str, str]], str | None]:
    """The columns of delimited text, and the delimiter where it is none that is tried by itself.

    A header that was read as one column though it holds `;`, `|` or tabs was read by the wrong delimiter.
    """
    if is_delimited(source) and len(columns) == 1:
        header, arrow = columns[0]
        for delimiter in ";\t|":
            parts = [part.strip('"') for part in header.split(delimiter)]
            if len(parts) > 1 and all(parts) and len(set(parts)) == len(parts):
                return [(part, arrow) for part in parts], delimiter
    return list(columns), None


def _renamed(columns: Sequence[str]) -> list[str]:
    """The columns, those that every run writes under names that are free."""
    taken = {*columns, *RESERVED}
    found = []
    for column in columns:
        name = column
        while name in RESERVED or (name != column and name in taken):
            name += "_"
        taken.add(name)
        found.append(name)
    return found


def _head(title: str, subject: Field) -> str:
    annotation, module = subject.annotation
    needed = "import re" if subject.is_email else f"from {module} import {annotation}" if module else ""
    about = title if title.isascii() and len(title) <= 40 else "the records"
    return (
        f'"""Cleans and checks {about}: a first draft, to be edited.\n\n'
        "    dataflow explain FILE    what runs beside what, and why\n"
        "    dataflow sample FILE     a few records, with the fate of each cell\n"
        "    dataflow run FILE        all records, published as a dataset\n\n"
        "What to do with which column is guessed from names; only you know what they mean.\n"
        '"""\n\nfrom __future__ import annotations\n\n'
        + (f"{needed}\n\n" if needed else "")
        + "import dataflow as flow"
    ) + ('\n\nEMAIL = re.compile(r"[^@\\s]+@[^@\\s]+\\.[^@\\s]+")' if subject.is_email else "")


def _described(fields: Sequence[Field]) -> str:
    lines = [
        "# A service is a function: its parameters are the columns that it reads, its",
        "# name is the column that it writes. The columns of the source, and what a",
        "# parameter is called where that differs (columns={...} says so):",
        "#",
    ]
    width = min(max(len(_literal(one.column)) for one in fields), 30)
    lines += [
        f"#   {_cut(_literal(one.column), 30):<{width}}  {_cut(one.arrow, 24):<24}  {_called(one)}".rstrip()
        for one in fields[:_LISTED]
    ]
    if len(fields) > _LISTED:
        lines.append(f"#   and {len(fields) - _LISTED} more")
    return "\n".join(lines)


def _called(one: Field) -> str:
    if one.is_reserved:
        return "rename it before: a run writes it"
    return "" if one.name == one.column else one.name


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _email_services(subject: Field, fields: Sequence[Field]) -> Iterator[tuple[str, str]]:
    name = subject.name
    yield (
        name,
        _service(
            subject,
            kind="transformation",
            head=f"{name}({name}: str) -> str",
            text="Lower case, no spaces around it. Without an address it is not called.",
            value=f"{name}.strip().lower()",
        ),
    )
    if not any(one.column == "domain" for one in fields):
        yield (
            "domain",
            _service(
                subject,
                kind="transformation",
                head=f"domain({name}: str) -> str | None",
                text="A new column: what comes after the @, null where there is none.",
                value=f'{name}.partition("@")[2] or None',
            ),
        )
    yield (
        f"{name}_syntax",
        _service(
            subject,
            kind="validation",
            head=f"{name}_syntax({name}: str) -> str | None",
            text="What is wrong, or None; an invalid record is kept, `is_valid` is false.",
            value=f'None if EMAIL.fullmatch({name}) else "no e-mail address"',
        ),
    )


def _plain_services(subject: Field) -> Iterator[tuple[str, str]]:
    name, annotation = subject.name, subject.annotation[0]
    if subject.is_text:
        yield (
            name,
            _service(
                subject,
                kind="transformation",
                head=f"{name}({name}: str) -> str",
                text="One space between words. Without a text it is not called.",
                value=f'" ".join({name}.split())',
            ),
        )
    yield (
        f"{name}_given",
        _service(
            subject,
            kind="validation",
            head=f"{name}_given({name}: {annotation}) -> bool",
            text="Invalid without a value; an invalid record is kept, `is_valid` is false.",
            value=f'{name} != ""' if subject.is_text else f"{name} is not None",
            required=True,
        ),
    )


def _service(subject: Field, *, kind: str, head: str, text: str, value: str, required: bool = False) -> str:
    options = [_renaming(subject)] if subject.name != subject.column else []
    options += ["required=True"] if required else []
    decorator = _call(f"@flow.{kind}", options) if options else f"@flow.{kind}"
    return f'{decorator}\ndef {head}:\n    """{text}"""\n    return {value}'


def _renaming(subject: Field) -> str:
    pair = f"{_literal(subject.name)}: {_literal(subject.column)}"
    short = f"columns={{{pair}}}"
    return short if len(short) < _LINE - 4 else f"columns={{\n        {pair},\n    }}"


def _pipeline(title: str, services: Collection[str], subject: Field) -> str:
    listed = f"[{', '.join(services)}]"
    on = _literal("domain" if "domain" in services else subject.column)
    return (
        "# Columns from outside come by enrichments, such as a join to a table of yours:\n#\n"
        f'#   facts = flow.lookup("facts", table="facts.csv", on={_cut(on, 34)})\n#\n'
        "# Services are listed in reading order; what does not depend on each other runs\n"
        "# side by side.\n"
        f"pipeline = {_call('flow.Pipeline', [_literal(title), listed])}"
    )


def _job(title: str, source: str, key: Field | None, *, renamed: bool) -> str:
    options = ["pipeline", f"source={source}", f"output={_literal(f'{title}-processed')}"]
    if key is None:
        comment = '# No column looks like an id; key="..." names records by one, else file and row do.\n'
    else:
        comment = "# The key names a record where something went wrong; it is guessed from its name.\n"
        options.append(f"key={_literal(key.column)}")
    if renamed:
        comment += "# names= replaces the header, which has a name that every run writes by itself.\n"
    return f"{comment}job = {_call('flow.Job', options)}"


def _source(source: str, delimiter: str | None, names: Sequence[str] | None) -> str:
    options = [_literal(source)]
    options += [f"delimiter={_literal(delimiter)}"] if delimiter else []
    if names is not None:
        listed = "".join(f"            {_literal(name)},\n" for name in names)
        options.append(f"names=[\n{listed}        ]")
    if len(options) == 1:
        return options[0]
    inner = "".join(f"        {option},\n" for option in options)
    return f"flow.csv(\n{inner}    )" if names is not None else f"flow.csv({', '.join(options)})"


def _call(called: str, options: Sequence[str]) -> str:
    """A call in one line where it fits, else with an argument in each."""
    line = f"{called}({', '.join(options)})"
    if len(line) <= _LINE - len("pipeline = ") and "\n" not in line:
        return line
    return f"{called}(\n" + "".join(f"    {option},\n" for option in options) + ")"


def _literal(text: str) -> str:
    """A text as a formatter writes it: in double quotes, unless single ones need fewer escapes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + "".join(f"\\{one}" if one in (quote, "\\") else printable(one) for one in text) + quote
