"""The constructors that users call: `parquet`, `csv`, `jsonl`, `files`; they check options and touch no file.

Credentials for URLs come from the environment of each process, never from an option: options are written into
the plan of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any, TypeAlias

import pyarrow as pa

from dataflow.errors import DeclarationError, SourceError
from dataflow.plan.sizes import SizeOption, read_partition_size
from dataflow.store.sources.options import make_options
from dataflow.store.sources.source import Source, format_by_name

Location: TypeAlias = "str | PathLike[str] | Sequence[str | PathLike[str]]"


def csv(
    path: Location,
    *,
    delimiter: str | None = None,
    quote: str | None = '"',
    encoding: str = "utf-8",
    header: bool = True,
    names: Sequence[str] | None = None,
    null_values: Sequence[str] = ("",),
    schema: Mapping[str, Any] | pa.Schema | None = None,
    infer: bool = False,
    partition_size: SizeOption | None = None,
) -> Source:
    r"""Delimited text, plain or compressed (`.gz`, `.zst`, `.bz2`, `.xz`).

    A column has the type in `schema`, else the type that its first reader declares, else it is text; a cell
    that is not wholly a valid value of its type rejects its record with the raw text kept, and so does a record
    with another number of fields. Numbers are digits with `.`, dates are ISO 8601, nothing is trimmed.
    Newlines may be of any kind, also within quotes; blank lines are no records and do not count as rows.

    A file up to the size of a partition is not scanned when planned. A larger one is, once, for the ends of its
    records (of a URL this reads the whole file), and its slices are read in parallel. A large compressed file is
    inflated once when planned and once more in each worker process, since it cannot be entered in the middle.

    Args:
        path: A file, folder, glob or URL, or several of them. A folder is read with its sub-folders. A folder
            and the wildcards of a glob pass over names that begin with `.` or `_`, unless it is written out.
        delimiter: One ASCII character; by default a tab for names ending in `.tsv`, else a comma.
        quote: Encloses fields that hold delimiters or newlines, doubled to mean itself; `"` since nearly all
            programs write it. It only counts where a field begins. None where quotes are ordinary characters.
        encoding: `utf-8`, with or without byte order mark, since anything else should be a decision: other
            bytes are an error that names the line. `latin-1`, `cp1252`, `utf-16` and all that Python knows.
        header: Whether the first record holds the names, by default as most files have it. Names must differ;
            a column without one is called `column_N`. Files may order their columns differently;
            one that has no column of the others is refused.
        names: The names of all columns: needed without a header, else in place of what it says.
        null_values: Texts that mean null, quoted or not; the empty one by default. `("", "\\N")` for exports
            of databases; `()` to keep empty text.
        schema: Types by column, Arrow types or annotations; none by default, as text loses nothing: numbers
            stay as they are written, `007` and `+49…` too.
        infer: Whether columns without a declared type become int, float, bool or date where every value of the
            whole source reads back to the same text. Off, since it reads the source once more.
        partition_size: How large its slices are: records as a number, or bytes of text such as "64MiB". By default
            the run decides; what is given to the run is the stronger word, and what its job says the weaker.

    Raises:
        SourceError: An option is not known or makes no sense.
    """
    return _source(
        path,
        "csv",
        delimiter=delimiter,
        quote=quote,
        encoding=encoding,
        header=header,
        names=names,
        null_values=null_values,
        schema=schema,
        infer=infer,
        partition_size=partition_size,
    )


def jsonl(
    path: Location,
    *,
    schema: Mapping[str, Any] | pa.Schema | None = None,
    infer: bool = True,
    partition_size: SizeOption | None = None,
) -> Source:
    """JSON lines: one object a line, UTF-8, plain or compressed.

    The schema is fixed when planned by one scan over the whole source, all keys of all lines: integers beside
    fractions are floating point, objects are structs, and what no type holds without loss is text (strings as
    they are, other values as their JSON text), which a note says. Values are checked, not coerced. Lines that
    are no object, broken, not UTF-8, nested deeper than 200, or that do not fit, are rejected with their text.
    Empty lines do not count as rows; of a key that comes twice in an object the last value holds.

    Args:
        path: A file, folder, glob or URL, or several of them.
        schema: Types by column, stronger than what a service declares or the values suggest; none by default.
        infer: Whether to scan for the columns, which is the only way to lose none. With False the columns are
            those of `schema`, other keys are left out, and nothing is read when planned but large files for
            their newlines.
        partition_size: As for `csv`.

    Raises:
        SourceError: An option makes no sense.
    """
    return _source(path, "jsonl", schema=schema, infer=infer, partition_size=partition_size)


def parquet(path: Location, *, partition_size: SizeOption | None = None) -> Source:
    """Parquet files; how they are read the files themselves say.

    A slice is made of whole row groups (a row group of more than two slices is divided, and slices that are counted
    in records are cut anywhere). Files may differ:
    a missing column is null (files without any common column are refused), integers and floating point numbers are
    widened, integers beside floating point numbers, units of time, decimals and fields of structs too, with a note; a
    value that the wider type cannot hold rejects its record, and anything else is refused by file and column. Untouched
    columns keep their types bit for bit. Checksums of pages are verified where the files have them.

    Args:
        path: A file, folder, glob or URL, or several of them.
        partition_size: As for `csv`; bytes are those of decoded row groups.
    """
    return _source(path, "parquet", partition_size=partition_size)


def files(
    path: Location,
    *,
    format: str | None = None,  # noqa: A002 - the user's word
    partition_size: SizeOption | None = None,
    **options: Any,
) -> Source:
    """Files whose names tell their format: `.csv .tsv .jsonl .ndjson .json .parquet .pq`, plain or compressed.

    Args:
        path: A file, folder, glob or URL, or several of them. A folder or glob must hold one format.
        format: `csv`, `jsonl` or `parquet` where names do not tell; by default they do.
        partition_size: As for `csv`.
        **options: As `csv` and `jsonl` take them.

    Raises:
        SourceError: The format or an option is not known.
    """
    return _source(path, format or _told(path), partition_size=partition_size, **options)


def infer_source(given: object) -> Source:
    """The source that is meant by what a user gave: a path in any form, or a source already.

    Raises:
        SourceError: It is neither. Tables and collections in memory are written to Parquet first.
    """
    if isinstance(given, Source):
        return given
    if isinstance(given, str | PathLike):
        return files(given)
    raise SourceError(
        f"a {type(given).__name__} is no source; give a path, a URL, flow.csv, flow.jsonl, flow.parquet or flow.files"
    )


def _source(path: Location, format_name: str | None, *, partition_size: SizeOption | None, **options: Any) -> Source:
    if format_name is not None:
        make_options(format_name, options)
    try:
        size = read_partition_size(partition_size)
    except DeclarationError as error:
        raise SourceError(str(error)) from None
    return Source(paths=_paths(path), format=format_name, options=options, partition_size=size)


def _told(path: Location) -> str | None:
    """The format where the path itself tells it, so that wrong options are refused before any I/O."""
    formats = {format_by_name(one) for one in _paths(path)}
    return formats.pop() if len(formats) == 1 else None


def _paths(path: Location) -> tuple[str, ...]:
    if not isinstance(path, str | PathLike | Sequence):
        raise SourceError(f"a path is text or a path object, not {type(path).__name__}")
    several = [path] if isinstance(path, str | PathLike) else path
    paths = tuple(fspath(one) for one in several)
    if not paths or not all(paths):
        raise SourceError("no path is given")
    return paths
