"""The exit codes of all commands. 0 means that everything succeeded."""

from __future__ import annotations

FAILED = 1
USAGE = 2  # the command line or the configuration is wrong
INCOMPLETE = 3  # the run finished with partial or failed tasks
UNREACHABLE = 4  # the cluster cannot be reached
INTERRUPTED = 130  # Ctrl-C or SIGTERM
READER_GONE = 141  # the reader of stdout closed the pipe; a shell shows SIGPIPE so
