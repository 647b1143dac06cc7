"""The question that `map` asks about every row, as the document of a configuration.

Rule 1: The document is a complete configuration: `run` and `resume` load it as any other.
Rule 2: It holds no secret. A key is a reference to an environment variable.
Rule 3: The user's words are literal: ``${`` in a prompt is no reference.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from cluster.config.loading import loaded
from cluster.config.problem import ConfigFileError, ConfigProblem
from cluster.run.map.model import ModelChoice, endpoint_of

if TYPE_CHECKING:
    from cluster.config.model import HeadraceConfig
    from cluster.config.paths import KeyPath

# Sections that `map` takes from a configuration.
_SHARED = ("llm", "limits", "store", "cluster", "http", "telemetry")
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_MOST_NAME = 48
EMBEDDING = "embedding"  # the column of vectors
_SIMULATOR = "simulator"  # the name of the endpoint of the section `llm.simulator`
_UNSET = "environment variable "  # the beginning of the problem of a reference to one that is not set

# The words by which the user knows a key of the document.
_GIVEN = (
    ("evaluate.prompt", "the prompt"),
    ("evaluate.input", "--embed"),
    ("evaluate.system", "--system"),
    ("evaluate.attach", "--attach"),
    ("evaluate.output", "-c"),
    ("evaluate.max_tokens", "--max-tokens"),
    ("evaluate.params", "--param"),
    ("evaluate", "the question"),
    ("tasks", "the input"),
    ("limits.budget_usd", "--budget"),
    ("llm.endpoints.0.base_url", "--base-url"),
    ("llm.endpoints.0.model", "-m"),
)


@dataclass(frozen=True, slots=True)
class MapQuestion:
    """A question about every row, and the model that is asked.

    `output` holds the columns: mapping forms by name, or what else ``evaluate.output`` accepts. With `embed`,
    the name of a column, vectors of `prompt` are asked for, and there is no `output`. `model` and
    `base_url` are described by `endpoint_of`. `config` is a configuration whose `llm`, `limits`, `store`,
    `cluster`, `http` and `telemetry` are used. `params` are parameters of the model, such as
    ``temperature``. `tasks` is the section of the input, None for rows in memory. `overrides` are
    ``a.b=value``.
    """

    prompt: str
    output: Json = None
    name: str = "rows"
    embed: str = ""
    system: str | None = None
    attach: tuple[str, ...] = ()
    model: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    config: Path | None = None
    tasks: Mapping[str, Json] | None = None
    budget_usd: float | None = None
    max_tokens: int | None = None
    params: Mapping[str, Json] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()


def embedded(text: str) -> str:
    """Return the template of the text whose vectors are asked for: `text`, or the column of that name."""
    return text if "{" in text else f"{{{text}}}"


def run_name(stem: str) -> str:
    """Return the name of the runs of an input, such as ``map-reviews``."""
    return f"map-{_NOT_IN_NAME.sub('-', stem).strip('-.')[:_MOST_NAME] or 'rows'}"


def map_config(question: MapQuestion, env: Mapping[str, str]) -> HeadraceConfig:
    """Return the configuration that asks `question`. Raises `ConfigError`, in the user's words."""
    text = map_document(question, env)
    with tempfile.TemporaryDirectory(prefix="headrace-map-") as folder:
        path = Path(folder, "map.yaml")
        path.write_text(text, encoding="utf-8")
        try:
            return loaded(path, overrides=question.overrides, env=env)
        except ConfigFileError as error:
            raise ConfigFileError(tuple(_explained(each, question) for each in error.problems)) from error


def map_document(question: MapQuestion, env: Mapping[str, str]) -> str:
    """Return the configuration as YAML. Raises `ConfigError` for a model that is not known."""
    yaml = _yaml()
    shared = _shared(question.config)
    section = shared.pop("llm", None)
    choice = ModelChoice(question.model, question.base_url, question.api_key_env, section)
    llm, endpoint = endpoint_of(choice, env)
    step = _step(question)
    if endpoint is not None:
        step["endpoint"] = endpoint
    elif question.embed:
        step["endpoint"] = [one["name"] for one in llm.get("endpoints") or [{"name": _SIMULATOR}]]
    llm.setdefault("cache", True)
    document: dict[str, Any] = {"name": run_name(question.name)}
    if question.tasks is not None:
        document["tasks"] = _literal(dict(question.tasks))
    document |= {"llm": llm, "evaluate": step}
    limits = shared.pop("limits", None) or {}
    if question.budget_usd is not None:
        limits["budget_usd"] = question.budget_usd
    if limits:
        document["limits"] = limits
    document |= shared
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()


def _step(question: MapQuestion) -> dict[str, Any]:
    """Return the entry of ``evaluate`` without its endpoint."""
    params = {"params": _literal(question.params)} if question.params else {}
    if question.embed:
        return {"kind": "embedding", "name": question.embed, "input": _scalar(question.prompt), **params}
    step: dict[str, Any] = {"prompt": _scalar(question.prompt)}
    if question.system is not None:
        step["system"] = _scalar(question.system)
    if question.attach:
        step["attach"] = [_scalar(name) for name in question.attach]
    if question.max_tokens is not None:
        step["max_tokens"] = question.max_tokens
    return {**step, **params, "output": _literal(question.output)}


def saved_document(question: MapQuestion, env: Mapping[str, str]) -> str:
    """Return the configuration with its overrides as YAML, for a file.

    Raises `ConfigError` for a secret that is written out, and for a wrong override.
    """
    from cluster.config.file import override  # noqa: PLC0415 - see `_yaml`
    from cluster.config.paths import leaves, mapped  # noqa: PLC0415 - same
    from cluster.config.secrets import is_secret, is_shown, masked  # noqa: PLC0415 - same
    from cluster.config.yaml import ParsedYaml, resolve  # noqa: PLC0415 - same

    text = map_document(question, env)
    parsed = ParsedYaml(text, "")
    for assignment in question.overrides:
        override(parsed, assignment)
    if question.overrides:

        def plain(_: KeyPath, text: str) -> Any:
            value = resolve(text)
            return _styled(value) if isinstance(value, str) else value

        written = io.StringIO()
        _yaml().dump(mapped(parsed.value, plain), written)
        text = written.getvalue()
    for path, value in leaves(parsed.value):
        if path[0] == "evaluate" or is_shown(path, value):
            continue
        found = masked(path, value)
        # A short literal key such as "none" is no secret.
        if found.literals or (found.is_masked and not is_secret(path)):
            key = ".".join(map(str, path))
            raise ConfigError(
                f"--save: {key} holds a secret, which the file would copy: write it as ${{NAME}} "
                f"in {question.config or 'a configuration for --config'}, or in --set, and set NAME"
            )
    return text


def _yaml() -> Any:
    from ruamel.yaml import YAML  # noqa: PLC0415 - loading it takes as long as the first line may

    yaml = YAML()
    yaml.width = 100
    yaml.allow_unicode = True
    return yaml


def _shared(path: Path | None) -> dict[str, Any]:
    """Return the sections of a configuration that `map` uses, as they are written. Raises `ConfigError`."""
    if path is None:
        return {}
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - see above

    from cluster.config.yaml import ParsedYaml  # noqa: PLC0415 - same

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid UTF-8") from error
    # It refuses tags and deep nesting, at which the loader fails with errors of Python.
    parsed = ParsedYaml(text, str(path))
    if parsed.problems:
        raise ConfigFileError(tuple(parsed.problems))
    if not isinstance(parsed.value, Mapping):
        raise ConfigError(f"{path}: not a configuration: it holds no mapping")
    try:
        found = _yaml().load(text)
    except (YAMLError, ValueError) as error:  # its text may quote a secret
        raise ConfigError(f"{path}: not valid YAML: a date or a number is out of range") from error
    return {name: found[name] for name in _SHARED if name in found}


def _literal(value: Json) -> Any:
    """Return `value` with every text as the configuration writes it."""
    if isinstance(value, Mapping):
        return {name: _literal(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_literal(each) for each in value]
    return _scalar(value) if isinstance(value, str) else value


def _scalar(text: str) -> str:
    """Return `text` as a scalar that the configuration reads as this text."""
    return _styled(text.replace("${", "$${"))


def _styled(text: str) -> str:
    """Return `text` as a scalar of YAML. A text of several lines is a block."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString  # noqa: PLC0415 - see above

    lines = text.split("\n")
    if len(lines) == 1:
        return text
    is_plain = all(line.isprintable() for line in lines) and text.strip() == text
    made: str = LiteralScalarString(text) if is_plain else DoubleQuotedScalarString(text)
    return made


def _explained(problem: ConfigProblem, question: MapQuestion) -> ConfigProblem:
    """Return the problem with what the user gave in place of the document's file and key."""
    is_of_preset = question.base_url is None and question.config is None
    if is_of_preset and problem.path.startswith("llm.endpoints.0.") and problem.message.startswith(_UNSET):
        # The variable is one of the preset, and another one of the environment is no misspelling of it.
        return replace(problem, file=f"-m {question.model}", line=0, path="", wanted=None, suggestion=None)
    given = next((words for key, words in _GIVEN if f"{problem.path}.".startswith(f"{key}.")), None)
    output = question.output
    if given == "-c" and (
        isinstance(output, str) or (isinstance(output, Mapping) and "json_schema" in output)
    ):
        given = "--columns"
    elif given == "-c" and (field := problem.path.removeprefix("evaluate.output").strip(".")):
        given = f"-c {field.partition('.')[0]}"
    if given is not None and problem.line:
        return replace(problem, file=given, line=0, path="")
    return replace(problem, file=str(question.config or ""), line=0) if problem.line else problem
