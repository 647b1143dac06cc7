"""Requests the list of models of an endpoint, free of charge. `doctor` and the preflight judge the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import aiohttp
from msgspec import Struct
from yarl import URL

from actors.llm.dialects.dialect import Dialect
from actors.llm.requests.head import authorized, proxy_of, query_of, request_headers
from actors.llm.translate import rejects_key

_MOST_BYTES = 4 << 20  # of the list
_ERROR_BYTES = 64 << 10
_LOWEST_ERROR = 400


class ListAnswer(Struct, frozen=True):
    """The answer to a request for the list. The headers have names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def rejects_key(self, dialect: Dialect) -> bool:
        """Return whether the endpoint rejects the key, so that it would reject calls too."""
        if self.status < _LOWEST_ERROR:
            return False
        return rejects_key(dialect.error(self.status, self.headers, self.body, time.time()))


def list_url(dialect: Dialect) -> str | None:
    """Return the URL of the list; None if there is none, or only a library knows it."""
    return None if dialect.uses_library else dialect.models_url()


def address(dialect: Dialect, url: str, error: Exception) -> str:
    """Return the setting to check after `error` of a request for `url`, with its value."""
    endpoint = dialect.settings
    proxy = proxy_of(dialect, URL(url))
    if proxy is None:
        return f"base_url ({endpoint.base_url})"
    through = f"llm.endpoints.{endpoint.name}.proxy ({proxy})"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return through
    return f"{through} and base_url ({endpoint.base_url})"


async def request_list(
    session: aiohttp.ClientSession, dialect: Dialect, url: str, within_s: float, *, is_read: bool = True
) -> ListAnswer:
    """Request `url`. Of an answer that is no error the body is left out unless `is_read`.

    Raises a `HeadraceError` of the credentials, an `aiohttp.ClientError`, `OSError` or `TimeoutError`.
    """
    whole = str(URL(url).extend_query(query_of(dialect)))
    headers = request_headers(dialect)
    if dialect.credentials is not None:
        headers |= await authorized(dialect.credentials, "GET", whole, b"", within_s)
    proxy = dialect.settings.proxy
    is_direct = proxy is None or proxy_of(dialect, URL(url)) is None
    async with (
        asyncio.timeout(within_s),
        session.get(
            whole,
            headers=headers,
            proxy=None if is_direct or proxy is None else proxy.get_secret_value(),
            allow_redirects=False,
        ) as response,
    ):
        is_error = response.status >= _LOWEST_ERROR
        body = b""
        if is_read or is_error:
            try:
                body = await response.content.readexactly(_ERROR_BYTES if is_error else _MOST_BYTES)
            except asyncio.IncompleteReadError as error:
                body = error.partial
        named = {name.lower(): value for name, value in response.headers.items()}
        return ListAnswer(response.status, named, body)
