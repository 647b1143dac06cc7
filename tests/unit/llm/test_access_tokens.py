"""Tokens that expire: renewed before they end, by one renewal for all requests."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import traceback

import pytest
from pydantic import ValidationError

from actors.llm.access_tokens import AccessToken, CommandToken, PythonToken, TokenCredentials
from actors.llm.credentials import CredentialsError, CredentialsUnavailableError


class Desk:
    """Gives out numbered tokens that last 1,000 s, or raises `error`. `now` is the time."""

    def __init__(self):
        self.now = 0.0
        self.asked = self.given = 0
        self.error = None
        self.lifetime_s = 1000.0
        self.credentials = TokenCredentials(self.fetch, lambda: self.now)

    def fetch(self):
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.given += 1
        return AccessToken(f"token-{self.given}", self.lifetime_s)

    async def token(self):
        headers = await self.credentials.headers("POST", "http://h/", b"")
        return headers["Authorization"].removeprefix("Bearer ")

    async def settled(self):
        """Wait until no renewal is in progress."""
        while self.credentials._renewal is not None:
            await asyncio.sleep(0)


@pytest.fixture
def desk():
    return Desk()


async def test_all_requests_share_one_token_until_it_is_renewed_ahead_of_its_end(desk):
    assert set(await asyncio.gather(*(desk.token() for _ in range(5)))) == {"token-1"}
    desk.now = 799.0
    assert await desk.token() == "token-1"
    await desk.settled()
    assert desk.asked == 1
    desk.now = 801.0
    assert await desk.token() == "token-1", "no request waits while the token is valid"
    await desk.settled()
    assert await desk.token() == "token-2"
    await desk.settled()
    assert desk.asked == 2


async def test_a_renewal_that_fails_keeps_the_valid_token_and_is_repeated_later(desk):
    assert await desk.token() == "token-1"
    desk.now, desk.error = 801.0, CredentialsUnavailableError("away")
    for at, asked in ((801.0, 2), (802.0, 2), (830.0, 2), (832.0, 3), (861.0, 3)):
        desk.now = at
        assert await desk.token() == "token-1"
        await desk.settled()
        assert desk.asked == asked
    desk.now, desk.error = 863.0, None
    await desk.token()
    await desk.settled()
    assert await desk.token() == "token-2"


async def test_without_a_valid_token_the_error_of_the_renewal_is_raised_to_every_request(desk):
    desk.error = CredentialsError("no key file")
    raised = await asyncio.gather(*(desk.token() for _ in range(3)), return_exceptions=True)
    assert [str(each) for each in raised] == ["no key file"] * 3
    desk.error = None
    assert await desk.token() == "token-1"


async def test_a_token_that_was_refused_is_renewed_for_the_next_request(desk):
    assert await desk.token() == "token-1"
    assert desk.credentials.secrets() == ("token-1",)
    sent = await desk.credentials.headers("POST", "http://h/", b"")
    desk.credentials.reject(sent)
    assert await desk.token() == "token-2"
    desk.credentials.reject(sent)
    assert await desk.token() == "token-2", "the answer to an earlier request arrived after the renewal"
    assert desk.given == 2


@pytest.mark.parametrize("lifetime_s", [5.0, 300.0])
async def test_a_token_that_has_ended_is_not_sent_however_long_its_source_is_away(desk, lifetime_s):
    desk.lifetime_s = lifetime_s
    assert await desk.token() == "token-1"
    desk.now, desk.error = 0.9 * lifetime_s, CredentialsUnavailableError("away")
    assert await desk.token() == "token-1"
    await desk.settled()
    for late_s in (0.0, 1.0, 29.0, 600.0):
        desk.now = lifetime_s + late_s
        with pytest.raises(CredentialsUnavailableError, match="away"):
            await desk.token()
    desk.error = None
    assert await desk.token() == "token-2"


@pytest.mark.parametrize("lifetime_s", [float("nan"), -1.0, 0.0])
async def test_a_token_without_a_lifetime_is_used_once(desk, lifetime_s):
    desk.lifetime_s = lifetime_s
    assert [await desk.token(), await desk.token()] == ["token-1", "token-2"]


@pytest.mark.parametrize("value", ["", "two words", "line\nbreak", "ümlaut"])
async def test_a_token_that_cannot_be_sent_is_refused_and_not_quoted(value):
    credentials = TokenCredentials(lambda: AccessToken(value, 60.0))
    with pytest.raises(CredentialsError, match="not printable ASCII") as raised:
        await credentials.headers("POST", "http://h/", b"")
    assert not value or value not in str(raised.value)


def give(value="abc", lifetime_s=60):
    if value == "exit":
        raise SystemExit("no network")
    if value == "raise":
        raise OSError("no network")
    if value == "text":
        return "secret-token"
    return value, lifetime_s


@pytest.mark.parametrize(
    ("target", "options", "kind", "said"),
    [
        ("nowhere_at_all:f", {}, CredentialsError, "has no module 'nowhere_at_all'"),
        (f"{__name__}:missing", {}, CredentialsError, "missing"),
        (f"{__name__}:give", {"other": 1}, CredentialsError, "unexpected keyword"),
        (f"{__name__}:give", {"lifetime_s": None}, CredentialsError, "must return the token and the seconds"),
        (f"{__name__}:give", {"value": 60, "lifetime_s": "secret-token"}, CredentialsError, "must return"),
        (f"{__name__}:give", {"value": "text"}, CredentialsError, "must return the token"),
        (f"{__name__}:give", {"value": "raise"}, CredentialsUnavailableError, "no network"),
        (f"{__name__}:give", {"value": "exit"}, CredentialsUnavailableError, "no network"),
    ],
)
def test_a_function_that_gives_no_token_is_named_with_the_cause(target, options, kind, said):
    with pytest.raises(kind, match=said) as raised:
        PythonToken(kind="python", target=target, options=options).fetch()
    assert "secret-token" not in "".join(traceback.format_exception(raised.value)).replace(
        '"secret-token"', ""
    )


def test_a_function_gives_a_token_and_its_lifetime():
    assert PythonToken(kind="python", target=f"{__name__}:give").fetch() == AccessToken("abc", 60.0)


def test_a_function_may_be_a_method_of_a_class_in_the_working_directory(tmp_path, monkeypatch):
    text = "class Desk:\n    @staticmethod\n    def give():\n        return 'abc', 60\n"
    (tmp_path / "desk_of_tokens.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    token = PythonToken(kind="python", target="desk_of_tokens:Desk.give").fetch()
    assert token == AccessToken("abc", 60.0)


@pytest.mark.parametrize("target", ["module", "a..b:c", "a:b.", "1:2"])
def test_the_target_of_a_token_is_an_import_path(target):
    with pytest.raises(ValidationError):
        PythonToken(kind="python", target=target)


def test_the_cause_of_a_command_that_fails_is_cut_between_words():
    ran = subprocess.CompletedProcess((), 1, b"", b"bad key sk-" + b"a" * 280 + b" was refused by the server")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("actors.llm.access_tokens._ran", lambda *_: ran)
        with pytest.raises(CredentialsUnavailableError, match=r"status 1: … was refused by the server$"):
            CommandToken(kind="command", command=("login",)).fetch()


LONG_ERROR = "head -c 200000 /dev/zero | tr '\\0' ' ' >&2; echo the end >&2; exit 3"


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ("yes", CredentialsError, "sh printed too much"),
        ("yes >&2", CredentialsUnavailableError, "took over 0 s"),
        (
            "head -c 200000 /dev/zero | tr '\\0' ' ' >&2; echo the end >&2; exit 3",
            CredentialsUnavailableError,
            "status 3: the end",
        ),
        ("sleep 60", CredentialsUnavailableError, "took over 0 s"),
    ],
)
def test_the_output_of_a_command_and_its_time_are_bounded(monkeypatch, script, error, says):
    monkeypatch.setattr("actors.llm.access_tokens._COMMAND_S", 0.1 if "took" in says else 30.0)
    with pytest.raises(error, match=says):
        CommandToken(kind="command", command=("sh", "-c", script)).fetch()


def test_a_command_prints_a_token_beside_what_it_says():
    command = ("sh", "-c", "echo hello >&2; printf 'tok'; printf 'en\\n'")
    assert CommandToken(kind="command", command=command).fetch() == AccessToken("token", 300.0)


async def test_a_source_that_hangs_fails_the_renewal_in_time_and_the_next_one_has_another_thread(monkeypatch):
    monkeypatch.setattr("actors.llm.access_tokens._FETCH_S", 0.01)
    released, hangs = threading.Event(), iter([True, False])

    def fetch():
        if next(hangs):
            released.wait(10)
        return AccessToken("late", 60.0)

    credentials = TokenCredentials(fetch)
    with pytest.raises(CredentialsUnavailableError, match="no token within"):
        await credentials.headers("POST", "http://h/", b"")
    monkeypatch.setattr("actors.llm.access_tokens._FETCH_S", 10.0)
    assert await credentials.headers("POST", "http://h/", b"") == {"Authorization": "Bearer late"}
    released.set()
