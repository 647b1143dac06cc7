"""A dispatcher that begins while the store is away waits for what its run has spent."""

from __future__ import annotations

from actors.core.errors import StoreUnavailableError
from actors.core.messages.journal import ReadSpent, Spent
from actors.core.messages.values import CallCounts, Usage
from actors.dispatcher.journal_query import ask_journal
from actors.transport.inbox import Inbox
from tests.unit.support.courier_target import At, DirectLink
from tests.unit.support.leaping_loop import run_leaping


def test_what_a_run_has_spent_is_asked_for_until_the_store_is_back():
    spent = Spent(CallCounts(), Usage())
    answers = [StoreUnavailableError("the disk is full")] * 100 + [spent]
    asked = []

    def on_item(item, reply):
        asked.append(item)
        reply(answers[len(asked) - 1])

    async def main():
        inbox = Inbox(on_item)
        return await ask_journal(At("journal", lambda: DirectLink(inbox)), ReadSpent("run"))

    assert run_leaping(main()) == spent
    assert asked == [ReadSpent("run")] * 101
