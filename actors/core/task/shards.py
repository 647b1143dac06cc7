"""Assigns tasks to pipelines. The assignment is the same in every process."""

from __future__ import annotations

import zlib


def shard(key: str, count: int) -> int:
    """Return the index, below `count`, of the pipeline that has the task `key`."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % count
