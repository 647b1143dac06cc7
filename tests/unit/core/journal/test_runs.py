"""Who may write to a run, and how it changes hands."""

from __future__ import annotations

import json

import pytest

from actors.core.errors import (
    ConfigChangedError,
    FencedError,
    InvalidTransitionError,
    RunTakenError,
    StoreError,
)
from actors.core.journal import keys
from actors.core.journal.batch import WriteBatch
from actors.core.journal.turn import Defer, Retried
from actors.core.messages.journal import Accept, CloseRun, Finish, OpenRun, ReadRun, ReadTasks, TaskTally
from actors.core.messages.tasks import Task
from actors.core.messages.values import Done
from tests.unit.support.journal_desk import NOW, RUN, Desk, intent, outcome, report


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def other(desk):
    """Return a journal of another application over the same store."""
    return Desk(desk.store, owner="host-b", life="9")


def deferred(desk, **fields):
    """Return the reply to another's attempt to open the run, which has to be asked again later."""
    reply = desk.open(**fields)
    assert isinstance(reply, Defer)
    return Retried(reply.record, reply.observed)


def test_a_run_that_nobody_knows_is_begun(desk):
    opened = desk.open()
    assert opened.is_new
    assert opened.began_at == NOW + 1
    assert opened.tasks == TaskTally()
    assert desk.tell(ReadRun(RUN)).state == "running"


def test_a_later_life_of_an_owner_takes_over_what_it_left_running(desk):
    desk.open()
    desk.accept("t1")
    desk.begin("2")
    assert desk.accept("t1")[0].is_new is False
    opened = desk.open()
    assert not opened.is_new
    assert opened.tasks == TaskTally(accepted=1)


def test_an_earlier_life_that_lingers_writes_nothing_more(desk):
    desk.open()
    desk.accept("t1")
    lingering = desk.state
    desk.begin("2")
    before = dict(desk.store.rows)
    desk.state = lingering
    replies = desk.accept("t1", "t2")  # one of these changes nothing, and is not told a word either
    assert all(isinstance(reply, FencedError) for reply in replies)
    assert "host-a:2" in str(replies[0])
    assert desk.store.rows == before


def test_a_life_that_lost_a_run_beats_for_it_no_more(desk, other):
    desk.open()
    desk.open("r2")
    other.tell(deferred(other))
    assert len(desk.state.beat(desk.store).puts) == 1
    desk.beat()


def test_another_owner_gets_a_run_whose_owner_was_silent_for_a_lease(desk, other):
    desk.open()
    desk.beat()
    desk.accept("t1")
    reply = other.open()
    assert (reply.seconds, type(reply)) == (15.0, Defer)
    opened = other.tell(Retried(reply.record, reply.observed))
    assert opened.tasks == TaskTally(accepted=1)
    assert isinstance(desk.accept("t2")[0], FencedError)


def test_another_owner_does_not_get_a_run_whose_owner_is_alive(desk, other):
    desk.open()
    retried = deferred(other)
    desk.beat()
    error = other.tell(retried)
    assert isinstance(error, RunTakenError)
    assert "host-a" in str(error)
    assert "1970-01-12 13:46:41" in str(error)
    assert f"status {RUN}" in str(error)
    assert desk.accept("t1")[0].is_new


def test_a_new_life_counts_as_alive(desk, other):
    desk.open()
    retried = deferred(other)
    desk.begin("2")
    assert isinstance(other.tell(retried), RunTakenError)


def test_a_run_that_was_closed_is_had_at_once(desk, other):
    desk.open()
    assert desk.tell(CloseRun(RUN, "interrupted", {"tasks": 1})) == Done()
    view = desk.tell(ReadRun(RUN))
    assert (view.state, view.ended_at, view.summary) == ("interrupted", desk.now, {"tasks": 1})
    assert not other.open().is_new
    view = other.tell(ReadRun(RUN))
    assert (view.state, view.ended_at, view.summary) == ("running", None, {})


@pytest.mark.parametrize("state", ["succeeded", "partial"])
def test_a_run_with_open_tasks_is_not_closed_as_a_whole_one(desk, state):
    desk.open()
    desk.accept("t1", "t2")
    desk.tell(Finish(RUN, report("t1")))
    refused = desk.tell(CloseRun(RUN, state))
    assert isinstance(refused, InvalidTransitionError)
    assert str(refused) == f"run r1: an end as {state} is not possible in state running with 1 open tasks"
    assert desk.tell(ReadRun(RUN)).state == "running"
    desk.beat()
    assert desk.tell(CloseRun(RUN, "failed")) == Done()


def test_the_origin_that_a_run_was_begun_with_is_told_when_it_is_opened_again(desk):
    assert desk.open(origin={"limit": 1}).origin == {"limit": 1}
    desk.tell(CloseRun(RUN, "interrupted"))
    again = desk.open(config={"limit": 2}, origin={"limit": 2}, accept_config=True)
    assert again.origin == {"limit": 1}
    assert desk.open(config={"limit": 2}).origin == {"limit": 2}


def test_closing_again_changes_nothing(desk):
    desk.open()
    desk.tell(CloseRun(RUN, "succeeded"))
    before = dict(desk.store.rows)
    assert desk.tell(CloseRun(RUN, "succeeded")) == Done()
    assert desk.store.rows == before


def test_what_was_counted_before_a_run_is_closed_is_counted_after_it(desk):
    desk.open()
    desk.tell_all(Accept(RUN, Task("t1")), intent(1), CloseRun(RUN, "interrupted"), outcome(1))
    view = desk.tell(ReadRun(RUN))
    assert view.tasks == TaskTally(accepted=1)
    assert (view.spent.counts.billed, view.spent.counts.in_doubt) == (1, 0)


def test_a_run_without_its_row_is_said_to_be_damage(desk):
    desk.open()
    del desk.store.rows[keys.run(RUN)]
    with pytest.raises(StoreError, match="damaged"):
        desk.begin("2")


def test_a_closed_run_takes_no_task_in_and_is_kept_alive_no_longer(desk):
    desk.open()
    desk.tell(CloseRun(RUN, "cancelled"))
    assert isinstance(desk.accept("t1")[0], InvalidTransitionError)
    assert desk.state.beat(desk.store).is_empty


def test_what_was_cached_of_a_run_is_not_trusted_after_another_had_it(desk, other):
    desk.open()
    desk.accept("t1")
    desk.tell(CloseRun(RUN, "interrupted"))
    other.open()
    other.accept("t2")
    other.tell_all(Finish(RUN, report("t1")), CloseRun(RUN, "interrupted"))
    assert desk.open().tasks == TaskTally(accepted=2, succeeded=1)
    assert isinstance(desk.tell(intent(1)), InvalidTransitionError)  # the task has ended elsewhere
    assert [reply.is_new for reply in desk.accept("t1", "t2", "t3")] == [False, False, True]
    assert desk.tell(ReadRun(RUN)).tasks == TaskTally(accepted=3, succeeded=1)


def test_nothing_that_an_outdated_cache_decided_slips_in_with_a_new_claim(desk, other):
    desk.open()
    desk.accept("t1")
    other.tell(deferred(other))
    other.accept("t2")
    other.tell(CloseRun(RUN, "interrupted"))
    accept, open_run = Accept(RUN, Task("t3")), OpenRun(RUN, "reviews", {"limit": 1})
    refused, opened, accepted = desk.tell_all(accept, open_run, accept)
    assert isinstance(refused, FencedError)
    assert opened.tasks == TaskTally(accepted=2)
    assert accepted.is_new
    assert [view.key for view in desk.tell(ReadTasks(RUN))] == ["t1", "t2", "t3"]


def test_the_same_run_cannot_be_begun_by_two(desk, other):
    late = other.handle(OpenRun(RUN, "reviews", {"limit": 1}))
    desk.open()
    with pytest.raises(FencedError):
        desk.store.commit(late.batch)


def test_opening_again_gives_the_same_answer(desk):
    assert desk.open() == desk.open()


def test_another_configuration_is_refused_by_the_paths_that_differ(desk):
    desk.open(config={"llm": {"clients": 2, "timeout_s": 60}, "sources": [{"items": 4}], "name": "a"})
    error = desk.open(config={"llm": {"clients": 3, "cache": True}, "sources": [], "name": "a"})
    assert isinstance(error, ConfigChangedError)
    assert str(error).splitlines()[1:-1] == [
        "  llm.cache: was not set, is True now",
        "  llm.clients: was 2, is 3 now",
        "  llm.timeout_s: was 60, is not set now",
        "  sources[0]: was {'items': 4}, is not set now",
    ]


def test_a_key_of_a_later_version_that_is_not_set_is_no_difference(desk):
    desk.open(config={"sources": [{"items": 4}]})
    assert not isinstance(desk.open(config={"sources": [{"items": 4, "new": None}]}), Exception)
    assert isinstance(desk.open(config={"sources": [{"items": 4, "new": 0}]}), ConfigChangedError)


def test_of_many_differences_some_are_listed_and_all_are_counted(desk):
    desk.open(config={f"k{n:02}": "x" * 200 for n in range(30)})
    lines = str(desk.open(config={})).splitlines()
    assert len(lines) == 23
    assert lines[-2] == "  and 10 more"
    assert max(map(len, lines)) < 150


def test_a_changed_prompt_is_shown_where_it_differs(desk):
    """Both texts begin with the same 540 characters, which alone would show no difference."""
    desk.open(config={"prompt": "Rate it. " * 60 + "Be strict."})
    error = desk.open(config={"prompt": "Rate it. " * 60 + "Be kind."})
    assert isinstance(error, ConfigChangedError)
    assert "Be strict." in str(error)
    assert "Be kind." in str(error)


def test_another_configuration_replaces_the_first_where_that_is_accepted(desk):
    desk.open()
    desk.open(config={"limit": 2}, origin={"path": "b.yaml"}, accept_config=True)
    view = desk.tell(ReadRun(RUN))
    assert (view.config, view.origin) == ({"limit": 2}, {"path": "b.yaml"})
    assert isinstance(desk.open(), ConfigChangedError)


def test_a_value_that_an_earlier_edition_stored_in_clear_is_replaced_by_its_reference(desk):
    desk.open(config={"url": "https://x.test/?t=s3cr3t", "n": 1})
    row = json.loads(desk.store.get(keys.run(RUN)))
    del row["config_format"]  # the first edition tells none
    desk.store.commit(WriteBatch({keys.run(RUN): json.dumps(row).encode()}))
    desk.state.forget()
    opened = desk.open(config={"url": "https://x.test/?t=${TOKEN}", "n": 1})
    assert opened.run_id == RUN
    assert desk.tell(ReadRun(RUN)).config == {"url": "https://x.test/?t=${TOKEN}", "n": 1}
    assert not any(b"s3cr3t" in value for value in desk.store.rows.values())


def test_a_difference_does_not_show_what_stood_where_a_reference_stands_now(desk):
    desk.open(config={"url": "https://y.test/?t=s3cr3t"})
    error = desk.open(config={"url": "https://x.test/?t=${TOKEN}"})
    assert isinstance(error, ConfigChangedError)
    assert "  url: was a value, is 'https://x.test/?t=${TOKEN}' now" in str(error).splitlines()


def test_a_configuration_is_compared_as_it_is_stored(desk):
    desk.open(config={"formats": ("jsonl", "parquet")})
    assert desk.open(config={"formats": ["jsonl", "parquet"]}).run_id == RUN


def test_records_of_a_run_that_was_never_opened_are_refused(desk):
    assert isinstance(desk.tell(Accept("r9", Task("t1"))), InvalidTransitionError)


def test_one_run_that_was_lost_does_not_stop_the_others(desk, other):
    desk.open()
    desk.open("r2")
    other.tell(deferred(other))
    replies = desk.tell_all(Accept(RUN, Task("t1")), Accept("r2", Task("t1")))
    assert isinstance(replies[0], FencedError)
    assert replies[1].is_new


def test_a_life_has_no_colon_in_its_name():
    with pytest.raises(ValueError, match="colon"):
        Desk(life="a:b")
