"""Content encodings: what a body is whose headers say that it is packed, within a limit. Pure.

gzip and deflate are always there; br and zstd where a library is. What is declared is tried first; a body that is
plainly something else (text, or packed in another way) is taken for that. Statuses and charsets are not known here.
"""

from __future__ import annotations

import codecs
import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Any

MEMBERS = 1000
"""Members of one body at most: each costs time, however little it holds."""
NESTED = 4
"""Encodings over each other at most."""

_WINDOW = 64 * 1024
_SIP = 64  # bytes of zstd that unpack to two megabytes at most
_ZSTD_WINDOW = 23  # RFC 9659: what a sender may ask a receiver to keep, as a power of two
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_UTF16 = (b"\xff\xfe", b"\xfe\xff", b"{\0", b"[\0", b"\0{", b"\0[")
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\f\r"))

Unpack = Callable[[bytes, int], bytes]


class BadEncoding(Exception):
    """The body is not what its headers say, or what they say is not known."""


class CutOff(Exception):
    """The packed body ends early."""


class TooLong(Exception):
    """The body is longer than allowed when it is unpacked."""


def accepted() -> str:
    """What may be asked for: the value of Accept-Encoding."""
    return ", ".join(["gzip", "deflate", *(["br"] if _brotli() else []), *(["zstd"] if _zstd_parts() else [])])


def unpack(body: bytes, declared: str, *, most: int) -> bytes:
    """The body without its encodings.

    Args:
        body: As it was sent.
        declared: The Content-Encoding of the answer: one, or several in the order in which they were applied.
        most: Bytes at most at every stage.

    Raises:
        BadEncoding: An encoding is not known, or the body is not in it and not plainly something else.
        CutOff: It ends early.
        TooLong: It is longer.
    """
    names = [name for part in declared.split(",") if not _says_nothing(name := part.strip().lower())]
    if len(names) > NESTED:
        raise BadEncoding(f"the answer is declared as packed {len(names)} times over (Content-Encoding)")
    for name in reversed(names):
        body = _unpack_one(body, name, most)
    return body


def is_packed(body: bytes) -> bool:
    """Whether a body that does not say so begins like a packed one, as no text does."""
    return body[:2] == _GZIP or (body[:4] == _ZSTD and _zstd_parts() is not None)


def unpack_undeclared(body: bytes, *, most: int) -> bytes:
    """The body without an encoding that it does not declare.

    Raises:
        CutOff: It ends early.
        TooLong: It is longer.
    """
    found = _as_other(body, most)
    return body if found is None else found


def _says_nothing(name: str) -> bool:
    """Whether it is no encoding but `identity` or one of the words that some servers write in its place."""
    if name in ("", "identity", "none", "binary"):
        return True
    try:
        return bool(getattr(codecs.lookup(name), "_is_text_encoding", False)) if name.isascii() else False
    except (LookupError, ValueError):
        return False


def _unpack_one(body: bytes, name: str, most: int) -> bytes:
    if name not in _UNPACKERS:
        raise BadEncoding(
            f"the answer is declared as Content-Encoding `{name[:40]}`, which is not known here; "
            'headers={"Accept-Encoding": "identity"} of the API asks for none'
        )
    made, package = _UNPACKERS[name]
    unpacker = made()
    problem: Exception = BadEncoding(
        f"the answer is declared as Content-Encoding `{name}` and cannot be read as that"
        if unpacker is not None
        else f"the answer is declared as Content-Encoding `{name}`, which was not asked for: the package {package} is "
        "not here"
    )
    if unpacker is not None:
        try:
            return unpacker(body, most)
        except CutOff as error:
            problem = error
        except _errors():
            pass
    found = _as_other(body, most)
    if found is None:
        raise problem
    return found


def _as_other(body: bytes, most: int) -> bytes | None:
    """The body as what it plainly is, whatever is declared; None where it is nothing plain."""
    for unpacker in _by_begin(body):
        try:
            return unpacker(body, most)
        except _errors():
            continue
    return body if _is_text(body) else None


def _by_begin(body: bytes) -> Iterator[Unpack]:
    zstd = _zstd()
    if body[:2] == _GZIP:
        yield _unpack_gzip
    elif body[:4] == _ZSTD and zstd is not None:
        yield zstd
    elif body[:1] == b"\x78" and int.from_bytes(body[:2]) % 31 == 0:
        yield _unpack_deflate


def _is_text(body: bytes) -> bool:
    """Whether no byte of it is a control character; what is packed has some in its first few bytes."""
    return body[:2] in _UTF16 or len(body.translate(None, _CONTROLS)) == len(body)


def _unpack_gzip(body: bytes, most: int) -> bytes:
    return _members(body, most, make=lambda: zlib.decompressobj(16 + zlib.MAX_WBITS), begin=_GZIP)


def _unpack_deflate(body: bytes, most: int) -> bytes:
    """Wrapped as RFC 9110 says, or the bare stream that some servers send."""
    try:
        return _members(body, most, make=zlib.decompressobj)
    except zlib.error:
        return _members(body, most, make=lambda: zlib.decompressobj(-zlib.MAX_WBITS))


def _members(body: bytes, most: int, *, make: Callable[[], Any], begin: bytes | None = None) -> bytes:
    """All members one after the other; zeros behind one, and what begins no other, are padding.

    Args:
        body: As it was sent.
        most: Bytes of the result at most.
        make: Begins a member.
        begin: How each begins; None where there is one only.
    """
    out, at = bytearray(), 0
    for _ in range(MEMBERS):
        one = make()
        while not one.eof and at < len(body):
            # In pieces, since what follows a member is copied at its end.
            piece = body[at : at + _WINDOW]
            at += len(piece)
            out += one.decompress(piece, most + 1 - len(out))
            if len(out) > most:
                raise TooLong
        if not one.eof:
            raise CutOff(f"the packed answer ends early, after {len(body):,} bytes")
        at -= len(one.unused_data)
        if begin is None:
            return bytes(out)
        if body[at : at + 1] == b"\0":
            at = len(body) - len(body[at:].lstrip(b"\0"))
        if body[at : at + len(begin)] != begin:
            return bytes(out)
    raise BadEncoding(f"the answer is packed in more than {MEMBERS:,} pieces")


@cache
def _brotli() -> Any:
    """The library for br, or None: one that cannot be limited is none."""
    for name in ("brotli", "brotlicffi"):
        try:
            found = importlib.import_module(name)
            found.Decompressor().process(b"", output_buffer_limit=1)
        except (ImportError, AttributeError, TypeError):
            continue
        return found
    return None


def _br() -> Unpack | None:
    return None if _brotli() is None else _unpack_br


def _unpack_br(body: bytes, most: int) -> bytes:
    one = _brotli().Decompressor()
    out = bytearray(one.process(body, output_buffer_limit=most + 1))
    while not one.is_finished() and len(out) <= most:
        more = one.process(b"", output_buffer_limit=most + 1 - len(out))
        if not more:
            raise CutOff(f"the packed answer ends early, after {len(body):,} bytes")
        out += more
    if len(out) > most:
        raise TooLong
    return bytes(out)


@cache
def _zstd_parts() -> tuple[Callable[[], Any], type[Exception]] | None:
    """What begins a frame of zstd, and its error; None without a library."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            found = importlib.import_module(name)
        except ImportError:
            continue
        options = {found.DecompressionParameter.window_log_max: _ZSTD_WINDOW}
        return partial(found.ZstdDecompressor, options=options), found.ZstdError
    try:
        other = importlib.import_module("zstandard")
    except ImportError:
        return None
    context = other.ZstdDecompressor(max_window_size=2**_ZSTD_WINDOW)
    return lambda: _Sipped(context.decompressobj()), other.ZstdError


class _Sipped:
    """A frame of a library that knows no limit: it is fed so little that it cannot give much more than one."""

    def __init__(self, one: Any) -> None:
        self._one = one
        self.eof = False
        self.unused_data = b""

    def decompress(self, data: bytes, most: int) -> bytes:
        out = bytearray()
        for at in range(0, len(data), _SIP):
            out += self._one.decompress(data[at : at + _SIP])
            if self._one.eof:
                self.eof, self.unused_data = True, self._one.unused_data + data[at + _SIP :]
                break
            if len(out) >= most:
                break
        return bytes(out)


def _zstd() -> Unpack | None:
    return None if _zstd_parts() is None else _unpack_zstd


def _unpack_zstd(body: bytes, most: int) -> bytes:
    parts = _zstd_parts()
    assert parts is not None
    return _members(body, most, make=parts[0], begin=_ZSTD)


@cache
def _errors() -> tuple[type[Exception], ...]:
    """What the libraries raise where a body is not in their encoding."""
    others: Iterable[type[Exception]] = (
        *([] if (brotli := _brotli()) is None else [brotli.error]),
        *([] if (zstd := _zstd_parts()) is None else [zstd[1]]),
    )
    return (zlib.error, BadEncoding, *others)


_UNPACKERS: dict[str, tuple[Callable[[], Unpack | None], str]] = {
    "gzip": (lambda: _unpack_gzip, ""),
    "x-gzip": (lambda: _unpack_gzip, ""),
    "deflate": (lambda: _unpack_deflate, ""),
    "br": (_br, "brotli"),
    "zstd": (_zstd, "zstandard"),
}
"""By name: what gives the function that unpacks, or None where its package is not here; and that package."""
