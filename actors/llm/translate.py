"""Translates an endpoint's error responses, connection errors and timeouts into `Failure` values.

Rule 1: A status determines the failure, by the tables below. A status that RFC 9110 does not define counts as
    the x00 of its class (section 15): an unknown 5xx is transient, an unknown 4xx is not.
Rule 2: Without a status, it matters whether the request was sent. Before that it cannot have been billed;
    afterwards it is in doubt.
Rule 3: If every other request would get the same answer (a rejected key, an unknown model or parameter), the
    configuration is to blame. The message names the endpoint, the path and the setting to correct.
Rule 4: Text from the endpoint is not trusted. It may repeat the headers of the request, so `hide` censors it
    before it is cut: a key that is cut in two would not be recognized.
"""

from __future__ import annotations

import math
import re
import traceback
from collections.abc import Callable, Iterator, Mapping

import orjson
from msgspec import Struct
from msgspec.structs import force_setattr

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.limits.retry import LONGEST_RETRY_AFTER_S, parse_retry_after
from actors.core.messages.attempts import RateHeaders, Refusal
from actors.core.messages.values import Json
from actors.http1.proxy import ProxyError

Hide = Callable[[str], str]

_FOREIGN_CHARACTERS = 800
_DEFECT_CHARACTERS = 300
# More of an error text is read than is shown, so that a key that begins in the shown part is whole: access
# tokens have up to 2,500 characters. To censor or search a longer text takes milliseconds.
_READ_CHARACTERS = 4_000
_CODE_CHARACTERS = 200
_MOST_CODES = 32

_LONGEST_RESET_S = 30 * 86400.0  # a larger number is a time, not a duration

_LARGEST_COUNT = 1e12  # requests or tokens a minute

_TRANSIENT = frozenset({408, 409, 425, 500, 502, 504})  # 409: a request with the same key is in progress
_REFUSED = frozenset({429, 498, 503, 529})  # 498: the flex tier of Groq has no capacity
_CONFIG = frozenset({401, 402, 403, 404, 405, 415})
_TASK = frozenset({400, 413, 422})
_NOT_PASSING = frozenset({501, 505})  # the only permanent 5xx
_UNAUTHORIZED = 401
_ORIGIN_TIMEOUT = 524  # of Cloudflare: the origin accepted the request and did not answer in time

_LIMIT_REQUESTS = "x-ratelimit-limit-requests"
_REMAINING_REQUESTS = "x-ratelimit-remaining-requests"
_LIMIT_TOKENS = "x-ratelimit-limit-tokens"
_REMAINING_TOKENS = "x-ratelimit-remaining-tokens"

_KEY = "api_key"
_URL = "check base_url and model"
_REMEDIES = {
    401: "the key is rejected: check api_key",
    402: "the account has no credit: add credit, or change api_key",
    403: "the key is not permitted to do this: check api_key and model",
    405: "check base_url",
    415: "check base_url",
}
_PARAMETER = "check params, output and max_tokens of evaluate, and model"
_OWN_PARAMETERS = {  # members of the body that Headrace sets, each with the remedy if there is one
    **dict.fromkeys(("messages", "input", "model", "stream", "stream_options", "response_format", "n"), ""),
    "max_tokens": "set max_tokens_as: max_completion_tokens",
    "max_completion_tokens": "set max_tokens_as: max_tokens",
    "messages[0].role": "set system_as",
}
_PARAM = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_NAMED_PARAM = re.compile(
    r"(?:parameter|argument|field|property)s?:?\s{0,3}['\"`]([A-Za-z_][A-Za-z0-9_]{0,63})['\"`]",
    re.IGNORECASE,
)

# Error codes and words for configuration errors. Some endpoints answer an invalid key with 400.
_QUOTA_CODES = re.compile(r"insufficient_quota|billing|spend_limit|blocked_api_access|account_deactivated")
_CONFIG_CODES = re.compile(
    r"unsupported_(parameter|value)|unknown_parameter|extra_forbidden|api_key_invalid|invalid_api_key"
    r"|model_not_found|invalid_model|deploymentnotfound"
)
_CONFIG_WORDS = re.compile(
    r"(unsupported|unknown|unrecognized|unexpected) (request )?(argument|parameter|field|keyword)"
    r"|extra inputs are not permitted|not supported (with|by|for) this model"
    r"|api[ _]key (is )?(not valid|invalid)"
    r"|(unknown|invalid) model|\bmodel\b.{0,100}\b(not found|does not exist)|credit balance|spend(ing)? limit"
)
_KEY_CODES = frozenset(
    {"api_key_invalid", "invalid_api_key", "expiredtokenexception", "unrecognizedclientexception"}
)
# Words for errors of a single request, whatever the status.
_OWN_FAULT = re.compile(
    r"context[ _]length|too (long|large|many tokens)|content[ _]filter|moderation|flagged"
)

# Searched in this order, since a message about tokens may speak of requests too ("Requested 1500").
_REFUSAL_WORDS = (
    (Refusal.CONCURRENCY, re.compile(r"concurren|simultaneous|in[ _-]flight|parallel")),
    (
        Refusal.TOKENS,
        re.compile(r"tokens?[ _]per|\btpm\b|\btpd\b|token[ _]rate|rate[ _]of[ _]tokens|^tokens?\b"),
    ),
    (
        Refusal.REQUESTS,
        re.compile(r"requests?[ _]per|\brpm\b|\brpd\b|request[ _]rate|rate[ _]of[ _]requests|^requests?\b"),
    ),
    (Refusal.OVERLOADED, re.compile(r"overload|capacity|\bbusy\b|queue is full|resource[ _]unavailable")),
)


# ---- statuses --------------------------------------------------------------------------------------------


class Site(Struct, frozen=True):
    """The target of a request: the endpoint's name in the configuration, and the path of its URL.

    key: the setting of the endpoint that authorizes requests, which remedies name in place of ``api_key``.
    """

    endpoint: str
    path: str
    key: str = _KEY


class ErrorReport(Struct, frozen=True):
    """An error of an endpoint: why it did not answer a request.

    text: its message, not censored. A long one is cut, so that patterns take little time on it.
    codes: its machine-readable codes in lower case, such as ``rate_limit_exceeded``.
    retry_after_s: the time that it asks to wait.
    refusal, kind: what a dialect knows from the format; None: decided by the text, or by the status.
    remedy: what a dialect knows to correct a configuration error; None: decided by the status.
    param: the member of the request's body that the endpoint does not accept.
    """

    status: int
    text: str = ""
    codes: tuple[str, ...] = ()
    retry_after_s: float | None = None
    refusal: Refusal | None = None
    kind: FailureKind | None = None
    remedy: str | None = None
    param: str = ""

    def __post_init__(self) -> None:
        if len(self.text) > _READ_CHARACTERS:
            # The mark tells the censor that a key may be cut.
            force_setattr(self, "text", self.text[:_READ_CHARACTERS] + "…")
        codes = tuple(code[:_CODE_CHARACTERS] for code in self.codes[:_MOST_CODES])
        force_setattr(self, "codes", codes)
        force_setattr(self, "param", self.param[:_CODE_CHARACTERS])


def read_error(status: int, headers: Mapping[str, str], body: bytes, wall_now: float) -> ErrorReport:
    """Read an error in one of the usual formats of JSON. Never raises.

    headers: with names in lower case.
    wall_now: in seconds since 1970, because ``Retry-After`` may be a date.
    """
    error = error_object(body)
    codes = tuple(code.lower() for code in _codes(error))
    text = _error_text(error, body)
    return ErrorReport(status, text, codes, _retry_after_s(headers, wall_now), param=_param(error, text))


def report_of(status: int, error: Mapping[str, Json]) -> ErrorReport:
    """Return the report of an error that was reported under the status 200. Never raises.

    status: the status that the error amounts to.
    """
    codes, text = tuple(code.lower() for code in _codes(error)), _error_text(error, b"")
    return ErrorReport(status, text, codes, param=_param(error, text))


def rejects_key(report: ErrorReport) -> bool:
    """Return whether the endpoint rejects the key or the credentials, and so every request.

    The status 403 alone does not tell that: some keys permit calls but not the list of models.
    """
    is_known = not _KEY_CODES.isdisjoint(report.codes)
    return report.status == _UNAUTHORIZED or (is_known and 400 <= report.status < 500)


def from_report(report: ErrorReport, *, hide: Hide, site: Site) -> tuple[Failure, Refusal | None]:
    """Return the failure for an error that an endpoint reports, and for a refusal its kind."""
    status = report.status
    text = _one_line(hide(report.text))
    message = f"HTTP {status}" + (f": {text}" if text else "")
    is_decided = report.kind not in (None, FailureKind.MISCONFIGURED)
    if not is_decided and (remedy := _remedy(report, text)):
        where = f"endpoint {site.endpoint}, POST {_one_line(hide(site.path))}"
        remedy = remedy.replace(_KEY, site.key)
        message = f"{where}: {message} ({remedy} of llm.endpoints.{site.endpoint})"
        return Failure(FailureKind.MISCONFIGURED, Blame.CONFIG, message), None
    kind, blame = _classify(status)
    if report.kind is not None:
        kind, blame = report.kind, Blame.TASK if report.kind is FailureKind.PERMANENT else Blame.ENDPOINT
    if kind is FailureKind.PERMANENT:
        return Failure(kind, blame, message), None
    failure = Failure(kind, blame, message, report.retry_after_s)
    if kind is not FailureKind.REFUSED:
        return failure, None
    return failure, report.refusal or (_refusal(report, text) if status == 429 else Refusal.OVERLOADED)


def _classify(status: int) -> tuple[FailureKind, Blame]:
    if status in _REFUSED:
        return FailureKind.REFUSED, Blame.ENDPOINT
    if status == _ORIGIN_TIMEOUT:
        return FailureKind.IN_DOUBT, Blame.ENDPOINT
    if status in _TRANSIENT or (status >= 500 and status not in _NOT_PASSING):
        return FailureKind.TRANSIENT, Blame.ENDPOINT
    # One of `_CONFIG` comes here if its text names the request, such as a prompt that is too long.
    is_own = status in _TASK or status in _CONFIG
    return FailureKind.PERMANENT, Blame.TASK if is_own else Blame.ENDPOINT


def _remedy(report: ErrorReport, text: str) -> str:
    """Return the setting to correct if the configuration is to blame, else an empty string."""
    status, said = report.status, text.lower()
    codes = " ".join(report.codes)
    if status in (400, 402, 403, 429) and _QUOTA_CODES.search(codes):
        # Waiting does not help. As a refusal this would stall a run until all deadlines have passed.
        return report.remedy or _REMEDIES[402]
    if rejects_key(report):
        status = _UNAUTHORIZED
    if report.kind is FailureKind.MISCONFIGURED:
        return report.remedy or _REMEDIES.get(status, _PARAMETER)
    if status in (400, 422):
        is_ours = _CONFIG_CODES.search(codes) or _CONFIG_WORDS.search(said)
        return (report.remedy or _parameter_remedy(report.param)) if is_ours else ""
    if status not in _CONFIG and not 300 <= status < 400:
        return ""
    if status in (403, 404) and _OWN_FAULT.search(f"{codes} {said}"):
        return ""
    return _REMEDIES.get(status, _URL)


def _parameter_remedy(param: str) -> str:
    """Return how to correct a request whose member `param` is not accepted."""
    if param in _OWN_PARAMETERS:
        return _OWN_PARAMETERS[param] or _PARAMETER
    if not _PARAM.fullmatch(param):
        return _PARAMETER
    return f"remove {param} from params of evaluate, or from params"


def _codes(error: Mapping[str, Json]) -> Iterator[str]:
    """Yield the codes of an error."""
    details = error.get("details")
    more = details.get("error_code") if isinstance(details, dict) else None
    detail = error.get("detail")
    first = (
        detail[0].get("type") if isinstance(detail, list) and detail and isinstance(detail[0], dict) else None
    )
    for code in (error.get("type"), error.get("code"), error.get("status"), more, first):
        if isinstance(code, str):
            yield code


def _param(error: Mapping[str, Json], text: str) -> str:
    """Return the member of the body that an error names, an empty string if it names none."""
    detail = error.get("detail")
    match detail:
        case [{"loc": [*_, str(last)]}, *_]:
            return last
    param = error.get("param")
    if isinstance(param, str) and param:
        return param
    found = _NAMED_PARAM.search(text[:_READ_CHARACTERS])
    return found[1] if found else ""


def error_object(body: bytes) -> Mapping[str, Json]:
    """Return the ``error`` object of a body, the body itself if it is flat, or an empty mapping."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if isinstance(document, list) and document:  # Google's compatible endpoint returns a list of one
        document = document[0]
    if not isinstance(document, dict):
        return {}
    error = document.get("error", document)
    return error if isinstance(error, dict) else {"message": error}


def _error_text(error: Mapping[str, Json], body: bytes) -> str:
    """Return the error message of the endpoint, uncensored."""
    said = error.get("message") or error.get("detail")
    if isinstance(said, str):
        return said
    try:
        return orjson.dumps(said).decode() if said else body.decode(errors="replace")
    except orjson.JSONEncodeError:  # it is nested too deeply
        return body.decode(errors="replace")


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _FOREIGN_CHARACTERS else line[:_FOREIGN_CHARACTERS] + "…"


def _refusal(report: ErrorReport, text: str) -> Refusal:
    for said in (*report.codes, text.lower()):
        for refusal, words in _REFUSAL_WORDS:
            if words.search(said):
                return refusal
    return Refusal.UNKNOWN


# ---- failures without a status ---------------------------------------------------------------------------


def from_connection_error(error: Exception, *, sent: bool, hide: Hide, name: str = "") -> Failure:
    """Return the failure for a connection error at endpoint `name`. `sent`: whether the request was sent."""
    said = _one_line(hide(str(error)))
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if sent:
        return Failure(FailureKind.IN_DOUBT, Blame.ENDPOINT, f"no answer to a request that was sent: {what}")
    remedy = f"; check llm.endpoints.{name}.proxy" if isinstance(error, ProxyError) else ""
    message = f"the request could not be sent: {what}{remedy}"
    return Failure(FailureKind.TRANSIENT, Blame.ENDPOINT, message)


def from_unusable(problem: str, *, hide: Hide) -> Failure:
    """Return the failure for an answer that was billed and does not match its form."""
    return Failure(FailureKind.UNUSABLE, Blame.ENDPOINT, _one_line(hide(problem)))


def from_defect(error: BaseException, *, hide: Hide) -> tuple[str, Failure]:
    """Return the traceback of an error that nothing explains, and the failure for it."""
    text = hide("".join(traceback.format_exception(error)))
    last_line = text.rstrip().rpartition("\n")[2]
    return text, Failure(FailureKind.PERMANENT, Blame.UNKNOWN, f"defect: {last_line}"[:_DEFECT_CHARACTERS])


def from_no_completion(problem: str, *, hide: Hide) -> Failure:
    """Return the failure for a 2xx response that is no completion: a gateway may have sent it.

    The model may have answered behind the gateway, and that is billed.
    """
    message = f"no answer to a request that was sent: {_one_line(hide(problem))}"
    return Failure(FailureKind.IN_DOUBT, Blame.ENDPOINT, message)


def from_timeout(limit_s: float, *, sent: bool, expired: bool) -> Failure:
    """Return the failure for a timeout of `limit_s` seconds. `expired`: whether the deadline has passed."""
    if sent:
        message = f"no answer within {limit_s:.3g} s to a request that was sent"
        return Failure(FailureKind.IN_DOUBT, Blame.ENDPOINT, message)
    if expired:
        return Failure(FailureKind.DEADLINE, Blame.LIMIT, "the deadline passed before the request was sent")
    return Failure(FailureKind.TRANSIENT, Blame.ENDPOINT, f"no connection within {limit_s:.3g} s")


# ---- headers ---------------------------------------------------------------------------------------------


def _retry_after_s(headers: Mapping[str, str], wall_now: float) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, LONGEST_RETRY_AFTER_S)
    value = headers.get("retry-after")
    return None if value is None else parse_retry_after(value, wall_now=wall_now)


def rate_headers(headers: Mapping[str, str]) -> RateHeaders | None:
    """Return the values of the ``x-ratelimit-*`` headers, None if there are none. Invalid values are None.

    headers: with names in lower case.
    """
    limit_requests = headers.get(_LIMIT_REQUESTS)
    remaining_requests = headers.get(_REMAINING_REQUESTS)
    limit_tokens = headers.get(_LIMIT_TOKENS)
    remaining_tokens = headers.get(_REMAINING_TOKENS)
    if limit_requests is remaining_requests is limit_tokens is remaining_tokens is None:
        return None  # a reset time alone is of no use
    return RateHeaders(
        limit_requests=count(limit_requests),
        remaining_requests=count(remaining_requests),
        reset_requests_s=duration_s(headers.get("x-ratelimit-reset-requests")),
        limit_tokens=count(limit_tokens),
        remaining_tokens=count(remaining_tokens),
        reset_tokens_s=duration_s(headers.get("x-ratelimit-reset-tokens")),
    )


_DURATION = re.compile(
    r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?",
    re.ASCII,
)
_UNITS_S = (86400.0, 3600.0, 60.0, 1.0, 0.001)


def duration_s(value: str | None) -> float | None:
    """Return the seconds in ``"6m0s"``, ``"1.5s"``, ``"200ms"`` or ``"12"``; None for anything else."""
    if value is None:
        return None
    seconds = _number(value)
    if seconds is None:
        parts = _DURATION.fullmatch(value.strip())
        if parts is None or not any(parts.groups()):
            return None
        seconds = sum(float(part) * unit for part, unit in zip(parts.groups(), _UNITS_S, strict=True) if part)
    return seconds if seconds <= _LONGEST_RESET_S else None


def count(value: str | None) -> int | None:
    """Return the count in a header, None if it is not a number that is at least 0."""
    number = _number(value)
    return None if number is None else int(min(number, _LARGEST_COUNT))


def _number(value: str | None) -> float | None:
    """Return a finite number that is not negative, None for anything else."""
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
