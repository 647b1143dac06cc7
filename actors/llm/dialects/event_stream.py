"""Server-sent events, read piece by piece: bytes in, the data of each event out.

Pieces end anywhere, also within a character or between CR and LF. Of an event only its data matters here;
names, ids, retry times and comments (which servers send to keep a connection open) are passed over.
Where the last event lacks its blank line it counts nevertheless: several servers end so.
"""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"
_LINE_BYTES = 40  # that a line takes besides its text


class EventStream:
    """Reads one stream. The caller bounds what it feeds: an event is kept until it is whole."""

    def __init__(self) -> None:
        self._line = bytearray()  # begun, not ended
        self._data: list[bytes] = []  # of the event that has begun
        self._data_bytes = 0
        self._is_first_line = True
        self._skips_lf = False  # a piece ended with CR: an LF that follows belongs to it

    @property
    def held(self) -> int:
        """How many bytes of an event that has not ended are kept."""
        return len(self._line) + self._data_bytes

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next bytes; return the data of the events that they end."""
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
        """Return the data of an event that the end of the stream has ended."""
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
            # An empty line takes memory as well: an event of nothing else would grow without a bound.
            self._data_bytes += len(value) + _LINE_BYTES


def _lines(piece: bytes) -> list[bytes]:
    """Return what stands between the line ends of `piece`; what follows the last one is the last part."""
    if b"\r" in piece:
        piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return piece.split(b"\n")
