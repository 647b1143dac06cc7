"""An incremental parser of server-sent events: bytes in, the data of each event out.

Pieces may end anywhere, also within a character or between CR and LF. The parser returns only the data of
events and ignores names, ids, retry times and comments, which servers send to keep a connection open. It
accepts a last event without its blank line, since several servers omit it.
"""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"
_LINE_BYTES = 40  # memory of a line besides its text


class EventStream:
    """Parses one stream. Keeps an event until it is complete, so the caller must bound `held`."""

    def __init__(self) -> None:
        self._line = bytearray()  # an incomplete line
        self._data: list[bytes] = []  # the data lines of an incomplete event
        self._data_bytes = 0
        self._is_first_line = True
        self._skips_lf = False  # whether the last piece ended with CR, so that a following LF is part of it

    @property
    def held(self) -> int:
        """The number of bytes kept of an incomplete event."""
        return len(self._line) + self._data_bytes

    def feed(self, piece: bytes) -> list[bytes]:
        """Parse the next bytes. Return the data of the events that they complete."""
        if not piece:
            return []
        if self._skips_lf:
            piece = piece.removeprefix(b"\n")
        *ended, begun = _lines(piece)
        self._skips_lf = piece.endswith(b"\r")
        events: list[bytes] = []
        for part in ended:
            self._line += part
            self._end_line(events)
        self._line += begun
        return events

    def close(self) -> list[bytes]:
        """Process the end of the stream. Return the data of an event without a blank line after it."""
        events: list[bytes] = []
        if self._line:
            self._end_line(events)
        self._end_line(events)
        return events

    def _end_line(self, events: list[bytes]) -> None:
        line = bytes(self._line)
        self._line.clear()
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
                self._data_bytes = 0
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            # An empty line takes memory too: an event of empty lines would otherwise grow without a bound.
            self._data_bytes += len(value) + _LINE_BYTES


def _lines(piece: bytes) -> list[bytes]:
    """Split `piece` at its line ends. The last part is the text after the last line end."""
    if b"\r" in piece:
        piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return piece.split(b"\n")
