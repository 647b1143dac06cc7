"""Signatures of AWS, and where their keys come from: found once, renewed before they end, found again."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import hmac
import sys
import threading
from urllib.parse import urlsplit

import pytest
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import MetadataRetrievalError
from botocore.session import Session

from actors.core.errors import FailureKind
from actors.llm.aws_credentials import AwsCredentials
from actors.llm.credentials import CredentialsError, CredentialsUnavailableError

HOST = "https://bedrock-runtime.eu-west-1.amazonaws.com"
URL = f"{HOST}/model/anthropic.claude-v2%3A1/converse"
BODY = b'{"a": 1}'
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # noqa: S105 - of the documentation of AWS


@pytest.fixture(autouse=True)
def keys_of_the_environment(monkeypatch):
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere/config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def signature(headers, url, body, region):
    """Return the signature of a POST by the steps of the AWS General Reference, "Signature Version 4"."""
    parts, date = urlsplit(url), headers["X-Amz-Date"]
    names = sorted(
        name for name in ("host", "x-amz-date", "x-amz-security-token") if _value(headers, name, parts)
    )
    listed = "".join(f"{name}:{_value(headers, name, parts)}\n" for name in names)
    path = parts.path.replace("%", "%25")
    payload = hashlib.sha256(body).hexdigest()
    request = "\n".join(("POST", path, parts.query, listed, ";".join(names), payload))
    scope = f"{date[:8]}/{region}/bedrock/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", date, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{SECRET}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


def _value(headers, name, parts):
    return (
        parts.netloc if name == "host" else {key.lower(): value for key, value in headers.items()}.get(name)
    )


@pytest.mark.parametrize("token", [None, "session-token"])
async def test_a_request_is_signed_with_its_url_and_its_body(monkeypatch, token):
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    credentials = AwsCredentials(HOST)

    headers = await credentials.headers("POST", URL, BODY)

    assert headers["Authorization"].endswith(f"Signature={signature(headers, URL, BODY, 'eu-west-1')}")
    assert "/eu-west-1/bedrock/aws4_request" in headers["Authorization"]
    assert headers.get("X-Amz-Security-Token") == token
    assert credentials.secrets() == ((token,) if token else ())
    assert SECRET not in str(headers)


async def test_the_region_is_that_of_the_environment_where_the_url_names_none(monkeypatch):
    with pytest.raises(CredentialsError, match="set AWS_REGION"):
        await AwsCredentials("https://proxy.internal").headers("POST", "https://proxy.internal/x", b"")

    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    headers = await AwsCredentials("https://proxy.internal").headers("POST", "https://proxy.internal/x", b"")
    assert "/ap-south-1/" in headers["Authorization"]


async def test_credentials_that_are_not_there_are_an_error_with_the_remedy_and_are_found_later(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    credentials = AwsCredentials(HOST)
    with pytest.raises(CredentialsError, match="set AWS_PROFILE, or AWS_ACCESS_KEY_ID") as caught:
        await credentials.headers("POST", URL, b"")
    assert caught.value.failure().kind is FailureKind.MISCONFIGURED

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
    assert "AKIDOTHER" in (await credentials.headers("POST", URL, b""))["Authorization"]


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
async def test_a_line_feed_in_a_credential_is_an_error_that_names_the_variable(monkeypatch, name):
    monkeypatch.setenv(name, "secret\nvalue")
    with pytest.raises(CredentialsError, match=f"line feed .* correct {name}") as caught:
        await AwsCredentials(HOST).headers("POST", URL, b"")
    assert "secret\nvalue" not in str(caught.value)


async def test_rejected_credentials_are_found_again(monkeypatch):
    credentials = AwsCredentials(HOST)
    await credentials.headers("POST", URL, b"")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDNEWER")
    sent = await credentials.headers("POST", URL, b"")
    assert "AKIDEXAMPLE" in sent["Authorization"]

    credentials.reject(sent)
    assert "AKIDNEWER" in (await credentials.headers("POST", URL, b""))["Authorization"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDLATER")
    credentials.reject(sent)  # the answer to an earlier request
    assert "AKIDNEWER" in (await credentials.headers("POST", URL, b""))["Authorization"]


async def test_an_unknown_profile_is_an_error_and_a_service_that_fails_is_a_wait(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(CredentialsError, match=r"nobody.*check AWS_PROFILE"):
        await AwsCredentials(HOST).headers("POST", URL, b"")

    def fail(self):
        raise MetadataRetrievalError(error_msg="it is away")

    monkeypatch.setattr(Session, "get_credentials", fail)
    with pytest.raises(CredentialsUnavailableError, match="it is away"):
        await AwsCredentials(HOST).headers("POST", URL, b"")


async def test_without_botocore_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(CredentialsError, match=r"pip install 'headrace\[bedrock\]'"):
        await AwsCredentials(HOST).headers("POST", URL, b"")


@pytest.mark.parametrize("minutes", [60, 12])
async def test_requests_share_one_renewal_and_do_not_wait_for_it_while_the_keys_are_valid(
    monkeypatch, minutes
):
    fetched, gate = [], threading.Event()
    gate.set()

    def fetch():
        fetched.append(1)
        gate.wait(10)
        ends = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
        return {"access_key": "a", "secret_key": "s", "token": "t", "expiry_time": ends.isoformat()}

    made = RefreshableCredentials.create_from_metadata
    monkeypatch.setattr(Session, "get_credentials", lambda _: made(fetch(), fetch, "x"))
    credentials = AwsCredentials(HOST)

    async def ask():
        await asyncio.gather(*(credentials.headers("POST", URL, b"") for _ in range(5)))

    await ask()
    before = len(fetched)
    gate.clear()
    await ask()  # does not wait for the gate
    await asyncio.to_thread(lambda: None)  # the thread of a renewal has begun before this one
    assert len(fetched) - before == (0 if minutes == 60 else 1)
    gate.set()
