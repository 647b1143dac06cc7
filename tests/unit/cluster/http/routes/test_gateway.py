"""The HTTP API and its actors: one that is away is waited for a bounded time, and used once it is back."""

from __future__ import annotations

import asyncio

import pytest

from cluster.config.model import HeadraceConfig
from cluster.http.guard import limits
from cluster.http.guard.problems import of_error
from cluster.http.routes import gateway
from cluster.http.routes.gateway import Gateway
from tests.unit.support.courier_target import At, FlakyLink, Target
from tests.unit.support.leaping_loop import run_leaping


def run(monkeypatch, test):
    async def main():
        target = Target()
        link = FlakyLink(target)
        monkeypatch.setattr(gateway, "RayAddress", lambda *_: At("target", lambda: link))
        monkeypatch.setattr(Gateway, "_open", lambda self: asyncio.sleep(0))
        made = Gateway(HeadraceConfig.model_construct(name="service"))
        made._topology = object()
        await test(made, target, link)
        await made.close()

    run_leaping(main())


def test_a_request_to_an_actor_that_is_away_is_answered_in_time_and_not_sent_later(monkeypatch):
    async def test(gateway, target, link):
        link.be_away()
        began = asyncio.get_running_loop().time()
        for n in range(10):
            with pytest.raises(TimeoutError) as late:
                await gateway.ask(n)
            assert of_error(late.value).status == 503
        assert asyncio.get_running_loop().time() - began == pytest.approx(10 * limits.ANSWER_WITHIN_S)
        link.error = None
        target.restart()
        assert await gateway.ask(77) == 154
        assert set(target.ran) == {77}

    run(monkeypatch, test)


def test_an_actor_that_was_away_for_an_hour_is_used_again(monkeypatch):
    async def test(gateway, target, link):
        assert await gateway.ask(1) == 2
        link.be_away()
        await asyncio.sleep(3600.0)
        link.error = None
        assert await gateway.ask(2) == 4

    run(monkeypatch, test)
