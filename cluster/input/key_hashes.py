"""A set of 64-bit hashes in at most 24 bytes each. Python's own set takes about 80."""

from __future__ import annotations

from array import array

_FIRST_SLOTS = 1024  # a power of two, as every later number of slots


class KeyHashes:
    """A hash table with open addressing. A slot with 0 is free."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _FIRST_SLOTS))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, value: int) -> bool:
        """Add a hash; return whether it is new. The hashes 0 and 1 count as equal."""
        if not _put(self._slots, value or 1):
            return False
        self._count += 1
        if 3 * self._count > 2 * len(self._slots):
            larger = array("Q", bytes(2 * 8 * len(self._slots)))
            for held in self._slots:
                if held:
                    _put(larger, held)
            self._slots = larger
        return True


def _put(slots: array[int], value: int) -> bool:
    mask = len(slots) - 1
    place = value & mask
    while held := slots[place]:
        if held == value:
            return False
        place = (place + 1) & mask
    slots[place] = value
    return True
