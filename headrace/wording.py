"""Says in the words of Python what an error says in those of the command line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from actors.core.errors import ConfigError

if TYPE_CHECKING:
    from cluster.config.problem import ConfigProblem

_ARGUMENTS = "llm.endpoints.main is the endpoint of model, base_url and api_key"
_QUOTE, _TAB = "'", r"'\t'"
_WORDS = tuple(
    (re.compile(rf"(?<![\w-]){flag}"), argument)
    for flag, argument in (
        (r"-m (NAME)\b", r"model=\1"),
        (r"-m openai:NAME\b", 'model="openai:NAME"'),
        (r"-m ([^\s:;,?]+(?::[^\s:;,?]+)?)", r'model="\1"'),
        (r"-c (\w+)", r"column \1"),
        (r"--base-url (URL|\S+)", r"base_url=\1"),
        (
            r"--delimiter (tab|'[^']')",
            lambda found: f"delimiter={found[1] if found[1][0] == _QUOTE else _TAB}",
        ),
        (r"--encoding ([\w-]+)", r'encoding="\1"'),
        (r", or tasks\.\w+ in a configuration", ""),
        (r"--set '([\w.]+)=(\{[^}']*\})'", r"\1: \2 in config=FILE"),
        (r"--param\b", "params"),
        (r"--config FILE", "config=FILE"),
        (r"--api-key-env \w+", "api_key"),
        (r"\(output\.directory, or -o\), then resume the run", "(output), then repeat the call"),
        (r"--replace\b", "replace=True"),
        (r"--overwrite\b", "overwrite=True"),
        (r"--prefix TEXT to [^,]+, ", ""),
        (r"--(base-url|retry-failed|max-tokens)\b", lambda found: found[1].replace("-", "_")),
        (r"--(attach|budget|config|fresh|key|limit|output|sample|system|truth)\b", r"\1"),
    )
)


def python_words(text: str) -> str:
    """Return `text` with arguments of `map` in place of flags."""
    for flag, argument in _WORDS:
        text = flag.sub(argument, text)
    return text


@contextlib.contextmanager
def in_python_words() -> Iterator[None]:
    """Reword what the errors of the block name, and say what sets an endpoint."""
    from cluster.checks.preflight import PreflightError  # noqa: PLC0415 - loads aiohttp
    from cluster.config.problem import ConfigFileError  # noqa: PLC0415 - `import headrace` is quick
    from cluster.report.tables.targets import ResultsError  # noqa: PLC0415 - same

    try:
        yield
    except ConfigFileError as error:
        raise ConfigFileError(tuple(_reworded(problem) for problem in error.problems)) from error
    except ConfigError as error:
        if type(error) is not ConfigError or python_words(str(error)) == str(error):
            raise
        raise ConfigError(python_words(str(error))) from error
    except ResultsError as error:
        error.args = (python_words(str(error)),)
        raise
    except PreflightError as error:
        error.add_note(_ARGUMENTS)
        raise


def _reworded(problem: ConfigProblem) -> ConfigProblem:
    return replace(problem, file=python_words(problem.file), message=python_words(problem.message))
