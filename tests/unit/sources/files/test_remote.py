"""A distant file system that is away is asked again; no dead connection stays."""

from __future__ import annotations

import asyncio
import errno
import ftplib
import socket
import threading

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from actors.core.errors import ConfigError, SourceError, SourceUnavailableError
from actors.core.messages.tasks import Task
from actors.sources.files.source import FilesSettings


class Distant(MemoryFileSystem):
    """A file system in memory behind a connection, as FTP and SSH have one, that a test can break."""

    protocol = "distant"
    cachable = True
    away: list[BaseException] = []  # noqa: RUF012 - what each further use raises, shared by all instances
    made: list[Distant] = []  # noqa: RUF012

    def __init__(self, **options):
        super().__init__()
        if "unknown" in options:
            raise TypeError("unknown option, password hunter2")
        self.broken = False
        self.made.append(self)
        self.use()

    def use(self):
        if self.away:
            self.broken = True
            raise self.away.pop(0)
        assert not self.broken, "a connection that broke is used again"

    def glob(self, path, **options):
        self.use()
        return super().glob(path, **options)

    def _open(self, path, *args, **options):
        self.use()
        return super()._open(path, *args, **options)

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("distant://"))


@pytest.fixture
def distant():
    fsspec.register_implementation("distant", Distant, clobber=True)
    Distant.away.clear()
    Distant.made.clear()
    Distant.clear_instance_cache()
    fsspec.filesystem("memory").pipe("/docs/a/n.md", b"text")
    yield Distant
    fsspec.filesystem("memory").store.clear()


def source(**options):
    return FilesSettings(name="notes", kind="files", path="distant://docs/{key}/*.md", **options).build()


AWAY = [
    ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    OSError(errno.EHOSTUNREACH, "No route to host"),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    TimeoutError("timed out"),
    EOFError(),
    ftplib.error_temp("421 too many connections"),  # noqa: S321 - no call of FTP
    ftplib.error_perm("530 login incorrect"),  # noqa: S321
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
async def test_a_file_system_that_is_away_at_the_start_or_later_is_asked_again(distant, error):
    """An FTP server that was away when a run began ended the run."""
    notes = source()
    assert distant.made == []
    for _ in range(2):
        distant.away.append(error)
        with pytest.raises(SourceUnavailableError, match="cannot be read now"):
            await notes.fetch(Task("a"))
        assert [item.text for item in await notes.fetch(Task("a"))] == ["text"]
    assert len(distant.made) == 3


async def test_a_file_system_that_refuses_is_not_asked_again(distant):
    distant.away.append(PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(SourceError, match="Permission denied") as caught:
        await source().fetch(Task("a"))
    assert not caught.value.retry


async def test_options_that_do_not_fit_are_a_configuration_error_that_quotes_none(distant):
    with pytest.raises(ConfigError, match="distant://docs/ cannot be used: TypeError") as caught:
        await source(options={"unknown": 1}).fetch(Task("a"))
    assert "hunter2" not in str(caught.value)


async def test_two_threads_do_not_use_one_connection_at_once(distant, monkeypatch):
    notes, inside, most = source(), 0, 0
    free = threading.Barrier(2)

    def use(self):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            free.wait(timeout=0.05)
        except threading.BrokenBarrierError:
            free.reset()
        inside -= 1

    monkeypatch.setattr(Distant, "use", use)
    await asyncio.gather(*(notes.fetch(Task("a")) for _ in range(3)))
    assert most == 1


async def test_a_call_that_hangs_costs_its_connection_and_not_the_source(distant, monkeypatch):
    """It kept the lock for good: every later fetch timed out and left a thread that waited."""
    notes, hangs, gate = source(timeout_s=0.02), threading.Event(), threading.Event()
    use = Distant.use

    def hang_once(self):
        use(self)
        if self is distant.made[0] and not hangs.is_set():
            hangs.set()
            assert gate.wait(timeout=30)
            self.broken = True
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr(Distant, "use", hang_once)
    hung = asyncio.create_task(notes.fetch(Task("a")))
    try:
        assert await asyncio.to_thread(hangs.wait, 30)
        with pytest.raises(SourceUnavailableError, match="the next one reconnects"):
            async with asyncio.timeout(10):
                await notes.fetch(Task("a"))
        assert [item.text for item in await notes.fetch(Task("a"))] == ["text"]
    finally:
        gate.set()
    with pytest.raises(SourceUnavailableError):
        await hung
    assert [item.text for item in await notes.fetch(Task("a"))] == ["text"]
    assert len(distant.made) == 2  # what the hung call ended with concerns its own connection only
