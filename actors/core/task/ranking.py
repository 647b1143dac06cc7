"""Builds the prompt of a ranking: a JSON object with a query and the documents that are compared with it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from actors.core.messages.values import Json
from actors.core.task.templates import NullValueError

MOST_DOCUMENTS = 1_000  # of one call, as providers bound it


def ranking_prompt(query: str, documents: Sequence[str]) -> str:
    """Return the prompt of a ranking."""
    # A lone surrogate, which JSON input can contain, cannot be encoded in a request.
    texts = [text.encode("utf-8", "replace").decode() for text in documents]
    return json.dumps({"query": query, "documents": texts}, ensure_ascii=False)


def documents_in(name: str, value: Json) -> list[str]:
    """Return the documents in the column `name`: a list of texts, or its JSON, as a CSV file has it.

    Raises NullValueError without any document, and ValueError for another value.
    """
    if isinstance(value, str):
        value = _read(value)
    if value is None:
        raise NullValueError(f"null in {name}")
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"documents: the value of {name} is no list of texts")
    if not value:
        raise NullValueError(f"no documents in {name}")
    if len(value) > MOST_DOCUMENTS:
        raise ValueError(f"documents: {name} has {len(value)}, and a call has at most {MOST_DOCUMENTS}")
    return list(value)


def _read(text: str) -> Json:
    """Return the list whose JSON is `text`; else a list of `text`, or None if it is blank."""
    if text.lstrip().startswith("["):
        try:
            found: Json = json.loads(text)
        except (ValueError, RecursionError):
            return [text]
        return found
    return [text] if text.strip() else None
