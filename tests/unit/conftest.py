"""No Ray, no sleep, no socket: these tests are about rules, and take milliseconds each."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

_real_sleep = asyncio.sleep


def _forbidden(what: str):
    def refuse(*args, **kwargs):
        raise AssertionError(
            f"{what} is forbidden here: pass time in, or move the test to tests/ray or tests/e2e"
        )

    return refuse


async def _yield_only(delay: float, result=None):
    if delay > 0:
        _forbidden("asyncio.sleep")()
    return await _real_sleep(0, result)


@pytest.fixture(autouse=True)
def no_ray_no_sleep_no_socket(monkeypatch):
    import ray  # noqa: PLC0415 - imported here so that collecting does not pay for it

    monkeypatch.setattr(ray, "init", _forbidden("ray.init"))
    monkeypatch.setattr(time, "sleep", _forbidden("time.sleep"))
    monkeypatch.setattr(asyncio, "sleep", _yield_only)
    monkeypatch.setattr(socket.socket, "connect", _forbidden("socket.connect"))
    monkeypatch.setattr(socket.socket, "bind", _forbidden("socket.bind"))
