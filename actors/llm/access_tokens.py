"""Access tokens that expire: where they come from, and their renewal before they end.

Rule 1: a request never waits for a renewal while the token in use is valid. A token is renewed when a fifth
    of its lifetime is left, or five minutes if that is less.
Rule 2: all requests share one renewal. One that failed is not repeated at once while the token is valid.
    A token that has ended is not sent: requests wait for a renewal, and fail with its error.
Rule 3: nothing that gives out tokens runs on the event loop: a command and a library run on a thread. What
    hangs there fails the renewal in time, and does not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib
import json
import logging
import os
import re
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from actors.core.errors import ConfigError, text_of
from actors.core.messages.values import Json
from actors.llm.credentials import CredentialsError, CredentialsUnavailableError
from actors.runtime.extras import advice
from actors.runtime.threads import SourceThreads
from actors.runtime.user_modules import IMPORT_PATH, imported

_log = logging.getLogger(__name__)

_RENEW_SHARE, _RENEW_S = 0.2, 300.0  # what is left of a lifetime when the token is renewed: the smaller one
_AGAIN_S = 30.0  # after a renewal that failed
_COMMAND_S = 60.0
_FETCH_S = 90.0  # for one renewal, by any means
_THREADS = 2  # a function that hangs keeps one of them
_MOST_BYTES = 64 << 10
_MOST_LIFETIME_S = 86_400.0
_UNKNOWN_S = 300.0  # the lifetime of a token that does not tell it
_TOKEN = re.compile(r"[!-~]+")
_SAID_CHARACTERS = 300
_WANTED = "it must return the token and the seconds for which it is valid"


class AccessToken(Struct, frozen=True):
    """A token and the seconds for which it is valid."""

    value: str
    lifetime_s: float

    def __repr__(self) -> str:
        return f"<AccessToken for {self.lifetime_s:.0f} s>"


class _TokenKeys(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CommandToken(_TokenKeys):
    """A command that prints a token, or JSON with a token and its end as cloud command lines do.

    lifetime_s: how long a printed token is valid, where the output does not tell.
    """

    kind: Literal["command"]
    command: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)]
    lifetime_s: Annotated[float, Field(ge=1, le=_MOST_LIFETIME_S)] = _UNKNOWN_S

    def fetch(self) -> AccessToken:
        """Run the command. Raises `CredentialsError`, or `CredentialsUnavailableError` if it fails."""
        name = Path(self.command[0]).name
        try:
            ran = _ran(self.command, _COMMAND_S)
        except FileNotFoundError as error:
            raise CredentialsError(f"credentials.command: {name} is not installed here") from error
        except subprocess.TimeoutExpired as error:
            raise CredentialsUnavailableError(f"the command {name} took over {_COMMAND_S:.0f} s") from error
        except OSError as error:
            raise CredentialsError(f"credentials.command: {name} cannot be run: {text_of(error)}") from error
        if ran.returncode:
            said = _end_of(ran.stderr.decode(errors="replace").strip())
            raise CredentialsUnavailableError(
                f"the command {name} ended with status {ran.returncode}: {said}"
            )
        return _printed(name, ran.stdout, self.lifetime_s)


class GoogleToken(_TokenKeys):
    """Google's application default credentials: a key file, a workload identity or the metadata server."""

    kind: Literal["google"]
    scopes: tuple[str, ...] = ("https://www.googleapis.com/auth/cloud-platform",)

    def fetch(self) -> AccessToken:
        """Refresh the credentials. Raises `CredentialsError`, `CredentialsUnavailableError`."""
        auth = _library("google.auth", "google.auth")
        requests = _library("google.auth.transport.requests", "google.auth")
        try:
            found, _ = auth.default(scopes=list(self.scopes))
            found.refresh(requests.Request())
        except auth.exceptions.DefaultCredentialsError as error:
            raise CredentialsError(f"Google credentials: {_said(error)}") from error
        except auth.exceptions.GoogleAuthError as error:
            raise CredentialsUnavailableError(f"Google gave no token: {_said(error)}") from error
        ends = found.expiry  # in UTC, without a zone
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        left_s = _UNKNOWN_S if ends is None else (ends - now).total_seconds()
        return AccessToken(found.token, left_s)


class EntraToken(_TokenKeys):
    """Microsoft Entra ID: a managed identity, a service principal of the environment, or `az login`."""

    kind: Literal["entra"]
    scope: str = "https://ai.azure.com/.default"

    def fetch(self) -> AccessToken:
        """Request a token. Raises `CredentialsError`, `CredentialsUnavailableError`."""
        identity = _library("azure.identity", "azure.identity")
        core = _library("azure.core.exceptions", "azure.identity")
        try:
            found = identity.DefaultAzureCredential().get_token(self.scope)
        except core.ClientAuthenticationError as error:
            raise CredentialsError(f"Entra ID: {_said(error)}") from error
        except core.AzureError as error:
            raise CredentialsUnavailableError(f"Entra ID gave no token: {_said(error)}") from error
        return AccessToken(found.token, found.expires_on - time.time())


class PythonToken(_TokenKeys):
    """A function of the user's that returns a token and the seconds for which it is valid."""

    kind: Literal["python"]
    target: Annotated[str, Field(pattern=IMPORT_PATH, max_length=300)]
    options: Annotated[dict[str, Json], Field(max_length=100)] = Field(default_factory=dict)

    def fetch(self) -> AccessToken:
        """Call the function. Raises `CredentialsError`, `CredentialsUnavailableError`."""
        try:
            function = imported(self.target)
        except ConfigError as error:
            raise CredentialsError(f"credentials.target {error}") from error
        try:
            given = function(**self.options)
        except (TypeError, ValueError) as error:
            raise CredentialsError(
                f"credentials.target {self.target}: {text_of(error)}; {_WANTED}"
            ) from error
        except BaseException as error:  # on a thread, SystemExit would end the run, and not this call
            raise CredentialsUnavailableError(f"{self.target} gave no token: {text_of(error)}") from error
        try:
            value, lifetime_s = given
            return AccessToken(str(value), float(lifetime_s))
        except (TypeError, ValueError):  # its text may quote the token
            raise CredentialsError(f"credentials.target {self.target}: {_WANTED}") from None


TokenSource = Annotated[CommandToken | GoogleToken | EntraToken | PythonToken, Field(discriminator="kind")]


class TokenCredentials:
    """Adds a token to requests and renews it in time. See `Credentials` for the contract.

    fetch: returns a new token; called on a thread.
    """

    def __init__(self, fetch: Callable[[], AccessToken], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._token: AccessToken | None = None
        self._valid_until = self._renew_at = float("-inf")
        self._renewal: asyncio.Task[None] | None = None
        self._threads = SourceThreads("tokens", _THREADS)

    async def headers(self, method: str, url: str, body: bytes) -> Mapping[str, str]:  # noqa: ARG002 - it is a token for all
        """Return the header with the token."""
        now = self._clock()
        if now >= self._renew_at and self._renewal is None:
            self._renewal = asyncio.create_task(self._renew())
            self._renewal.add_done_callback(self._on_renewed)
        if now >= self._valid_until and self._renewal is not None:  # `_renew_at` is never later
            await asyncio.shield(self._renewal)  # other requests wait for it too
        assert self._token is not None  # noqa: S101 - a renewal that fails raises
        return _header(self._token)

    def secrets(self) -> tuple[str, ...]:
        """Return the token in use, which errors must not quote."""
        return () if self._token is None else (self._token.value,)

    def reject(self, headers: Mapping[str, str]) -> None:
        """Renew the token for the next request, unless `headers` have an earlier one."""
        if self._token is None or headers != _header(self._token):
            return
        self._valid_until = self._renew_at = float("-inf")

    async def _renew(self) -> None:
        before = self._clock()
        try:
            async with asyncio.timeout(_FETCH_S):
                token = await self._threads.run(self._fetch)
        except TimeoutError as error:
            raise CredentialsUnavailableError(f"no token within {_FETCH_S:.0f} s") from error
        if not _TOKEN.fullmatch(token.value):
            raise CredentialsError("the token is not printable ASCII without spaces, or it is empty")
        lifetime_s = min(max(0.0, token.lifetime_s), _MOST_LIFETIME_S)  # in this order NaN becomes 0
        self._token = token
        self._valid_until = before + lifetime_s
        self._renew_at = self._valid_until - min(_RENEW_SHARE * lifetime_s, _RENEW_S)

    def _on_renewed(self, renewal: asyncio.Task[None]) -> None:
        self._renewal = None
        error = None if renewal.cancelled() else renewal.exception()
        if error is not None and self._clock() < self._valid_until:
            self._renew_at = min(self._clock() + _AGAIN_S, self._valid_until)
            _log.warning("a token could not be renewed; the present one is used: %s", text_of(error))


def _header(token: AccessToken) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token.value}"}


def _said(error: BaseException) -> str:
    return text_of(error)[:_SAID_CHARACTERS]


def _end_of(text: str) -> str:
    """Return the last words of a text. No censor would recognise the rest of a secret that is cut."""
    if len(text) <= _SAID_CHARACTERS:
        return text
    return " ".join(("…", *text[-_SAID_CHARACTERS:].split(maxsplit=1)[1:]))


def _library(module: str, package: str) -> Any:
    """Import a module that `package` brings along."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise CredentialsError(advice(package, "this kind of credentials")) from error


def _ran(command: tuple[str, ...], within_s: float) -> subprocess.CompletedProcess[bytes]:
    """Run a command. Of its output only the beginning is kept, and of its errors the end.

    A command that prints more than a token is killed, and counts as one that has ended. Raises OSError if it
    cannot be run, and `subprocess.TimeoutExpired`.
    """
    until = time.monotonic() + within_s
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,  # noqa: S603 - the configuration names it
        selectors.DefaultSelector() as open_pipes,
    ):
        assert process.stdout is not None  # noqa: S101 - they are pipes
        assert process.stderr is not None  # noqa: S101 - same
        output = errors = b""
        for pipe in (process.stdout, process.stderr):
            open_pipes.register(pipe, selectors.EVENT_READ)
        alarm = threading.Timer(within_s, process.kill)
        alarm.start()
        try:
            while open_pipes.get_map() and len(output) <= _MOST_BYTES and time.monotonic() < until:
                for key, _ in open_pipes.select(until - time.monotonic()):
                    if not (data := os.read(key.fd, _MOST_BYTES)):
                        open_pipes.unregister(key.fileobj)
                    elif key.fileobj is process.stdout:
                        output += data
                    else:
                        errors = (errors + data)[-_MOST_BYTES:]
            if len(output) > _MOST_BYTES:
                return subprocess.CompletedProcess(command, 0, output, errors)
            status = process.wait()  # not longer than the alarm
            if time.monotonic() >= until:
                raise subprocess.TimeoutExpired(command, within_s)
            return subprocess.CompletedProcess(command, status, output, errors)
        finally:
            alarm.cancel()
            process.kill()


def _printed(name: str, output: bytes, lifetime_s: float) -> AccessToken:
    """Read what a command printed."""
    text = output.decode(errors="replace").strip()
    if not text or len(output) > _MOST_BYTES:
        raise CredentialsError(f"credentials.command: {name} printed {'too much' if text else 'nothing'}")
    if not text.startswith("{"):
        return AccessToken(text, lifetime_s)
    try:
        document = json.loads(text)
    except ValueError as error:
        raise CredentialsError(f"credentials.command: {name} printed no valid JSON") from error
    token = document.get("access_token") or document.get("accessToken") or document.get("token")
    if not isinstance(token, str):
        raise CredentialsError(f"credentials.command: {name} printed JSON without access_token")
    return AccessToken(token, _lifetime(document) or lifetime_s)


def _lifetime(document: Mapping[str, Json]) -> float | None:
    """Return the seconds until a token ends: `expires_in`, or `expires_on` in seconds since 1970."""
    for key, since in (("expires_in", 0.0), ("expires_on", time.time())):
        try:
            return float(document[key]) - since
        except (KeyError, TypeError, ValueError):
            continue
    return None
