"""Derives the ids of traces and spans from what they are about, so that no message carries them.

Rule 1: every actor that knows the run, the task and the key of a call computes the same ids. `life` makes
    those of a resumed run differ from the ids of its earlier lives.
Rule 2: the id of a trace decides whether it is sampled, so all actors keep or leave out the same tasks. The
    comparison is that of OpenTelemetry's sampler by ratio.
"""

from __future__ import annotations

from hashlib import blake2b

_SAMPLED_BITS = (1 << 64) - 1


def trace_id(life: str, run_id: str, task: str) -> int:
    """Return the id of the trace of a task, or of the run itself, whose task is empty."""
    return int.from_bytes(_digest(16, life, run_id, task)) or 1  # 0 is no valid id


def span_id(trace: int, kind: str, name: str = "") -> int:
    """Return the id of the span of a trace that is about `name`, such as the key of a call."""
    return int.from_bytes(_digest(8, f"{trace:032x}", kind, name)) or 1


def sample_bound(ratio: float) -> int:
    """Return the bound for `is_sampled` that keeps this ratio of the traces."""
    return round(ratio * (1 << 64))


def is_sampled(trace: int, bound: int) -> bool:
    """Return whether the spans of a trace are exported."""
    return trace & _SAMPLED_BITS < bound


def _digest(size: int, *parts: str) -> bytes:
    # A lone surrogate, which a key may contain, is not valid UTF-8.
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=size).digest()
