"""Packed bodies, byte by byte: what is unpacked, what is taken for something else, and what stays within its limit."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from provider.bodies import PACKED

from dataflow.engine.http.charsets import BadCharset, charset_of, in_utf8, is_json
from dataflow.engine.http.encodings import MEMBERS, BadEncoding, CutOff, TooLong, accepted, is_packed, unpack

TEXT = b'{"name": "A", "numbers": [1, 2, 3]}'
BOMB = gzip.compress(bytes(20_000_000))


@given(body=st.binary(min_size=1, max_size=300), name=st.sampled_from(["gzip", "x-gzip", "deflate"]))
def test_what_was_packed_is_unpacked(body: bytes, name: str) -> None:
    assert unpack(PACKED[name](body), name, most=300) == body
    assert unpack(gzip.compress(PACKED[name](body)), f"{name}, GZIP", most=1000) == body


@given(cut=st.integers(1, len(gzip.compress(TEXT, mtime=0)) - 1))
def test_what_is_cut_is_told_from_what_is_wrong(cut: int) -> None:
    with pytest.raises(CutOff):
        unpack(gzip.compress(TEXT, mtime=0)[:cut], "gzip", most=1000)


@given(body=st.binary(min_size=1, max_size=200), name=st.sampled_from(["gzip", "deflate", "br", "zstd", "a, gzip"]))
def test_any_bytes_are_unpacked_or_refused(body: bytes, name: str) -> None:
    try:
        unpack(body, name, most=1000)
    except (BadEncoding, CutOff, TooLong):
        return


def test_members_follow_each_other_and_what_follows_them_is_padding() -> None:
    packed = gzip.compress(b"a") + gzip.compress(b"") + gzip.compress(b"b" * 200_000)
    for tail in (b"", b"\0" * 1000, b"\0", b"garbage"):
        assert unpack(packed + tail, "gzip", most=300_000) == b"a" + b"b" * 200_000
    with pytest.raises(CutOff):
        unpack(packed + gzip.compress(b"c")[:9], "gzip", most=300_000)


@pytest.mark.parametrize(
    ("body", "declared"),
    [
        (BOMB, "gzip"),
        (gzip.compress(BOMB), "gzip, gzip"),
        (zlib.compress(bytes(20_000_000)), "deflate"),
        (gzip.compress(bytes(600)) * 2, "gzip"),
        (BOMB, "br"),
    ],
    ids=["gzip", "gzip twice", "deflate", "two members", "br"],
)
def test_nothing_is_unpacked_beyond_the_limit(body: bytes, declared: str) -> None:
    with pytest.raises(TooLong):
        unpack(body, declared, most=1000 if len(body) < 1000 else 100_000)


def test_a_body_in_a_million_pieces_is_refused_soon() -> None:
    with pytest.raises(BadEncoding):
        unpack(gzip.compress(b"") * (10 * MEMBERS), "gzip", most=1_000_000)
    with pytest.raises(BadEncoding, match="5 times"):
        unpack(TEXT, "gzip, gzip, gzip, gzip, gzip", most=1000)


def test_it_asks_for_what_it_can_unpack() -> None:
    assert accepted().split(", ")[:2] == ["gzip", "deflate"]
    assert is_packed(gzip.compress(TEXT))
    assert not is_packed(TEXT)


@pytest.mark.parametrize("name", ["br", "zstd"])
def test_br_and_zstd_are_unpacked_where_a_library_is(name: str) -> None:
    body = TEXT * 5000
    if name not in accepted():
        pytest.skip(f"no library for {name} is here")
    packed = PACKED[name](body)
    assert unpack(packed, name, most=len(body)) == body
    with pytest.raises(TooLong):
        unpack(packed, name, most=len(body) - 1)
    for cut in (5, 1000, len(packed) - 1):
        with pytest.raises(CutOff):
            unpack(packed[:cut], name, most=len(body))


@pytest.mark.parametrize(
    ("content_type", "charset", "json"),
    [
        (None, None, False),
        ("application/json", None, True),
        ("application/json; charset=utf-8", None, True),
        ('application/problem+json;Charset="ISO-8859-1"', "ISO-8859-1", True),
        ("text/json; version=1; charset = UTF-16", "UTF-16", True),
        ("text/html; charset=klingon", "klingon", False),
        ("application/jsonp", None, False),
    ],
)
def test_a_content_type_says_charset_and_kind(content_type: str | None, charset: str | None, json: bool) -> None:
    assert (charset_of(content_type), is_json(content_type)) == (charset, json)


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "shift_jis"])
def test_a_text_comes_in_utf_8(charset: str) -> None:
    text = '{"name": "ß"}' if charset != "shift_jis" else '{"name": "ア"}'
    assert in_utf8(text.encode(charset), charset).decode().removeprefix("\ufeff") == text


@pytest.mark.parametrize("charset", ["klingon", "zlib_codec", "../os", "rot13", "us-ascii"])
def test_a_charset_that_is_none_is_named_and_ascii_needs_none(charset: str) -> None:
    assert in_utf8(TEXT, charset) == TEXT
    with pytest.raises(BadCharset, match=charset.replace(".", r"\.")):
        in_utf8("ß".encode("latin-1"), charset)
