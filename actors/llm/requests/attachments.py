"""Reads the files that are sent with a prompt: images, PDF documents and texts.

A location is a path below `directory`, a URL of http or https, another URL that fsspec opens, or a data URL.

Rule 1: paths and links lead nowhere outside of `directory`, and a URL to no private address, unless the
    settings allow it: tasks may come from other people. No hidden file is sent: such files hold keys.
Rule 2: the bytes of all files in memory, with the copies in requests, are bounded. A call waits until there
    is room for its files.
Rule 3: files are read in threads of their own, so that a file system that hangs holds up nothing else.
Rule 4: the type is decided by the first bytes, since names and servers are often wrong.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import errno
import os
import re
import socket
from collections.abc import Sequence
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote_to_bytes

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field
from yarl import URL

from actors.core.censor import HIDDEN, NO_SECRETS
from actors.core.errors import HeadraceError, SourceBoundError, SourceError, SourceUnavailableError, text_of
from actors.core.limits.token_estimate import text_tokens
from actors.core.task.attachments import (
    IMAGE_TOKENS,
    LARGEST_TEXT_TOKENS,
    MOST_FILES,
    is_named_as_text,
    most_tokens,
)
from actors.http1.addresses import check_url, public_addresses
from actors.http1.dial import system_addresses
from actors.http1.exchange import Exchange, Http1Error, TooLargeError
from actors.http1.origin import Origin
from actors.http1.request import head
from actors.llm.requests.attachment_urls import PREFIX, REMOTE, WEB, is_below
from actors.runtime.extras import explained
from actors.runtime.local_files import read_beneath, read_up_to
from actors.runtime.threads import SourceThreads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_ALLOW_PRIVATE = "llm.attachments.allow_private"
_WITHIN_S = 10.0  # for the files of one call, which has a slot of its endpoint meanwhile
_HELD_BYTES = 256 << 20
_COPIES = 4  # of a file in a request: its bytes, base64, the body and the head with the body
_SHOWN_CHARACTERS = 200
_QUERY_OF_URL = re.compile("[?#]")
_QUERY = re.compile("[?#](?=[^?#]*=)")  # of a malformed URL; these characters also occur in file names
_USER = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*:/*|//)[^/?#]*@")
_DIGEST_DIGITS = 16
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
)
_LOCAL_THREADS = _REMOTE_THREADS = 8  # of a client
_LASTING = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, ValueError)
_OF_NAMES = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, socket.EAI_NONAME)
TEXT, PDF = "text/plain", "application/pdf"
IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class AttachmentSettings(BaseModel):
    """The bounds of the files that may be sent with prompts.

    directory: the folder that holds the local files, relative to the working directory.
    max_bytes: of all files of one call.
    max_text_tokens: of one text, by the estimate that budgets have. It is reserved before a file is read.
    urls: the prefixes of the URLs that may be read; none: every URL.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    directory: Annotated[str, Field(min_length=1, max_length=4096)] = "."
    max_bytes: Annotated[int, Field(ge=1, le=100 << 20)] = 10 << 20
    max_text_tokens: Annotated[
        int,
        Field(ge=IMAGE_TOKENS, le=25_000_000, exclude_if=lambda given: given == LARGEST_TEXT_TOKENS),
    ] = LARGEST_TEXT_TOKENS
    allow_private: bool = False
    urls: Annotated[
        tuple[Annotated[str, Field(pattern=PREFIX, max_length=1000)], ...] | None,
        Field(max_length=100, exclude_if=lambda given: given is None),
    ] = None


DEFAULT_ATTACHMENTS = AttachmentSettings()


class AttachedFile(Struct, frozen=True):
    """A file in memory. `type` is its media type: `TEXT`, `PDF` or one of `IMAGES`."""

    name: str
    type: str
    data: bytes

    @property
    def text(self) -> str:
        """The content of a text."""
        return self.data.decode("utf-8-sig")

    @property
    def part(self) -> str:
        """A text as a part of the prompt."""
        return f"\n\n[{self.name}]\n{self.text}"

    @property
    def base64(self) -> str:
        """The content in base64."""
        return base64.b64encode(self.data).decode("ascii")


class AttachmentReader:
    """Reads attachments for one client. Requests with them take about `held` bytes at most at a time."""

    def __init__(self, settings: AttachmentSettings, held: int = _HELD_BYTES) -> None:
        self._settings = settings
        self._room = max(held, _COPIES * settings.max_bytes)
        self._freed = asyncio.Condition()
        self._local_threads = SourceThreads("attachments", _LOCAL_THREADS)
        self._remote_threads = SourceThreads("remote-attachments", _REMOTE_THREADS)

    def close(self) -> None:
        """End each thread once its file has been read. Does not wait."""
        self._local_threads.close()
        self._remote_threads.close()

    @asynccontextmanager
    async def read(self, locations: Sequence[str]) -> AsyncIterator[tuple[AttachedFile, ...]]:
        """Read the files at `locations`, and hold their memory until the block ends.

        Raises `SourceError`, or `SourceUnavailableError` if a later try may succeed.
        """
        if len(locations) > MOST_FILES:
            raise SourceBoundError(f"{len(locations)} attachments; a call has at most {MOST_FILES}")
        files: list[AttachedFile] = []
        left = self._settings.max_bytes
        held = _COPIES * left
        await self._take(held)
        try:
            until = asyncio.get_running_loop().time() + _WITHIN_S
            for location in locations:
                data = await self._within(location, left, until)
                left -= len(data)
                files.append(self._checked(location, data))
            await self._give(_COPIES * left)
            held -= _COPIES * left
            yield tuple(files)
        finally:
            await self._give(held)

    def _checked(self, location: str, data: bytes) -> AttachedFile:
        file = AttachedFile(_name(location), _type(location, data), data)
        if file.type == TEXT and not is_named_as_text(
            location
        ):  # a page of a login would be asked about instead
            found = "begins with a web page" if data.lstrip()[:1] == b"<" else "is a text"
            found = found if data else "is empty"
            raise SourceError(
                f"attachment {shown(location)}: it is named as an image or a PDF document, and it {found}"
            )
        most = most_tokens(location, self._settings.max_text_tokens)
        if file.type == TEXT and (size := text_tokens(file.part)) > most:
            raise SourceBoundError(
                f"attachment {shown(location)}: a text of about {size} tokens, "
                f"and only {most} are reserved for it; raise llm.attachments.max_text_tokens"
            )
        return file

    async def _take(self, size: int) -> None:
        async with self._freed:
            await self._freed.wait_for(lambda: self._room >= size)
            self._room -= size

    async def _give(self, size: int) -> None:
        async with self._freed:
            self._room += size
            self._freed.notify_all()

    async def _within(self, location: str, most: int, until: float) -> bytes:
        try:
            async with asyncio.timeout_at(until):
                data = await self._bytes(location, most)
        except TimeoutError as error:
            text = f"attachment {shown(location)}: not read within {_WITHIN_S:.0f} s"
            raise SourceUnavailableError(text) from error
        except (OSError, ValueError) as error:
            text = f"attachment {shown(location)}: {_cause(error, location)}"
            lasts = isinstance(error, _LASTING) or (isinstance(error, OSError) and error.errno in _OF_NAMES)
            raise (SourceError if lasts else SourceUnavailableError)(text) from error
        except HeadraceError:
            raise
        except Exception as error:  # libraries of file systems define further errors
            cause = f"{type(error).__name__}: {_cause(error, location)}"
            raise SourceError(f"attachment {shown(location)}: {cause}") from error
        if len(data) > most:
            raise SourceBoundError(
                f"attachment {shown(location)}: the files of this call are larger than "
                f"{self._settings.max_bytes} bytes; raise llm.attachments.max_bytes"
            )
        return data

    async def _bytes(self, location: str, most: int) -> bytes:
        scheme = location.partition(":")[0].lower()
        if scheme == "data":
            return _decoded(location)
        if "://" in location or scheme in WEB:
            self._check_allowed(location)
        if scheme in WEB:
            return await self._fetched(URL(location), most)
        if "://" in location:
            if scheme not in REMOTE or "::" in location:  # file:// would lead out of the directory
                known = ", ".join((*REMOTE, *WEB))
                raise SourceError(f"attachment {shown(location)}: the scheme must be one of {known}")
            return await self._remote_threads.run(_opened, location, most)
        return await self._local_threads.run(self._local, location, most)

    def _check_allowed(self, location: str) -> None:
        allowed = self._settings.urls
        if allowed is not None and not is_below(location, allowed):
            remedy = "add its folder to llm.attachments.urls"
            raise SourceError(f"attachment {shown(location)}: this URL may not be read here; {remedy}")

    def _local(self, location: str, most: int) -> bytes:
        root = Path(os.path.realpath(self._settings.directory))
        # Unlike `Path.resolve`, this leaves a link to itself as it is; it cannot be opened.
        path = Path(os.path.realpath(root / location))
        if not path.is_relative_to(root):
            remedy = "set llm.attachments.directory to its folder"
            raise SourceError(f"attachment {shown(location)}: outside of {root}; {remedy}")
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            raise SourceError(f"attachment {shown(location)}: it is a hidden file, or in a hidden folder")
        return read_beneath(root, path, most + 1, f"attachment {shown(location)}")

    async def _fetched(self, url: URL, most: int) -> bytes:
        private = self._settings.allow_private
        check_url(url, allow_private=private, setting=_ALLOW_PRIVATE)
        look_up = system_addresses if private else partial(public_addresses, setting=_ALLOW_PRIVATE)
        origin = Origin(url, connect_s=_WITHIN_S, keep_s=1.0, look_up=look_up)
        try:
            exchange = Exchange(head("GET", url, {"User-Agent": "headrace"}) + b"\r\n", lambda _: most)
            await origin.send(exchange, _WITHIN_S)
        except TooLargeError as error:
            raise SourceBoundError(
                f"attachment {shown(str(url))}: {error}; raise llm.attachments.max_bytes"
            ) from error
        except Http1Error as error:
            raise SourceUnavailableError(f"attachment {shown(str(url))}: {error}") from error
        finally:
            await origin.close()
        if exchange.status == 200:
            return bytes(exchange.body)
        text = f"attachment {shown(str(url))}: the server answers with status {exchange.status}"
        passes = exchange.status in (408, 425, 429) or exchange.status >= 500
        raise (SourceUnavailableError if passes else SourceError)(text)


def digest_of(files: Sequence[AttachedFile]) -> str:
    """Return a digest of the contents of files. Files of other contents make another request."""
    return sha256(b"".join(sha256(file.data).digest() for file in files)).hexdigest()[:_DIGEST_DIGITS]


def shown(location: str) -> str:
    """Return a location as errors show it: short, without a user and a query, which may hold a signature."""
    if location[:5].lower() == "data:":
        text = location.partition(",")[0]
    else:
        text = (_QUERY_OF_URL if "://" in location else _QUERY).split(location, maxsplit=1)[0]
        text = NO_SECRETS(_USER.sub(rf"\1{HIDDEN}@", text))
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _cause(error: Exception, location: str) -> str:
    """Return what an error says, which may quote the location, with its scheme or without."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else text_of(error)
    for quoted in (location, location.partition("://")[2]):
        text = text.replace(quoted, shown(location)) if quoted else text
    return NO_SECRETS(text)[:_SHOWN_CHARACTERS]


def _name(location: str) -> str:
    if location[:5].lower() == "data:":
        return "file"
    return location.partition("?")[0].rstrip("/").rpartition("/")[2][:100] or "file"


def _type(location: str, data: bytes) -> str:
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError:
        known = "a PNG, JPEG, GIF or WebP image, a PDF document or UTF-8 text"
        raise SourceError(f"attachment {shown(location)}: it is not {known}") from None
    return TEXT


def _decoded(location: str) -> bytes:
    described, comma, content = location.partition(",")
    if not comma:
        raise SourceError(f"attachment {shown(location)}: a data URL needs a comma before its content")
    raw = unquote_to_bytes(content)
    if not described.lower().endswith(";base64"):
        return raw
    try:
        return base64.b64decode(raw, validate=True)
    except binascii.Error as error:
        raise SourceError(f"attachment {shown(location)}: its content is not base64") from error


def _opened(location: str, most: int) -> bytes:
    """Read a file of a remote file system. Blocks."""
    import fsspec  # noqa: PLC0415 - most runs have no such attachment

    try:
        opened: Any = fsspec.open(location, "rb")
        with opened as file:
            return read_up_to(file, most + 1)
    except ImportError as error:
        raise SourceError(f"attachment {shown(location)}: {explained(error, 'this URL')}") from error
