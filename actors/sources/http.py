"""The HTTP source: fetches pages of JSON, and follows a link or a cursor to the next page.

Rule 1: Every requested URL is checked first (`addresses`), also that of a redirect or a link.
Rule 2: The configured headers may contain secrets. They are sent to the configured origin only, and no error
    contains them. For the same reason errors show URLs without the query.
Rule 3: A response is read completely or fails. Its decompressed size is bounded by `max_bytes`.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from yarl import URL

from actors.core.errors import SourceBoundError, SourceError, SourceUnavailableError
from actors.core.limits.retry import parse_retry_after
from actors.core.messages.tasks import Item, Task
from actors.core.messages.values import Json
from actors.http1.addresses import check_url, public_addresses
from actors.http1.dial import system_addresses
from actors.http1.exchange import BrokenOffError, Exchange, Http1Error, TooLargeError
from actors.http1.origin import Origin
from actors.http1.request import head
from actors.runtime.threads import SourceThreads
from actors.sources import templates
from actors.sources.base import SourceSettings
from actors.sources.items import ItemCollector
from actors.sources.records import listed, parse_json, to_record

_KEEP_S = 15.0  # how long an idle connection is kept
_USUAL_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "headrace"}
_MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_NO_CONTENT = 204
_MISSING = {404, 410}
_PASSING = {408, 425, 429}
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Cursor(BaseModel):
    """Paging by a value of each response that is sent as a query parameter of the next request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[
        str, Field(description="where an answer holds the cursor; absent, null or empty: the end")
    ]
    parameter: Annotated[str, Field(min_length=1, description="the query parameter that takes it")]


class HttpSettings(SourceSettings):
    """The settings of a JSON API. A path into a response has names and list indexes: ``data.results.0``."""

    model_config = ConfigDict(hide_input_in_errors=True)

    kind: Literal["http"]
    url: Annotated[str, Field(repr=False, description="with {key} and params, in its path and its query")]
    items: Annotated[str, Field(description="path of the item list; empty: the whole answer")] = ""
    text: Annotated[str | None, Field(description="the field that is an item's text, else 'text'")] = None
    next: Annotated[str | None, Field(description="path of the link to the next page")] = None
    cursor: Annotated[Cursor | None, Field(description="the other way of paging")] = None
    missing: Annotated[
        Literal["error", "empty"],
        Field(description="404 and 410: error, or empty for a task that has no items"),
    ] = "error"
    headers: Mapping[str, SecretStr] = Field(
        default_factory=dict, description="sent to the origin of url, and to no other"
    )
    allow_private: Annotated[
        bool, Field(description="may reach loopback, private and link-local addresses")
    ] = False
    max_bytes: Annotated[int, Field(ge=1, le=2**30, description="per page, decompressed")] = 10 * 2**20
    max_pages: Annotated[int, Field(ge=1, le=10_000, description="per task; more are an error")] = 20

    @field_validator("url")
    @classmethod
    def _url_is_sound(cls, url: str) -> str:
        templates.parse(url)
        scheme, _, rest = url.partition("://")
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        if scheme.lower() not in ("http", "https") or not authority:
            raise ValueError("a URL begins with http:// or https:// and a host")
        # A task that could choose the host could receive the headers with their secrets.
        if "{" in authority:
            raise ValueError("the host of a URL must not contain values of a task")
        if "@" in authority:
            raise ValueError("a URL must not contain credentials; put them in headers")
        if "#" in url:
            raise ValueError("a URL's fragment is never sent; remove it")
        return url

    @field_validator("headers")
    @classmethod
    def _headers_are_sound(cls, headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, value in headers.items():
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"{name!r} is not a valid header name")
            if any(ord(character) < 32 and character != "\t" for character in value.get_secret_value()):
                raise ValueError(f"the value of header {name} contains a control character")
        return headers

    def build(self) -> HttpSource:
        """Return the source."""
        return HttpSource(self)


class HttpSource:
    """Fetches all pages of a task. 204 means that there is no data; so do 404 and 410 if configured.

    Raises `SourceUnavailableError` for 408, 425, 429, 5xx and network errors, with the Retry-After of the
    server, and `SourceError` for all other failures.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._path, _, self._query = _encoded(settings.url).partition("?")
        self._headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._origin: Origin | None = None
        self._thread = SourceThreads(settings.name, 1)

    async def fetch(self, task: Task) -> Sequence[Item]:
        """Return the items of all pages."""
        settings = self._settings
        first = self._url(task)
        url: URL | None = first
        seen: set[URL] = set()
        collector = ItemCollector(settings)
        while url is not None:
            if url in seen:
                raise SourceError(f"{shown(url)}: the next link leads back to a page that was read")
            if len(seen) == settings.max_pages:
                raise SourceBoundError(
                    f"{shown(url)}: more than max_pages = {settings.max_pages} pages; request fewer items, "
                    f"or raise sources.{settings.name}.max_pages"
                )
            seen.add(url)
            body, landed = await self._get(url, first)
            if body is None:
                if len(seen) > 1:
                    raise SourceError(f"{shown(url)}: the page that the previous one links to does not exist")
                return ()
            # Megabytes of JSON take a second to convert, which the event loop of the actors does not have.
            url = await self._thread.run(self._read_page, body, landed, first, collector)
        return tuple(collector.items)

    async def close(self) -> None:
        """Close all connections, and end the thread."""
        self._thread.close()
        if self._origin is not None:
            await self._origin.close()
            self._origin = None

    def _url(self, task: Task) -> URL:
        text = templates.expand(self._path, task, templates.escape_url_segment)
        # Checked on the expanded text, because a segment may consist of two values.
        if any(segment in (".", "..") for segment in text.split("/")):
            raise SourceError("a value results in a segment '.' or '..' of the URL's path")
        if self._query:
            text += "?" + templates.expand(self._query, task, templates.escape_url_query)
        # Already encoded: yarl would decode escapes, and a ";" in a value would then divide a segment.
        return URL(text, encoded=True)

    async def _get(self, url: URL, first: URL) -> tuple[bytes | None, URL]:
        """Return the body, None if there is no data, and the URL after all redirects."""
        with_headers = True
        for _ in range(_MAX_REDIRECTS + 1):
            check_url(url, allow_private=self._settings.allow_private)
            # Once another origin was visited no headers are sent: it chose the following URLs.
            with_headers = with_headers and url.origin() == first.origin()
            try:
                body, location = await self._request(url, first, self._headers if with_headers else {})
            except (Http1Error, OSError) as error:
                raise self._translated(error, url) from error
            if location is None:
                return body, url
            url = _joined(url, location)
        raise SourceError(f"{shown(url)}: more than {_MAX_REDIRECTS} redirects")

    async def _request(
        self, url: URL, first: URL, headers: Mapping[str, str]
    ) -> tuple[bytes | None, str | None]:
        """Make one request. Return its body, None if there is no data, or the location of a redirect."""
        exchange = await self._answer(url, first, _request(url, headers))
        status = exchange.status
        if status in _REDIRECTS:
            location = exchange.headers.get("location")
            if not location:
                raise SourceError(f"{shown(url)} answered {status} without a location")
            return None, location
        if status in _MISSING and self._settings.missing == "error":
            # An error by default, because a mistyped path gets the same answer for every task.
            raise SourceError(
                f"{shown(url)} answered {status}; if this means that a task has no items, set "
                f"sources.{self._settings.name}.missing to empty"
            )
        if status in _MISSING or status == _NO_CONTENT:
            return None, None
        if status in _PASSING or status >= 500:
            retry_after_s = parse_retry_after(exchange.headers.get("retry-after", ""), wall_now=time.time())
            raise SourceUnavailableError(f"{shown(url)} answered {status}", retry_after_s)
        if 200 <= status < 300:
            return bytes(exchange.body), None
        raise SourceError(f"{shown(url)} answered {status}")

    async def _answer(self, url: URL, first: URL, request: bytes) -> Exchange:
        """Send a request. Return the response, whose body is complete if it is a success.

        Raises `Http1Error` and OSError.
        """
        origin = self._origin_of(url, first)
        exchange = self._exchange(request)
        try:
            try:
                await origin.send(exchange, self._settings.timeout_s)
            except BrokenOffError:
                if exchange.status:
                    raise
                # The server may have closed a kept-alive connection at the moment of its reuse.
                exchange = self._exchange(request)
                await origin.send(exchange, self._settings.timeout_s)
        except Http1Error:
            if not exchange.status or 200 <= exchange.status < 300:
                raise
        finally:
            if origin is not self._origin:
                await origin.close()
        return exchange

    def _exchange(self, request: bytes) -> Exchange:
        return Exchange(request, lambda _: self._settings.max_bytes)

    def _origin_of(self, url: URL, first: URL) -> Origin:
        """Return an origin for `url`. Only that of the configured URL is kept."""
        is_ours = url.origin() == first.origin()
        if is_ours and self._origin is not None:
            return self._origin
        look_up = system_addresses if self._settings.allow_private else public_addresses
        origin = Origin(url, connect_s=self._settings.timeout_s, keep_s=_KEEP_S, look_up=look_up)
        if is_ours:
            self._origin = origin
        return origin

    def _translated(self, error: Exception, url: URL) -> SourceError:
        """Translate a network error."""
        if isinstance(error, TooLargeError):
            settings = self._settings
            size = f": it has {error.size:,} bytes" if error.size else ""
            return SourceBoundError(
                f"{shown(url)}: the response is larger than max_bytes = {settings.max_bytes}{size}; request "
                f"smaller pages, or raise sources.{settings.name}.max_bytes"
            )
        if isinstance(error, ssl.SSLCertVerificationError):
            return SourceError(f"{shown(url)}: the certificate is not valid")
        detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return SourceUnavailableError(f"{shown(url)} cannot be reached: {detail}")

    def _read_page(self, body: bytes, landed: URL, first: URL, collector: ItemCollector) -> URL | None:
        """Add the items of one page to `collector`. Return the URL of the next page, None at the end."""
        document = _parsed(body, landed)
        self._collect(document, landed, collector)
        return self._following(document, landed, first)

    def _collect(self, document: Json, url: URL, collector: ItemCollector) -> None:
        """Add the items of one page to `collector`."""
        path = self._settings.items
        try:
            found = select(document, path)
        except LookupError as error:
            raise SourceError(f"{shown(url)}: no items at {path!r}: {error.args[0]}") from None
        if found is None:
            return  # some APIs write an empty list as null
        values = found if isinstance(found, list) else [found]
        try:
            for position, value in enumerate(values):
                collector.add(to_record(value, text=self._settings.text, where=f"item {position}"))
        except SourceError as error:
            raise type(error)(f"{shown(url)}: {error}") from None

    def _following(self, document: Json, url: URL, first: URL) -> URL | None:
        """Return the URL of the next page, None after the last one."""
        settings = self._settings
        if settings.next is not None and (link := _optional(document, settings.next)) is not None:
            if not isinstance(link, str):
                raise SourceError(f"{shown(url)}: {settings.next!r} is {type(link).__name__}, not a link")
            return _joined(url, link)
        if settings.cursor is not None:
            value = _optional(document, settings.cursor.path)
            if isinstance(value, str | int) and value is not False:
                return first.update_query({settings.cursor.parameter: str(value)})
            if value is not None and value is not False:
                raise SourceError(f"{shown(url)}: the cursor is {type(value).__name__}")
        return None


def shown(url: URL) -> str:
    """Return `url` for error messages: without query, fragment and credentials."""
    return str(url.with_user(None).with_query(None).with_fragment(None)) if url.absolute else url.path


def select(document: Json, path: str) -> Json:
    """Return the value at `path`: names and list indexes, separated by dots. An empty path is the document.

    Raises LookupError with a message about what is there instead.
    """
    value = document
    for step in path.split(".") if path else ():
        if isinstance(value, dict):
            if step not in value:
                raise LookupError(f"there is no {step!r}; the names are: {listed(value)}")
            value = value[step]
        elif isinstance(value, list):
            if not step.isdecimal() or int(step) >= len(value):
                raise LookupError(f"{step!r} is not an index of a list of {len(value)}")
            value = value[int(step)]
        else:
            raise LookupError(  # noqa: TRY004 - the path is wrong, not the type of the value
                f"{step!r} cannot be looked up in {type(value).__name__}"
            )
    return value


def _request(url: URL, headers: Mapping[str, str]) -> bytes:
    own = {name.lower() for name in headers}
    usual = {name: value for name, value in _USUAL_HEADERS.items() if name.lower() not in own}
    try:
        return head("GET", url, {**usual, **headers}) + b"\r\n"
    except ValueError as error:
        raise SourceError(f"{shown(url)} contains characters that cannot be sent") from error


def _encoded(url: str) -> str:
    """Return a template of a URL with its literal text percent-encoded. The names in it are ASCII."""
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    return str(URL(f"{scheme}://{authority}").origin()) + quote(rest[len(authority) :], safe=_PRINTABLE)


def _parsed(body: bytes, url: URL) -> Json:
    try:
        return parse_json(body, shown(url))
    except SourceBoundError:
        raise
    except SourceError:
        raise SourceError(f"{shown(url)}: the response is not JSON") from None


def _optional(document: Json, path: str) -> Json:
    """Return the value at `path`, None if it is absent, null or empty, as on the last page."""
    try:
        value = select(document, path)
    except LookupError:
        return None
    return None if value == "" else value


def _joined(url: URL, link: str) -> URL:
    try:
        return url.join(URL(link)).with_fragment(None)
    except ValueError:
        raise SourceError(f"{shown(url)} links to an invalid URL") from None
