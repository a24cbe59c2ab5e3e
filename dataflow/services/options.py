"""The options of a service: one definition that serves every constructor.

`Options` is what an author may write, `Policy` what it means. How a policy is enacted is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypedDict, get_args

from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind, Priority
from dataflow.policies.cache import FOREVER, CachePolicy
from dataflow.policies.retry import Retry, read_retry
from dataflow.services.prices import Billed, Price, read_price
from dataflow.services.signature import REQUIRED
from dataflow.services.units import seconds

Overwrite = Literal["never", "always", "nulls"]
Dtypes = Literal["arrow", "numpy"]


class Options(TypedDict, total=False):
    """Every option that a service takes; all are keyword-only.

    Attributes:
        name: Default: the name of the function.
        columns: Parameter (or output) name to column name, for columns that are no identifiers.
        reads: The columns of a whole-frame parameter, or `flow.ALL`.
        returns: The output type, or {column: type}; needed by column forms, which have no other place for it.
        into: The output column; puts a record into one struct column.
        when: `"valid"`, `"flag"`, `"column is null"` or `"column is not null"`: the records it applies to.
        priority: `critical` (default for transformations and validations), `important` (enrichments) or `optional`.
        default: What the outputs get when it fails; null without it.
        required: A null input makes the record invalid (validations) or rejects it, instead of being skipped.
        overwrite: `"always"` or `"nulls"` lets an enrichment write a column that exists.
        publish: False keeps what it writes for the services listed after it; the output does without. Default True.
        rowwise: False says that a column form looks across records; then it is not bisected when it raises.
        dtypes: `"numpy"` gives pandas forms classic dtypes; the default, `"arrow"`, keeps every type as it is.
        threads: Calls of a plain function at the same time, in each worker; for functions that wait. Default 1.
        timeout: Seconds, or "30s", for one attempt of a call in total. Default: that of its API, else 30. A plain
            function that takes longer is left to end in the background, since no thread can be ended, and its record
            has timed out. A column form has none of its own accord; one that it is given is for all records of a
            call. A record has 5 minutes, or the timeout times the attempts where that is longer.
        retry: Attempts in all, or a `flow.Retry`. Default: that of its API, else 1.
        api: The `flow.API` under whose limits a function calls. An async one may ask for its client by a parameter
            `http: httpx.AsyncClient`: each request of it is a call of the API, with the url, secrets and headers of the
            API, the timeout of the service and attempts of its own. Without that, each call of the function counts as
            one call of the API: of a client that the function makes itself only what it raises is known. It is called
            again where `httpx`, `requests`, `urllib3`, `urllib`, `aiohttp`, `openai` or `anthropic` raise that the
            connection failed, that time ran out or that they were answered 429 or 5xx; 404 means that nothing was
            found, but of a model. `flow.RetryLater` has it called again with either client.
        price: What a call of its API costs: a number, `flow.PerRecord(0.01)`, `flow.PerMillionTokens(input=, output=)`,
            or a function of the answer: of the parsed JSON of an endpoint, of what a function returned. Default: free.
        currency: Of the price. Default "USD"; a pipeline has one.
        max_price: What an answer that says its own price may cost; a budget needs it.
        budget: What may be spent on the service in one run.
        billed: `"attempts"` (default): each one that reached the provider costs; `"answers"`: only those that were
            answered, with something or with nothing found.
        idempotent: False says that each call has an effect of its own, such as a mail: it is made once for each
            record, and never again by another run of the same output; its answer serves those. A record is told by the
            job's `key=`, else by what the service is given for it, so that of equal records as many are called for as
            were not before. For a function with an api=. True says that whatever its client sends may be sent again:
            else a POST without an Idempotency-Key is repeated only where it was refused or did not arrive.
        cache: How long an answer of its API serves before it is paid for again: "30d" (default for enrichments),
            "forever", any duration; False keeps answers for the run that paid for them only. That nothing was found
            serves for 7 days at most.
        capabilities: What it can do, as texts: by these a `flow.ServiceRegistry` finds it.
        quality: From 0 to 5, for whoever chooses between services.
        isolate: True keeps it out of the caller's process: a run then always uses worker processes.
        version: Raise it when the meaning of the service changes. Default "1".
        constants: Parameters that get a value instead of a column.
        setup: Arguments of a decorated class, which is set up once per worker.
    """

    name: str
    columns: Mapping[str, str]
    reads: Sequence[str] | str
    returns: Any
    into: str
    when: str
    priority: Literal["critical", "important", "optional"]
    default: Any
    required: bool
    overwrite: Overwrite
    publish: bool
    rowwise: bool
    dtypes: Dtypes
    threads: int
    timeout: float | str
    retry: Any
    api: Any
    price: Any
    currency: str
    max_price: float
    budget: float
    billed: Billed
    idempotent: bool | None
    cache: float | str | Literal[False]
    capabilities: Collection[str]
    quality: float
    isolate: bool
    version: str
    constants: Mapping[str, Any]
    setup: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Which records a service applies to.

    Attributes:
        test: `valid`, `flag`, `null` or `not_null`.
        column: The column it looks at; empty for `valid`.
        text: As written.
    """

    test: Literal["valid", "flag", "null", "not_null"]
    column: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a service is called and what its failure means; see `Options` for each field.

    `repeats_posts` is whether `idempotent=True` was written, `ceiling` what it and the other members of its composite
    may cost for one record, in trillionths.
    """

    priority: Priority
    when: Condition | None = None
    default: Any = REQUIRED
    required: bool = False
    overwrite: Overwrite = "never"
    publish: bool = True
    rowwise: bool = True
    dtypes: Dtypes = "arrow"
    threads: int = 1
    timeout: float | None = None
    retry: Retry | None = None
    api: Any = None
    price: Price | None = None
    idempotent: bool = True
    repeats_posts: bool = False
    ceiling: int | None = None
    cache: CachePolicy | None = None
    isolate: bool = False
    version: str = "1"
    setup: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def check_options(options: Options, *, name: str) -> None:
    """Refuse options that no service has, and names that are not texts.

    Raises:
        DeclarationError: An option is unknown or has a value of another type.
    """
    unknown = set(options) - set(Options.__annotations__)
    if unknown:
        known = ", ".join(sorted(Options.__annotations__))
        raise DeclarationError(f"`{name}` has no option {', '.join(sorted(unknown))}; the options are {known}")
    for option in ("columns", "constants", "setup"):
        if not isinstance(options.get(option, {}), Mapping):
            raise DeclarationError(f"`{name}`: {option} takes a mapping: {option}={{name: value}}")
    _check_talents(options, name=name)
    columns = [*options.get("columns", {}).values(), *options.get("reads", ()), options.get("into", "")]
    if not all(isinstance(column, str) for column in columns):
        raise DeclarationError(f"`{name}`: columns=, reads= and into= take names of columns, which are texts")


def _check_talents(options: Options, *, name: str) -> None:
    given = options.get("capabilities", ())
    listed = isinstance(given, (set, frozenset, list, tuple)) and all(isinstance(one, str) and one for one in given)
    if not listed:
        raise DeclarationError(f'`{name}`: capabilities takes texts: capabilities={{"company", "news"}}')
    quality = options.get("quality", 0)
    if isinstance(quality, bool) or not isinstance(quality, (int, float)) or not 0 <= quality <= 5:
        raise DeclarationError(f"`{name}`: quality takes a number from 0 to 5")


def read_policy(options: Options, *, kind: Kind, name: str) -> Policy:
    """The policy that the options describe, with the defaults of the kind.

    Raises:
        DeclarationError: An option is unknown or has a value that it does not take.
    """
    priority = options.get("priority", "important" if kind is Kind.ENRICHMENT else "critical")
    _one_of(priority, tuple(Priority), where=f"`{name}`: priority")
    overwrite = options.get("overwrite", "always" if kind is Kind.TRANSFORMATION else "never")
    _one_of(overwrite, get_args(Overwrite), where=f"`{name}`: overwrite")
    _one_of(options.get("dtypes", "arrow"), get_args(Dtypes), where=f"`{name}`: dtypes")
    threads = options.get("threads", 1)
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise DeclarationError(f"`{name}`: threads takes a whole number from 1")
    if options.get("idempotent") not in (None, True, False):
        raise DeclarationError(f"`{name}`: idempotent takes True or False")
    when = options.get("when")
    return Policy(
        priority=Priority(priority),
        when=None if when is None else read_condition(when, name=name),
        default=options.get("default", REQUIRED),
        required=options.get("required", False),
        overwrite=overwrite,
        publish=_flag(options, "publish", name=name),
        rowwise=options.get("rowwise", True),
        dtypes=options.get("dtypes", "arrow"),
        threads=threads,
        timeout=seconds(options["timeout"], where=f"`{name}`: timeout") if "timeout" in options else None,
        retry=read_retry(options["retry"], where=f"`{name}`: retry") if "retry" in options else None,
        api=options.get("api"),
        price=read_price(options, name=name),
        idempotent=options.get("idempotent") is not False,
        repeats_posts=options.get("idempotent") is True,
        cache=_read_cache(options, kind=kind, name=name),
        isolate=options.get("isolate", False),
        version=str(options.get("version", "1")),
        setup=MappingProxyType(dict(options.get("setup", {}))),
    )


def _flag(options: Options, option: Literal["publish"], *, name: str) -> bool:
    given = options.get(option, True)
    if not isinstance(given, bool):
        raise DeclarationError(f"`{name}`: {option} takes True or False")
    return given


def _read_cache(options: Options, *, kind: Kind, name: str) -> CachePolicy | None:
    given = options.get("cache")
    if given is None:
        return CachePolicy() if kind is Kind.ENRICHMENT else None
    if given is False:
        return None
    return (
        FOREVER
        if given == "forever"
        else CachePolicy(lifetime=seconds(given, where=f'`{name}`: cache= (or "forever", or False)'))
    )


def read_condition(text: str, *, name: str) -> Condition:
    """The condition that a `when=` text describes.

    Raises:
        DeclarationError: The text is none of the four forms.
    """
    if not isinstance(text, str):
        raise DeclarationError(f"`{name}`: when takes a text, not {type(text).__name__}")
    if text == "valid":
        return Condition(test="valid", column="", text=text)
    match = re.fullmatch(r"\s*(?P<column>.+?)\s+is\s+(?P<no>not\s+)?null\s*", text)
    if match is not None:
        return Condition(test="not_null" if match["no"] else "null", column=match["column"], text=text)
    if re.fullmatch(r"[^\s=<>!]+", text):
        return Condition(test="flag", column=text, text=text)
    raise DeclarationError(
        f'`{name}`: when={text!r} is not understood; write "valid", the name of a bool column, '
        '"column is null" or "column is not null"; for anything else add a transformation that gives a bool column'
    )


def _one_of(value: Any, allowed: Sequence[Any], *, where: str) -> None:
    if value not in allowed:
        raise DeclarationError(f"{where} takes {', '.join(repr(str(one)) for one in allowed)}, not {value!r}")
