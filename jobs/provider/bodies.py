"""Bodies as providers send them: packed in every way, in every charset, or none at all. Pure.

br and zstd are written by hand, in blocks that pack nothing, so that no library is needed.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

from .faults import Fault, Kind, accented

Header = tuple[bytes, bytes]

_BLOCK = 65536


def odd_body(fault: Fault, answer: bytes) -> tuple[int, bytes, tuple[Header, ...]]:
    """Status, body and headers of an answer of one of the kinds `empty`, `encoding` and `charset`.

    Args:
        fault: `empty:204/gzip`, `encoding:gzip/plain`, `charset:utf-16/utf-16-be`: what is declared, and behind the
            slash what is true, where that is something else.
        answer: The good answer, as JSON.

    Raises:
        ValueError: There is no such packing or charset.
    """
    declared, slash, true = fault.text.partition("/")
    if fault.kind is Kind.EMPTY:
        kind = (b"content-type", b"application/json")
        return int(declared or 200), b"", (kind, *_encoding(true))
    if fault.kind is Kind.CHARSET:
        text = accented(answer)
        try:
            body = text.encode(true or declared)
        except LookupError:
            raise ValueError(f"no charset {true or declared!r}") from None
        return 200, body, ((b"content-type", f"application/json; charset={declared}".encode()),)
    body = answer
    for name in (true if slash else declared).split(","):
        body = _pack(name.strip(), body)
    return 200, body, ((b"content-type", b"application/json"), *_encoding(declared))


def _encoding(name: str) -> tuple[Header, ...]:
    return ((b"content-encoding", name.encode()),) if name else ()


def _pack(name: str, body: bytes) -> bytes:
    if name not in PACKED:
        raise ValueError(f"no packing {name!r}; there are {', '.join(PACKED)}")
    return PACKED[name](body)


def _raw(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def _members(body: bytes) -> bytes:
    middle = len(body) // 2
    return gzip.compress(body[:middle]) + gzip.compress(b"") + gzip.compress(body[middle:]) + bytes(512)


def _cut(body: bytes) -> bytes:
    packed = gzip.compress(body)
    return packed[: len(packed) // 2]


def _noise(body: bytes) -> bytes:
    return bytes((13 * at) % 256 for at in range(1, len(body) + 1))


def _br(body: bytes) -> bytes:
    """RFC 7932: blocks of bytes that are not packed; the first one follows a bit that tells the window."""
    out = bytearray()
    for at in range(0, len(body), _BLOCK):
        piece = body[at : at + _BLOCK]
        bits = (len(piece) - 1) << 3 | 1 << 19
        out += (bits << (at == 0)).to_bytes(3, "little") + piece
    return bytes(out) + b"\x03"


def _zstd(body: bytes) -> bytes:
    """RFC 8878: one frame of blocks of bytes that are not packed."""
    out = bytearray(b"\x28\xb5\x2f\xfd\xa0" + len(body).to_bytes(4, "little"))
    for at in range(0, len(body), _BLOCK):
        piece = body[at : at + _BLOCK]
        out += (len(piece) << 3 | (at + _BLOCK >= len(body))).to_bytes(3, "little") + piece
    return bytes(out)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": lambda body: body,
    "plain": lambda body: body,
    "identity": lambda body: body,
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "members": _members,
    "cut": _cut,
    "deflate": zlib.compress,
    "raw": _raw,
    "br": _br,
    "zstd": _zstd,
    "noise": _noise,
}
"""How a body is packed, by the name of that."""


ODD = frozenset({Kind.EMPTY, Kind.ENCODING, Kind.CHARSET})
"""The kinds of faults that are made here."""
