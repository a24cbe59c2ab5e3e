"""Quotas: whether an answer says that the account has no more to spend, so that waiting helps nobody. Pure.

Whether it only says that calls come too fast is read here, too. Either is told by codes: short words at the places
where errors have their class, whatever their spelling. Some of them say that money is out, and hold whatever else the
answer says. Others are used for short limits too, as are sentences; they hold where the answer does not say that it
goes on within minutes, or that the limit is one of seconds or minutes. Who pays too little by card for one record, or
lacks a right, has used up no quota.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dataflow.policies.resets import LONGEST

STATUSES = frozenset({400, 402, 403, 429})
"""Those by which providers say it; 400 counts only with a word that means nothing else."""

_WHAT = "(?:quota|credits?|balance|funds)"
_SURE = re.compile(
    rf"(?:insufficient|notenough|outof|no|low|exhausted)(?:account|user|api)?{_WHAT}"
    rf"|(?:account|user|api)?{_WHAT}(?:balance)?(?:istoolow|toolow|insufficient|notenough|depleted|empty|exhausted|usedup)"
    r"|(?:terminal)?quotaexhausted|exceededcurrentquota"
    r"|billing(?:hard|soft|monthly)?limit(?:reached|exceeded)|hardlimitreached|billing(?:notactive|required|error)"
    r"|(?:spend|spending|budget|cost)(?:limit|cap)?(?:reached|exceeded)|paymentrequired|accountoverdue|arrearage"
)
_UNSURE = re.compile(
    r"(?:service|user|account|project|organization|plan|free|trial|usage|request|call|api|daily|weekly|monthly|yearly)*"
    r"(?:quota|(?:daily|weekly|monthly|yearly|usage|plan|subscription|trial|credit)(?:request|call|usage|api)*limit)"
    r"(?:is|was|hasbeen)?(?:exceeded|reached|overrun|hit)|over(?:daily|monthly|query|quota)(?:limit)?|(?:trial|subscription|plan)expired"
)
_LESS = re.compile(
    r"(?:user|project|request|api|secondary)*ratelimit(?:ed|exceeded|reached)|throttl(?:ed|ing)|toomanyrequests|slowdown"
)
_ENDINGS = re.compile(r"(?:error|exception|fault)$")
_SAID_SURELY = re.compile(
    r"(?:your )?credit balance is too low|billing (?:hard )?limit has been reached|insufficient (?:account )?"
    r"(?:credits?|balance|funds|quota)\b|(?:you are |you have |you've )?(?:run )?out of credits|not enough credits"
    r"|you have no (?:more )?credits|this request requires more credits|exceeded your current quota, please check your"
    r" plan and billing|payment required",
    re.I,
)
_SAID_UNSURELY = re.compile(
    r"(?:quota|(?:daily|monthly|usage|plan) (?:request )?limit) (?:has been |was |is )?(?:exceeded|exhausted|reached"
    r"|used up)|(?:exceeded|reached|used up|exhausted) (?:your|the) (?:current |daily |monthly |api |free |account )*"
    r"(?:quota|usage limit|credits|plan limit)",
    re.I,
)

_OF_OTHERS = re.compile(
    r"\b(?:card|cardholder|payer|payee|customer|buyer|sender|recipient|beneficiary)\b"
    r"|\b(?:source|bank|debit|from) account\b|^card|card$|declined",
    re.I,
)
"""Who says so speaks of somebody whose money is in a record."""
_MONEY = re.compile(r"funds|balance|payment", re.I)
_SHORT = re.compile(r"per[ -]?(?:\d+ ?)?(?:second|minute|sec\b|min\b)|/ ?(?:s|sec|second|m|min|minute)\b", re.I)
_LONG = re.compile(r"\bdaily|per ?day|day\b|week|month|year|annual", re.I)
_NO_RIGHT = re.compile(r"\bpermissions?\b|\bnot (?:allowed|authori[sz]ed|permitted|entitled)\b", re.I)

_PLACES = frozenset(
    {"code", "type", "status", "reason", "errorcode", "errortype", "errorstatus", "error", "title", "name"}
)
_AROUND = frozenset(
    {"error", "errors", "details", "detail", "fault", "innererror", "cause", "meta", "metadata", "violations"}
)
_NAMES = frozenset({"quotaid", "quotalimit"})
"""Where an answer names the limit that was met."""
_TEXTS = frozenset({"message", "detail", "description", "errordescription", "errormessage", "error", "title", "msg"})
_LONGEST, _DEEP, _SEVERAL, _SAID = 80, 6, 20, 300


def is_quota_used_up(status: int, body: Any, *, waits: float | None) -> bool:
    """Whether an answer says that the quota of the account is used up.

    Args:
        status: Of the answer.
        body: Its body, parsed, or the text of one that is no JSON.
        waits: Seconds after which it says itself that it goes on, or None.
    """
    if status not in STATUSES:
        return False
    codes, texts = [*_codes(body)], [*_texts(body)]
    if any(map(_OF_OTHERS.search, (*codes, *texts))):
        codes, texts = [[one for one in some if not _MONEY.search(one)] for some in (codes, texts)]
    if any(map(_SURE.fullmatch, codes)):
        return True
    if (waits is not None and 0 < waits < LONGEST) or _is_short(body, texts):
        return False
    if status == 400:
        # Its sentence may quote a record, so it has to begin with what counts.
        return any(map(_SAID_SURELY.match, texts))
    if any(map(_UNSURE.fullmatch, codes)):
        return True
    said = [one for one in texts if status != 403 or not _NO_RIGHT.search(one)]
    return any(_SAID_SURELY.search(one) or _SAID_UNSURELY.search(one) for one in said)


def is_asked_for_less(body: Any) -> bool:
    """Whether the class of an error says that calls come too fast, whatever its status.

    Args:
        body: Of the answer, parsed, or the text of one that is no JSON.
    """
    return any(map(_LESS.fullmatch, _codes(body)))


def _is_short(body: Any, texts: list[str]) -> bool:
    """Whether it speaks of a limit of seconds or minutes, and of no longer one."""
    names = [held for name, held in _members(body, _DEEP) if name in _NAMES and isinstance(held, str)]
    found = [one[:_SAID] for one in (*names, *texts)]
    return any(map(_SHORT.search, found)) and not any(map(_LONG.search, found))


def _codes(body: Any) -> Iterator[str]:
    """The classes of an error, in small letters and without what separates their words."""
    for name, held in _members(body, _DEEP):
        if name in _PLACES and isinstance(held, str) and len(held) <= _LONGEST:
            # RFC 9457 names the class of a problem by a URL, others by a name with its space before a `#`.
            yield _ENDINGS.sub("", _plain(re.split("[/#]", held.rstrip("/"))[-1]))


def _texts(body: Any) -> Iterator[str]:
    if isinstance(body, str):
        yield body[:_SAID]
    for name, held in _members(body, _DEEP):
        if name in _TEXTS and isinstance(held, str):
            yield held[:_SAID]


def _members(body: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """The members of a parsed error, and of what it holds at the places where errors are."""
    if depth == 0:
        return
    if isinstance(body, list):
        for one in body[:_SEVERAL]:
            yield from _members(one, depth - 1)
    elif isinstance(body, Mapping):
        named = [(_plain(str(name)), held) for name, held in body.items()]
        yield from named
        for name, held in named:
            if name in _AROUND:
                yield from _members(held, depth - 1)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
