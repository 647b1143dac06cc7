"""Reads a report page as its own scripts do."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from itertools import chain

_BLOCK = re.compile(r'<template id="([a-z]+(?:-\d+)?)">([A-Za-z0-9+/=]*)</template>')


class PageReader:
    """A page, taken apart: its elements, its visible text, and its tables."""

    def __init__(self, path):
        self.source = path.read_text("utf-8")
        self.blocks = {
            name: json.loads(gzip.decompress(base64.b64decode(data)))
            for name, data in _BLOCK.findall(self.source)
        }
        self.index = self.blocks["index"]
        self.document = _Document(self.source)

    def rows(self, name):
        """Return the rows of a table as objects."""
        table = self.index["tables"][name]
        found = []
        for number in range(len(table["starts"])):
            assert len(found) == table["starts"][number]
            columns = self.blocks[f"{name}-{number}"]
            names = [column["name"] for column in table["columns"]]
            found += [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        assert len(found) == table["count"]
        return found

    def histories(self):
        """Return the histories of the tasks, in the order of their rows."""
        starts = self.index["tables"]["history"]["starts"]
        return [*chain.from_iterable(self.blocks[f"history-{number}"][0] for number in range(len(starts)))]


class _Document(HTMLParser):
    """The elements of a page with their attributes, and its text outside of scripts and styles."""

    def __init__(self, source):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._inside = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, _tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside not in ("script", "style", "template"):
            self.text += data
