"""A record or query of any content harms nothing but itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from actors.core.errors import HeadraceError, InvariantError
from actors.core.journal.batch import CheckedCodec
from actors.core.journal.reads import Waiting, answer
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.journal import (
    Accept,
    AttemptOutcome,
    CloseRun,
    Collected,
    Finish,
    Intent,
    Note,
    OpenRun,
    ReadEvents,
    ReadSpent,
    ReadTasks,
    Reopen,
)
from actors.core.messages.tasks import Fetched, Item, Task
from actors.core.messages.values import Usage
from actors.journal.stores.codec import JsonCodec
from tests.unit.support.journal_desk import RUN, Desk, intent, outcome, report

TASKS = ("t1", "t2")

good = st.one_of(
    st.builds(
        lambda task, group, name: Accept(RUN, Task(task, {"n": 1}), group=group, idempotency=name),
        st.sampled_from((*TASKS, "t3")),
        st.sampled_from(["", "g"]),
        st.sampled_from(["", "i"]),
    ),
    st.builds(lambda n, task: intent(n, task=task), st.integers(1, 3), st.sampled_from(TASKS)),
    st.builds(lambda n, task: outcome(n, task=task), st.integers(1, 3), st.sampled_from(TASKS)),
    st.builds(
        lambda task, n: Note(RUN, task, "started", {"n": n}), st.sampled_from(TASKS), st.integers(0, 2)
    ),
    st.builds(
        lambda task: Collected(RUN, task, (Fetched("s", (Item("s:1", "s", "x"),)),)), st.sampled_from(TASKS)
    ),
    st.builds(lambda task: Finish(RUN, report(task)), st.sampled_from(TASKS)),
)
# Each of these raises in the middle of a rule, or before it; none may leave a trace.
no_document = {1: {2}}
BAD = (
    Accept(RUN, Task("t9", no_document)),
    Accept(RUN, Task("t9"), tenant={"a"}, idempotency="new", group="new"),
    Accept(RUN, Task("t9"), priority="first"),
    Accept(RUN, Task("t9"), expires_in_s=float("nan"), group="new"),
    Accept(RUN, Task("\U0010ffff" * 900), idempotency="new"),
    Accept(RUN, Task(9)),
    intent(10**26),
    intent(-1),
    intent(2**64),
    intent(7, number={1}),
    intent(7, call="c" * 300),
    intent(7, content=no_document),
    replace(intent(7), endpoint={"main"}),
    replace(intent(7), idempotency_key={"own"}),
    outcome(10**26),
    outcome(1, no_document),
    outcome(1, {"n": {1}}, content="shared"),
    AttemptOutcome(RUN, "t1", "k1", AttemptEnded(1, values={"q": 1}, usage=None)),
    AttemptOutcome(RUN, "t1", "k1", AttemptEnded(1, error="none", usage=Usage())),
    Note(RUN, "t1", {"kind"}, {}),
    Note(RUN, "t1", "started", no_document),
    Collected(RUN, "t1", ({"source"},)),
    Collected(RUN, "t1", (Fetched("s", (Item("s:1", "s", {"text"}),)),)),
    Finish(RUN, replace(report("t1"), errors=({"e"},))),
    Finish(RUN, replace(report("t1"), state="gone")),
    Finish(RUN, replace(report("t1"), calls=None)),
    Reopen(RUN, "t1", "now"),
    CloseRun(RUN, "succeeded", no_document),
    OpenRun("r9", "n", no_document),
    OpenRun("r" * 3_000, "n", {}),
    object(),
    None,
)
bad = st.sampled_from(BAD)


def fresh():
    desk = Desk()
    desk.open()
    desk.tell_all(*(Accept(RUN, Task(task, {"n": 1}), group="g") for task in TASKS))
    desk.tell_all(*(intent(n, task=task) for task in TASKS for n in (1, 2)))
    return desk


def told(desk, records):
    """Return the replies to records that are decided together, from a cache that is warm or not."""
    turn = desk.handle(*records)
    desk.store.commit(turn.batch)
    desk.state.check_invariants()
    return turn.replies


@given(
    st.lists(st.tuples(good, st.just(True)) | st.tuples(bad, st.just(False)), min_size=1, max_size=12),
    st.lists(good, max_size=4),
    st.booleans(),
)
def test_a_record_that_raises_changes_nothing_and_the_others_are_decided_as_without_it(mixed, after, warm):
    desk, without = fresh(), fresh()
    if not warm:
        desk.state.forget()
    replies = told(desk, [record for record, _ in mixed])
    kept = []
    for reply, (record, is_good) in zip(replies, mixed, strict=True):
        # A record that has come before, or comes too late, is not looked at closely.
        if is_good or not isinstance(reply, HeadraceError):
            kept.append((record, reply))
    assert shown(reply for _, reply in kept) == shown(told(without, [record for record, _ in kept]))
    assert desk.store.rows == without.store.rows
    assert shown(told(desk, after)) == shown(told(without, after))
    assert desk.store.rows == without.store.rows
    desk.beat()
    without.beat()
    assert desk.store.rows == without.store.rows


@given(st.sampled_from(BAD))
def test_a_bad_record_is_answered_with_an_error(record):
    (reply,) = told(fresh(), [record])
    assert isinstance(reply, HeadraceError), record


def shown(replies):
    return [repr(reply) for reply in replies]


def test_a_broken_invariant_ends_the_turn():
    desk = fresh()
    desk.tell(Finish(RUN, report("t1")))
    del desk.store.rows[next(key for key in desk.store.rows if key[:1] == b"p")]
    with pytest.raises(InvariantError):
        desk.handle(Accept(RUN, Task("t2", {"n": 1})), Accept(RUN, Task("t1", {"n": 1})))


def test_what_an_endpoint_says_an_answer_took_is_kept_within_what_adds_up():
    desk = fresh()
    absurd = (Usage(10**30, -5, float("inf")), Usage(2**63, 1, float("nan")), Usage(1, 1, -1.0))
    for n, usage in enumerate(absurd, 11):
        desk.tell_all(intent(n, call=f"k{n}"), outcome(n, call=f"k{n}", usage=usage))
    spent = desk.look(ReadSpent(RUN))[0]
    assert spent.usage == Usage(2 * 10**12 + 1, 2, 0.0)
    assert JsonCodec.dumps([spent.usage.input_tokens, spent.usage.cost_usd]) == b"[2000000000001,0.0]"


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**18, max_value=10**30),
    st.floats(),
    st.text(max_size=10),
    st.binary(max_size=10),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
whole_queries = st.one_of(
    st.builds(ReadTasks, st.just(RUN), st.sampled_from(["", "accepted"]), st.integers(), st.integers()),
    st.builds(
        ReadEvents, st.just(RUN), st.sampled_from([None, "t1"]), st.integers(), st.integers(), st.floats()
    ),
)


@given(whole_queries)
def test_a_query_with_any_number_is_answered(query):
    reply = answer(query, fresh().store, CheckedCodec(JsonCodec()))
    assert isinstance(reply, tuple | Waiting)
    assert not isinstance(reply, Waiting) or 0 < reply.query.wait_s <= 300


records = st.one_of(
    *(
        st.builds(kind, **dict.fromkeys(kind.__struct_fields__, anything))
        for kind in (OpenRun, CloseRun, Accept, Collected, Note, Finish, Reopen, Intent, AttemptOutcome)
    )
)


@given(records, good)
def test_a_record_of_any_content_is_answered_and_its_neighbour_too(record, neighbour):
    desk, alone = fresh(), fresh()
    reply, beside = told(desk, [record, neighbour])
    assert isinstance(reply, HeadraceError | Struct), record
    assert isinstance(record, OpenRun) or isinstance(reply, HeadraceError), record
    assert repr(beside) == repr(told(alone, [neighbour])[0])
