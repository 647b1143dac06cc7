"""Checks before a batch that its endpoints are reachable and accept the key.

Rule 1: Only permanent faults end the start: a refused key (401), or no connection to any endpoint (DNS,
    refused, TLS). The dispatcher handles all others.
Rule 2: It is free of charge: it requests the list of models, as `doctor` does.
"""

from __future__ import annotations

import asyncio
import enum
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import aiohttp

from actors.core.errors import Blame, HeadraceError, text_of
from actors.llm.endpoint import EndpointSettings
from cluster.checks.endpoints import models_url

_WITHIN_S = 10.0  # for all attempts at all endpoints
_ANSWER_WITHIN_S = 5.0
_CONNECT_WITHIN_S = 4.0
_PAUSE_S = 1.0  # an endpoint that restarts is unreachable for a moment
_REFUSED = 401  # not 403: some keys permit calls but not the list of models


class PreflightError(HeadraceError):
    """No endpoint can answer calls. The message names each endpoint and its fault."""

    blame: ClassVar[Blame] = Blame.ENDPOINT


class _Found(enum.Enum):
    FINE = enum.auto()
    REFUSED = enum.auto()
    UNREACHABLE = enum.auto()


@dataclass(frozen=True, slots=True)
class _Seen:
    found: _Found
    text: str = ""


async def preflight(
    endpoints: Sequence[EndpointSettings], say: Callable[[str], None], within_s: float = _WITHIN_S
) -> None:
    """Check all endpoints. Raises `PreflightError`; faults that do not end the start go to `say`."""
    session = aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=_ANSWER_WITHIN_S, sock_connect=_CONNECT_WITHIN_S),
    )
    async with session:
        seen = await asyncio.gather(*(_reached(session, each, within_s) for each in endpoints))
    refused = [each.text for each in seen if each.found is _Found.REFUSED]
    unreachable = [each.text for each in seen if each.found is _Found.UNREACHABLE]
    if refused or (unreachable and len(unreachable) == len(seen)):
        raise PreflightError("\n".join(["no task was started:", *refused, *unreachable]))
    for text in unreachable:
        say(f"{text}. The run starts with the other endpoints")


async def _reached(session: aiohttp.ClientSession, endpoint: EndpointSettings, within_s: float) -> _Seen:
    """Return the last result. An unreachable endpoint is tried again until `within_s` has passed."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while True:
        seen = await _look(session, endpoint)
        if seen.found is not _Found.UNREACHABLE or loop.time() + _PAUSE_S > until:
            return seen
        await asyncio.sleep(_PAUSE_S)


async def _look(session: aiohttp.ClientSession, endpoint: EndpointSettings) -> _Seen:
    key, url = endpoint.api_key.get_secret_value(), models_url(endpoint)
    headers = {"Authorization": f"Bearer {key}"}
    try:
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            status = response.status
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, ssl.SSLError) as error:
        cause = endpoint.key_censor()(text_of(error))
        text = f"endpoint {endpoint.name} cannot be reached: {cause}; check base_url ({endpoint.base_url})"
        return _Seen(_Found.UNREACHABLE, f"{text}, and that this machine may connect to it")
    except (aiohttp.ClientError, OSError, TimeoutError):
        return _Seen(_Found.FINE)  # it is reachable, but slow or faulty: calls wait and are retried
    if status == _REFUSED:
        text = f"endpoint {endpoint.name} refuses the key (status {status})"
        return _Seen(_Found.REFUSED, f"{text}; set api_key to a key that it accepts, then resume the run")
    return _Seen(_Found.FINE)
