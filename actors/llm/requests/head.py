"""Builds the heads of requests: the URL, the headers of the dialect and the settings, the authorization."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from msgspec import Struct
from yarl import URL

from actors.http1.proxy import HttpProxy, proxy_for
from actors.http1.request import head, line
from actors.llm.credentials import Credentials, CredentialsUnavailableError
from actors.llm.dialects.dialect import Dialect
from actors.llm.forms import AnswerForm


def request_url(dialect: Dialect, *, stream: bool) -> URL:
    """Return the URL of requests, with the query of the settings."""
    return _with_query(dialect, dialect.url(stream=stream))


def plain_url(dialect: Dialect, form: AnswerForm) -> URL | None:
    """Return the URL of requests of `form`, for which `is_plain` holds, with the query of the settings.

    Returns None if the dialect has no such requests.
    """
    url = dialect.vectors_url() if form.vector else dialect.ranking_url()
    return None if url is None else _with_query(dialect, url)


def _with_query(dialect: Dialect, url: str) -> URL:
    return URL(url, encoded=dialect.is_encoded).extend_query(query_of(dialect))


def query_of(dialect: Dialect) -> dict[str, str]:
    """Return the query of the settings, which may have secrets."""
    return {name: value.get_secret_value() for name, value in dialect.settings.query.items()}


def proxy_of(dialect: Dialect, url: URL) -> HttpProxy | None:
    """Return the proxy through which `url` is reached, None if it is reached directly."""
    proxy = dialect.settings.proxy
    return proxy_for(url, None if proxy is None else proxy.get_secret_value())


def request_headers(dialect: Dialect) -> dict[str, str]:
    """Return the headers of requests; those of the settings replace others.

    They contain the API key if the dialect has no credentials.
    """
    settings = dialect.settings
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",  # decompressing small answers costs more than it saves
        "User-Agent": "headrace",
        **dialect.headers(),
    }
    if dialect.credentials is None:
        name, key = dialect.key_header(settings.api_key.get_secret_value())
        headers[name] = key
    given = {name: value.get_secret_value() for name, value in settings.headers.items()}
    replaced = {name.lower() for name in given}
    return {**{name: value for name, value in headers.items() if name.lower() not in replaced}, **given}


class PreparedHead(Struct, frozen=True):
    """The part of a request's head that is the same in all requests."""

    url: str
    start: bytes

    @classmethod
    def of(cls, dialect: Dialect, url: URL) -> PreparedHead:
        """Prepare requests to `url`."""
        headers = {**request_headers(dialect), "Content-Type": "application/json"}
        proxy = proxy_of(dialect, url)
        if proxy is None or url.scheme == "https":
            return cls(str(url), head("POST", url, headers))
        return cls(str(url), head("POST", url, {**headers, **proxy.headers()}, absolute=True))

    def request(self, idempotency_key: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Return the whole request with these additional headers.

        Raises ValueError if `idempotency_key` or one of `headers` is not valid.
        """
        lines = [line(name, value) for name, value in headers.items()]
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        return b"".join((self.start, *lines, line("Idempotency-Key", idempotency_key), length, body))


async def authorized(
    credentials: Credentials, method: str, url: str, body: bytes, within_s: float
) -> Mapping[str, str]:
    """Return the headers of `credentials` for a request. Raises `CredentialsUnavailableError` in time."""
    try:
        async with asyncio.timeout(within_s):
            return await credentials.headers(method, url, body)
    except TimeoutError as error:
        raise CredentialsUnavailableError(f"no credentials within {within_s:.3g} s") from error
