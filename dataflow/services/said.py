"""What somebody else says in an answer or an exception, as one short line: untrusted, so bounded and made plain.

Pure, and asked only where something has failed. Who may see such a line is decided elsewhere: it may quote a record.
"""

from __future__ import annotations

import codecs
import html
import json
import re
from collections.abc import Mapping
from typing import Any

from dataflow.services.context import without_secrets

SAID = 300
"""Characters of what a provider said that are kept."""

EXCEPTION = 500
"""The same of an exception."""

_WHOLE = 64 * 1024
"""Bytes up to which a body is parsed; of a larger one, which is hardly an error, only the beginning is looked at."""
_HEAD = 16 * 1024
_DEEP = 6
_SEVERAL = 5

_MAIN = (
    "errordescription",
    "errormessage",
    "message",
    "msg",
    "errormsg",
    "faultstring",
    "detail",
    "description",
    "reason",
    "text",
    "error",
    "code",
)
"""Where an object says what is wrong, the best place first; names without regard to case, `_` and `-`."""
_AROUND = ("error", "errors", "fault", "exception", "body", "response", "reason")
"""Where an object that says nothing itself holds one that does."""
_MORE = ("errors", "details", "detail", "issues", "violations", "invalidparams", "fielderrors")
"""Where it says which fields are meant."""

_NOTHING = ("", "{}", "[]", "null", '""')

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_UNSEEN = re.compile(r"<(script|style|template|noscript)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.DOTALL | re.I)
_TAG = re.compile(r"<[^<>]*>")
_FIELD = re.compile(
    r'"(?:error_?description|error_?message|message|detail|msg|faultstring)"\s*:\s*("(?:[^"\\]|\\.)*+")', re.I
)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.I)
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def said(body: bytes, content_type: str = "", *, most: int = SAID) -> str:
    """What the provider said in the body of an answer that is an error, in one line; empty where it said nothing.

    Of JSON the place where such answers have their message, of a page its text without the markup, else the text.
    The secrets that were used in this process are replaced by their names.

    Args:
        body: The body, after decompression.
        content_type: The header of this name, for the charset.
        most: Characters at most.
    """
    text = _decoded(body[:_WHOLE], content_type)
    if text.count("�") * 10 > len(text) or text.strip() in _NOTHING:
        return ""
    start = text.lstrip()[:1]
    found = ""
    if start and start in '{["':
        found = _of_json(text, whole=len(body) <= _WHOLE)
    elif start == "<":
        found = html.unescape(_TAG.sub(" ", _UNSEEN.sub(" ", text[:_HEAD])))
    return one_line(found or text[:_HEAD], most=most)


def said_in(value: Any, *, most: int = SAID) -> str:
    """What an error says that was parsed already, such as one inside an answer with a good status; may be empty."""
    return one_line(_found(value, _DEEP), most=most)


def said_inside(body: bytes, *, most: int = SAID) -> str:
    """What an answer with a good status says is wrong, if it holds an error in place of what was asked; or nothing."""
    if len(body) > _WHOLE or b'"error' not in body:
        return ""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    found = {name: answer[name] for name in ("error", "errors") if answer.get(name)} if isinstance(answer, dict) else {}
    return said_in(found, most=most)


def said_by(error: BaseException) -> str:
    """What an exception says of itself, in one line; empty where it says nothing, or raises when it is asked."""
    try:
        text = str(error)
    except Exception:
        return ""
    return one_line(text, most=EXCEPTION) if isinstance(text, str) else ""


def one_line(text: str, *, most: int) -> str:
    """A text from elsewhere in one printable line without secrets: no control codes, and nothing that turns a line."""
    known = without_secrets(text[:_WHOLE])[:_HEAD]
    if not known.isprintable():
        marked = _ANSI.sub("", known)
        seen = (one if one.isprintable() else " " if one.isspace() or one < " " else _seen(one) for one in marked)
        known = "".join(seen)
    line = " ".join(known.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def _seen(character: str) -> str:
    """What is left of a character that cannot be printed: of half a pair its number, of what turns or joins nothing."""
    return f"\\u{ord(character):04x}" if "\ud800" <= character <= "\udfff" else ""


def _decoded(body: bytes, content_type: str) -> str:
    given = _CHARSET.search(content_type)
    marked = [name for mark, name in _MARKS if body.startswith(mark)]
    for name in (*marked, *([given[1]] if given else []), "utf-8"):
        try:
            return body.decode(name, "strict" if name == "utf-8" else "replace")
        except (LookupError, ValueError, TypeError):
            continue
    text = body.decode("utf-8", "replace")
    # What was cut within a character is as good as whole.
    cut = len(body) == _WHOLE and "�" not in text.rstrip("�")
    return body.decode("latin-1") if not cut and _is_text(body) else text


def _is_text(body: bytes) -> bool:
    """Whether bytes that are no UTF-8 may be text in a charset of one byte for each character."""
    return not any(byte < 9 or 13 < byte < 27 for byte in body[:_HEAD])


def _of_json(text: str, *, whole: bool) -> str:
    if whole:
        try:
            return _found(json.loads(text), _DEEP)
        except (ValueError, RecursionError):
            pass
    field = _FIELD.search(text)
    try:
        return "" if field is None else str(json.loads(field[1], strict=False))
    except ValueError:
        return ""


def _found(value: Any, depth: int) -> str:
    """The text in a parsed answer, or empty."""
    if isinstance(value, str):
        return value.strip()
    if depth == 0 or not isinstance(value, (Mapping, list, tuple)):
        return ""
    if not isinstance(value, Mapping):
        texts = [_found(one, depth - 1) for one in value[:_SEVERAL]]
        return "; ".join(dict.fromkeys(filter(None, texts)))
    named = {str(name).lower().replace("_", "").replace("-", ""): held for name, held in value.items()}
    inner = _first(named, ("error",), depth) if isinstance(named.get("error"), (Mapping, list)) else ""
    main = inner or _text_of(named)
    title = named.get("title")
    if isinstance(title, str) and title.strip() and title.strip() not in main:
        main = f"{title.strip()}: {main}" if main else title.strip()
    more = _details(named, depth)
    if main and more and more not in main:
        return f"{_placed(named, main)}: {more}"
    return _placed(named, main) if main else more or _first(named, _AROUND, depth)


def _text_of(named: Mapping[str, Any]) -> str:
    """The text at the best place of an object, behind the code of the error where OAuth has it."""
    for name in _MAIN:
        text = named.get(name)
        if isinstance(text, str) and text.strip():
            code = named.get("error") if name == "errordescription" else None
            return f"{code}: {text.strip()}" if isinstance(code, str) and code.strip() else text.strip()
    return ""


def _first(named: Mapping[str, Any], places: tuple[str, ...], depth: int) -> str:
    texts = (_found(named[name], depth - 1) for name in places if name in named)
    return next(filter(None, texts), "")


def _details(named: Mapping[str, Any], depth: int) -> str:
    """Which fields are meant: a list of errors, or by field what is wrong with it."""
    for name in _MORE:
        held = named.get(name)
        if isinstance(held, (list, Mapping)) and (text := _found(held, depth - 1)):
            return text
        if isinstance(held, Mapping):
            by_field = [(field, _found(one, depth - 2 if depth > 1 else 0)) for field, one in held.items()]
            told = [f"{field}: {text}" for field, text in by_field[:_SEVERAL] if text]
            if told:
                return "; ".join(told)
    return _passed_on(named.get("metadata"))


def _passed_on(around: Any) -> str:
    """What was said by the provider behind one that passes on its errors."""
    raw = around.get("raw") if isinstance(around, Mapping) else None
    if not isinstance(raw, str):
        return ""
    return (_of_json(raw, whole=True) if raw.lstrip()[:1] in ("{", "[") else "") or raw.strip()


def _placed(named: Mapping[str, Any], text: str) -> str:
    """The text with the field that it is about, where the error says so."""
    where = next((named[name] for name in ("loc", "field", "path", "param", "pointer") if named.get(name)), None)
    if isinstance(where, list):
        where = ".".join(str(one) for one in where[:_DEEP] if isinstance(one, (str, int)))
    if not isinstance(where, str) or not where or where in text:
        return text
    return f"{where}: {text}"
