"""JSON over HTTP as a source: pages of items, found by path, followed by link or by cursor.

Rule 1: every URL that is requested, by configuration, redirect or next link, is checked first (`addresses`).
Rule 2: the headers of the configuration may hold secrets: they go to the configured origin only, and no
error names them. A URL is shown without its query for the same reason.
Rule 3: an answer is read whole or not at all, and never beyond `max_bytes`, counted after decompression.
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
from actors.http1.dial import system_addresses
from actors.http1.exchange import BrokenOffError, Exchange, Http1Error, TooLargeError
from actors.http1.origin import Origin
from actors.http1.request import head
from actors.sources import templates
from actors.sources.addresses import check_url, public_addresses
from actors.sources.base import SourceSettings
from actors.sources.items import ItemCollector
from actors.sources.records import listed, parse_json, to_record

_KEEP_S = 15.0  # connections that nobody uses
_USUAL_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "headrace"}
_MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_NO_CONTENT = 204
_MISSING = {404, 410}
_PASSING = {408, 425, 429}
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Cursor(BaseModel):
    """Paging by a value in each answer that is sent back as a query parameter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[
        str, Field(description="where an answer holds the cursor; absent, null or empty: the end")
    ]
    parameter: Annotated[str, Field(min_length=1, description="the query parameter that takes it")]


class HttpSettings(SourceSettings):
    """A JSON API. Paths into an answer are names and list positions with dots: ``data.results.0``."""

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
        # A task that chose the host would be sent the headers, secrets included.
        if "{" in authority:
            raise ValueError("the host of a URL is configured, never taken from a task")
        if "@" in authority:
            raise ValueError("a URL holds no credentials; put them in headers")
        if "#" in url:
            raise ValueError("a URL's fragment is never sent; remove it")
        return url

    @field_validator("headers")
    @classmethod
    def _headers_are_sound(cls, headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, value in headers.items():
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a header")
            if any(ord(character) < 32 and character != "\t" for character in value.get_secret_value()):
                raise ValueError(f"the value of header {name} holds a control character")
        return headers

    def build(self) -> HttpSource:
        """Return the source."""
        return HttpSource(self)


class HttpSource:
    """Fetches all pages about a task. 204 means that there is no data; so do 404 and 410 if configured.

    Raises `SourceUnavailableError` for 408, 425, 429, 5xx and what the network does, with the server's
    Retry-After; `SourceError` for all else.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._path, _, self._query = _encoded(settings.url).partition("?")
        self._headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._origin: Origin | None = None

    async def fetch(self, task: Task) -> Sequence[Item]:
        """Return the items of all pages."""
        settings = self._settings
        first = self._url(task)
        url: URL | None = first
        seen: set[URL] = set()
        collector = ItemCollector(settings)
        while url is not None:
            if url in seen:
                raise SourceError(f"{shown(url)}: the pages lead back to one that was read")
            if len(seen) == settings.max_pages:
                raise SourceBoundError(
                    f"{shown(url)}: more than max_pages = {settings.max_pages} pages; narrow what is asked "
                    f"for, or raise sources.{settings.name}.max_pages"
                )
            seen.add(url)
            body, landed = await self._get(url, first)
            if body is None:
                if len(seen) > 1:
                    raise SourceError(f"{shown(url)}: a page that the one before names is not there")
                return ()
            document = _parsed(body, landed)
            self._collect(document, landed, collector)
            url = self._following(document, landed, first)
        return tuple(collector.items)

    async def close(self) -> None:
        """Close all connections."""
        if self._origin is not None:
            await self._origin.close()
            self._origin = None

    def _url(self, task: Task) -> URL:
        text = templates.expand(self._path, task, templates.escape_url_segment)
        # Checked on the expanded text, because two values may make one segment.
        if any(segment in (".", "..") for segment in text.split("/")):
            raise SourceError("a value makes '.' or '..' a segment of the URL's path")
        if self._query:
            text += "?" + templates.expand(self._query, task, templates.escape_url_query)
        # Taken as it is: yarl would decode what is escaped, and ";" of a value would then divide a segment.
        return URL(text, encoded=True)

    async def _get(self, url: URL, first: URL) -> tuple[bytes | None, URL]:
        """Return the body at `url`, None where there is no data, and the URL after all redirects."""
        with_headers = True
        for _ in range(_MAX_REDIRECTS + 1):
            check_url(url, allow_private=self._settings.allow_private)
            # Once gone elsewhere the headers stay away: that other origin chose where to send us now.
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
        """Make one request; return its body, or where it is redirected to."""
        exchange = await self._answer(url, first, _request(url, headers))
        status = exchange.status
        if status in _REDIRECTS:
            location = exchange.headers.get("location")
            if not location:
                raise SourceError(f"{shown(url)} answered {status} without a location")
            return None, location
        if status in _MISSING and self._settings.missing == "error":
            # A path that was mistyped answers so for every task.
            raise SourceError(
                f"{shown(url)} answered {status}; set sources.{self._settings.name}.missing to empty if it "
                "says so of a task that has no items"
            )
        if status in _MISSING or status == _NO_CONTENT:
            return None, None
        if status in _PASSING or status >= 500:
            wish = parse_retry_after(exchange.headers.get("retry-after", ""), wall_now=time.time())
            raise SourceUnavailableError(f"{shown(url)} answered {status}", wish)
        if 200 <= status < 300:
            return bytes(exchange.body), None
        raise SourceError(f"{shown(url)} answered {status}")

    async def _answer(self, url: URL, first: URL, request: bytes) -> Exchange:
        """Return the answer, whole where it is a success. Raises what the network does."""
        origin = self._origin_of(url, first)
        exchange = self._exchange(request)
        try:
            try:
                await origin.send(exchange, self._settings.timeout_s)
            except BrokenOffError:
                if exchange.status:
                    raise
                # A connection that was kept open may close just as it is used again.
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
        """Return the way to `url`. Connections are kept to the configured origin only."""
        is_ours = url.origin() == first.origin()
        if is_ours and self._origin is not None:
            return self._origin
        look_up = system_addresses if self._settings.allow_private else public_addresses
        origin = Origin(url, connect_s=self._settings.timeout_s, keep_s=_KEEP_S, look_up=look_up)
        if is_ours:
            self._origin = origin
        return origin

    def _translated(self, error: Exception, url: URL) -> SourceError:
        """Say what the network did."""
        if isinstance(error, TooLargeError):
            settings = self._settings
            size = f": it has {error.size:,} bytes" if error.size else ""
            return SourceBoundError(
                f"{shown(url)}: the answer is longer than max_bytes = {settings.max_bytes}{size}; ask for "
                f"smaller pages, or raise sources.{settings.name}.max_bytes"
            )
        if isinstance(error, ssl.SSLCertVerificationError):
            return SourceError(f"{shown(url)}: the certificate is not valid")
        detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return SourceUnavailableError(f"{shown(url)} cannot be reached: {detail}")

    def _collect(self, document: Json, url: URL, collector: ItemCollector) -> None:
        """Add the items of one page to `collector`."""
        path = self._settings.items
        try:
            found = select(document, path)
        except LookupError as error:
            raise SourceError(f"{shown(url)}: no items at {path!r}: {error.args[0]}") from None
        if found is None:
            return  # an empty list, as some languages write it
        values = found if isinstance(found, list) else [found]
        try:
            for position, value in enumerate(values):
                collector.add(to_record(value, text=self._settings.text, where=f"item {position}"))
        except SourceError as error:
            raise type(error)(f"{shown(url)}: {error}") from None

    def _following(self, document: Json, url: URL, first: URL) -> URL | None:
        """Return the URL of the next page, None at the end."""
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
    """Return `url` as errors may show it: without query, fragment and credentials."""
    return str(url.with_user(None).with_query(None).with_fragment(None)) if url.absolute else url.path


def select(document: Json, path: str) -> Json:
    """Return what stands at `path`: names and list positions, separated by dots; empty: the document.

    Raises LookupError with a message that tells what is there instead.
    """
    value = document
    for step in path.split(".") if path else ():
        if isinstance(value, dict):
            if step not in value:
                raise LookupError(f"there is no {step!r}; there is: {listed(value)}")
            value = value[step]
        elif isinstance(value, list):
            if not step.isdecimal() or int(step) >= len(value):
                raise LookupError(f"{step!r} is no position in a list of {len(value)}")
            value = value[int(step)]
        else:
            raise LookupError(  # noqa: TRY004 - a wrong path, whatever stands there instead
                f"{step!r} is looked for in {type(value).__name__}"
            )
    return value


def _request(url: URL, headers: Mapping[str, str]) -> bytes:
    own = {name.lower() for name in headers}
    usual = {name: value for name, value in _USUAL_HEADERS.items() if name.lower() not in own}
    try:
        return head("GET", url, {**usual, **headers}) + b"\r\n"
    except ValueError as error:
        raise SourceError(f"{shown(url)} is not a URL that can be requested") from error


def _encoded(url: str) -> str:
    """Return a template of a URL with its fixed text as it may be sent; the names in it are ASCII anyway."""
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    return str(URL(f"{scheme}://{authority}").origin()) + quote(rest[len(authority) :], safe=_PRINTABLE)


def _parsed(body: bytes, url: URL) -> Json:
    try:
        return parse_json(body, shown(url))
    except SourceBoundError:
        raise
    except SourceError:
        raise SourceError(f"{shown(url)}: the answer is not JSON") from None


def _optional(document: Json, path: str) -> Json:
    """Return what stands at `path`, None where that is nothing or empty: so the last page looks."""
    try:
        value = select(document, path)
    except LookupError:
        return None
    return None if value == "" else value


def _joined(url: URL, link: str) -> URL:
    try:
        return url.join(URL(link)).with_fragment(None)
    except ValueError:
        raise SourceError(f"{shown(url)} leads to what is not a URL") from None
