"""The link in memory keeps what every link promises."""

from __future__ import annotations

import pytest

from actors.core.messages.delivery import Hello
from actors.transport.link import LinkError
from actors.transport.memory_link import LocalAddress
from tests.unit.support.link_contract import Echo, LinkContract, Place, Talker, items, until


class InMemory(Place):
    """An actor in this process. Its streams end when it begins anew, as those of a process do."""

    def __init__(self):
        super().__init__()
        self.inboxes = {"echo": self.actor.inbox}
        self.links = []

    def address(self):
        return Noted("echo", self.inboxes, self.links)

    async def restart(self):
        self.actor = Echo()
        self.inboxes["echo"] = self.actor.inbox
        for link in self.links:
            await link.close()


class Noted(LocalAddress, frozen=True):
    """An address whose links a test knows."""

    links: list

    def link(self):
        made = super().link()
        self.links.append(made)
        return made


@pytest.fixture
def place():
    return InMemory()


class TestMemoryLink(LinkContract):
    """The contract, in memory."""


async def test_an_actor_that_is_not_there_yet_is_an_error_of_the_link(place):
    with pytest.raises(LinkError, match="no actor is named later"):
        await LocalAddress("later", place.inboxes).link().open(Hello("talker", 1), Talker(place))


async def test_what_is_handed_over_is_the_object_itself(place):
    talker, sent = Talker(place), {"a": [1]}
    (await talker.connect()).deliver(items(sent))
    await until(lambda: talker.heard)
    assert talker.heard[0][1] is sent
