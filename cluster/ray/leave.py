"""Has the LLM clients of this host hand back their shares before the host stops.

    python -m cluster.ray.leave [--within 60]

Call it before Ray's processes on the host are ended: as a preStop hook in Kubernetes, or as ExecStop of a
unit of systemd. The dispatchers give the clients' work to others, and attempts in flight have the time to
end. Otherwise they are in doubt, and may be paid for twice. Ray restarts the clients on other hosts.
"""

from __future__ import annotations

import argparse
import logging
import sys

import ray
from ray.exceptions import RayError
from ray.util import list_named_actors

from cluster.assembly.topology import CLIENT_PREFIX

_OURS = "headrace"  # the namespaces of services and runs begin with it


def leave(node: str, within_s: float) -> tuple[int, int]:
    """Have the clients on `node` leave. Return how many have left, and how many not within `within_s`."""
    asked: list[ray.ObjectRef[bool]] = []
    for listed in list_named_actors(all_namespaces=True):
        if listed["namespace"].startswith(_OURS) and listed["name"].startswith(CLIENT_PREFIX):
            try:
                asked.append(ray.get_actor(listed["name"], listed["namespace"]).leave.remote(node))
            except ValueError:  # it has ended meanwhile
                continue
    done, late = ray.wait(asked, num_returns=len(asked), timeout=within_s) if asked else ([], [])
    left = 0
    for answer in done:
        try:
            left += ray.get(answer)
        except RayError:  # the client is gone
            continue
    return left, len(late)


def _main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--within", type=float, default=60.0, metavar="SECONDS", help="how long to wait")
    within_s = parser.parse_args().within
    # RAY_ADDRESS, or the cluster of this host: this command is about the host, whoever started the cluster.
    ray.init(address="auto", logging_level=logging.ERROR, log_to_driver=False)
    left, late = leave(ray.get_runtime_context().get_node_id(), within_s)
    ray.shutdown()
    sys.stderr.write(f"{left} LLM clients have left this host")
    sys.stderr.write(f"; {late} clients have not answered within {within_s:g} s\n" if late else "\n")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(_main())
