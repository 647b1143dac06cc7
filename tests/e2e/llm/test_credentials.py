"""What an endpoint does with credentials that authorize each request, and with those that cannot."""

from __future__ import annotations

import asyncio

import pytest
from yarl import URL

from actors.core.errors import Blame, FailureKind
from actors.llm.credentials import CredentialsError, CredentialsUnavailableError
from actors.llm.dialects.chat import ChatDialect
from actors.llm.endpoint import EndpointSettings
from actors.llm.http_endpoint import HttpEndpoint
from tests.e2e.support.scripted_server import FORMS, KEY, ask, completion


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
