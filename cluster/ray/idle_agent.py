"""Stands where a raylet wants an agent that nothing here needs: does nothing, and ends with the raylet.

A script without any import of ours or Ray's, run with ``python -IS``: 10 MB and 20 ms of processor time.
"""

import os
import select


def main() -> None:
    """Return when the process that started this one has ended."""
    raylet = os.getppid()
    if raylet != 1:  # else it has ended already
        select.select([os.pidfd_open(raylet)], [], [])


if __name__ == "__main__":
    main()
