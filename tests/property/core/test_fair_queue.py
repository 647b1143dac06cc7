"""Whatever happens to a fair queue: nothing is lost, nothing is left, and shares are what they should be."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.core.messages.values import Priority
from actors.core.queue.fair_queue import FairQueue, Ticket

CAPACITY = 12
priorities = st.sampled_from(Priority)
names = st.sampled_from("abc")
tokens = st.integers(0, 500)


class Life(RuleBasedStateMachine):
    """A queue beside the plainest model of it: lists of calls per task, and of what is taken and put back."""

    @initialize()
    def begin(self):
        self.queue: FairQueue[str] = FairQueue(CAPACITY, weights={"a": 3.0})
        self.fresh: dict[tuple, list[Ticket]] = defaultdict(list)  # never taken, in order
        self.taken: list[Ticket] = []
        self.returned: list[Ticket] = []
        self.flow_of: dict[Ticket, tuple] = {}
        self.number = 0

    @rule(priority=priorities, tenant=names, task=names, tokens=tokens, count=st.integers(1, 4))
    def push(self, priority, tenant, task, tokens, count):
        for _ in range(count):
            self.number += 1
            room = len(self.queue) < CAPACITY
            ticket = self.queue.push(
                f"k{self.number}", priority=priority, tenant=tenant, task=task, tokens=tokens
            )
            assert (ticket is not None) == room
            if ticket is not None:
                self.flow_of[ticket] = (priority, tenant, task)
                self.fresh[self.flow_of[ticket]].append(ticket)

    @rule()
    def pop(self):
        expected = self.queue.peek()
        ticket = self.queue.pop()
        assert ticket is expected
        if ticket is None:
            assert not self.returned
            assert not any(self.fresh.values())
            return
        flow = self.flow_of[ticket]
        if ticket in self.returned:
            self.returned.remove(ticket)
        else:
            assert not any(self.flow_of[each] == flow for each in self.returned)
            assert ticket is self.fresh[flow].pop(0)
        self.taken.append(ticket)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def push_back(self, data):
        ticket = self.draw_from(self.taken, data)
        self.returned.append(ticket)
        self.queue.push_back(ticket)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), actual=tokens)
    def settle(self, data, actual):
        self.queue.settle(self.draw_from(self.taken, data), actual)

    @precondition(lambda self: len(self.queue))
    @rule(data=st.data())
    def remove(self, data):
        waiting = [each for each in (self.returned, *self.fresh.values()) if each]
        self.queue.remove(self.draw_from(data.draw(st.sampled_from(waiting)), data))

    @rule(task=names)
    def remove_all_of_a_task(self, task):
        for flow in [flow for flow in self.fresh if flow[2] == task]:
            for ticket in self.fresh.pop(flow):
                self.queue.remove(ticket)
        for ticket in [each for each in self.returned if self.flow_of[each][2] == task]:
            self.returned.remove(ticket)
            self.queue.remove(ticket)

    @staticmethod
    def draw_from(tickets, data):
        """Take one of `tickets` out of its list, by position: tickets have no order to sort them by."""
        return tickets.pop(data.draw(st.integers(0, len(tickets) - 1)))

    @invariant()
    def the_books_agree(self):
        self.queue.check_invariants()
        assert len(self.queue) == len(self.returned) + sum(len(calls) for calls in self.fresh.values())
        assert self.queue.statistics().unsettled == len(self.taken) + len(self.returned)

    def teardown(self):
        while (ticket := self.queue.pop()) is not None:
            self.taken.append(ticket)
        for ticket in self.taken:
            self.queue.settle(ticket, 7)
        self.queue.check_invariants()
        assert not self.queue.statistics().tenants


TestLife = Life.TestCase


@given(
    weights=st.dictionaries(names, st.floats(0.1, 10), min_size=3, max_size=3),
    costs=st.dictionaries(
        names, st.lists(st.integers(1, 1000), min_size=1, max_size=5), min_size=3, max_size=3
    ),
    slots=st.integers(1, 5),
)
def test_tenants_with_work_waiting_get_tokens_by_weight(weights, costs, slots):
    """The bound of start-time fair queueing: shares differ by at most one largest call of each."""
    queue: FairQueue[str] = FairQueue(1000, weights=weights)
    for number in range(100):
        for name, sizes in costs.items():
            size = sizes[number % len(sizes)]
            queue.push(name, priority=Priority.BATCH, tenant=name, task="t", tokens=size)
    served = dict.fromkeys(costs, 0.0)
    calls = dict.fromkeys(costs, 0)
    under_way = []
    while max(calls.values()) < 100:
        ticket = queue.pop()
        served[ticket.entry] += ticket.tokens / weights[ticket.entry]
        calls[ticket.entry] += 1
        under_way.append(ticket)
        if len(under_way) == slots:
            each = under_way.pop(0)
            queue.settle(each, each.tokens)
        for one in costs:
            for other in costs:
                bound = max(costs[one]) / weights[one] + max(costs[other]) / weights[other]
                assert abs(served[one] - served[other]) <= bound * (1 + 1e-9)
    queue.check_invariants()


@given(
    share=st.floats(0, 0.9),
    interactive=st.lists(st.integers(1, 1000), min_size=1, max_size=5),
    batch=st.lists(st.integers(1, 1000), min_size=1, max_size=5),
)
def test_while_both_classes_wait_batch_gets_its_share_and_no_more(share, interactive, batch):
    queue: FairQueue[Priority] = FairQueue(1000, batch_share=share)
    sizes = {Priority.INTERACTIVE: interactive, Priority.BATCH: batch}
    for priority, of_class in sizes.items():
        for number in range(100):
            size = of_class[number % len(of_class)]
            queue.push(priority, priority=priority, tenant="t", task="t", tokens=size)
    served = dict.fromkeys(Priority, 0)
    while queue.statistics().interactive > 1 and queue.statistics().batch > 1:
        ticket = queue.pop()
        served[ticket.entry] += ticket.tokens
        queue.settle(ticket, ticket.tokens)
        due = share * sum(served.values())
        assert served[Priority.BATCH] >= due - max(interactive) - 1e-6
        assert served[Priority.BATCH] <= due + max(batch) + 1e-6
