"""The credentials of AWS, which sign each request (Signature Version 4). botocore finds them.

It finds them as all tools of AWS do: in the environment, the files of profiles, a login by SSO, a role
of the container or the machine. Finding and renewing them reads files and connects, so it runs on a thread.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from actors.core.errors import text_of
from actors.llm.credentials import CredentialsError, CredentialsUnavailableError
from actors.llm.requests.aws_signature import AwsSigner
from actors.runtime.extras import advice

_SERVICE = "bedrock"
_EARLY_S, _LATE_S = 15 * 60, 10 * 60  # before the end: renewed beside requests, and before the next request
_AGAIN_S = 30.0  # after a renewal beside requests
_HOST_REGION = re.compile(r"\bbedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.")
_PASSING = (
    *("ConnectionError", "HTTPClientError", "MetadataRetrievalError", "CredentialRetrievalError"),
    "InstanceMetadataRegionFetchError",
)
_NONE = (
    "no AWS credentials are found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a"
    " Bedrock API key as api_key"
)
_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_NO_REGION = "no AWS region is known: set AWS_REGION, or a base_url with a region"


class AwsCredentials:
    """Signs requests to Bedrock. See `Credentials` for the contract. `base_url`: may name the region."""

    def __init__(self, base_url: str) -> None:
        found = _HOST_REGION.search(base_url)
        self._region = found[1] if found else None
        self._found: Any = None  # botocore's object, which can renew itself
        self._keys: Any = None
        self._signer: AwsSigner | None = None
        self._renewal: asyncio.Future[AwsSigner] | None = None
        self._next_at = 0.0

    async def headers(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        """Sign a request. See `Credentials.headers`."""
        signer = self._signer
        if signer is None or self._ends_within(_LATE_S):
            signer = await asyncio.shield(self._renew())
        elif self._ends_within(_EARLY_S) and (now := asyncio.get_running_loop().time()) >= self._next_at:
            self._next_at = now + _AGAIN_S
            self._renew()
        return signer.headers(method, url, body, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))

    def secrets(self) -> tuple[str, ...]:
        """Return the token that is sent. The secret key is not sent, so that no answer can repeat it."""
        token = getattr(self._keys, "token", None)
        return (token,) if token else ()

    def reject(self, headers: Mapping[str, str]) -> None:
        """Find the credentials again for the next request: a tool may have written newer ones to a file."""
        if self._keys is None or self._keys.access_key in headers.get("Authorization", ""):
            self._found = self._signer = None

    def _ends_within(self, seconds: float) -> bool:
        is_ending = getattr(self._found, "refresh_needed", None)  # credentials that do not end have none
        return is_ending is not None and is_ending(seconds)

    def _renew(self) -> asyncio.Future[AwsSigner]:
        """Return the renewal under way, which all requests share. Its result is the signer."""
        if self._renewal is None:
            self._renewal = asyncio.ensure_future(asyncio.to_thread(self._load))
            self._renewal.add_done_callback(self._on_renewed)
        return self._renewal

    def _on_renewed(self, renewal: asyncio.Future[AwsSigner]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.exception()  # those who wait have it; without anybody, asyncio would log it

    def _load(self) -> AwsSigner:
        """Find or renew the credentials, and return their signer. Raises the errors of `headers`."""
        session, errors = _module("botocore.session"), _module("botocore.exceptions")
        try:
            if self._found is None:
                made = session.Session()
                self._found = made.get_credentials()
                self._region = self._region or os.environ.get("AWS_REGION")
                self._region = self._region or made.get_config_variable("region")
            keys = None if self._found is None else self._found.get_frozen_credentials()
        except (errors.BotoCoreError, errors.ClientError) as error:
            raise _explained(error) from error
        if keys is None:
            raise CredentialsError(_NONE)
        if self._region is None:
            raise CredentialsError(_NO_REGION)
        secrets = keys.access_key, keys.secret_key, keys.token
        for name, value in zip(_VARIABLES, secrets, strict=True):
            if value and not value.isprintable():
                self._found = None  # another request finds them again
                raise CredentialsError(
                    f"the AWS credentials have a line feed or another control character: correct {name}, or "
                    "its entry in the profile"
                )
        signer = AwsSigner(*secrets, region=self._region, service=_SERVICE)
        self._signer, self._keys = signer, keys
        return signer


def _module(name: str) -> Any:
    """Import a module of botocore. It takes half a second, so it is imported only if it is used."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CredentialsError(advice("botocore", "dialect bedrock with AWS credentials")) from error


def _explained(error: Exception) -> CredentialsError | CredentialsUnavailableError:
    """Return the error for one of botocore."""
    text = f"the AWS credentials cannot be used: {text_of(error)}"
    response = getattr(error, "response", None)  # of the service that gives out roles
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if response else 0
    names = {kind.__name__ for kind in type(error).__mro__}
    if status >= 500 or names & {*_PASSING}:
        return CredentialsUnavailableError(text)
    return CredentialsError(f"{text}; check AWS_PROFILE, or log in again (aws sso login)")
