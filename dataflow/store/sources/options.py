"""The options of the formats, checked when they are given: inert values without a path and without I/O."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa

from dataflow.errors import SourceError
from dataflow.services.annotations import declare
from dataflow.store.sources.cuts import Marks
from dataflow.store.sources.encodings import codec_name

Types = Mapping[str, pa.DataType]


@dataclass(frozen=True, slots=True, kw_only=True)
class DelimitedOptions:
    """How delimited text is written; see `csv` for what each option means."""

    delimiter: str = ","
    quote: str | None = '"'
    encoding: str = "utf-8"
    header: bool = True
    names: tuple[str, ...] | None = None
    null_values: tuple[str, ...] = ("",)
    schema: Types = field(default_factory=dict)
    infer: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoding", codec_name(self.encoding))
        _check_character("delimiter", self.delimiter)
        if self.quote is not None:
            _check_character("quote", self.quote)
        if self.quote == self.delimiter:
            raise SourceError(f"delimiter and quote are both {self.quote!r}; they must differ")
        if not self.header and self.names is None:
            raise SourceError('header=False needs names=["…", …], one for each column')
        repeated = duplicates(self.names or ())
        if repeated:
            raise SourceError(f"names= has {listed(repeated)} more than once; columns need different names")

    @property
    def marks(self) -> Marks:
        """Delimiter and quote as the scanner takes them."""
        return Marks(delimiter=self.delimiter.encode(), quote=self.quote.encode() if self.quote else None)

    @property
    def structure(self) -> str:
        """The characters by which records and fields are found."""
        return "\r\n" + self.delimiter + (self.quote or "")

    def to_dict(self) -> dict[str, Any]:
        """What reading a slice needs, as plain values."""
        return {
            "delimiter": self.delimiter,
            "quote": self.quote,
            "encoding": self.encoding,
            "null_values": list(self.null_values),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DelimitedOptions:
        """What `to_dict` wrote; what only planning needs is left at its default."""
        return cls(
            delimiter=values["delimiter"],
            quote=values["quote"],
            encoding=values["encoding"],
            null_values=tuple(values["null_values"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLinesOptions:
    """How JSON lines are read; see `jsonl`."""

    schema: Types = field(default_factory=dict)
    infer: bool = True

    def __post_init__(self) -> None:
        if not self.infer and not self.schema:
            raise SourceError("infer=False needs schema={...}, which then names all the columns")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroupOptions:
    """How Parquet is read: the files tell everything."""


def make_options(
    format_name: str, given: Mapping[str, Any], *, tabs: bool = False
) -> DelimitedOptions | JsonLinesOptions | RowGroupOptions:
    """The options of a format from those that were given.

    Args:
        format_name: `csv`, `jsonl` or `parquet`.
        given: By name; None where an option was left at its default.
        tabs: Whether delimited text has tabs unless something else was given.

    Raises:
        SourceError: The format or an option is not known, or a value makes no sense.
    """
    kinds = {"csv": DelimitedOptions, "jsonl": JsonLinesOptions, "parquet": RowGroupOptions}
    if format_name not in kinds:
        raise SourceError(f"format {format_name!r} is not known; there are {listed(kinds)}")
    kind = kinds[format_name]
    known = [one.name for one in fields(kind)]
    for name in given:
        if name not in known:
            raise SourceError(f"{format_name} has no option {name!r}; it has {listed(known, most=9) or 'none'}")
    values = {name: value for name, value in given.items() if value is not None or name == "quote"}
    if kind is DelimitedOptions:
        values.setdefault("delimiter", "\t" if tabs else ",")
    if "schema" in values:
        values["schema"] = types_of(values["schema"])
    for name in {"names", "null_values"} & values.keys():
        values[name] = (values[name],) if isinstance(values[name], str) else tuple(values[name])
    options: DelimitedOptions | JsonLinesOptions | RowGroupOptions = kind(**values)
    return options


def types_of(schema: Mapping[str, Any] | pa.Schema | None) -> Types:
    """The Arrow types of a schema that is given by Arrow types or by annotations such as `int` and `date`.

    Raises:
        SourceError: A type has no Arrow form.
    """
    if schema is None:
        return {}
    if isinstance(schema, pa.Schema):
        return {column.name: column.type for column in schema}
    return {name: _type_of(name, annotation) for name, annotation in schema.items()}


def value_type(declared: pa.DataType) -> pa.DataType:
    """The type without dictionary encoding, which is a matter of storage."""
    return declared.value_type if pa.types.is_dictionary(declared) else declared


def duplicates(names: Iterable[str]) -> list[str]:
    """The names that come more than once, each listed once in order."""
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    return [name for name, count in seen.items() if count > 1]


def listed(names: Iterable[str], *, most: int = 5) -> str:
    """Names as a sentence holds them: quoted, the first few, and how many more."""
    quoted = [f"`{name}`" for name in names]
    more = f" and {len(quoted) - most} more" if len(quoted) > most else ""
    return ", ".join(quoted[:most]) + more


def check_known(schema: Types, columns: Iterable[str]) -> None:
    """Raise a `SourceError` for a column of the schema that the source does not have."""
    known = list(columns)
    for name in schema:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean `{near[0]}`?" if near else f"there are {listed(known)}"
            raise SourceError(f"schema= names `{name}`, which the source does not have; {advice}")


def _type_of(name: str, annotation: Any) -> pa.DataType:
    declared = declare(annotation, where=f"schema= for `{name}`").arrow
    if declared is None:
        raise SourceError(f"schema= for `{name}`: give one type, such as str, int or pa.date32()")
    return declared


def _check_character(option: str, value: str) -> None:
    if len(value) != 1 or not value.isascii() or value in "\r\n\0":
        raise SourceError(f"{option}={value!r}: must be one ASCII character and no newline")
