"""What users are told to type works as it stands."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
import time
from asyncio.subprocess import PIPE, STDOUT
from types import SimpleNamespace

import pytest
from aiohttp import web

from examples.client import Client, RefusedError
from tests.e2e.http.conftest import ANN, BOB, ROOM, ROOT, WITHIN_S


def commands(file: str) -> str:
    """Return the shell commands of a document, as one script."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", (ROOT / file).read_text(), re.DOTALL | re.MULTILINE))


async def run(*arguments: str, env: dict[str, str], stdin: bytes = b"") -> str:
    process = await asyncio.create_subprocess_exec(
        *arguments, stdin=PIPE, stdout=PIPE, stderr=STDOUT, env=env
    )
    async with asyncio.timeout(WITHIN_S):
        told, _ = await process.communicate(stdin)
    assert process.returncode == 0, told.decode()
    return told.decode()


async def test_the_commands_of_the_documentation_work(service, tmp_path):
    script = commands("docs/http.md")
    assert script.count("curl") >= 9
    script = re.sub(r"^export URL=.*$", f"export URL={service.url}", script, flags=re.MULTILINE)
    (tmp_path / ".curlrc").write_text(f'header = "Authorization: Bearer {BOB}"\nfail-with-body\n')
    env = {"PATH": "/usr/bin:/bin", "CURL_HOME": str(tmp_path)}
    told = await run("bash", "-e", "-o", "pipefail", "-s", env=env, stdin=script.encode())
    for expected in (
        '"key":"kettle"',
        "event: ended",
        '"overall":',
        '"accepted":2',
        '"refused":1',
        '"ready"',
    ):
        assert expected in told


async def test_the_example_client_runs_as_its_first_lines_say(service, name):
    env = {"PATH": "/usr/bin:/bin", "HEADRACE_API_TOKEN": ANN}
    client = str(ROOT / "examples/client.py")
    told = await run(sys.executable, client, name, "--param", "product=kettle", "--url", service.url, env=env)
    assert "accepted" in told
    assert '"state": "succeeded"' in told


async def test_the_example_client_asks_again_whatever_the_proxy_answers_while_it_starts(server, name):
    problem = {"content_type": "application/problem+json", "headers": {"Retry-After": "0"}}
    answers = [
        lambda: web.Response(status=404, text="Path '/v1/tasks' not found."),
        lambda: web.Response(status=500, text="Internal Server Error"),
        lambda: web.Response(status=503, body=b"{}", **problem),
        None,  # the connection breaks before the answer
        lambda: web.json_response({"id": name}, status=202),
        lambda: web.Response(status=422, body=b'{"detail": "no"}', **problem),
    ]

    async def respond(request):
        answer = answers.pop(0)
        if answer is None:
            request.transport.abort()
        return web.Response() if answer is None else answer()

    server.behaviour = respond
    client = Client(server.url.removesuffix("/v1"), patience_s=WITHIN_S, pause_s=0.0)
    assert await asyncio.to_thread(client.submit, name) == name
    assert len({headers["Idempotency-Key"] for _, headers, _ in server.requests}) == 1
    with pytest.raises(RefusedError, match="no"):
        await asyncio.to_thread(client.submit, name)


async def test_the_example_client_waits_while_there_is_no_room(service, ann, endpoint, name, monkeypatch):
    await endpoint.hold()
    filled = [(await ann.accepted({"key": f"{name}-{n}", "priority": "batch"}))["id"] for n in range(ROOM)]
    pauses, room = [], threading.Event()

    def pause(seconds):
        pauses.append(seconds)
        assert room.wait(WITHIN_S)

    monkeypatch.setattr("examples.client.time", SimpleNamespace(monotonic=time.monotonic, sleep=pause))
    client = Client(service.url, ANN, patience_s=WITHIN_S)
    keys = [f"{name}-client-{n}" for n in range(3)]
    asking = [asyncio.create_task(asyncio.to_thread(client.submit, key)) for key in keys]
    async with asyncio.timeout(WITHIN_S):
        while len(pauses) < len(keys):
            await asyncio.sleep(0.01)
    assert min(pauses) >= 1
    await endpoint.release()
    await ann.ended(*filled)
    room.set()
    assert await asyncio.gather(*asking) == keys
    await ann.ended(*keys)
    assert [event.id for event in await asyncio.to_thread(lambda: list(client.events(keys[0])))] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert await asyncio.to_thread(client.cancel, keys[0]) == "succeeded"
    with pytest.raises(RefusedError, match="no task of this id"):
        await asyncio.to_thread(client.result, "nothing")
