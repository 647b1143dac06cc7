"""The journal and the dispatcher together, with all that lies between dying at any moment.

What is promised is checked against the endpoint's own ledger, call by call.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.core.errors import FailureKind
from actors.core.journal.reads import read_attempts, read_run
from tests.property.worlds.paid_world import ALL, CODEC, RUN, TASKS, World

DRAINED_WITHIN = 5_000  # rounds; what takes more is stuck
# What the endpoint does with a request, and what the client hears of it.
ends = st.sampled_from(
    [
        (which, *end)
        for which in range(3)
        for end in (
            *[("works", None)] * 4,
            *[("works", FailureKind.UNUSABLE)] * 2,
            *[("works", FailureKind.IN_DOUBT)] * 2,
            ("idles", FailureKind.IN_DOUBT),
            ("idles", FailureKind.REFUSED),
            ("idles", FailureKind.TRANSIENT),
        )
    ]
)
fates = st.sampled_from([*["commits"] * 4, "is lost", "dies before it", "dies after it"])
names = st.sampled_from(["c1", "c2"])


class Everything(World, RuleBasedStateMachine):
    """A world in which everything that can happen does, in any order."""

    @initialize(
        honours=st.booleans(),
        keep=st.sampled_from(["reports", "calls"]),
        most=st.integers(1, 6),
        hedges=st.booleans(),
    )
    def a_world_begins(self, honours, keep, most, hedges):
        self.begin(honours, keep, most, hedges=hedges)

    # ---- what happens --------------------------------------------------------------------------------

    @rule(some=st.lists(ends, min_size=1, max_size=8), fate=fates)
    def all_goes_on(self, some, fate):
        """Have everybody do what there is to do, once."""
        for name in self.clients:
            self.mail_arrives(name, ALL)
        if self.records:
            self.the_journal_takes_a_turn(ALL, fate)
        self.the_endpoint_answers(some)
        if self.completions:
            self.the_pipeline_hears(ALL)

    @rule(
        which=st.sampled_from(["c1", "c2", "pipeline", "dispatcher", "journal"]),
        works=st.lists(st.booleans(), min_size=6, max_size=6),
        told=st.booleans(),
    )
    def a_part_dies(self, which, works, told):
        match which:
            case "pipeline":
                self.the_pipeline_dies()
            case "dispatcher":
                self.the_dispatcher_dies()
            case "journal":
                self.journal_begins()
            case name:
                self.a_client_dies(name, works, told)

    @precondition(lambda self: self.dispatcher is None)
    @rule()
    def a_dispatcher_begins(self):
        self.dispatcher_begins()

    @rule(name=names)
    def a_client_stands_still(self, name):
        if self.clients[name].is_frozen:
            self.a_client_goes_on(name)
        else:
            self.clients[name].is_frozen = True

    @precondition(lambda self: any(client.is_frozen for client in self.clients.values()))
    @rule()
    def who_stands_still_is_given_up(self):
        for name, client in self.clients.items():
            if client.is_frozen:
                self.a_frozen_client_is_given_up(name)

    @rule(name=names, restarts=st.booleans())
    def a_client_stands_still_for_long(self, name, restarts):
        """Have the others do its work meanwhile, and its own answers come after theirs."""
        self.clients[name].is_frozen = True
        if restarts:
            self.the_dispatcher_dies()
        else:
            self.a_frozen_client_is_given_up(name)
        for _ in range(4):
            self.go_on(without=name)
        self.a_client_goes_on(name)

    # ---- in smaller steps ----------------------------------------------------------------------------

    @rule(name=names, count=st.integers(1, 12))
    def mail_is_slow(self, name, count):
        self.mail_arrives(name, count)

    @rule(some=st.lists(ends, min_size=1, max_size=4))
    def some_answers_come(self, some):
        self.the_endpoint_answers(some)

    @precondition(lambda self: self.records)
    @rule(count=st.integers(1, 20), fate=fates)
    def the_journal_is_slow(self, count, fate):
        self.the_journal_takes_a_turn(count, fate)

    @precondition(lambda self: self.completions)
    @rule(count=st.integers(1, 9))
    def some_completions_come(self, count):
        self.the_pipeline_hears(count)

    @precondition(lambda self: self.dispatcher is not None)
    @rule()
    def time_passes(self):
        self.the_alarm_rings()

    # ---- what always holds ---------------------------------------------------------------------------

    @invariant()
    def no_call_is_billed_beyond_its_bound_and_the_books_agree(self):
        counted, doubt, unusable, unknown = Counter(), Counter(), Counter(), Counter()
        hedged = set()
        for task in TASKS:
            for it in read_attempts(self.store, CODEC, RUN, task):
                counted[it.call_key] += it.billed
                doubt[it.call_key] += it.in_doubt
                unknown[it.call_key] += it.in_doubt and not it.billed
                unusable[it.call_key] += it.outcome == FailureKind.UNUSABLE
                if it.is_hedge:
                    hedged.add(it.call_key)
        for call, billed in self.billed.items():
            assert billed <= 1 + doubt[call] + unusable[call] + (call in hedged)
            assert counted[call] <= billed <= counted[call] + unknown[call]
        counts = read_run(self.store, CODEC, RUN).spent.counts
        assert counts.billed == counted.total()
        assert counts.in_doubt == doubt.total()

    @invariant()
    def where_keys_are_honoured_each_question_is_billed_once(self):
        assert not self.honours or all(times == 1 for times in self.billed_keys.values())

    @invariant()
    def all_parts_agree_with_themselves(self):
        self.journal.check_invariants()
        if self.dispatcher is not None:
            self.dispatcher.check_invariants()
        for client in self.clients.values():
            client.queue.check_invariants()

    def teardown(self):
        """Have nothing fail any more: then everything comes to its end."""
        for _ in range(DRAINED_WITHIN):
            if not (self.wanted or self.records or any(it.is_frozen for it in self.clients.values())):
                break
            self.go_on()
        assert not self.wanted, f"stuck: {self.dispatcher.statistics()}"
        assert self.reports == set(TASKS)
        assert read_run(self.store, CODEC, RUN).tasks.succeeded == len(TASKS)
        assert set(self.values) == {call for calls in TASKS.values() for call in calls}
        assert min(self.billed[call] for call in self.values) >= 1
        self.no_call_is_billed_beyond_its_bound_and_the_books_agree()

    def go_on(self, without=None):
        if self.dispatcher is None:
            self.dispatcher_begins()
        for name, client in self.clients.items():
            if client.is_frozen and name != without:
                self.a_client_goes_on(name)
            self.mail_arrives(name, ALL)
            for attempt_id in sorted(client.asked):
                self.answer(client, client.offered[attempt_id], "works", None)
        if self.records:
            self.the_journal_takes_a_turn(ALL, "commits")
        if self.completions:
            self.the_pipeline_hears(ALL)
        self.the_alarm_rings()


TestEverything = Everything.TestCase
TestEverything.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


@pytest.mark.parametrize("restarts", [True, False])
@pytest.mark.parametrize("keep", ["reports", "calls"])
def test_calls_of_a_client_that_stood_still_are_billed_twice_and_were_in_doubt(restarts, keep):
    """Its requests were given up and made by another, and then it goes on with all of its answers."""
    world = Everything()
    world.begin(honours=False, keep=keep, most=4, hedges=False)
    world.mail_arrives("c1", ALL)
    world.mail_arrives("c2", ALL)
    world.the_journal_takes_a_turn(ALL, "commits")
    mine = {world.clients["c1"].offered[attempt].call_key for attempt in world.clients["c1"].asked}
    world.a_client_stands_still_for_long("c1", restarts)
    world.teardown()
    assert mine
    assert {call for call, times in world.billed.items() if times > 1} == mine
    counts = read_run(world.store, CODEC, RUN).spent.counts
    assert counts.billed == sum(world.billed.values())
    assert counts.in_doubt >= len(mine)
