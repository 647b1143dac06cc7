"""Where the journal keeps what: a byte of kind, then the parts, so that what is read together lies together.

Kinds: (r)un, (w)riter of a run, heart(b)eat, totals (u), (t)ask, (o)rdinal, (s)tate, re(p)ort, (f)etched,
(c)all's attempt, (a)ccount of an ended task, (e)vent, event of a task (g), (k)nown answer by content, the
wish that a run be cancelled (x), (n)amed request, group of tasks (q), event of a group (h), (v)ersion of all
rows.

Rule 1: keys are ordered as their parts are: texts by code point, numbers by size.
Rule 2: no key of one thing is the beginning of a key of another: a part ends where only parts end.
"""

from __future__ import annotations

from actors.core.task_names import within

_END = b"\0\x01"
FORMAT = b"v"  # where the version of all rows is
_ZERO = b"\0\xff"  # a zero inside a part: above the end of a part, below any other byte that could follow


def part(text: str) -> bytes:
    """Return a text as a part of a key. Lone surrogates are texts too."""
    encoded = text.encode("utf-8", "surrogatepass")
    return (encoded.replace(b"\0", _ZERO) if b"\0" in encoded else encoded) + _END


def text(part_of_key: bytes) -> str:
    """Return the text that `part` was given."""
    return part_of_key.removesuffix(_END).replace(_ZERO, b"\0").decode("utf-8", "surrogatepass")


def number(value: int) -> bytes:
    """Return a number from 0 below 2 ** 64 as a part of a key."""
    return value.to_bytes(8, "big")


# ---- runs ------------------------------------------------------------------------------------------------


def run(run_id: str) -> bytes:
    """Return where the row of a run is."""
    return b"r" + part(run_id)


def writer(run_id: str) -> bytes:
    """Return where it says who may write to a run: what fences name."""
    return b"w" + part(run_id)


def heartbeat(run_id: str) -> bytes:
    """Return where the counter is that shows a run's owner to be alive."""
    return b"b" + part(run_id)


def cancel_wish(run_id: str) -> bytes:
    """Return where it stands that somebody, not its owner, wants a run to be cancelled."""
    return b"x" + part(run_id)


def totals(run_id: str) -> bytes:
    """Return where a run's counts are."""
    return b"u" + part(run_id)


def ordinal(run_id: str, value: int | None = None) -> bytes:
    """Return where the key of a run's n-th task is; without a number, what all of these begin with."""
    return b"o" + part(run_id) + (b"" if value is None else number(value))


def state(run_id: str, name: str, value: int | None = None) -> bytes:
    """Return where the key of a run's n-th task is while it is in a state, or the beginning of these."""
    return b"s" + part(run_id) + part(name) + (b"" if value is None else number(value))


def state_of_tenant(run_id: str, tenant: str, name: str, value: int | None = None) -> bytes:
    """Return where the key of a run's n-th task is while it is a tenant's and in a state; "" is any state."""
    return b"s" + part(run_id) + part(within(tenant, name)) + (b"" if value is None else number(value))


def event(run_id: str, value: int | None = None) -> bytes:
    """Return where a run's n-th event is; without a number, what all of these begin with."""
    return b"e" + part(run_id) + (b"" if value is None else number(value))


# ---- tasks -----------------------------------------------------------------------------------------------


def task(run_id: str, key: str) -> bytes:
    """Return where the row of a task is."""
    return b"t" + part(run_id) + part(key)


def report(run_id: str, key: str) -> bytes:
    """Return where a task's report is."""
    return b"p" + part(run_id) + part(key)


def fetched(run_id: str, key: str) -> bytes:
    """Return where it is what a task's sources gave."""
    return b"f" + part(run_id) + part(key)


def account(run_id: str, key: str) -> bytes:
    """Return where the attempts of an ended task are."""
    return b"a" + part(run_id) + part(key)


def task_event(run_id: str, key: str, value: int | None = None) -> bytes:
    """Return where the number of a task's n-th event is; without n, what all of these begin with."""
    return b"g" + part(run_id) + part(key) + (b"" if value is None else number(value))


# ---- calls -----------------------------------------------------------------------------------------------


def calls(run_id: str, key: str) -> bytes:
    """Return what the keys of all attempts for a task begin with."""
    return b"c" + part(run_id) + part(key)


def attempt(calls_of_task: bytes, call_key: str, attempt_id: int) -> bytes:
    """Return where an attempt is, below what `calls` returned."""
    return calls_of_task + part(call_key) + number(attempt_id)


def attempt_of(calls_of_task: bytes, key: bytes) -> tuple[str, int]:
    """Return the call and the attempt that a key below what `calls` returned names."""
    return text(key[len(calls_of_task) : -8]), int.from_bytes(key[-8:], "big")


def content(name: str) -> bytes:
    """Return where the answer to all calls of this content is."""
    return b"k" + part(name)


# ---- requests and groups ---------------------------------------------------------------------------------


def request(run_id: str, tenant: str, name: str) -> bytes:
    """Return where the digest of a tenant's named request is."""
    return b"n" + part(run_id) + part(tenant) + part(name)


def group(run_id: str, name: str) -> bytes:
    """Return where the counts of a group of tasks are."""
    return b"q" + part(run_id) + part(name)


def group_event(run_id: str, name: str, value: int | None = None) -> bytes:
    """Return where it says that a run's n-th event is about a group; without n, the beginning of these."""
    return b"h" + part(run_id) + part(name) + (b"" if value is None else number(value))
