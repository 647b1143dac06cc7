"""The HTTP API of a configuration in this process: its actors on the local engine, without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from cluster.assembly.local import LocalTopology, build
from cluster.config.model import HeadraceConfig
from cluster.http.application import make_application
from cluster.http.guard import limits
from cluster.http.guard.auth import digests
from cluster.http.routes.gateway import Gateway
from cluster.records.run_journal import RunJournal, RunOrigin


class LocalGateway(Gateway):
    """A gateway to actors of this process. They end with it; open tasks stay in the store."""

    async def _open(self) -> None:
        self._local: LocalTopology = build(self.config, self.run_id)
        self._journal = self._local.journal_courier()
        await RunJournal(self._journal, self.run_id).open(
            self.run_id, RunOrigin.of(self.config, accept_config=True)
        )
        (self._pipeline,) = self._local.couriers(window=self.config.limits.accepted_tasks)
        self._topology, self._trouble = self._local, ""

    async def _call(self, name: str, message: Any, within_s: float = limits.ANSWER_WITHIN_S) -> Any:
        courier: Any = self._journal if name == "journal" else self._pipeline
        async with asyncio.timeout(within_s):
            return await courier.call(message)

    async def close(self) -> None:
        """End the actors."""
        await self._local.save_history()
        await self._pipeline.close()
        await self._journal.close()
        await self._local.close()


@asynccontextmanager
async def local_service(config: HeadraceConfig, tokens: str | None = None) -> AsyncIterator[str]:
    """Serve `config` on a free port of loopback, whose URL is the value."""
    application = make_application(digests(tokens), lambda: LocalGateway(config))
    server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            await asyncio.sleep(0.05)
            if serving.done():
                serving.result()
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
