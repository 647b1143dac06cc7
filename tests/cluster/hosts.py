"""Hosts of the tests' own on one machine: each has its own network, processes, mounts and name.

A switch joins them, as a network does: cables can be pulled, hosts can lose power. The switch has an address
too, where whatever is outside of the cluster is served. All of it consists of processes that the kernel ends
with the tests; no namespace has a name, so none stays behind, even if the tests are killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

OUTSIDE = "10.77.0.254"
_ROOT = Path("/")
_WITHIN_S = 90.0
_PR_SET_PDEATHSIG = 1


def why_not() -> str | None:
    """Return why hosts cannot be made here, None where they can."""
    missing = [tool for tool in ("ip", "unshare", "nsenter") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not installed: `make network` installs iproute2"
    tried = subprocess.run(  # noqa: S603 - our own words
        ["unshare", *_OWN, "ip", "link", "add", "v", "type", "bridge"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        timeout=_WITHIN_S,
    )
    return (
        None if tried.returncode == 0 else f"no namespaces here, which root may make: {tried.stderr.strip()}"
    )


_OWN = ("--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_FETCH = """
import sys, urllib.request as r
data = sys.argv[2].encode() if sys.argv[2:] else None
request = r.Request(sys.argv[1], data, {"Content-Type": "application/json"})
print(r.urlopen(request, timeout=10).read().decode())
"""
# bash stays the first process: it takes in orphans, without which Ray takes dead processes for living ones.
_FIRST_PROCESS = """
mount -t tmpfs -o size=256m tmpfs /dev/shm && hostname "$0" && ip link set lo up && echo up || exit 1
sleep infinity & wait
"""


class Host:
    """A host on the network, switched on. `address` stays the same when it is switched on again."""

    def __init__(self, network: Network, number: int) -> None:
        self._network = network
        self._cable = ""
        self.name = f"host{number}"
        self.address = f"10.77.0.{number}"
        self._power: subprocess.Popen[bytes] | None = None
        self._first = 0
        self.switch_on()

    def switch_on(self) -> None:
        """Start the host, with nothing on it yet, and connect it."""
        self._power, self._first = _first_process(self.name)
        self._cable = f"cable{self._first}"  # the kernel takes its time to remove that of an earlier life
        cable, end = self._cable, ("netns", str(self._first))
        self._network.ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", *end)
        self._network.ip("link", "set", cable, "master", "bridge", "up")
        for words in (("addr", "add", f"{self.address}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            _run(_within(self._first, ("ip", *words)))

    def cut_off(self) -> None:
        """Pull its cable: nothing that is sent to it or by it arrives, and no connection is closed by it."""
        self._network.ip("link", "set", self._cable, "down")

    def reconnect(self) -> None:
        """Put its cable back."""
        self._network.ip("link", "set", self._cable, "up")

    def lose_power(self) -> None:
        """End all that runs on the host; the others learn nothing of it."""
        self.cut_off()
        self.close()

    def close(self) -> None:
        """End all that runs on the host, and the host."""
        if self._power is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._first, signal.SIGKILL)
        self._power.wait(_WITHIN_S)
        assert self._power.stdout is not None
        self._power.stdout.close()
        self._power = None

    def command(self, words: Sequence[str], cwd: Path) -> list[str]:
        """Return the command that runs `words` on this host."""
        return ["nsenter", "-t", str(self._first), "-n", "-m", "-p", "-u", f"--wd={cwd}", *words]

    def run(
        self, words: Sequence[str], env: Mapping[str, str], within_s: float = 120.0, cwd: Path = _ROOT
    ) -> tuple[str, str]:
        """Run a command on this host to its end; return its stdout and its stderr."""
        return _run(self.command(words, cwd), env, within_s)

    def processes(self, title: str) -> list[psutil.Process]:
        """Return the processes on this host whose command line begins with `title`."""
        if self._power is None:
            return []
        here = _network_of(self._first)
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if _network_of(process.pid) == here and " ".join(process.cmdline()).startswith(title):
                    found.append(process)
        return found


class Network:
    """A switch, and the hosts that were connected to it; a context manager that ends all of them."""

    def __init__(self) -> None:
        self._hosts: list[Host] = []
        self._power: subprocess.Popen[bytes] | None = None
        self._first = 0
        self._outside: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._power, self._first = _first_process("switch")
        self.ip("link", "add", "bridge", "type", "bridge")
        self.ip("addr", "add", f"{OUTSIDE}/24", "dev", "bridge")
        self.ip("link", "set", "bridge", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._hosts:
            host.close()
        for process in self._outside:
            process.kill()
            process.wait(_WITHIN_S)
        if self._power is not None:
            os.kill(self._first, signal.SIGKILL)
            self._power.wait(_WITHIN_S)
            assert self._power.stdout is not None
            self._power.stdout.close()

    def host(self) -> Host:
        """Connect one more host."""
        host = Host(self, len(self._hosts) + 1)
        self._hosts.append(host)
        return host

    def ip(self, *words: str) -> None:
        """Run `ip` where the switch is."""
        _run(_within(self._first, ("ip", *words)))

    def serve(self, words: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Run a program outside of all hosts, which reach it at `OUTSIDE`, until the network ends."""
        process = subprocess.Popen(  # noqa: S603 - our own words
            _within(self._first, words),
            stdin=subprocess.DEVNULL,
            preexec_fn=_end_with_the_tests,  # noqa: PLW1509 - it takes no lock
            **options,
        )
        self._outside.append(process)
        return process

    def fetch(self, url: str, body: str | None = None) -> str:
        """Return what is served outside of all hosts at `url`. A `body` is posted as JSON."""
        words = (sys.executable, "-IS", "-c", _FETCH, url, *([] if body is None else [body]))
        return _run(_within(self._first, words))[0]


def _first_process(name: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a host's first process; return what holds it, and its process id here."""
    holder = subprocess.Popen(  # noqa: S603 - our own words
        ["unshare", *_OWN, "bash", "-c", _FIRST_PROCESS, name],  # noqa: S607
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        preexec_fn=_end_with_the_tests,  # noqa: PLW1509 - it takes no lock
    )
    assert holder.stdout is not None
    said = holder.stdout.readline()
    assert said == b"up\n", said
    [first] = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    return holder, int(first)


def _within(first: int, words: Sequence[str]) -> list[str]:
    return ["nsenter", "-t", str(first), "-n", *words]


def _run(
    words: Sequence[str], env: Mapping[str, str] | None = None, within_s: float = _WITHIN_S
) -> tuple[str, str]:
    done = subprocess.run(  # noqa: S603 - our own words
        words,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=within_s,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout, done.stderr


def _network_of(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def _end_with_the_tests() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
