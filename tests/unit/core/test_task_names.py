"""Names of tasks where each tenant has its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.journal import keys
from actors.core.journal.batch import range_of
from actors.core.messages.journal import Accept, Finish, ReadTask, ReadTasks, Reopen
from actors.core.messages.tasks import Task, TaskState
from actors.core.task_names import given_name, tenant_of, within
from tests.unit.support.journal_desk import RUN, Desk, report

tenants = st.text(st.sampled_from("ab._-"), max_size=4)
names = st.text(st.characters(min_codepoint=32), max_size=8)


@given(tenants, names)
def test_a_name_inside_leads_back_to_its_tenant_and_the_name_that_was_given(tenant, name):
    inside = within(tenant, name)
    assert (tenant_of(inside), given_name(inside)) == (tenant, name)
    assert (tenant_of(name), given_name(name)) == (None, name)


@pytest.mark.parametrize("character", [chr(code) for code in range(32, 127)])
def test_no_character_that_a_key_may_hold_makes_it_a_tenant_s(character):
    """A user's key "a/b" would else be read as tenant a's task b."""
    key = f"a{character}b"
    assert (tenant_of(key), given_name(key)) == (None, key)
    assert (tenant_of(within(key, key)), given_name(within(key, key))) == (key, key)


def listed(desk, tenant, state=""):
    return [given_name(view.key) for view in desk.look(ReadTasks(RUN, state, tenant=tenant))[0]]


def test_a_tenants_tasks_are_listed_by_the_state_that_they_are_in_now():
    desk = Desk()
    desk.open()
    for tenant in ("a", "a.", "", "b"):
        desk.tell_all(*(Accept(RUN, Task(within(tenant, f"{tenant}{n}"))) for n in range(3)))
    desk.accept("plain")
    desk.tell(Finish(RUN, report(within("a", "a1"), TaskState.FAILED)))
    assert listed(desk, "a") == ["a0", "a1", "a2"]
    assert (listed(desk, "a", "failed"), listed(desk, "a", "accepted")) == (["a1"], ["a0", "a2"])
    assert (listed(desk, ""), listed(desk, "a.", "failed")) == (["0", "1", "2"], [])
    desk.begin("2")
    desk.tell(Reopen(RUN, within("a", "a1"), desk.look(ReadTask(RUN, within("a", "a1")))[0][0].ended_at))
    assert (listed(desk, "a", "failed"), listed(desk, "a", "accepted")) == ([], ["a0", "a1", "a2"])
    assert len(desk.look(ReadTasks(RUN))[0]) == 13


def test_a_task_of_nobody_has_the_rows_it_always_had():
    desk = Desk()
    desk.open()
    desk.accept("plain")
    assert desk.store.scan(*range_of(b"s" + keys.part(RUN)), 10) == [
        (keys.state(RUN, "accepted", 0), b"plain")
    ]
