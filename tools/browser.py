"""A headless Chromium, spoken to by its DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_WITHIN_S = 200.0


class Page:
    """One page. `troubles` holds what its console complained of, `requests` the addresses of its requests."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    async def call(self, method: str, **params: Any) -> Any:
        """Return what a method of the protocol answers."""
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(_WITHIN_S):
            return await self._answers[number]

    async def value(self, expression: str) -> Any:
        """Return what an expression, or what it promises, comes to in the page."""
        told = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Return the value of an expression as soon as it is true."""
        async with asyncio.timeout(_WITHIN_S):
            while not (value := await self.value(expression)):
                await asyncio.sleep(0.05)
        return value

    async def press(self, key: str, text: str = "") -> None:
        """Press a key."""
        more = {"text": text} if text else {}
        code = {"Tab": 9, "Enter": 13}.get(key, 0)
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)
            more = {}

    async def type(self, text: str) -> None:
        """Type a text where the focus is."""
        await self.call("Input.insertText", text=text)

    async def close(self) -> None:
        """Stop reading what the page sends."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                answer = self._answers.pop(told["id"])
                if "error" in told:
                    answer.set_exception(AssertionError(told["error"]))
                else:
                    answer.set_result(told["result"])
            elif told["method"] == "Network.requestWillBeSent":
                self.requests.append(told["params"]["request"]["url"])
            elif told["method"] == "Runtime.exceptionThrown":
                self.troubles.append(str(told["params"]["exceptionDetails"]))
            elif told["method"] == "Log.entryAdded" and "401" not in told["params"]["entry"]["text"]:
                self.troubles.append(told["params"]["entry"]["text"])


@asynccontextmanager
async def opened(url: str, directory: Path) -> AsyncIterator[Page]:
    """Open a page in a browser of its own, which ends with this context."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",  # a container's user has no other sandbox to be in
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--remote-debugging-port=0",
        f"--user-data-dir={directory}",
        "about:blank",
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(_WITHIN_S), aiohttp.ClientSession() as http:
            address = await _announced(process.stderr)
            async with http.get(f"http://{address}/json/list") as answer:
                target = next(each for each in await answer.json() if each["type"] == "page")
        draining = asyncio.create_task(process.stderr.read())
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket,
        ):
            page = Page(socket)
            for domain in ("Page", "Runtime", "Log", "Network"):
                await page.call(f"{domain}.enable")
            await page.call("Page.navigate", url=url)
            where = json.dumps(url.partition("#")[0])  # a page may take its fragment away
            await page.until(f"location.href.startsWith({where}) && document.readyState === 'complete'")
            yield page
            await page.close()
        draining.cancel()
    finally:
        process.terminate()
        await process.wait()


async def _announced(stream: asyncio.StreamReader) -> str:
    async for line in stream:
        found = re.search(rb"DevTools listening on ws://([^/]+)/", line)
        if found:
            return found.group(1).decode()
    raise AssertionError("the browser ended before it listened")
