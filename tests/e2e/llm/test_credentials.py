"""What an endpoint does with credentials that authorize each request, and with those that cannot."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from yarl import URL

from actors.core.errors import Blame, FailureKind
from actors.llm.access_tokens import GoogleToken
from actors.llm.credentials import CredentialsError, CredentialsUnavailableError
from actors.llm.dialects.chat import ChatDialect
from actors.llm.endpoint import EndpointSettings
from actors.llm.http_endpoint import HttpEndpoint
from tests.e2e.support.scripted_server import FORMS, KEY, ask, completion, open_endpoint


class Badge:
    """Credentials that keep what they are asked, and answer it with a header, an error, or never."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    async def headers(self, method, url, body):
        self.asked.append((method, url, body))
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"Authorization": self.answer}

    def secrets(self):
        return (self.answer,) if isinstance(self.answer, str) else ()

    def reject(self, headers):
        self.rejected = headers


@pytest.fixture
async def authorized_by(server):
    opened = []

    def make(badge):
        class Authorized(ChatDialect):
            credentials = badge

        settings = EndpointSettings(name="main", base_url=server.url, model="m", api_key=KEY)
        opened.append(HttpEndpoint(Authorized(settings), FORMS))
        return opened[-1]

    yield make
    for endpoint in opened:
        await endpoint.close()


async def test_credentials_authorize_the_bytes_and_the_url_that_are_sent(server, authorized_by):
    badge = Badge("Signed abc")
    server.answer(completion())

    ended = await ask(authorized_by(badge))

    assert ended.values == {"x": 0.5}
    [(path, headers, body)] = server.requests
    [(method, url, signed)] = badge.asked
    assert (method, URL(url).path, signed) == ("POST", path, body)
    assert headers["Authorization"] == "Signed abc"
    assert KEY not in str(headers)


@pytest.mark.parametrize(
    ("error", "kind", "blame"),
    [
        (CredentialsError(f"run aws sso login, not {KEY}"), FailureKind.MISCONFIGURED, Blame.CONFIG),
        (CredentialsUnavailableError("the metadata server is away"), FailureKind.TRANSIENT, Blame.ENDPOINT),
        (None, FailureKind.TRANSIENT, Blame.ENDPOINT),
    ],
)
async def test_a_request_without_credentials_is_not_sent_and_costs_nothing(
    server, authorized_by, error, kind, blame
):
    ended = await ask(authorized_by(Badge(error)), timeout_s=0.05)

    assert (ended.error.kind, ended.error.blame, ended.sent) == (kind, blame, False)
    assert ended.error.message.startswith("endpoint main: ")
    assert str(error or "no credentials within 0.05 s").partition(", not")[0] in ended.error.message
    assert server.requests == []


async def test_a_token_that_is_replaced_before_the_answer_arrives_is_not_quoted(server, authorized_by):
    class Renewed(Badge):
        async def headers(self, method, url, body):
            asyncio.get_running_loop().call_soon(setattr, self, "answer", "new-token")
            return await super().headers(method, url, body)

    badge = Renewed("old-token")
    server.answer(b'{"error": {"message": "bad token old-token"}}', 400)
    refused = await ask(authorized_by(badge))
    assert badge.secrets() == ("new-token",)
    assert "bad token ***" in refused.error.message


# ---- tokens ----------------------------------------------------------------------------------------------


def printing(text, status=0):
    script = f"import sys; print({text!r}); print('why', file=sys.stderr); sys.exit({status})"
    return [sys.executable, "-c", script]


@pytest.mark.parametrize(
    "printed", ["tok-1", '{"access_token": "tok-1", "expires_in": 90}', '{"accessToken":"tok-1"}']
)
async def test_the_token_that_a_command_prints_is_sent_in_place_of_the_key(server, printed):
    server.answer(completion())
    given = {"kind": "command", "command": printing(printed)}
    async with open_endpoint(server.url, credentials=given) as endpoint:
        assert (await ask(endpoint)).values == {"x": 0.5}
    assert server.requests[0][1]["Authorization"] == "Bearer tok-1"


@pytest.mark.parametrize(
    ("command", "kind", "said"),
    [
        (printing("x", 3), FailureKind.TRANSIENT, "ended with status 3: why"),
        (printing(""), FailureKind.MISCONFIGURED, "printed nothing"),
        (printing('{"token": 3}'), FailureKind.MISCONFIGURED, "JSON without access_token"),
        (["no-such-command-here"], FailureKind.MISCONFIGURED, "no-such-command-here is not installed"),
    ],
)
async def test_a_command_without_a_token_fails_the_attempt_unsent(server, command, kind, said):
    async with open_endpoint(server.url, credentials={"kind": "command", "command": command}) as endpoint:
        ended = await ask(endpoint)
    assert (ended.error.kind, ended.sent) == (kind, False)
    assert said in ended.error.message
    assert server.requests == []


async def test_a_refused_token_is_renewed_and_never_quoted(server, tmp_path):
    count = tmp_path / "count"
    script = (
        f"p=open({str(count)!r}, 'a+'); p.write('x'); p.seek(0); print('secret-token-%d' % len(p.read()))"
    )
    given = {"kind": "command", "command": [sys.executable, "-c", script]}
    async with open_endpoint(server.url, credentials=given) as endpoint:
        server.answer(b'{"error": {"message": "bad token secret-token-1"}}', 401)
        refused = await ask(endpoint)
        server.answer(completion())
        assert (await ask(endpoint)).values == {"x": 0.5}
    assert "secret-token" not in refused.error.message
    assert server.requests[1][1]["Authorization"] == "Bearer secret-token-2"


async def test_a_service_account_of_google_gets_its_token_from_the_address_in_its_key(
    server, tmp_path, monkeypatch
):
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "client_email": "me@project.test",
        "private_key": pem.decode(),
        "token_uri": server.url + "/token",
    }
    (tmp_path / "key.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    server.answer(b'{"access_token": "ya29.google", "expires_in": 3600}', Content_Type="application/json")
    token = await asyncio.to_thread(GoogleToken(kind="google").fetch)
    assert token.value == "ya29.google"
    assert 3500 < token.lifetime_s <= 3600
