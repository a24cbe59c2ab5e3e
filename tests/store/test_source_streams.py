"""Packed data of several streams is read to its last byte, or refused."""

from __future__ import annotations

import bz2
import io
import lzma
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_reading import read_all

from dataflow.errors import SourceError
from dataflow.store.sources import csv
from dataflow.store.sources.streams import Streams, streams_of_bz2, streams_of_xz

KINDS: dict[str, tuple[Callable[[bytes], bytes], Callable[[io.BytesIO], Streams]]] = {
    ".xz": (lzma.compress, streams_of_xz),
    ".bz2": (bz2.compress, streams_of_bz2),
}
FIRST = b"a,b\n" + b"1,x\n" * 1000
SECOND = b"2,y\n" * 1000
EACH = pytest.mark.parametrize("kind", KINDS)


def text_of(streams: Streams, *, size: int = 1 << 16) -> bytes:
    return b"".join(iter(lambda: streams.read(size), b""))


@EACH
@pytest.mark.parametrize("zeros", [0, 4, 512, 200_000])
def test_zeros_behind_a_stream_and_at_the_end_are_padding(kind: str, zeros: int) -> None:
    pack, streams = KINDS[kind]
    packed = pack(FIRST) + bytes(zeros) + pack(SECOND) + bytes(zeros)
    assert text_of(streams(io.BytesIO(packed))) == FIRST + SECOND


def test_zeros_that_do_not_come_in_fours_are_damage_in_xz() -> None:
    with pytest.raises(OSError, match="3 zeros stand behind a stream"):
        text_of(streams_of_xz(io.BytesIO(lzma.compress(FIRST) + bytes(3))))


@EACH
@pytest.mark.parametrize("behind", [b"tail", b"\0\0\0\0tail", b"7"])
def test_what_begins_no_stream_is_damage(kind: str, behind: bytes) -> None:
    pack, streams = KINDS[kind]
    with pytest.raises((OSError, lzma.LZMAError, EOFError)):
        text_of(streams(io.BytesIO(pack(FIRST) + behind)))


@EACH
def test_a_file_without_a_byte_is_cut_off(kind: str) -> None:
    with pytest.raises(EOFError):
        text_of(KINDS[kind][1](io.BytesIO()))


@EACH
@pytest.mark.parametrize("bit", range(0, 48, 5))
def test_a_flipped_bit_where_the_second_stream_begins_loses_no_record_quietly(kind: str, bit: int, tmp_path) -> None:
    pack = KINDS[kind][0]
    packed = bytearray(pack(FIRST) + pack(SECOND))
    packed[len(pack(FIRST)) + bit // 8] ^= 1 << bit % 8
    path = tmp_path / f"in.csv{kind}"
    path.write_bytes(packed)
    with pytest.raises(SourceError, match="is cut off or damaged behind 4,004 bytes of text"):
        read_all(csv(path))


@EACH
@given(
    texts=st.lists(st.binary(max_size=300), min_size=1, max_size=5),
    words=st.integers(0, 3),
    size=st.integers(1, 400),
    cut=st.integers(0, 2000),
)
def test_streams_give_all_of_their_texts_and_no_part_of_them_for_less(
    kind: str, texts: list[bytes], words: int, size: int, cut: int
) -> None:
    pack, streams = KINDS[kind]
    parts = [pack(text) for text in texts]
    packed = bytes(4 * words).join(parts)
    assert text_of(streams(io.BytesIO(packed)), size=size) == b"".join(texts)
    kept = packed[: cut % len(packed)]
    try:
        found = text_of(streams(io.BytesIO(kept)), size=size)
    except (OSError, EOFError, lzma.LZMAError):
        return
    ends = [sum(map(len, parts[:many])) + 4 * words * (many - 1) for many in range(1, len(parts))]
    whole = sum(end <= len(kept) for end in ends)
    assert found == b"".join(texts[:whole])
