from __future__ import annotations

import pytest

from dataflow.errors import SourceError
from dataflow.store.sources.content import text_file
from dataflow.store.sources.encodings import transparent


@pytest.fixture
def write(tmp_path):
    def to(data):
        (tmp_path / "x.csv").write_bytes(data)
        return text_file(str(tmp_path / "x.csv"), fingerprint="")

    return to


def consume(blocks):
    return b"".join(blocks)


def test_characters_may_be_divided_between_blocks(write):
    data = "aé日\n".encode()
    file = write(data)
    for size in (1, 2, 3):
        blocks = [data[at : at + size] for at in range(0, len(data), size)]
        assert consume(file.checked(blocks, offset=0)) == data


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_broken_character_is_found_on_its_line_whatever_the_blocks(write, size):
    data = "é\né".encode() + b"\n\xc3abc\n"
    file = write(data)
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    with pytest.raises(SourceError, match="line 3"):
        consume(file.checked(blocks, offset=0))


def test_a_broken_character_at_the_end_of_a_line_is_found_on_that_line(write):
    data = b"a\xc3\nb\n"
    file = write(data)
    with pytest.raises(SourceError, match="line 1:"):
        consume(file.checked([data[:2], data[2:]], offset=0))


def test_a_character_that_the_end_cuts_off_is_found_but_not_in_a_beginning(write):
    file = write(b"a\n\xc3")
    assert consume(file.checked([b"a\n\xc3"], offset=0, final=False)) == b"a\n\xc3"
    with pytest.raises(SourceError, match="line 2:"):
        consume(file.checked([b"a\n", b"\xc3"], offset=0))


def test_blocks_begin_at_the_given_offset(write):
    file = write(b"0123456789")
    assert consume(file.blocks(4)) == b"456789"
    assert file.slice(2, 5, limit=1) == b"234"
    assert file.slice(8, -1, limit=1) == b"89"


@pytest.mark.parametrize(
    ("encoding", "structure", "entered"),
    [
        ("utf-8", "\r\n,|", True),
        ("iso8859-1", "\r\n,", True),
        ("cp1252", "\r\n;", True),
        ("gb18030", "\r\n,", True),
        ("gb18030", "\r\n|", False),
        ("shift_jis", "\r\n|", False),
        ("utf-16", "\r\n,", False),
        ("utf-7", "\r\n,", False),
        ("iso2022_jp", "\r\n,", False),
        ("hz", "\r\n,", False),
        ("cp500", "\r\n,", False),
    ],
)
def test_a_file_is_entered_in_the_middle_only_where_its_structure_is_unmistakable(encoding, structure, entered):
    assert transparent(encoding, structure) is entered
