"""The layout of keys in a store: a byte for the kind of row, then parts, so that related rows are adjacent.

Kinds: (r)un, (w)riter of a run, heart(b)eat, totals (u), (t)ask, (o)rdinal, (s)tate, re(p)ort, (f)etched,
(c)all's attempt, (a)ccount of an ended task, (e)vent, event of a task (g), (k)nown answer by content, request
for the cancellation of a run (x), (m)easured history of a run, (n)amed request, group of tasks (q), event of
a group (h), (v)ersion of all rows.

Rule 1: keys are ordered as their parts are: texts by code point, numbers by size.
Rule 2: no key is a prefix of the key of another row: the end of a part occurs nowhere else.
"""

from __future__ import annotations

from actors.core.task_names import within

_END = b"\0\x01"
FORMAT = b"v"  # the key of the format version of all rows
MANY_PER_RUN = b"tosfpcaegnqh"  # kinds of which a run may have millions of rows
ONE_PER_RUN = b"rumxbw"  # kinds of which a run has at most one row; the writer last: it is removed last
OF_DATA = b"rum" + MANY_PER_RUN  # kinds of a run's data, not of its owner; the run's row first
KNOWN_ANSWERS = b"k"  # the kind that belongs to no run
_ZERO = b"\0\xff"  # a zero byte within a part: sorts above the end of a part and below any other byte


def part(text: str) -> bytes:
    """Return a text, which may contain lone surrogates, as a part of a key."""
    encoded = text.encode("utf-8", "surrogatepass")
    return (encoded.replace(b"\0", _ZERO) if b"\0" in encoded else encoded) + _END


def beginning(text: str) -> bytes:
    """Return the bytes with which the parts of all texts that begin with `text` begin."""
    return part(text).removesuffix(_END)


def text(part_of_key: bytes) -> str:
    """Return the text of a part; the inverse of `part`."""
    return part_of_key.removesuffix(_END).replace(_ZERO, b"\0").decode("utf-8", "surrogatepass")


def run_of(key: bytes) -> str | None:
    """Return the run to which a key belongs, None if it belongs to no run."""
    if key[:1] == KNOWN_ANSWERS or key == FORMAT:
        return None
    return text(key[1 : key.index(_END) + len(_END)])


def number(value: int) -> bytes:
    """Return a number in [0, 2 ** 64) as a part of a key."""
    return value.to_bytes(8, "big")


# ---- runs ------------------------------------------------------------------------------------------------


def run(run_id: str) -> bytes:
    """Return the key of the row of a run."""
    return b"r" + part(run_id)


def writer(run_id: str) -> bytes:
    """Return the key of the writer of a run, which commits to the run use as a fence."""
    return b"w" + part(run_id)


def heartbeat(run_id: str) -> bytes:
    """Return the key of the heartbeat of a run's owner, a counter."""
    return b"b" + part(run_id)


def cancel_request(run_id: str) -> bytes:
    """Return the key of a request, by another process than the owner, to cancel a run."""
    return b"x" + part(run_id)


def history(run_id: str) -> bytes:
    """Return the key of the history of a run's endpoints."""
    return b"m" + part(run_id)


def totals(run_id: str) -> bytes:
    """Return the key of a run's counts."""
    return b"u" + part(run_id)


def ordinal(run_id: str, value: int | None = None) -> bytes:
    """Return the key that lists a run's n-th task; without a number, the prefix of these keys."""
    return b"o" + part(run_id) + (b"" if value is None else number(value))


def state(run_id: str, name: str, value: int | None = None) -> bytes:
    """Return the key that lists a run's n-th task under its state, or the prefix of these keys."""
    return b"s" + part(run_id) + part(name) + (b"" if value is None else number(value))


def state_of_tenant(run_id: str, tenant: str, name: str, value: int | None = None) -> bytes:
    """Return the key that lists a run's n-th task under its tenant and state, or their prefix; "": any."""
    return b"s" + part(run_id) + part(within(tenant, name)) + (b"" if value is None else number(value))


def event(run_id: str, value: int | None = None) -> bytes:
    """Return the key of a run's n-th event; without a number, the prefix of these keys."""
    return b"e" + part(run_id) + (b"" if value is None else number(value))


# ---- tasks -----------------------------------------------------------------------------------------------


def task(run_id: str, key: str) -> bytes:
    """Return the key of the row of a task."""
    return b"t" + part(run_id) + part(key)


def report(run_id: str, key: str) -> bytes:
    """Return the key of a task's report."""
    return b"p" + part(run_id) + part(key)


def fetched(run_id: str, key: str) -> bytes:
    """Return the key of the data from a task's sources."""
    return b"f" + part(run_id) + part(key)


def account(run_id: str, key: str) -> bytes:
    """Return the key of the attempts of an ended task."""
    return b"a" + part(run_id) + part(key)


def task_event(run_id: str, key: str, value: int | None = None) -> bytes:
    """Return the key of the event id of a task's n-th event; without n, the prefix of these keys."""
    return b"g" + part(run_id) + part(key) + (b"" if value is None else number(value))


# ---- calls -----------------------------------------------------------------------------------------------


def calls_of_run(run_id: str) -> bytes:
    """Return the prefix of the keys of the attempts of a run's open tasks."""
    return b"c" + part(run_id)


def calls(run_id: str, key: str) -> bytes:
    """Return the prefix of the keys of a task's attempts."""
    return calls_of_run(run_id) + part(key)


def attempt(calls_of_task: bytes, call_key: str, attempt_id: int) -> bytes:
    """Return the key of an attempt. `calls_of_task` is the prefix that `calls` returned."""
    return calls_of_task + part(call_key) + number(attempt_id)


def attempt_of(calls_of_task: bytes, key: bytes) -> tuple[str, int]:
    """Return the call key and the attempt id of a key that `attempt` returned."""
    return text(key[len(calls_of_task) : -8]), int.from_bytes(key[-8:], "big")


def content(name: str) -> bytes:
    """Return the key of the answer to all calls with this content."""
    return b"k" + part(name)


# ---- requests and groups ---------------------------------------------------------------------------------


def request(run_id: str, tenant: str, name: str) -> bytes:
    """Return the key of the digest of a tenant's request with an idempotency key."""
    return b"n" + part(run_id) + part(tenant) + part(name)


def group(run_id: str, name: str) -> bytes:
    """Return the key of the counts of a group of tasks."""
    return b"q" + part(run_id) + part(name)


def group_event(run_id: str, name: str, value: int | None = None) -> bytes:
    """Return the key that lists a run's n-th event under a group; without n, the prefix of these keys."""
    return b"h" + part(run_id) + part(name) + (b"" if value is None else number(value))
