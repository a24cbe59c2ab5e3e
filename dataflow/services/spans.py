"""Where in what a model says JSON stands: behind its thoughts, after a lead-in, in a fence, before a closing sentence.

Pure. Whether what stands there is what was asked for is decided elsewhere.
"""

from __future__ import annotations

import json
import re

_TAG = r"(?:[\w-]{1,20}:)?(?:think|thinking|thoughts?|reasoning)>"
_OPENED = re.compile(rf"<{_TAG}", re.I)
_CLOSED = re.compile(rf"</{_TAG}", re.I)
_LANGUAGE = re.compile(r"[\w-]*\s")
_OPENING = re.compile(r"""\{(?=\s{0,99}["}])|\[(?=\s{0,99}[]"{[\dtfn-])""")
"""What JSON may begin with that is more than one word."""
_DECODER = json.JSONDecoder(strict=False)

_WORK = 5
"""So many times as long as the text may all tries together read that come to nothing."""
_LEAST = 100_000
_TRY = 50
"""What a try counts at least; what it read and, where its lines are counted, this part of what is before it on top."""
_DEEP = 10_000
"""What a try counts that went too deep."""


def json_in(text: str) -> list[str]:
    """The JSON values in a text, the last one first; behind them all its words, which may be one or a number.

    Of values within each other only the outermost is given. What a model thought before it answered is left out; of a
    thought that never ends only the value is given in which the text does.
    """
    said = _without_fence(_without_thoughts(text).strip())
    spans = _spans(said)
    thought = _open_thought(said, spans)
    if thought is not None:
        before = [span for span in spans if span[1] <= thought]
        spans = before or [span for span in spans[-1:] if not said[span[1] :].strip("` \r\n\t")]
    found = [said[start:end] for start, end in reversed(spans)]
    words = said[:thought].strip()
    return found if not words or found == [words] else [*found, words]


def _without_thoughts(text: str) -> str:
    """What stands behind the last thought, or before the first one where nothing is behind it.

    Some templates open the thoughts themselves, so that an answer only closes them.
    """
    end = 0
    for closed in _CLOSED.finditer(text):
        end = closed.end()
    rest = text[end:]
    if end == 0 or rest.strip():
        return rest
    opened = _OPENED.search(text)
    return rest if opened is None else text[: opened.start()]


def _without_fence(text: str) -> str:
    """What is inside the one fence that a text is."""
    if not text.startswith("```") or not text.endswith("```") or text.count("```") != 2:
        return text
    inside = text[3:-3]
    language = _LANGUAGE.match(inside)
    return inside[language.end() if language else 0 :].strip()


def _open_thought(text: str, spans: list[tuple[int, int]]) -> int | None:
    """Where a thought begins that never ends, outside of the values."""
    at = 0
    for start, end in [*spans, (len(text), len(text))]:
        if (opened := _OPENED.search(text, at, start)) is not None:
            return opened.start()
        at = end
    return None


def _spans(text: str) -> list[tuple[int, int]]:
    """From where to where the values stand."""
    found: list[tuple[int, int]] = []
    at, work = 0, _WORK * len(text) + _LEAST
    while work > 0 and (opening := _OPENING.search(text, at)) is not None:
        start = opening.start()
        try:
            _, at = _DECODER.raw_decode(text, start)
        except json.JSONDecodeError as error:
            at, work = start + 1, work - (error.pos - start) - error.pos // _TRY - _TRY
        except RecursionError:
            at, work = start + 1, work - _DEEP
        except ValueError:
            # A number of more digits than Python reads.
            at, work = start + 1, work - _DEEP
        else:
            found.append((start, at))
    return found
