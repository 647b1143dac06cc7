"""The files beside the text of a prompt, in the form of every dialect."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

TOKENS: Final = 258  # of each file
_BEGINS: Final = {
    "application/pdf": b"%PDF-",
    "image/gif": b"GIF8",
    "image/jpeg": b"\xff\xd8\xff",
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/webp": b"RIFF",
}
_URL_SAFE: Final = str.maketrans("-_", "+/")  # Google takes both alphabets
_BEDROCK_NAME: Final = re.compile(r"(?!.*\s\s)[A-Za-z0-9\s()\[\]-]{1,200}")


def count_files(messages: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of files in `messages`. Raises `ValueError` if one is not what it says it is."""
    found = [file for message in messages for file in _files(message.get("content"))]
    for kind, data in found:
        _check(kind, data)
    return len(found)


def _files(content: Any) -> Iterator[tuple[str, str]]:
    """Yield the media type and the content in base64 of each file in one message."""
    for part in content if isinstance(content, list) else ():
        match part:
            case (
                {"type": "image_url", "image_url": {"url": str(url)}}
                | {"type": "input_image", "image_url": str(url)}
                | {"type": "file", "file": {"filename": str(), "file_data": str(url)}}
                | {"type": "input_file", "filename": str(), "file_data": str(url)}
            ):
                described, _, data = url.partition(";base64,")
                yield described.removeprefix("data:"), data
            case {
                "type": "image" | "document",
                "source": {"type": "base64", "media_type": str(kind), "data": str(data)},
            }:
                yield kind, data
            case (
                {"inlineData": {"mimeType": str(kind), "data": str(data)}}
                | {"inlineData": {"mime_type": str(kind), "data": str(data)}}  # Google's own client
            ):
                yield kind, data.translate(_URL_SAFE)
            case {"image": {"format": str(kind), "source": {"bytes": str(data)}}}:
                yield f"image/{kind}", data
            case {"document": {"name": str(name), "format": "pdf", "source": {"bytes": str(data)}}}:
                if not _BEDROCK_NAME.fullmatch(name):
                    raise ValueError(f"document name {name!r}: not of the characters that are allowed")
                yield "application/pdf", data


def _check(kind: str, data: str) -> None:
    begin = _BEGINS.get(kind)
    if begin is None:
        raise ValueError(f"unsupported media type {kind[:100]!r}")
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError(f"a file of type {kind} is not base64: {error}") from error
    if not content.startswith(begin):
        raise ValueError(f"the content of a file is not {kind}")
