"""Whether a batch begins: what is said of each endpoint decides."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from unittest.mock import AsyncMock, Mock

import aiohttp
import pytest
from pydantic import SecretStr

from actors.core.censor import Censor
from actors.llm.access_tokens import CommandToken
from actors.llm.dialects.registry import dialect_of
from actors.llm.endpoint import EndpointSettings
from actors.runtime import log_guard
from cluster.checks import endpoints as doctor_endpoints
from cluster.checks import preflight as module
from cluster.checks.model_list import ListAnswer, request_list
from cluster.checks.preflight import PreflightError, _Found, _judged, _Seen, preflight

A, B = (EndpointSettings(name=name, base_url=f"http://{name}/v1", model="m") for name in "ab")
FINE, REFUSED = _Seen(_Found.FINE), _Seen(_Found.REFUSED, "it refuses the key")
WRONG_KEY = b'{"error": {"code": 400, "message": "x", "details": [{"reason": "API_KEY_INVALID"}]}}'
AWAY = _Seen(_Found.UNREACHABLE, "it cannot be reached")

PROXY = SecretStr("http://me:secret@proxy.test:3128")


def judged(endpoint, status, body=b"{}", media_type="application/json"):
    return _judged(dialect_of(endpoint), ListAnswer(status, {"content-type": media_type}, body))


@pytest.fixture
def looks(monkeypatch):
    """Return by endpoint what is seen, one look after the other; the last stays."""
    seen: dict[str, list[_Seen]] = {}

    async def look(session, endpoint):
        script = seen[endpoint.name]
        return script.pop(0) if len(script) > 1 else script[0]

    monkeypatch.setattr(module, "_look", look)
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    return seen


async def test_endpoints_that_answer_begin_a_run_without_a_word(looks):
    looks |= {"a": [FINE], "b": [FINE]}
    said: list[str] = []
    await preflight([A, B], said.append)
    assert said == []


async def test_a_model_without_a_price_is_named_before_the_run(looks):
    unknown, listed = (
        EndpointSettings(name=name, base_url="https://api.openai.com/v1", model=model)
        for name, model in (("u", "no-such-model"), ("l", "gpt-5-mini"))
    )
    looks |= {"u": [FINE], "l": [FINE], "a": [FINE]}
    listed.look_up_price()
    said: list[str] = []
    await preflight([A, listed, unknown], said.append)
    (text,) = said
    assert text.startswith("no price is known for u (model no-such-model); set it")
    assert "--set 'llm.endpoints.2.price=" in text


async def test_a_refused_key_ends_the_start_also_beside_an_endpoint_that_answers(looks):
    looks |= {"a": [FINE], "b": [REFUSED]}
    with pytest.raises(PreflightError, match="no task was started:\\nit refuses the key"):
        await preflight([A, B], pytest.fail)


async def test_a_run_that_can_reach_no_endpoint_is_not_begun(looks):
    looks |= {"a": [AWAY], "b": [AWAY]}
    with pytest.raises(PreflightError, match="it cannot be reached\\nit cannot be reached"):
        await preflight([A, B], pytest.fail, within_s=0.01)


async def test_an_endpoint_that_is_away_beside_another_is_only_told(looks):
    looks |= {"a": [AWAY], "b": [FINE]}
    said: list[str] = []
    await preflight([A, B], said.append, within_s=0.01)
    assert said == ["it cannot be reached. The run starts with the other endpoints"]


async def test_a_web_page_instead_of_the_models_is_only_announced(looks):
    """Some gateways serve no list of models, and calls at another path."""
    looks["a"] = [judged(A, 200, media_type="text/html; charset=utf-8")]
    said: list[str] = []
    await preflight([A], said.append)
    assert said == ["endpoint a sends a web page instead of its list of models: check base_url (http://a/v1)"]
    assert judged(A, 200) == judged(A, 502, media_type="text/html") == FINE


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (401, b"", _Found.REFUSED),
        (400, WRONG_KEY, _Found.REFUSED),
        (403, WRONG_KEY, _Found.REFUSED),
        (403, b"", _Found.FINE),  # some keys permit calls but not the list of models
        (400, b"", _Found.FINE),
        (500, WRONG_KEY, _Found.FINE),
    ],
)
def test_a_rejected_key_is_known_by_its_status_or_its_code(status, body, found):
    assert judged(A.model_copy(update={"dialect": "gemini"}), status, body).found is found


def test_a_rejected_token_names_the_setting_that_gave_it():
    keys = {"name": "a", "base_url": "http://a/v1", "model": "m"}
    endpoint = EndpointSettings.model_validate({**keys, "credentials": {"kind": "command", "command": ["x"]}})
    assert "set credentials to what it accepts" in judged(endpoint, 401).text


async def test_an_endpoint_that_is_away_for_a_moment_is_waited_for(looks):
    looks["a"] = [AWAY, AWAY, FINE]
    await preflight([A], pytest.fail, within_s=60.0)


async def test_a_step_that_can_reach_none_of_its_endpoints_ends_the_start(looks):
    looks |= {"a": [AWAY], "b": [FINE]}
    with pytest.raises(PreflightError, match="step verdict can use no other endpoint"):
        await preflight([A, B], pytest.fail, within_s=0.01, steps={"triage": (), "verdict": ("a",)})

    looks |= {"a": [FINE], "b": [AWAY]}
    said: list[str] = []
    await preflight([A, B], said.append, within_s=0.01, steps={"triage": (), "verdict": ("a",)})
    assert said == ["it cannot be reached. The run starts with the other endpoints"]


async def test_an_endpoint_that_is_waited_for_is_announced_with_the_cause(looks):
    looks |= {"a": [AWAY, *[AWAY] * 50, FINE], "b": [FINE]}
    said: list[str] = []
    await preflight([A, B], said.append, within_s=60.0, silent_s=0.0)
    assert said == ["it cannot be reached. Trying again for up to 60 s"]


async def test_an_endpoint_that_has_not_answered_yet_is_announced(monkeypatch):
    said: list[str] = []
    answered = asyncio.Event()

    async def look(session, endpoint):
        await answered.wait()
        return FINE

    def say(text):
        said.append(text)
        answered.set()

    monkeypatch.setattr(module, "_look", look)
    await preflight([A], say, silent_s=0.0)
    assert said == ["waiting for endpoint a (http://a/v1), for up to 5 s"]


async def test_without_endpoints_there_is_nothing_to_look_at():
    await preflight([], pytest.fail)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("e", "cannot connect to the endpoint with e: refused"),
        ("none", "cannot connect to the endpoint with none: refused"),
        ("sk-canary-1", "cannot connect to the endpoint with ***: refused"),
    ],
)
async def test_what_an_endpoint_that_is_away_is_said_to_be_holds_no_key_and_all_of_its_words(key, said):
    """A key of a letter was cut out of the words."""

    class Away:
        def get(self, url, **options):
            raise aiohttp.ConnectionTimeoutError(f"cannot connect to the endpoint with {key}: refused")

    seen = await module._look(Away(), A.model_copy(update={"api_key": SecretStr(key)}))
    assert seen.found is _Found.UNREACHABLE
    assert said in seen.text
    assert "check base_url (http://a/v1), and that this machine may connect to it" in seen.text


async def test_what_the_command_of_a_token_says_is_stored_and_shown_without_the_secrets_in_it(monkeypatch):
    monkeypatch.setattr(log_guard, "_GUARD", guard := log_guard.LogGuard())
    guard.censor = Censor([("s-ecret", "***")])
    fails = ("sh", "-c", "echo no such user: s-ecret >&2; exit 3")
    endpoint = A.model_copy(update={"credentials": CommandToken(kind="command", command=fails)})
    seen = await module._look(None, endpoint)
    assert seen.text.endswith("ended with status 3: no such user: ***")


@pytest.mark.parametrize(
    ("status", "is_read", "body"),
    [(200, True, b'{"data": []}'), (200, False, b""), (401, False, b'{"data": []}')],
)
async def test_a_list_of_models_or_an_error_that_arrives_in_pieces_is_read_to_its_end(status, is_read, body):
    loop = asyncio.get_running_loop()
    content = aiohttp.StreamReader(Mock(), 1 << 16, loop=loop)
    content.feed_data(b'{"data": ')

    class Session:
        @contextlib.asynccontextmanager
        async def get(self, url, **options):
            loop.call_soon(content.feed_data, b"[]}")
            loop.call_soon(content.feed_eof)
            yield SimpleNamespace(status=status, headers={"Date": "now"}, content=content)

    answer = await request_list(Session(), dialect_of(A), "http://a/v1/models", 5.0, is_read=is_read)
    assert answer == ListAnswer(status, {"date": "now"}, body)


@pytest.mark.parametrize(
    ("kind", "proxy", "setting"),
    [
        (aiohttp.ClientConnectorError, None, "base_url (http://a/v1)"),
        (aiohttp.ClientProxyConnectionError, PROXY, "llm.endpoints.a.proxy (proxy.test:3128)"),
        (
            aiohttp.ConnectionTimeoutError,
            PROXY,
            "llm.endpoints.a.proxy (proxy.test:3128) and base_url (http://a/v1)",
        ),
    ],
)
async def test_the_setting_that_leads_to_an_endpoint_that_is_not_reached_is_named(
    monkeypatch, kind, proxy, setting
):
    """A proxy that was down was blamed on base_url."""
    error = kind("away") if issubclass(kind, TimeoutError) else kind(Mock(ssl=True), OSError(111, "refused"))
    endpoint = A.model_copy(update={"proxy": proxy})
    for asks in (module, doctor_endpoints):
        monkeypatch.setattr(asks, "request_list", AsyncMock(side_effect=error))
    seen = await module._look(Mock(), endpoint)
    [finding] = await doctor_endpoints._check(Mock(), endpoint, lambda: 0.0)
    advice = f"check {setting}, and that this machine may connect to it"
    assert seen.text.endswith(f"; {advice}")
    assert finding.advice == advice
    assert "secret" not in seen.text + finding.found
