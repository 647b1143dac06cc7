"""The files source: reads all files that match a path with values of the task and wildcards, below a root.

`trees` finds and opens files; `formats` parses them.
"""

from __future__ import annotations

import codecs
import errno
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from actors.core.errors import SourceBoundError, SourceError, SourceUnavailableError
from actors.core.messages.tasks import Item, Task
from actors.runtime.threads import SourceThreads
from actors.sources import templates
from actors.sources.base import SourceSettings
from actors.sources.files.formats import Blob, FileReading, Format, format_of, read_records
from actors.sources.files.trees import LocalTree, RemoteTree, Tree, shown_name
from actors.sources.items import make_items
from actors.sources.records import Oversize, Record, Split

_PROTOCOL = re.compile(r"^([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_VARIABLE = re.compile(r"[*?\[{]")  # the beginning of a wildcard or a value
# Transient errors of a system without resources, a remote disk or a network. All others are permanent.
_PASSING = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.EIO,
    errno.EMFILE,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ESTALE,
}


class FilesSettings(SourceSettings):
    """The settings of a files source, local or remote (fsspec). The suffix of a file is its format."""

    model_config = ConfigDict(hide_input_in_errors=True)

    kind: Literal["files"]
    path: Annotated[
        str,
        Field(description="path or fsspec URL, with {key}, params and wildcards; ** stands for any depth"),
    ]
    root: Annotated[
        str | None,
        Field(description="no file outside is read; by default the folders of path that are fixed"),
    ] = None
    encoding: Annotated[str, Field(description="of files without a byte order mark")] = "utf-8"
    text: Annotated[str | None, Field(description="the column that is an item's text, else 'text'")] = None
    split: Annotated[Split, Field(description="where a text is cut into items")] = Split.NONE
    max_chars: Annotated[int | None, Field(ge=1, description="longer texts are cut at white space")] = None
    truncate: Annotated[bool, Field(description="cut text files at max_bytes, else refuse them")] = False
    max_bytes: Annotated[int, Field(ge=1, le=2**30, description="per file")] = 2**20
    max_files: Annotated[int, Field(ge=1, le=100_000, description="per task; more are an error")] = 100
    options: Mapping[str, Any] = Field(
        default_factory=dict, repr=False, description="for a remote file system's constructor"
    )

    @field_validator("path")
    @classmethod
    def _path_is_sound(cls, path: str) -> str:
        templates.parse(path)
        protocol = protocol_of(path)
        if protocol in ("http", "https"):
            raise ValueError("use a source of kind http, which checks addresses")
        if "::" in path and "://" in path:
            raise ValueError("chained URLs are not supported: the root would restrict only their first part")
        return path

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, encoding: str) -> str:
        try:
            codecs.getincrementaldecoder(encoding)
        except LookupError:
            raise ValueError(f"unknown encoding {encoding!r}") from None
        return encoding

    @model_validator(mode="after")
    def _root_is_in_the_same_file_system(self) -> FilesSettings:
        if self.root is not None and protocol_of(self.root) != protocol_of(self.path):
            raise ValueError("root and path are in different file systems")
        return self

    def build(self) -> Files:
        """Return the source. Raises `ConfigError` if the package of the file system is not installed."""
        return Files(self)


class Files:
    """Reads the files of a task. A missing file results in no item, any other error in a `SourceError`."""

    def __init__(self, settings: FilesSettings) -> None:
        self.threads = SourceThreads(settings.name, settings.concurrency)
        self._settings = settings
        self._tree: Tree
        if protocol_of(settings.path):
            folder, self._pattern = _at_the_first_variable(settings.path)
            self._tree = RemoteTree(folder, settings.root, settings.options)
        else:
            self._pattern = _PROTOCOL.sub("", settings.path)
            folder = _at_the_first_variable(self._pattern)[0] or "."
            self._tree = LocalTree(folder if settings.root is None else _PROTOCOL.sub("", settings.root))
        self._reading = FileReading(
            settings.encoding,
            settings.max_item_bytes,
            settings.max_fetch_bytes,
            settings.text,
            settings.split,
            settings.max_chars,
        )

    async def fetch(self, task: Task) -> Sequence[Item]:
        """Return the items of all files that match the path of `task`, sorted by path."""
        pattern = templates.expand_path(self._pattern, task)
        until = time.monotonic() + self._settings.timeout_s
        return await self.threads.run(self._read_all, pattern, until)

    async def close(self) -> None:
        """End the threads: no file stays open between fetches."""
        self.threads.close()

    def _read_all(self, pattern: str, until: float) -> Sequence[Item]:
        settings = self._settings
        try:
            paths = self._tree.match(pattern, settings.max_files + 1, until)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise _translated(error, pattern) from error
        if len(paths) > settings.max_files:
            raise SourceBoundError(
                f"more than max_files = {settings.max_files} files match {pattern}; narrow the path, or "
                f"raise sources.{settings.name}.max_files"
            )
        return make_items(settings, self._records(paths, until))

    def _records(self, paths: Sequence[str], until: float) -> Iterator[Record | Oversize]:
        for path in paths:
            if format_of(path) is Format.BINARY:  # the client reads it, if a step attaches it
                yield {"id": shown_name(path), "text": "", "path": self._location(path)}
            else:
                yield from read_records(self._read(path, until), self._reading)

    def _location(self, path: str) -> str:
        try:
            return shown_name(self._tree.location(path))
        except OSError as error:
            raise _translated(error, path) from error

    def _read(self, path: str, until: float) -> Blob:
        most = self._settings.max_bytes
        name = shown_name(path)
        try:
            data = self._tree.read(path, most + 1, until)
        except FileNotFoundError:
            raise SourceUnavailableError(f"{name} was listed but does not exist") from None
        except OSError as error:
            raise _translated(error, path) from error
        if len(data) > most and not self._settings.truncate:
            raise SourceBoundError(
                f"{name} is larger than max_bytes = {most}; set truncate to cut text files, or raise "
                f"sources.{self._settings.name}.max_bytes"
            )
        return Blob(name, data[:most], truncated=len(data) > most)


def protocol_of(path: str) -> str:
    """Return the protocol of an fsspec URL in lower case, an empty string for local files.

    Must be applied to the template: a key such as ``memory://x`` in a local path is a file name.
    """
    match = _PROTOCOL.match(path)
    protocol = match[1].lower() if match else ""
    return "" if protocol in ("file", "local") else protocol


def _at_the_first_variable(path: str) -> tuple[str, str]:
    """Split `path` into the folder before the first value or wildcard, and the rest."""
    fixed = _VARIABLE.split(path, maxsplit=1)[0]
    folder = fixed[: fixed.rfind("/") + 1]
    return folder, path[len(folder) :]


def _translated(error: OSError, path: str) -> SourceError:
    reason, path = error.strerror or type(error).__name__, shown_name(path)
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror) or error.errno in _PASSING:
        return SourceUnavailableError(f"{path} cannot be read now: {reason}")
    return SourceError(f"{path} cannot be read: {reason}")
