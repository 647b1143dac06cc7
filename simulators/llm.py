"""A language-model endpoint to test against: ``python -m simulators.llm --port 0 --latency-s 0.3 --cap 64``.

Speaks the OpenAI-compatible protocol at ``/v1``, streams, refuses, fails by plan, honours Idempotency-Key,
and keeps books: ``GET /stats``, ``POST /flush``, ``POST /control`` and the ledger file. See ``--help``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from simulators.capacity import Limits
from simulators.faults import FaultRuleError, load_rules
from simulators.ledger import LedgerWriter
from simulators.llm_model import Settings
from simulators.llm_server import LlmServer
from simulators.serving import add_process_arguments, serve


def main(arguments: Sequence[str] | None = None) -> None:
    """Run an endpoint until SIGTERM or SIGINT."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings = _settings(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    # The ledger is closed after the loop has ended: requests that the end interrupts are entered too.
    with LedgerWriter(options.ledger) as ledger:
        server = LlmServer(settings, ledger)
        serve(server.handle, options, path="/v1")


def _settings(options: argparse.Namespace) -> Settings:
    try:
        faults = () if options.faults is None else load_rules(options.faults)
    except FaultRuleError as error:
        raise ValueError(f"--faults: {error}") from error
    return Settings(
        seed=options.seed,
        latency_s=options.latency_s,
        sigma=options.sigma,
        output_tokens=options.output_tokens,
        model=options.model,
        idempotency=not options.no_idempotency,
        remember=options.remember,
        tells_rates=not options.silent_rates,
        limits=Limits(
            slots=options.slots,
            contention=options.contention,
            knee=options.knee,
            cap=options.cap,
            requests_per_minute=options.requests_per_minute,
            tokens_per_minute=options.tokens_per_minute,
            retry_after_s=options.retry_after_s,
            burst_s=options.burst_s,
        ),
        faults=faults,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulators.llm", description=(__doc__ or "").split("\n")[0]
    )
    add_process_arguments(parser)
    add = parser.add_argument
    add("--latency-s", type=float, default=0.3, help="median time of an answer on an idle endpoint")
    add("--sigma", type=float, default=0.4, help="shape of the lognormal latency; 0 makes it constant")
    add("--output-tokens", type=int, default=60, help="median length of an answer")
    add("--slots", type=int, default=0, help="beyond this many in flight all get slower; 0: never")
    add("--contention", type=int, default=0, help="with so many in flight all are twice as slow; 0: never")
    add("--knee", type=int, default=0, help="beyond this many in flight, requests wait in line; 0: never")
    add("--cap", type=int, default=0, help="beyond this many in flight, requests are refused; 0: never")
    add("--retry-after-s", type=float, default=1.0, help="what a request refused by --cap is told")
    add("--requests-per-minute", type=int, default=0, help="rate of requests; 0: none")
    add("--tokens-per-minute", type=int, default=0, help="rate of tokens; 0: none")
    add("--burst-s", type=float, default=60.0, help="how many seconds of a rate may be taken at once")
    add("--silent-rates", action="store_true", help="no headers about rates; refusals give no reason")
    add("--model", default="sim", help="name of the model that /v1/models lists")
    add("--no-idempotency", action="store_true", help="answer and bill every request anew")
    add("--remember", type=int, default=200_000, help="answers kept for repeated Idempotency-Keys")
    add("--faults", type=Path, help="fault plan, .json or .yaml: a list of rules")
    add("--ledger", type=Path, help="file to which every request is appended as one line of JSON")
    return parser


if __name__ == "__main__":
    main()
