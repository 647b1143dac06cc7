"""A language-model endpoint for tests: ``python -m simulators.llm --port 0 --latency-s 0.3 --cap 64``.

It speaks the dialects of `simulators.dialects`, streams, refuses, fails by a plan, honours Idempotency-Key
and keeps a ledger. ``GET /stats``, ``POST /flush`` and ``POST /control`` administer it. It announces the URL
of ``/v1``, for chat completions; the paths of other dialects begin at the root. See ``--help``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from simulators.faults import FaultRuleError, load_rules
from simulators.ledger import LedgerWriter
from simulators.llm_model import LlmServerSettings, LlmServerSettingsError, updated
from simulators.llm_server import LlmServer
from simulators.serving import add_process_arguments, serve


def main(arguments: Sequence[str] | None = None) -> None:
    """Run an endpoint until SIGTERM or SIGINT."""
    parser = command_line()
    options = parser.parse_args(arguments)
    try:
        settings = settings_of(options)
    except (LlmServerSettingsError, FaultRuleError, OSError) as error:
        parser.error(str(error))
    # The ledger closes after the loop: requests that the end interrupts are entered too.
    with LedgerWriter(options.ledger) as ledger:
        serve(LlmServer(settings, ledger).handle, options, path="/v1")


def command_line() -> argparse.ArgumentParser:
    """Return the parser: an option for each setting, and those of the process."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__spec__.name}", description=(__doc__ or "").split("\n")[0]
    )
    add_process_arguments(parser)
    for field in msgspec.structs.fields(LlmServerSettings):
        if field.name == "faults":
            continue
        flag, help_text = f"--{field.name.replace('_', '-')}", field.type.__metadata__[-1].description
        if isinstance(field.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=True, help=help_text)
        else:
            parser.add_argument(flag, type=type(field.default), default=field.default, help=help_text)
    parser.add_argument("--faults", type=Path, help="fault plan, .json or .yaml: a list of rules")
    parser.add_argument("--ledger", type=Path, help="file that receives a line of JSON for every request")
    return parser


def settings_of(options: argparse.Namespace) -> LlmServerSettings:
    """Return the settings on a command line.

    Raises `LlmServerSettingsError`, and `FaultRuleError` and `OSError` for the fault plan.
    """
    given = {name: getattr(options, name) for name in LlmServerSettings.__struct_fields__ if name != "faults"}
    rules = () if options.faults is None else load_rules(options.faults)
    return msgspec.structs.replace(updated(LlmServerSettings(), given), faults=rules)


if __name__ == "__main__":
    main()
