"""Checks the endpoints with a request for their list of models.

The list shows whether an endpoint is reachable, accepts the key, and has the model. It is free of charge; no
call to a model is made.
"""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Callable, Iterator

import aiohttp
import orjson

from actors.core.errors import HeadraceError, text_of
from actors.core.messages.values import Json
from actors.llm.dialects.dialect import Dialect
from actors.llm.dialects.registry import dialect_of
from actors.llm.endpoint import EndpointSettings
from actors.llm.requests.head import authorized
from actors.llm.translate import from_connection_error
from cluster.checks.doctor import Finding, Level
from cluster.checks.model_list import ListAnswer, address, list_url, request_list
from cluster.checks.recognized import price_in_words, recognized
from cluster.config.model import HeadraceConfig

_FORBIDDEN = 403
_WITHIN_S = 10.0
_MOST_SKEW_S = 60.0
_NAMED = 5


async def check_endpoints(
    config: HeadraceConfig, wall_clock: Callable[[], float] = time.time
) -> list[Finding]:
    """Check all endpoints concurrently."""
    if not config.llm.endpoints:
        return [Finding("endpoint", Level.OK, "none is configured: the simulator answers, at no cost")]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session:
        asked = [_check(session, endpoint, wall_clock) for endpoint in config.llm.endpoints]
        found = [check for checks in await asyncio.gather(*asked) for check in checks]
    prices = {endpoint.name: price_in_words(endpoint) for endpoint in config.llm.endpoints}
    known = [
        Finding("endpoint", Level.OK, f"{name}: {text}, {prices[name]}")
        for name, text in recognized(config).items()
    ]
    return [*known, *found]


async def _check(
    session: aiohttp.ClientSession, endpoint: EndpointSettings, wall_clock: Callable[[], float]
) -> list[Finding]:
    dialect = dialect_of(endpoint)
    listed = list_url(dialect)
    # Where there is no list of models, any answer to a GET shows that the endpoint is reachable.
    url = listed or endpoint.base_url
    try:
        if dialect.uses_library:
            if dialect.credentials is not None:
                await authorized(dialect.credentials, "GET", url, b"", _WITHIN_S)
            return [_unlisted(endpoint)]
        answer = await request_list(session, dialect, url, _WITHIN_S)
    except HeadraceError as error:
        text = f"{endpoint.name}: no credentials: {text_of(error)}"
        return [Finding("endpoint", Level.FAIL, text, "check credentials of this endpoint")]
    except TimeoutError as error:
        text = f"{endpoint.name}: no answer from {url} within {_WITHIN_S:.0f} s"
        return [_unreached(dialect, url, error, text)]
    except (aiohttp.ClientError, OSError) as error:
        failure = from_connection_error(error, sent=False, hide=endpoint.key_censor())
        return [_unreached(dialect, url, error, f"{endpoint.name}: {failure.message} ({url})")]
    is_unlisted = listed is None and not answer.rejects_key(dialect)
    found = _unlisted(endpoint) if is_unlisted else _judged(dialect, url, answer)
    return [found, *_clock(endpoint, answer, wall_clock())]


def _unlisted(endpoint: EndpointSettings) -> Finding:
    found = f"{endpoint.name}: it has no list of models; only a call shows whether it answers"
    return Finding("endpoint", Level.OK, found)


def _unreached(dialect: Dialect, url: str, error: Exception, text: str) -> Finding:
    advice = f"check {address(dialect, url, error)}, and that this machine may connect to it"
    return Finding("endpoint", Level.FAIL, text, advice)


def _judged(dialect: Dialect, url: str, answer: ListAnswer) -> Finding:
    endpoint, status = dialect.settings, answer.status
    name = endpoint.name
    if answer.rejects_key(dialect):
        found = f"{name}: it refuses the key (status {status})"
        advice = f"set {endpoint.key_setting} to what this endpoint accepts"
        return Finding("endpoint", Level.FAIL, found, advice)
    if status == _FORBIDDEN:
        found = f"{name}: the key does not permit the list of models (status {status})"
        return Finding(
            "endpoint", Level.WARN, found, f"check {endpoint.key_setting}, unless the key is for calls only"
        )
    if status == 429 or status >= 500:
        found = f"{name}: it answers, but with an error for now (status {status})"
        return Finding("endpoint", Level.WARN, found, "check again later; a run waits and retries")
    if status != 200:
        found = f"{name}: it answers, but has no list of models (status {status} at {url})"
        return Finding(
            "endpoint",
            Level.WARN,
            found,
            "check base_url in the endpoint's documentation: it often ends in /v1",
        )
    return _listed(dialect, url, answer.body)


def _listed(dialect: Dialect, url: str, body: bytes) -> Finding:
    endpoint, models = dialect.settings, _models(body)
    name = endpoint.name
    if models is None:
        found = f"{name}: its answer at {url} is not a list of models"
        return Finding("endpoint", Level.WARN, found, "check base_url")
    lists_model = dialect.lists_model
    if lists_model and endpoint.model not in models:
        known = ", ".join(models[:_NAMED]) or "none"
        found = f"{name}: it accepts the key but does not list model {endpoint.model}; it lists {known}"
        return Finding("endpoint", Level.WARN, found, "set model to one that it lists")
    has = f" and has model {endpoint.model}" if lists_model else ""
    return Finding("endpoint", Level.OK, f"{name}: it accepts the key{has}")


def _models(body: bytes) -> list[str] | None:
    try:
        document: Json = orjson.loads(body)
        if "models" in document:  # of Google
            return [str(model["name"]).removeprefix("models/") for model in document["models"]]
        return [str(model["id"]) for model in document["data"]]
    except (ValueError, KeyError, TypeError):
        return None


def _clock(endpoint: EndpointSettings, answer: ListAnswer, now: float) -> Iterator[Finding]:
    """Compare the clocks: certificates and rate limits depend on the time of day."""
    try:
        theirs = email.utils.parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return  # the answer has no usable Date header
    skew = abs(now - theirs)
    if skew > _MOST_SKEW_S:
        found = f"it differs from that of {endpoint.name} by {skew:,.0f} s"
        yield Finding(
            "clock", Level.WARN, found, "set this machine's clock: certificates and rate limits depend on it"
        )
    else:
        yield Finding("clock", Level.OK, f"it agrees with that of {endpoint.name}")
