"""Checks before a batch that its endpoints are reachable and accept the key.

Rule 1: Only permanent faults end the start: a rejected key, or a step that can connect to none of its
    endpoints (DNS, refused, TLS). The dispatcher handles all others.
Rule 2: It is free of charge: it requests the list of models, as `doctor` does.
Rule 3: A web page instead of the list of models is only announced: some gateways serve no list. The
    dispatcher ends a run if its calls get pages too.
Rule 4: It does not wait silently: after a moment it says which endpoint it waits for.
Rule 5: It names a model without a known price, except at a server of one's own, which has none.
"""

from __future__ import annotations

import asyncio
import enum
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import aiohttp

from actors.core.errors import Blame, FailureKind, HeadraceError, text_of
from actors.llm.dialects.dialect import Dialect
from actors.llm.dialects.registry import dialect_of
from actors.llm.endpoint import EndpointSettings
from actors.runtime.log_guard import censored
from cluster.checks.model_list import ListAnswer, address, list_url, request_list
from cluster.checks.recognized import price_in_words
from cluster.config.llm import unpriced

_WITHIN_S = 5.0  # for all attempts at all endpoints
_ANSWER_WITHIN_S = 5.0
_CONNECT_WITHIN_S = 4.0  # including DNS
_SILENT_S = 0.7  # what takes longer is announced
_PAUSE_S = 1.0  # an endpoint that restarts is unreachable for a moment
_OK = 200
_HTML = "text/html"


class PreflightError(HeadraceError):
    """No endpoint can answer calls. The message names each endpoint and its fault."""

    blame: ClassVar[Blame] = Blame.ENDPOINT


class _Found(enum.Enum):
    FINE = enum.auto()
    PAGE = enum.auto()
    REFUSED = enum.auto()
    UNREACHABLE = enum.auto()


@dataclass(frozen=True, slots=True)
class _Seen:
    found: _Found
    text: str = ""


async def preflight(
    endpoints: Sequence[EndpointSettings],
    say: Callable[[str], None],
    within_s: float = _WITHIN_S,
    *,
    steps: Mapping[str, Sequence[str]] = {},
    recognized: Mapping[str, str] = {},
    silent_s: float = _SILENT_S,
) -> None:
    """Check all endpoints. Raises `PreflightError`; faults that do not end the start go to `say`.

    steps: the names of the endpoints that each step may use, none if it may use all.
    recognized: what `recognized` returns; `say` gets it first, with prices.
    silent_s: after this time `say` gets the endpoints that have not answered.
    """
    for endpoint in endpoints:
        if found := recognized.get(endpoint.name):
            say(f"endpoint {endpoint.name}, model {endpoint.model}: {found}, {price_in_words(endpoint)}")
    if problem := unpriced(endpoints, of_own_servers=False):
        say(f"{problem}. Until then the cost of its answers is not known")
    latest: dict[str, _Seen | None] = {endpoint.name: None for endpoint in endpoints}
    slow = asyncio.get_running_loop().call_later(
        silent_s, partial(_announce, endpoints, latest, within_s, say)
    )
    try:
        async with _session() as session:
            await asyncio.gather(*(_reach(session, each, within_s, latest) for each in endpoints))
    finally:
        slow.cancel()
    seen = {name: each for name, each in latest.items() if each is not None}
    refused = [each.text for each in seen.values() if each.found is _Found.REFUSED]
    away = {name: each.text for name, each in seen.items() if each.found is _Found.UNREACHABLE}
    lost = [name for name, usable in steps.items() if usable and away.keys() >= set(usable)]
    if refused or lost or (away and len(away) == len(latest)):
        no_other = [f"step {name} can use no other endpoint" for name in lost]
        raise PreflightError("\n".join(["no task was started:", *refused, *away.values(), *no_other]))
    for text in away.values():
        say(f"{text}. The run starts with the other endpoints")
    for each in seen.values():
        if each.found is _Found.PAGE:
            say(each.text)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=_ANSWER_WITHIN_S, connect=_CONNECT_WITHIN_S),
    )


def _announce(
    endpoints: Sequence[EndpointSettings],
    latest: Mapping[str, _Seen | None],
    within_s: float,
    say: Callable[[str], None],
) -> None:
    """Tell the user which endpoints have not answered."""
    for endpoint in endpoints:
        seen = latest[endpoint.name]
        if seen is None:
            say(f"waiting for endpoint {endpoint.name} ({endpoint.base_url}), for up to {within_s:.0f} s")
        elif seen.found is _Found.UNREACHABLE:
            say(f"{seen.text}. Trying again for up to {within_s:.0f} s")


async def _reach(
    session: aiohttp.ClientSession,
    endpoint: EndpointSettings,
    within_s: float,
    latest: dict[str, _Seen | None],
) -> None:
    """Keep the result in `latest`. An unreachable endpoint is tried again until `within_s` has passed."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while True:
        seen = latest[endpoint.name] = await _look(session, endpoint)
        if seen.found is not _Found.UNREACHABLE or loop.time() + _PAUSE_S > until:
            return
        await asyncio.sleep(_PAUSE_S)


async def _look(session: aiohttp.ClientSession, endpoint: EndpointSettings) -> _Seen:
    dialect = dialect_of(endpoint)
    if dialect.uses_library:
        return _Seen(_Found.FINE)  # only a call shows whether it can be reached
    # Where there is no list of models, any answer to a GET shows that the endpoint is reachable.
    url = list_url(dialect) or endpoint.base_url
    try:
        answer = await request_list(session, dialect, url, _ANSWER_WITHIN_S, is_read=False)
        return _judged(dialect, answer)
    except HeadraceError as error:
        lasts = error.failure().kind is FailureKind.MISCONFIGURED
        text = f"endpoint {endpoint.name} cannot be asked: {censored(text_of(error))}"
        return _Seen(_Found.REFUSED if lasts else _Found.UNREACHABLE, text)
    except aiohttp.ClientHttpProxyError as error:
        text = f"endpoint {endpoint.name} cannot be reached: its proxy answers with status {error.status}"
        return _Seen(_Found.UNREACHABLE, f"{text}; check {address(dialect, url, error)}")
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, ssl.SSLError) as error:
        cause = endpoint.key_censor()(censored(text_of(error)))
        text = f"endpoint {endpoint.name} cannot be reached: {cause}; check {address(dialect, url, error)}"
        return _Seen(_Found.UNREACHABLE, f"{text}, and that this machine may connect to it")
    except (aiohttp.ClientError, OSError, TimeoutError):
        return _Seen(_Found.FINE)  # it is reachable, but slow or faulty: calls wait and are retried


def _judged(dialect: Dialect, answer: ListAnswer) -> _Seen:
    endpoint = dialect.settings
    if answer.rejects_key(dialect):
        text = f"endpoint {endpoint.name} refuses the key (status {answer.status})"
        text = f"{text}; set {endpoint.key_setting} to what it accepts, then resume the run"
        return _Seen(_Found.REFUSED, text)
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if answer.status == _OK and media_type == _HTML:
        text = f"endpoint {endpoint.name} sends a web page instead of its list of models"
        return _Seen(_Found.PAGE, f"{text}: check base_url ({endpoint.base_url})")
    return _Seen(_Found.FINE)
